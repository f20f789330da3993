//! What every request goes through before it reaches a service, outermost first: observation, panics, the time limit,
//! the size limit, authentication, the rate limit. One set of layers stands before both transports.

pub mod authentication;
pub mod guard;
pub mod observation;
pub mod rate;

use axum::{body::Body, http::Request};
use http::header;

use crate::failures::Origin;

/// Whether a request speaks gRPC rather than REST.
pub fn is_grpc<B>(request: &Request<B>) -> bool {
    request.headers().get(header::CONTENT_TYPE).is_some_and(|v| v.as_bytes().starts_with(b"application/grpc"))
}

/// Where the errors of a request belong to.
pub fn origin(request: &Request<Body>) -> Origin {
    let request_id = request.extensions().get::<observation::RequestId>().map(|id| id.0.clone()).unwrap_or_default();
    Origin { path: request.uri().path().to_owned(), request_id }
}
