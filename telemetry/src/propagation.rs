//! Trace context between processes: W3C `traceparent` in HTTP and gRPC metadata, and the same in a header of Temporal's.

use std::collections::HashMap;

use http::HeaderMap;
use opentelemetry::{Context, global, propagation::Extractor};
use temporalio_common::protos::temporal::api::common::v1::{Header, Payload};

/// Temporal's own SDKs put the context under this name, as a JSON object of texts, so a caller in another language fits in.
const HEADER: &str = "_tracer-data";

/// The context that an HTTP request or a gRPC call brings along.
pub fn of_request(headers: &HeaderMap) -> Context {
    global::get_text_map_propagator(|propagator| propagator.extract_with_context(&Context::new(), &HttpHeaders(headers)))
}

/// The context that a workflow or an activity was started with.
pub fn of_task(headers: &HashMap<String, Payload>) -> Context {
    let texts: HashMap<String, String> =
        headers.get(HEADER).and_then(|payload| serde_json::from_slice(&payload.data).ok()).unwrap_or_default();
    global::get_text_map_propagator(|propagator| propagator.extract_with_context(&Context::new(), &texts))
}

/// Header name and value that carry `context`; `None` when nothing is traced.
pub fn entry(context: &Context) -> Option<(String, Payload)> {
    let mut texts = HashMap::<String, String>::new();
    global::get_text_map_propagator(|propagator| propagator.inject_context(context, &mut texts));
    if texts.is_empty() {
        return None;
    }
    let data = serde_json::to_vec(&texts).ok()?;
    let metadata = HashMap::from([("encoding".to_owned(), b"json/plain".to_vec())]);
    Some((HEADER.to_owned(), Payload { metadata, data, ..Default::default() }))
}

/// The header of a workflow that is started within the current span.
pub fn current() -> Option<Header> {
    Some(Header { fields: HashMap::from([entry(&Context::current())?]) })
}

struct HttpHeaders<'a>(&'a HeaderMap);

impl Extractor for HttpHeaders<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.to_str().ok()
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(http::HeaderName::as_str).collect()
    }
}
