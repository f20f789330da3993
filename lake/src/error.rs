//! What can go wrong between leadline and object storage. Messages hold keys, ids and vendor codes; no rows, no credentials.

use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use leadline_domain::{Code, DatasetId, Failure};
use thiserror::Error;

#[derive(Debug, Error)]
pub enum LakeError {
    #[error("{what} does not exist in object storage")]
    NotFound { what: String },
    #[error("the data set {0} does not exist")]
    DatasetNotFound(DatasetId),
    /// A conditional put lost: something else stands at the key.
    #[error("{what} already exists with other content")]
    AlreadyExists { what: String },
    #[error("object storage cannot be reached to {action} {what}: {cause}")]
    Unreachable { action: &'static str, what: String, cause: String },
    #[error("object storage denies leadline to {action} {what} ({code})")]
    Denied { action: &'static str, what: String, code: String },
    #[error("object storage refuses to {action} {what} ({code})")]
    Refused { action: &'static str, what: String, code: String },
    #[error("{what} is corrupt: {reason}")]
    Corrupt { what: String, reason: String },
    /// A row that does not fit its schema.
    #[error("a row does not fit the schema of {object}: {reason}")]
    SchemaMismatch { object: String, reason: String },
    #[error("{what} is not usable: {reason}")]
    Invalid { what: String, reason: String },
    #[error("local scratch space fails while reading {what}: {source}")]
    Scratch { what: String, source: std::io::Error },
}

impl LakeError {
    /// The public code for this error, and with it what a saga does about it.
    pub fn failure(&self) -> Failure {
        let code = match self {
            Self::DatasetNotFound(_) => Code::DatasetNotFound,
            Self::AlreadyExists { .. } => Code::StorageConflict,
            Self::Unreachable { .. } | Self::Scratch { .. } => Code::StorageUnavailable,
            Self::Denied { .. } | Self::Refused { .. } => Code::StorageDenied,
            // What leadline asks for by key it has written before, so absence is damage.
            Self::NotFound { .. } | Self::Corrupt { .. } => Code::StorageCorrupt,
            Self::SchemaMismatch { .. } => Code::SchemaMismatch,
            Self::Invalid { .. } => Code::InvalidArgument,
        };
        Failure::new(code, self.to_string())
    }

    pub(crate) fn corrupt(what: impl ToString, reason: impl ToString) -> Self {
        Self::Corrupt { what: what.to_string(), reason: reason.to_string() }
    }

    /// Sorts what the SDK reports by what can be done about it. The SDK's own text is left out for answers of the service:
    /// it may quote the access key.
    pub(crate) fn from_sdk<E>(action: &'static str, what: impl ToString, error: SdkError<E>) -> Self
    where
        E: ProvideErrorMetadata,
    {
        let what = what.to_string();
        let unreachable = |cause: String| Self::Unreachable { action, what: what.clone(), cause };
        match &error {
            SdkError::ServiceError(answer) => {
                let status = answer.raw().status().as_u16();
                let code = answer.err().code().map_or_else(|| format!("HTTP {status}"), str::to_owned);
                match status {
                    404 => Self::NotFound { what },
                    409 | 412 => Self::AlreadyExists { what },
                    401 | 403 => Self::Denied { action, what, code },
                    408 | 429 | 500.. => unreachable(code),
                    _ => Self::Refused { action, what, code },
                }
            }
            SdkError::TimeoutError(_) => unreachable("timed out".to_owned()),
            SdkError::DispatchFailure(failure) => unreachable(failure.as_connector_error().map_or_else(
                || "the connection failed".to_owned(),
                |error| {
                    let kind = if error.is_timeout() { "timed out" } else { "no connection" };
                    kind.to_owned()
                },
            )),
            SdkError::ResponseError(_) => unreachable("the answer broke off".to_owned()),
            _ => Self::Invalid { what, reason: format!("the request to {action} it cannot be built") },
        }
    }
}
