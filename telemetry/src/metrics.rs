//! The process's metrics: recorded anywhere by the [`metrics`] facade, read as one page.

use std::sync::OnceLock;

use metrics::{describe_gauge, gauge};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use metrics_process::Collector;

/// The type of [`page`].
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4";

/// Upper bounds, in seconds, for what takes milliseconds: a prediction, a request.
const SHORT: [f64; 13] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];
/// Upper bounds, in seconds, for what takes anything from milliseconds to a day: steps, Temporal's calls and polls.
const LONG: [f64; 14] = [0.005, 0.025, 0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0, 10_800.0, 36_000.0, 86_400.0];
const PEAK: &str = "process_resident_memory_peak_bytes";

static PAGE: OnceLock<Option<Page>> = OnceLock::new();

struct Page {
    recorded: PrometheusHandle,
    process: Collector,
}

/// Starts recording. What is recorded before is lost, so call it first; a repetition changes nothing.
pub fn install() {
    PAGE.get_or_init(|| match Page::install() {
        Ok(page) => Some(page),
        Err(error) => {
            tracing::error!(%error, "metrics are not recorded");
            None
        }
    });
}

/// Everything recorded so far with the process's own figures, in the Prometheus text format; empty without [`install`].
pub fn page() -> String {
    PAGE.get().and_then(Option::as_ref).map(Page::render).unwrap_or_default()
}

impl Page {
    fn install() -> Result<Self, BuildError> {
        let recorded = PrometheusBuilder::new()
            .set_buckets(&LONG)?
            .set_buckets_for_metric(Matcher::Prefix("leadline_api_".to_owned()), &SHORT)?
            .install_recorder()?;
        let process = Collector::default();
        process.describe();
        describe_gauge!(PEAK, "Largest resident memory size so far, in bytes.");
        Ok(Self { recorded, process })
    }

    fn render(&self) -> String {
        self.process.collect();
        if let Ok(usage) = nix::sys::resource::getrusage(nix::sys::resource::UsageWho::RUSAGE_SELF) {
            // The kernel counts in KiB.
            gauge!(PEAK).set(usage.max_rss() as f64 * 1024.0);
        }
        self.recorded.run_upkeep();
        self.recorded.render()
    }
}

#[cfg(test)]
mod tests {
    use metrics::{counter, histogram};

    use super::*;

    #[test]
    fn the_page_holds_what_was_recorded_and_what_the_process_uses() {
        install();
        install();
        counter!("leadline_tries_total", "kind" => "a \"quoted\" one").increment(2);
        histogram!("leadline_api_tried_seconds").record(0.0007);
        let page = page();
        assert!(page.contains("leadline_tries_total{kind=\"a \\\"quoted\\\" one\"} 2\n"), "{page}");
        assert!(page.contains("leadline_api_tried_seconds_bucket{le=\"0.0005\"} 0\n"), "{page}");
        assert!(page.contains("leadline_api_tried_seconds_bucket{le=\"0.001\"} 1\n"), "{page}");
        let value = |name: &str| page.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<f64>().ok());
        let (now, peak) = (value("process_resident_memory_bytes"), value(PEAK));
        assert!(now > Some(1e6) && peak > Some(1e6), "{page}");
    }
}
