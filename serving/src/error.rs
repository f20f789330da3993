//! Why a prediction was not answered.

use leadline_domain::{Code, Failure};
use leadline_lake::LakeError;
use leadline_learning::LearningError;
use leadline_store::StoreError;
use thiserror::Error;

/// Each variant has its public code. No message holds a value of a record.
#[derive(Debug, Error)]
pub enum ServingError {
    #[error("a prediction needs a record id, or fields, or both")]
    NothingAsked,
    #[error("the tenant has never allowed training, and predictions are made by trained models")]
    ConsentMissing,
    #[error("the tenant has withdrawn its consent to training, and with it to predictions")]
    ConsentWithdrawn,
    #[error("{object} has no such record in current state")]
    RecordNotFound { object: String },
    #[error("{object} has no field {field}")]
    UnknownField { object: String, field: String },
    #[error("field {field}: {reason}")]
    FieldTypeMismatch { field: String, reason: String },
    #[error("current state has field {field} in another type than the model was trained on: {reason}")]
    SchemaMismatch { field: String, reason: String },
    #[error("the artifact cannot be read: {0}")]
    Artifact(LearningError),
    #[error(transparent)]
    Scoring(LearningError),
    #[error(transparent)]
    Lake(#[from] LakeError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl ServingError {
    pub fn failure(&self) -> Failure {
        let code = match self {
            Self::NothingAsked => Code::InvalidArgument,
            Self::ConsentMissing => Code::ConsentMissing,
            Self::ConsentWithdrawn => Code::ConsentWithdrawn,
            Self::RecordNotFound { .. } => Code::RecordNotFound,
            Self::UnknownField { .. } => Code::UnknownField,
            Self::FieldTypeMismatch { .. } => Code::FieldTypeMismatch,
            Self::SchemaMismatch { .. } => Code::SchemaMismatch,
            Self::Artifact(_) => Code::ArtifactUnreadable,
            Self::Scoring(error) => error.code(),
            Self::Lake(error) => return error.failure(),
            Self::Store(error) => return error.failure(),
        };
        Failure::new(code, self.to_string())
    }
}

impl From<ServingError> for Failure {
    fn from(error: ServingError) -> Self {
        error.failure()
    }
}
