//! The vendor's error answers: always a JSON array for REST and Bulk, and one object for OAuth.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::json;
use std::io;
use thiserror::Error;

/// Why the simulator could not be started or an org could not be opened.
#[derive(Debug, Error)]
pub enum SimulatorError {
    #[error("{action} {path}: {source}")]
    File { action: &'static str, path: String, source: io::Error },
    #[error("{path} is not readable as {expected}: {reason}")]
    Corrupt { path: String, expected: &'static str, reason: String },
    #[error("cannot load {object} from {path}: {reason}")]
    Load { object: String, path: String, reason: String },
    #[error("{path} is in use by another simulator")]
    InUse { path: String },
    #[error("cannot listen on {address}: {source}")]
    Listen { address: String, source: io::Error },
    #[error("cannot make {what}: {reason}")]
    Crypto { what: &'static str, reason: String },
}

impl SimulatorError {
    pub(crate) fn file(action: &'static str, path: &std::path::Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.display().to_string();
        move |source| Self::File { action, path, source }
    }

    pub(crate) fn corrupt(path: &std::path::Path, expected: &'static str, reason: impl ToString) -> Self {
        Self::Corrupt { path: path.display().to_string(), expected, reason: reason.to_string() }
    }
}

/// One refused request, as `[{"message", "errorCode"(, "fields")}]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ApiError {
    pub status: StatusCode,
    pub code: &'static str,
    pub message: String,
    pub fields: Option<Vec<String>>,
}

impl ApiError {
    pub fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), fields: None }
    }

    pub fn bad_request(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, message)
    }

    pub fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "NOT_FOUND", "The requested resource does not exist")
    }

    pub fn method_not_allowed(method: &str, allowed: &str) -> Self {
        let message = format!("HTTP Method '{method}' not allowed. Allowed are {allowed}");
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "METHOD_NOT_ALLOWED", message)
    }

    pub fn session_invalid() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "INVALID_SESSION_ID", "Session expired or invalid")
    }

    pub fn json_parser(message: impl Into<String>) -> Self {
        Self::bad_request("JSON_PARSER_ERROR", message)
    }

    pub fn unexpected(what: &str, error: &dyn std::fmt::Display) -> Self {
        tracing::error!(%error, what, "simulator could not answer");
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "UNKNOWN_EXCEPTION", format!("An unexpected error occurred: {what}"))
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut error = json!({ "message": self.message, "errorCode": self.code });
        if let Some(fields) = self.fields {
            error["fields"] = json!(fields);
        }
        (self.status, Json(json!([error]))).into_response()
    }
}

/// A refused token request: `{"error", "error_description"}`, status 400 (401 for a client that did not prove itself).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OauthError {
    pub error: &'static str,
    pub description: &'static str,
}

impl IntoResponse for OauthError {
    fn into_response(self) -> Response {
        let body = json!({ "error": self.error, "error_description": self.description });
        (StatusCode::BAD_REQUEST, Json(body)).into_response()
    }
}

/// Why one record of a write was refused. REST puts it into an error array, collections and Bulk beside the record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RecordError {
    pub code: &'static str,
    pub message: String,
    pub fields: Vec<String>,
}

impl RecordError {
    pub fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), fields: Vec::new() }
    }

    pub fn on(code: &'static str, message: impl Into<String>, field: &str) -> Self {
        Self { code, message: message.into(), fields: vec![field.to_owned()] }
    }

    /// The item form of collections: `statusCode` where the array form has `errorCode`.
    pub fn as_item(&self) -> serde_json::Value {
        json!({ "statusCode": self.code, "message": self.message, "fields": self.fields })
    }
}

impl From<RecordError> for ApiError {
    fn from(error: RecordError) -> Self {
        let status = match error.code {
            "NOT_FOUND" | "ENTITY_IS_DELETED" | "INVALID_CROSS_REFERENCE_KEY" if error.fields.is_empty() => StatusCode::NOT_FOUND,
            _ => StatusCode::BAD_REQUEST,
        };
        Self { status, code: error.code, message: error.message, fields: Some(error.fields) }
    }
}
