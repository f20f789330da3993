//! One failure, two encodings: a gRPC status with `google.rpc.ErrorInfo`, and an RFC 9457 problem.
//!
//! Both carry leadline's code. The status also has it as metadata `leadline-code`, which the REST bridge passes on as a
//! response header: that is how [`crate::layers::problem`] learns the code of an error that a service returned.

use axum::{body::Body, response::Response};
use http::{HeaderValue, StatusCode, header};
use leadline_domain::{Code, Failure};
use prost::Message;
use serde::Serialize;
use tonic::{Status, metadata::MetadataMap};

/// Response header and gRPC metadata that name the code of an error.
pub const CODE_HEADER: &str = "leadline-code";

/// Names whose reasons the codes are, as `google.rpc.ErrorInfo` asks for.
const DOMAIN: &str = "leadline";

/// google.rpc.Status.
#[derive(Clone, PartialEq, Message)]
struct RpcStatus {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
    #[prost(message, repeated, tag = "3")]
    details: Vec<pbjson_types::Any>,
}

/// google.rpc.ErrorInfo without its metadata map.
#[derive(Clone, PartialEq, Message)]
struct ErrorInfo {
    #[prost(string, tag = "1")]
    reason: String,
    #[prost(string, tag = "2")]
    domain: String,
}

/// The gRPC code nearest to a failure's HTTP status.
fn grpc_code(code: Code) -> tonic::Code {
    match (code, code.http_status()) {
        (Code::TenantExists | Code::RequestIdTaken, _) => tonic::Code::AlreadyExists,
        (Code::GateRefused | Code::SchemaMismatch, _) => tonic::Code::FailedPrecondition,
        (_, 400 | 422) => tonic::Code::InvalidArgument,
        (_, 401) => tonic::Code::Unauthenticated,
        (_, 403) => tonic::Code::PermissionDenied,
        (_, 404) => tonic::Code::NotFound,
        (_, 405) => tonic::Code::Unimplemented,
        (_, 409 | 410) => tonic::Code::FailedPrecondition,
        (_, 413 | 429) => tonic::Code::ResourceExhausted,
        (_, 502 | 503) => tonic::Code::Unavailable,
        (_, 504) => tonic::Code::DeadlineExceeded,
        _ => tonic::Code::Internal,
    }
}

/// The gRPC status of a failure.
pub fn status(failure: &Failure) -> Status {
    let code = grpc_code(failure.code);
    let info = ErrorInfo { reason: failure.code.as_str().to_owned(), domain: DOMAIN.to_owned() };
    let detail =
        pbjson_types::Any { type_url: "type.googleapis.com/google.rpc.ErrorInfo".to_owned(), value: info.encode_to_vec().into() };
    let rpc = RpcStatus { code: code as i32, message: failure.message.clone(), details: vec![detail] };
    let mut metadata = MetadataMap::new();
    metadata.insert(CODE_HEADER, failure.code.as_str().parse().expect("codes are ASCII"));
    if let Some(seconds) = failure.retry_after_seconds {
        metadata.insert("retry-after", seconds.to_string().parse().expect("digits are ASCII"));
    }
    Status::with_details_and_metadata(code, failure.message.clone(), rpc.encode_to_vec().into(), metadata)
}

/// RFC 9457, with leadline's code.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Problem<'a> {
    #[serde(rename = "type")]
    kind: String,
    title: String,
    status: u16,
    detail: &'a str,
    instance: &'a str,
    code: &'static str,
    request_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after_seconds: Option<u64>,
}

/// Where an error answer belongs to: the path that was asked for, and the request's id.
#[derive(Debug, Clone, Default)]
pub struct Origin {
    pub path: String,
    pub request_id: String,
}

/// The `application/problem+json` answer of a failure.
pub fn problem(failure: &Failure, origin: &Origin) -> Response {
    let code = failure.code;
    let body = Problem {
        kind: format!("/errors/{code}"),
        title: title(code),
        status: code.http_status(),
        detail: &failure.message,
        instance: &origin.path,
        code: code.as_str(),
        request_id: &origin.request_id,
        retry_after_seconds: failure.retry_after_seconds,
    };
    let body = serde_json::to_vec(&body).expect("strings and numbers always serialize");
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = StatusCode::from_u16(code.http_status()).expect("codes carry valid statuses");
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    headers.insert(CODE_HEADER, HeaderValue::from_static(code.as_str()));
    if code == Code::Unauthenticated {
        headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"leadline\""));
    }
    if let Some(seconds) = failure.retry_after_seconds {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

/// The answer of a failure on the transport that the request came by.
pub fn reject(failure: &Failure, grpc: bool, origin: &Origin) -> Response {
    if grpc { status(failure).into_http() } else { problem(failure, origin) }
}

/// `MODEL_STATE_FORBIDS` as a title: `Model state forbids`.
fn title(code: Code) -> String {
    let words = code.as_str().replace('_', " ").to_ascii_lowercase();
    let mut characters = words.chars();
    characters.next().map(|first| first.to_ascii_uppercase().to_string() + characters.as_str()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_carries_its_code_in_both_encodings() {
        let failure = Failure::new(Code::RateLimited, "too many requests").retry_after(2);
        let status = status(&failure);
        assert_eq!(status.code(), tonic::Code::ResourceExhausted);
        assert_eq!(status.metadata().get(CODE_HEADER).unwrap(), "RATE_LIMITED");
        let rpc = RpcStatus::decode(status.details()).unwrap();
        let info = ErrorInfo::decode(&*rpc.details[0].value).unwrap();
        assert_eq!((info.reason.as_str(), info.domain.as_str()), ("RATE_LIMITED", "leadline"));

        let problem = problem(&failure, &Origin { path: "/v1/x".into(), request_id: "r".into() });
        assert_eq!(problem.status(), 429);
        assert_eq!(problem.headers()[header::RETRY_AFTER], "2");
        assert_eq!(problem.headers()[header::CONTENT_TYPE], "application/problem+json");
        assert_eq!(title(Code::ModelStateForbids), "Model state forbids");
    }

    #[test]
    fn every_code_has_a_status_on_both_transports() {
        for code in Code::ALL {
            assert_ne!(grpc_code(*code), tonic::Code::Ok, "{code}");
            problem(&Failure::new(*code, ""), &Origin::default());
        }
    }
}
