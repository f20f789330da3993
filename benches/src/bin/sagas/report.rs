//! The table.

use std::time::Duration;

use comfy_table::Table;

use crate::{contenders::Contender, drive::Driven, histories::Recorded, processes::Cpu};

/// What issue and table compare: throughput at least that of the Go SDK, time per activity at most this many times its own.
const SLOWEST_ACTIVITY: f64 = 1.25;

/// One contender's rounds together.
pub struct Measured {
    pub contender: Contender,
    pub cpu: Cpu,
    /// Of the runs that ran alone.
    pub histories: Vec<Recorded>,
    sagas: usize,
    took: Duration,
    together: Vec<Duration>,
    alone: Vec<Duration>,
}

impl Measured {
    pub fn of(contender: Contender) -> Self {
        let (cpu, histories, together, alone) = (Cpu::default(), Vec::new(), Vec::new(), Vec::new());
        Self { contender, cpu, histories, sagas: 0, took: Duration::ZERO, together, alone }
    }

    pub fn add_together(&mut self, driven: Driven) {
        self.sagas += driven.latencies.len();
        self.took += driven.took;
        self.together.extend(driven.latencies);
    }

    pub fn add_alone(&mut self, driven: Driven) {
        self.alone.extend(driven.latencies);
    }

    fn sagas_per_second(&self) -> f64 {
        self.sagas as f64 / self.took.as_secs_f64()
    }

    fn per_saga(&self, cpu: Duration) -> f64 {
        millis(cpu) / self.sagas as f64
    }

    /// Processor time of the Temporal server for each activity, with its share of the rest of the saga.
    fn server_per_activity(&self) -> f64 {
        self.per_saga(self.cpu.server) / self.mean(|history| history.activities.len() as f64)
    }

    /// From scheduled to completed by the server's clock, the median over all activities of runs that ran alone.
    fn scheduled_to_completed(&self) -> f64 {
        millis(quantile(self.histories.iter().flat_map(|history| history.activities.iter().copied()).collect(), 0.5))
    }

    fn mean(&self, of: impl Fn(&Recorded) -> f64) -> f64 {
        self.histories.iter().map(of).sum::<f64>() / self.histories.len() as f64
    }

    fn row(&self) -> Vec<String> {
        let latency = |of: &Vec<Duration>, q: f64| format!("{:.0}", millis(quantile(of.clone(), q)));
        vec![
            self.contender.name().to_owned(),
            format!("{:.1}", self.sagas_per_second()),
            format!("{} / {}", latency(&self.together, 0.5), latency(&self.together, 0.99)),
            format!("{} / {}", latency(&self.alone, 0.5), latency(&self.alone, 0.99)),
            format!("{:.1}", self.per_saga(self.cpu.worker)),
            format!("{:.1}", self.per_saga(self.cpu.server)),
            format!("{:.1}", self.per_saga(self.cpu.postgres)),
            format!("{:.2}", self.server_per_activity()),
            format!("{:.1}", self.scheduled_to_completed()),
            format!("{:.0}", self.mean(|history| history.events as f64)),
            format!("{:.0}", self.mean(|history| history.bytes as f64)),
        ]
    }
}

pub fn print(measured: &[Measured]) {
    let mut table = Table::new();
    table.set_header([
        "",
        "sagas/s",
        "ms, together: p50 / p99",
        "ms, alone: p50 / p99",
        "CPU ms/saga: worker",
        "Temporal",
        "PostgreSQL",
        "Temporal CPU ms/activity",
        "ms from scheduled to completed",
        "events",
        "bytes",
    ]);
    table.add_rows(measured.iter().map(Measured::row));
    println!("{table}");
    let of = |contender| measured.iter().find(|one| one.contender == contender).expect("every contender is measured");
    let (off, on, go) = (of(Contender::LedgerOff), of(Contender::LedgerOn), of(Contender::GoSdk));
    let throughput = |over: &Measured| off.sagas_per_second() / over.sagas_per_second();
    say("throughput with the ledger off, over the Go SDK's", throughput(go), throughput(go) >= 1.0);
    println!("the same over the Go SDK's without compression: {:.2}", throughput(of(Contender::GoSdkUncompressed)));
    for (what, time) in [
        (
            "Temporal's CPU per activity with the ledger on, over the Go SDK's",
            Measured::server_per_activity as fn(&Measured) -> f64,
        ),
        ("scheduled to completed with the ledger on, over the Go SDK's", Measured::scheduled_to_completed),
    ] {
        let ratio = time(on) / time(go);
        say(what, ratio, ratio <= SLOWEST_ACTIVITY);
    }
}

fn say(what: &str, ratio: f64, met: bool) {
    println!("{what}: {ratio:.2} ({})", if met { "met" } else { "MISSED" });
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

/// The smallest value that at least `q` of all do not exceed.
fn quantile(mut of: Vec<Duration>, q: f64) -> Duration {
    of.sort_unstable();
    let rank = (of.len() as f64 * q).ceil() as usize;
    of.get(rank.saturating_sub(1)).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_is_one_of_the_values() {
        let values: Vec<Duration> = (1..=100).rev().map(Duration::from_millis).collect();
        assert_eq!(quantile(values.clone(), 0.5), Duration::from_millis(50));
        assert_eq!(quantile(values, 0.99), Duration::from_millis(99));
        assert_eq!(quantile(Vec::new(), 0.5), Duration::ZERO);
    }
}
