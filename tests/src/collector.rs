//! An OpenTelemetry collector that keeps the spans that it is sent.

use std::sync::{Arc, Mutex};

use axum::{Router, body::Bytes, extract::State, http::StatusCode, routing::post};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message as _;
use tokio::net::TcpListener;

/// A span with the service that sent it; ids in hex, the parent's empty at the root.
#[derive(Debug, Clone)]
pub struct Span {
    pub service: String,
    pub name: String,
    pub trace: String,
    pub id: String,
    pub parent: String,
    pub nanos: u64,
}

/// Listens on loopback until the test process ends.
pub struct Collector {
    pub url: String,
    spans: Spans,
}

type Spans = Arc<Mutex<Vec<Span>>>;

impl Collector {
    pub async fn start() -> Self {
        let spans = Spans::default();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("a bound address"));
        let routes = Router::new().route("/v1/traces", post(receive)).with_state(Arc::clone(&spans));
        tokio::spawn(async move { axum::serve(listener, routes).await });
        Self { url, spans }
    }

    /// The spans of one trace that have come in.
    pub fn trace(&self, id: &str) -> Vec<Span> {
        let spans = self.spans.lock().expect("nobody panics while holding the spans");
        spans.iter().filter(|span| span.trace == id).cloned().collect()
    }
}

async fn receive(State(spans): State<Spans>, body: Bytes) -> StatusCode {
    let Ok(request) = ExportTraceServiceRequest::decode(body) else { return StatusCode::BAD_REQUEST };
    let received = request.resource_spans.into_iter().flat_map(|resource| {
        let attributes = resource.resource.unwrap_or_default().attributes;
        let name = attributes.into_iter().find(|attribute| attribute.key == "service.name");
        let service = name.and_then(|attribute| attribute.value).map(|value| format!("{:?}", value.value)).unwrap_or_default();
        let spans = resource.scope_spans.into_iter().flat_map(|scope| scope.spans);
        spans.map(move |span| Span {
            service: service.clone(),
            name: span.name,
            trace: hex(&span.trace_id),
            id: hex(&span.span_id),
            parent: hex(&span.parent_span_id),
            nanos: span.end_time_unix_nano.saturating_sub(span.start_time_unix_nano),
        })
    });
    spans.lock().expect("nobody panics while holding the spans").extend(received);
    StatusCode::OK
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
