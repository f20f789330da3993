//! Spans to an OpenTelemetry collector, by OTLP over HTTP.
//!
//! Set up by the standard `OTEL_*` environment: endpoint, headers, timeout, sampler, resource attributes. Only leadline's own
//! spans are sent; the libraries' would drown them.

use std::{cell::Cell, env, time::SystemTime};

use opentelemetry::{
    Context, KeyValue, SpanId, global,
    trace::{Span as _, SpanBuilder, SpanKind, Status, TracerProvider as _},
};
use opentelemetry_otlp::{ExporterBuildError, SpanExporter};
use opentelemetry_sdk::{
    Resource,
    propagation::TraceContextPropagator,
    trace::{IdGenerator, RandomIdGenerator, SdkTracerProvider},
};
use tracing::{Level, Metadata, Subscriber};
use tracing_subscriber::{
    Layer,
    filter::{FilterFn, filter_fn},
    registry::LookupSpan,
};

const SCOPE: &str = "leadline";
const ENDPOINTS: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"];

/// Why spans cannot be sent.
#[derive(Debug, thiserror::Error)]
#[error("the OpenTelemetry exporter cannot be set up: {0}")]
pub struct TracesError(#[from] ExporterBuildError);

/// Spans on their way to a collector.
pub struct Traces {
    provider: SdkTracerProvider,
}

impl Traces {
    /// Starts sending as `service` when the environment names a collector and does not say `OTEL_SDK_DISABLED=true`.
    ///
    /// # Errors
    /// [`TracesError`] when the environment does not make sense.
    pub fn start(service: &'static str) -> Result<Option<Self>, TracesError> {
        let set = |name: &&str| env::var(name).is_ok_and(|value| !value.is_empty());
        if !ENDPOINTS.iter().any(set) || env::var("OTEL_SDK_DISABLED").is_ok_and(|value| value == "true") {
            return Ok(None);
        }
        let exporter = SpanExporter::builder().with_http().build()?;
        let provider = SdkTracerProvider::builder()
            .with_id_generator(SpanIds::default())
            .with_resource(resource(service))
            .with_batch_exporter(exporter)
            .build();
        // Without baggage: what a caller puts there must not end up in a history.
        global::set_text_map_propagator(TraceContextPropagator::new());
        global::set_tracer_provider(provider.clone());
        Ok(Some(Self { provider }))
    }

    /// What turns leadline's `tracing` spans, and warnings within them, into spans to send.
    pub fn layer<S>(&self) -> impl Layer<S> + use<S>
    where
        S: Subscriber + for<'span> LookupSpan<'span> + Send + Sync,
    {
        tracing_opentelemetry::layer()
            .with_tracer(self.provider.tracer(SCOPE))
            .with_location(false)
            .with_threads(false)
            .with_tracked_inactivity(false)
            .with_filter(own_spans())
    }

    /// Sends what is left. Blocks for a few seconds at most: call it outside of async code.
    pub fn stop(self) {
        if let Err(error) = self.provider.shutdown() {
            tracing::warn!(%error, "the last spans may not have been sent");
        }
    }
}

fn own_spans() -> FilterFn {
    filter_fn(|metadata: &Metadata<'_>| {
        metadata.target().starts_with("leadline") && (metadata.is_span() || *metadata.level() <= Level::WARN)
    })
}

/// `OTEL_SERVICE_NAME` and `OTEL_RESOURCE_ATTRIBUTES` count before what is said here.
fn resource(service: &'static str) -> Resource {
    let named = env::var_os("OTEL_SERVICE_NAME").is_some()
        || env::var("OTEL_RESOURCE_ATTRIBUTES").is_ok_and(|attributes| attributes.contains("service.name="));
    let resource = Resource::builder().with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")));
    if named { resource.build() } else { resource.with_service_name(service).build() }
}

/// A span that has ended, under an id that others were told before it began.
#[derive(Debug)]
pub struct EndedSpan {
    pub id: SpanId,
    pub parent: Context,
    pub name: String,
    pub began: SystemTime,
    pub ended: SystemTime,
    pub attributes: Vec<KeyValue>,
    pub succeeded: bool,
}

impl EndedSpan {
    /// Sends it; does nothing when nothing is sent.
    pub fn record(self) {
        let builder = SpanBuilder::from_name(self.name)
            .with_kind(SpanKind::Consumer)
            .with_start_time(self.began)
            .with_attributes(self.attributes);
        GIVEN.set(Some(self.id));
        let mut span = builder.start_with_context(&global::tracer(SCOPE), &self.parent);
        GIVEN.set(None);
        if !self.succeeded {
            span.set_status(Status::error(""));
        }
        span.end_with_timestamp(self.ended);
    }
}

thread_local! {
    /// The id that the next span of this thread gets. A builder takes none; its tracer asks the generator, on the same thread.
    static GIVEN: Cell<Option<SpanId>> = const { Cell::new(None) };
}

#[derive(Debug, Default)]
struct SpanIds(RandomIdGenerator);

impl IdGenerator for SpanIds {
    fn new_trace_id(&self) -> opentelemetry::TraceId {
        self.0.new_trace_id()
    }

    fn new_span_id(&self) -> SpanId {
        GIVEN.take().unwrap_or_else(|| self.0.new_span_id())
    }
}
