//! The outermost layer: a request id, one log line and one measurement for each request.

use std::time::{Duration, Instant};

use axum::{
    body::Body,
    http::{HeaderValue, Request},
    middleware::Next,
    response::Response,
};
use leadline_proto::rest;
use leadline_telemetry::propagation;
use tracing::{Instrument, Span, field::Empty, info, info_span, warn};

use super::is_grpc;
use crate::{failures::CODE_HEADER, metrics};

const REQUEST_ID: &str = "x-request-id";
/// The name of whatever is no rpc: health, metrics, unknown paths.
const OTHER: &str = "other";

/// The caller's request id, or one made up here. In the request's extensions, the log and the answer.
#[derive(Debug, Clone)]
pub struct RequestId(pub String);

pub async fn observe(mut request: Request<Body>, next: Next) -> Response {
    let grpc = is_grpc(&request);
    let transport = if grpc { "grpc" } else { "rest" };
    let rpc = rpc_name(&request, grpc);
    let id = request_id(&request);
    let span = span(&request, &rpc, transport, &id);
    let header = HeaderValue::from_str(&id);
    request.extensions_mut().insert(RequestId(id));
    let begun = Instant::now();
    let mut response = next.run(request).instrument(span.clone()).await;
    let took = begun.elapsed();
    if let Ok(value) = header {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    let code = code_of(&response);
    metrics::observe(&rpc, transport, &code, took);
    span.in_scope(|| log(&response, &code, took));
    response
}

/// Part of the caller's trace, if it has one.
fn span(request: &Request<Body>, rpc: &str, transport: &str, id: &str) -> Span {
    let context = propagation::of_request(request.headers());
    // Probes and scrapes come every few seconds and tell nothing.
    let _attached = if rpc == OTHER { context.with_telemetry_suppressed() } else { context }.attach();
    info_span!(
        "request",
        otel.name = rpc,
        otel.kind = "server",
        request_id = id,
        transport,
        rpc,
        method = %request.method(),
        tenant = Empty,
        operation = Empty
    )
}

/// Notes on the request's log line which tenant it is about.
pub fn note_tenant(tenant: &str) {
    Span::current().record("tenant", tenant);
}

/// Notes on the request's log line which operation it started or asked for.
pub fn note_operation(operation: &str) {
    Span::current().record("operation", operation);
}

fn log(response: &Response, code: &str, took: Duration) {
    let (status, micros) = (response.status().as_u16(), took.as_micros());
    if response.status().is_server_error() {
        warn!(status, code, micros, "answered");
    } else {
        info!(status, code, micros, "answered");
    }
}

/// The rpc's name, or a fixed word for everything else: an unknown path must not become a label.
fn rpc_name(request: &Request<Body>, grpc: bool) -> String {
    let path = request.uri().path();
    if grpc {
        let known = path.strip_prefix("/leadline.v1.").and_then(|rest| rest.split_once('/'));
        return known.filter(|_| path.len() < 100).map_or_else(|| OTHER.to_owned(), |(_, rpc)| known_rpc(rpc));
    }
    rest::rpc(request.method().as_str(), path).unwrap_or_else(|| OTHER.to_owned())
}

fn known_rpc(name: &str) -> String {
    if rest::RPCS.contains(&name) { name.to_owned() } else { OTHER.to_owned() }
}

/// A caller's own id is taken when it is short and plain, so that it can stand in a log line.
fn request_id(request: &Request<Body>) -> String {
    let plain = |id: &&str| {
        (1..=64).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
    };
    let given = request.headers().get(REQUEST_ID).and_then(|v| v.to_str().ok()).filter(plain);
    given.map_or_else(|| format!("rq_{:032x}", rand::random::<u128>()), str::to_owned)
}

/// leadline's code of an error; `OK`, or the bare status of what was answered without one.
fn code_of(response: &Response) -> String {
    if let Some(code) = response.headers().get(CODE_HEADER).and_then(|v| v.to_str().ok()) {
        return code.to_owned();
    }
    let grpc_status = response.headers().get("grpc-status").and_then(|v| v.to_str().ok());
    match grpc_status {
        Some(status) if status != "0" => format!("GRPC_{status}"),
        _ if response.status().is_success() => "OK".to_owned(),
        _ => format!("HTTP_{}", response.status().as_u16()),
    }
}
