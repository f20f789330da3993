//! What `/metrics` shows, in the Prometheus text format: requests and their durations by rpc, transport and code.
//!
//! Labels have few values by construction (rpcs, two transports, the closed list of codes) and none names a tenant. The
//! format is a page of text, so it is written here rather than by a metrics library.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

/// Upper bounds of the duration buckets, in seconds.
const BOUNDS: [f64; 13] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Series {
    rpc: String,
    transport: &'static str,
    code: String,
}

#[derive(Debug, Default, Clone)]
struct Durations {
    /// Requests in each bucket, not cumulated; the last is beyond every bound.
    buckets: [u64; BOUNDS.len() + 1],
    count: u64,
    seconds: f64,
}

/// Counters of one API process.
#[derive(Debug, Default)]
pub struct Metrics {
    requests: Mutex<BTreeMap<Series, Durations>>,
    started: AtomicU64,
    start_failures: AtomicU64,
    sweep_failures: AtomicU64,
}

impl Metrics {
    /// Counts one answered request.
    pub fn observe(&self, rpc: &str, transport: &'static str, code: &str, took: Duration) {
        let series = Series { rpc: rpc.to_owned(), transport, code: code.to_owned() };
        let mut requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        let durations = requests.entry(series).or_default();
        let seconds = took.as_secs_f64();
        let bucket = BOUNDS.iter().position(|bound| seconds <= *bound).unwrap_or(BOUNDS.len());
        durations.buckets[bucket] += 1;
        durations.count += 1;
        durations.seconds += seconds;
    }

    pub fn count_start(&self) {
        self.started.fetch_add(1, Ordering::Relaxed);
    }

    pub fn count_start_failure(&self) {
        self.start_failures.fetch_add(1, Ordering::Relaxed);
    }

    pub fn count_sweep_failure(&self) {
        self.sweep_failures.fetch_add(1, Ordering::Relaxed);
    }

    /// The page.
    pub fn render(&self) -> String {
        let mut page = String::new();
        self.render_requests(&mut page);
        let counters = [
            ("leadline_workflow_starts_total", "Workflows started, or found started.", &self.started),
            ("leadline_workflow_start_failures_total", "Starts that Temporal did not take.", &self.start_failures),
            ("leadline_sweep_failures_total", "Sweeps that could not read the operations to start.", &self.sweep_failures),
        ];
        for (name, help, counter) in counters {
            let value = counter.load(Ordering::Relaxed);
            let _ = write!(page, "# HELP {name} {help}\n# TYPE {name} counter\n{name} {value}\n");
        }
        page
    }

    fn render_requests(&self, page: &mut String) {
        let requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let name = "leadline_api_request_duration_seconds";
        let _ = write!(page, "# HELP {name} Time from the request's head to its answer.\n# TYPE {name} histogram\n");
        for (series, durations) in &requests {
            let labels = format!("rpc=\"{}\",transport=\"{}\",code=\"{}\"", series.rpc, series.transport, series.code);
            let mut below = 0;
            for (bound, bucket) in BOUNDS.iter().zip(&durations.buckets) {
                below += bucket;
                let _ = writeln!(page, "{name}_bucket{{{labels},le=\"{bound}\"}} {below}");
            }
            let _ = writeln!(page, "{name}_bucket{{{labels},le=\"+Inf\"}} {}", durations.count);
            let _ = writeln!(page, "{name}_sum{{{labels}}} {}", durations.seconds);
            let _ = writeln!(page, "{name}_count{{{labels}}} {}", durations.count);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_counted_in_its_bucket_and_in_every_larger_one() {
        let metrics = Metrics::default();
        metrics.observe("Predict", "rest", "OK", Duration::from_micros(700));
        metrics.observe("Predict", "rest", "OK", Duration::from_secs(60));
        let page = metrics.render();
        let labels = "rpc=\"Predict\",transport=\"rest\",code=\"OK\"";
        assert!(page.contains(&format!("_bucket{{{labels},le=\"0.0005\"}} 0\n")), "{page}");
        assert!(page.contains(&format!("_bucket{{{labels},le=\"0.001\"}} 1\n")), "{page}");
        assert!(page.contains(&format!("_bucket{{{labels},le=\"10\"}} 1\n")), "{page}");
        assert!(page.contains(&format!("_bucket{{{labels},le=\"+Inf\"}} 2\n")), "{page}");
        assert!(page.contains("leadline_workflow_starts_total 0\n"), "{page}");
    }
}
