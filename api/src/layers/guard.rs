//! Limits that hold for every request: a panic answers 500, a slow request 504, a large one 413.

use std::{panic::AssertUnwindSafe, time::Duration};

use axum::{
    body::Body,
    extract::State,
    http::{Request, header},
    middleware::Next,
    response::Response,
};
use futures::FutureExt;
use http_body_util::BodyExt;
use leadline_domain::{Code, Failure};
use tracing::error;

use super::{is_grpc, origin};
use crate::failures::reject;

/// What is read and thrown away of a refused body, so that a caller who is still sending sees the answer rather than a
/// broken connection.
const MAX_DRAINED_BYTES: usize = 32 << 20;

#[derive(Debug, Clone, Copy)]
pub struct Limits {
    pub max_body_bytes: usize,
    pub request_timeout: Duration,
}

pub async fn catch_panic(request: Request<Body>, next: Next) -> Response {
    let (grpc, origin) = (is_grpc(&request), origin(&request));
    match AssertUnwindSafe(next.run(request)).catch_unwind().await {
        Ok(response) => response,
        Err(_) => {
            error!("the request's task panicked");
            reject(&Failure::new(Code::Internal, "an error within leadline; the log has the request id"), grpc, &origin)
        }
    }
}

pub async fn limit_time(State(limits): State<Limits>, request: Request<Body>, next: Next) -> Response {
    let (grpc, origin) = (is_grpc(&request), origin(&request));
    match tokio::time::timeout(limits.request_timeout, next.run(request)).await {
        Ok(response) => response,
        Err(_) => {
            let message = format!("no answer within {} ms", limits.request_timeout.as_millis());
            reject(&Failure::new(Code::RequestTimedOut, message), grpc, &origin)
        }
    }
}

/// Refuses what announces itself as too large. What does not (chunked, or gRPC) is cut off by the transports.
pub async fn limit_size(State(limits): State<Limits>, request: Request<Body>, next: Next) -> Response {
    let length = request.headers().get(header::CONTENT_LENGTH).and_then(|v| v.to_str().ok()?.parse::<usize>().ok());
    if length.is_none_or(|length| length <= limits.max_body_bytes) {
        return next.run(request).await;
    }
    let (grpc, origin) = (is_grpc(&request), origin(&request));
    drain(request.into_body()).await;
    let message = format!("a request has at most {} bytes", limits.max_body_bytes);
    reject(&Failure::new(Code::PayloadTooLarge, message), grpc, &origin)
}

async fn drain(mut body: Body) {
    let mut drained = 0;
    while let Some(Ok(frame)) = body.frame().await {
        drained += frame.data_ref().map_or(0, bytes::Bytes::len);
        if drained > MAX_DRAINED_BYTES {
            return;
        }
    }
}
