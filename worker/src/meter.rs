//! The SDK's own metrics (slots, pollers, polls, calls, latencies) on the process's page, by the same facade as leadline's own.
//!
//! Names are those of Temporal's other SDKs with seconds and a `_total` suffix, so that their dashboards fit.

use std::{error::Error, sync::Arc, time::Duration};

use metrics::{Label, SharedString, counter, gauge, histogram};
use temporalio_common::telemetry::metrics::{
    CoreMeter, Counter, CounterBase, Gauge, GaugeBase, GaugeF64, GaugeF64Base, Histogram, HistogramBase, HistogramDuration,
    HistogramDurationBase, HistogramF64, HistogramF64Base, MetricAttributable, MetricAttributes, MetricParameters, NewAttributes,
    OrderedPromLabelSet, UpDownCounter, UpDownCounterBase,
};

/// Where the SDK's instruments come from.
#[derive(Debug)]
pub(crate) struct PageMeter;

/// An instrument by its name on the page.
struct Instrument(SharedString);

/// An instrument with its labels.
struct Series<T>(T);

impl Instrument {
    fn named(parameters: &MetricParameters, suffix: &str) -> Arc<Self> {
        let suffix = if parameters.name.ends_with(suffix) { "" } else { suffix };
        Arc::new(Self(format!("{}{suffix}", parameters.name).into()))
    }
}

impl CoreMeter for PageMeter {
    /// The worker's heartbeats read labels from this variant and not from one of our own.
    fn new_attributes(&self, new: NewAttributes) -> MetricAttributes {
        MetricAttributes::Prometheus { labels: Arc::new(new.into()) }
    }

    fn extend_attributes(&self, existing: MetricAttributes, new: NewAttributes) -> MetricAttributes {
        let mut labels = match existing {
            MetricAttributes::Prometheus { labels } => Arc::unwrap_or_clone(labels),
            _ => OrderedPromLabelSet::new(),
        };
        new.attributes.into_iter().for_each(|label| labels.add_kv(label));
        MetricAttributes::Prometheus { labels: Arc::new(labels) }
    }

    fn counter(&self, parameters: MetricParameters) -> Counter {
        Counter::new(Instrument::named(&parameters, "_total"))
    }

    fn histogram(&self, parameters: MetricParameters) -> Histogram {
        Histogram::new(Instrument::named(&parameters, ""))
    }

    fn histogram_f64(&self, parameters: MetricParameters) -> HistogramF64 {
        HistogramF64::new(Instrument::named(&parameters, ""))
    }

    fn histogram_duration(&self, parameters: MetricParameters) -> HistogramDuration {
        HistogramDuration::new(Instrument::named(&parameters, "_seconds"))
    }

    fn gauge(&self, parameters: MetricParameters) -> Gauge {
        Gauge::new(Instrument::named(&parameters, ""))
    }

    fn gauge_f64(&self, parameters: MetricParameters) -> GaugeF64 {
        GaugeF64::new(Instrument::named(&parameters, ""))
    }

    fn up_down_counter(&self, parameters: MetricParameters) -> UpDownCounter {
        UpDownCounter::new(Instrument::named(&parameters, ""))
    }
}

fn labels(attributes: &MetricAttributes) -> Vec<Label> {
    let MetricAttributes::Prometheus { labels } = attributes else { return Vec::new() };
    let mut labels: Vec<Label> =
        labels.as_prom_labels().into_iter().map(|(key, value)| Label::new(key.to_owned(), value)).collect();
    labels.sort();
    labels
}

/// Binds an instrument of the facade to labels, as the SDK's trait of each kind wants it.
macro_rules! binds {
    ($($base:ident by $make:ident)*) => {$(
        impl MetricAttributable<Box<dyn $base>> for Instrument {
            fn with_attributes(&self, attributes: &MetricAttributes) -> Result<Box<dyn $base>, Box<dyn Error>> {
                Ok(Box::new(Series($make!(self.0.clone(), labels(attributes)))))
            }
        }
    )*};
}

binds! {
    CounterBase by counter
    HistogramBase by histogram
    HistogramF64Base by histogram
    HistogramDurationBase by histogram
    GaugeBase by gauge
    GaugeF64Base by gauge
    UpDownCounterBase by gauge
}

impl CounterBase for Series<metrics::Counter> {
    fn adds(&self, value: u64) {
        self.0.increment(value);
    }
}

impl HistogramBase for Series<metrics::Histogram> {
    fn records(&self, value: u64) {
        self.0.record(value as f64);
    }
}

impl HistogramF64Base for Series<metrics::Histogram> {
    fn records(&self, value: f64) {
        self.0.record(value);
    }
}

impl HistogramDurationBase for Series<metrics::Histogram> {
    fn records(&self, value: Duration) {
        self.0.record(value);
    }
}

impl GaugeBase for Series<metrics::Gauge> {
    fn records(&self, value: u64) {
        self.0.set(value as f64);
    }
}

impl GaugeF64Base for Series<metrics::Gauge> {
    fn records(&self, value: f64) {
        self.0.set(value);
    }
}

impl UpDownCounterBase for Series<metrics::Gauge> {
    fn adds(&self, value: i64) {
        self.0.increment(value as f64);
    }
}
