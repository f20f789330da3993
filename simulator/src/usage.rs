//! API calls in the last 24 hours, by hour, against the org's daily limit.

use crate::state;
use chrono::Utc;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

#[derive(Debug, Default, Clone, Serialize, Deserialize)]
struct Counters {
    /// Calls by hour since the epoch.
    requests: BTreeMap<i64, u64>,
    /// Bulk 2.0 query jobs created, likewise.
    query_jobs: BTreeMap<i64, u64>,
    /// Bulk ingest batches, likewise.
    ingest_batches: BTreeMap<i64, u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Counted {
    Request,
    QueryJob,
    IngestBatch,
}

pub(crate) struct Usage {
    path: PathBuf,
    counters: Mutex<(Counters, bool)>,
}

impl Usage {
    pub fn open(state_dir: &Path) -> io::Result<Self> {
        let path = state_dir.join("usage.json");
        let counters = state::read_json(&path)?.unwrap_or_default();
        Ok(Self { path, counters: Mutex::new((counters, false)) })
    }

    /// Counts one and gives how many there were in 24 hours, this one included.
    pub fn count(&self, what: Counted) -> u64 {
        let mut guard = self.counters.lock().expect("no holder panics");
        let (counters, changed) = &mut *guard;
        *changed = true;
        let hour = Utc::now().timestamp() / 3_600;
        let by_hour = counters.of(what);
        by_hour.retain(|at, _| *at > hour - 24);
        *by_hour.entry(hour).or_default() += 1;
        by_hour.values().sum()
    }

    pub fn used(&self, what: Counted) -> u64 {
        let hour = Utc::now().timestamp() / 3_600;
        let mut guard = self.counters.lock().expect("no holder panics");
        guard.0.of(what).range(hour - 23..).map(|(_, count)| count).sum()
    }

    /// Writes the counters if they moved. A crash loses what was counted since the last flush, at most a second.
    pub fn flush(&self) -> io::Result<()> {
        let snapshot = {
            let mut guard = self.counters.lock().expect("no holder panics");
            if !std::mem::take(&mut guard.1) {
                return Ok(());
            }
            guard.0.clone()
        };
        state::write_json(&self.path, &snapshot)
    }
}

impl Counters {
    fn of(&mut self, what: Counted) -> &mut BTreeMap<i64, u64> {
        match what {
            Counted::Request => &mut self.requests,
            Counted::QueryJob => &mut self.query_jobs,
            Counted::IngestBatch => &mut self.ingest_batches,
        }
    }
}
