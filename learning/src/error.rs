//! What can go wrong in learning, each with its public code.

use leadline_domain::Code;
use leadline_domain::value::FieldType;
use thiserror::Error;

use crate::progress::Stage;

/// A refusal or failure of a pure computation. Messages name fields, counts and shapes, never values.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum LearningError {
    #[error("the data set of {object} has no rows")]
    EmptyDataSet { object: String },
    #[error("no row of {object} has a known outcome in {field}")]
    LabelMissing { object: String, field: String },
    #[error("the label {field} is not binary: {reason}")]
    LabelNotBinary { field: String, reason: String },
    #[error("training needs {needed} {what}, and the training part has {found}")]
    TooFewRows { what: &'static str, needed: usize, found: usize },
    #[error("the schema of {object} has no field {field}, which the definition names as {role}")]
    ColumnMissing { object: String, field: String, role: &'static str },
    #[error("field {field} is {expected:?}, and a row holds {found}")]
    TypeMismatch { field: String, expected: FieldType, found: &'static str },
    #[error("a row has {found} values where the schema has {expected} fields")]
    RowWidth { expected: usize, found: usize },
    #[error("row {row} has no record id in {field}")]
    RecordIdMissing { field: String, row: usize },
    #[error("{count} records stand in the data set more than once")]
    DuplicateRecords { count: usize },
    #[error("no field is left to learn from after exclusions")]
    NoFeatures,
    #[error("the model reads {field} as {expected:?}, and the schema of {object} has {found}")]
    SchemaMismatch { object: String, field: String, expected: FieldType, found: String },
    #[error("training was aborted while {0}")]
    Aborted(Stage),
    #[error("training needs {needed} tree rows, and the budget allows {allowed}")]
    BudgetExceeded { needed: u64, allowed: u64 },
    #[error("cannot read the model artifact: {reason}")]
    ArtifactFormat { reason: String },
    #[error("the model artifact has format {found}, and this build reads format {supported}")]
    ArtifactVersion { found: u32, supported: u32 },
    #[error("the tree learner refused its input: {reason}")]
    Trees { reason: String },
}

impl LearningError {
    /// The public code that an operation ends with.
    pub fn code(&self) -> Code {
        match self {
            Self::EmptyDataSet { .. } => Code::DatasetEmpty,
            Self::LabelMissing { .. } | Self::LabelNotBinary { .. } => Code::LabelNotBinary,
            Self::TooFewRows { .. } | Self::NoFeatures => Code::TooFewRows,
            Self::ColumnMissing { .. } => Code::FieldNotFound,
            Self::TypeMismatch { .. } => Code::FieldTypeMismatch,
            Self::SchemaMismatch { .. } => Code::SchemaMismatch,
            Self::RowWidth { .. } | Self::RecordIdMissing { .. } | Self::DuplicateRecords { .. } => Code::StorageCorrupt,
            Self::Aborted(_) => Code::Cancelled,
            Self::BudgetExceeded { .. } => Code::TrainingBudgetExceeded,
            Self::ArtifactFormat { .. } | Self::ArtifactVersion { .. } => Code::ArtifactUnreadable,
            Self::Trees { .. } => Code::Internal,
        }
    }
}
