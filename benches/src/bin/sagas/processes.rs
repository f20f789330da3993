//! How much processor time processes have used, by the kernel's own account.

use std::{collections::HashMap, fs, time::Duration};

use anyhow::{Context, Result};

/// Linux counts the time of processes in hundredths of a second, whatever its own clock does.
const TICK: Duration = Duration::from_millis(10);

/// Processor time used so far, by part.
#[derive(Debug, Clone, Copy, Default)]
pub struct Cpu {
    pub worker: Duration,
    pub server: Duration,
    pub postgres: Duration,
}

impl Cpu {
    /// Of three processes, with all that they have started.
    pub fn of(worker: u32, server: u32, postmaster: u32) -> Result<Self> {
        let used = Table::read()?;
        Ok(Self { worker: used.by(worker)?, server: used.by(server)?, postgres: used.by(postmaster)? })
    }

    pub fn since(self, earlier: Self) -> Self {
        Self {
            worker: self.worker.saturating_sub(earlier.worker),
            server: self.server.saturating_sub(earlier.server),
            postgres: self.postgres.saturating_sub(earlier.postgres),
        }
    }

    pub fn add(&mut self, other: Self) {
        self.worker += other.worker;
        self.server += other.server;
        self.postgres += other.postgres;
    }
}

/// The processes of the machine: parent, and time used by each with its children that have ended.
struct Table(HashMap<u32, (u32, Duration)>);

impl Table {
    fn read() -> Result<Self> {
        let entries = fs::read_dir("/proc").context("read /proc; only Linux says there what each process has used")?;
        let ids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        // A process may end between the listing and the look at it.
        let stats = ids.filter_map(|id| Some((id, stat(&fs::read_to_string(format!("/proc/{id}/stat")).ok()?)?)));
        Ok(Self(stats.collect()))
    }

    fn by(&self, root: u32) -> Result<Duration> {
        let (_, own) = self.0.get(&root).with_context(|| format!("process {root} has ended"))?;
        let children = self.0.iter().filter(|(_, (parent, _))| *parent == root);
        children.map(|(child, _)| self.by(*child)).try_fold(*own, |sum, child| Ok(sum + child?))
    }
}

/// Parent and time of a line of `/proc/<pid>/stat` (proc(5)): after the name in parentheses come state, parent, and from the 12th
/// field on utime, stime, and both of the children that were waited for.
fn stat(line: &str) -> Option<(u32, Duration)> {
    let fields: Vec<&str> = line.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks: u32 = fields.get(11..15)?.iter().filter_map(|field| field.parse::<u32>().ok()).sum();
    Some((fields.get(1)?.parse().ok()?, TICK * ticks))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_processes_time_is_its_own_and_that_of_its_children() {
        let line = "42 (a) b) S 7 42 42 0 -1 4194560 1 2 3 4 150 50 10 5 20 0 1 0";
        assert_eq!(stat(line), Some((7, Duration::from_millis(2150))));
        let table = Table(HashMap::from([(7, (1, TICK)), (42, (7, TICK * 2)), (43, (42, TICK * 4)), (8, (1, TICK * 8))]));
        assert_eq!(table.by(7).unwrap(), TICK * 7);
        assert!(table.by(9).is_err());
    }
}
