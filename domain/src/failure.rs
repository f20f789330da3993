//! The failure taxonomy: a closed list of codes, each with the class that decides what a saga does about it.
//!
//! A code is part of the public contract. Its cause and what to do stand in docs/errors.md, one section each; a test holds
//! the two together.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What a saga does about a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// Try again with backoff and jitter.
    Retryable,
    /// Wait until the named time, then try again.
    Quota,
    /// Stop until a person has mended something.
    NeedsOperator,
    /// Trying again cannot help: undo.
    Terminal,
}

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $text:literal, $status:literal, $class:ident;)*) => {
        /// A stable public error code.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Code { $($(#[$doc])* $name,)* }

        impl Code {
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }

            /// The HTTP status of an answer that carries this code.
            pub fn http_status(self) -> u16 {
                match self { $(Self::$name => $status,)* }
            }

            /// What a saga does when a step ends with this code.
            pub fn class(self) -> Class {
                match self { $(Self::$name => Class::$class,)* }
            }
        }
    };
}

codes! {
    // The request itself.
    InvalidArgument = "INVALID_ARGUMENT", 400, Terminal;
    Unauthenticated = "UNAUTHENTICATED", 401, Terminal;
    Forbidden = "FORBIDDEN", 403, Terminal;
    NotFound = "NOT_FOUND", 404, Terminal;
    MethodNotAllowed = "METHOD_NOT_ALLOWED", 405, Terminal;
    PayloadTooLarge = "PAYLOAD_TOO_LARGE", 413, Terminal;
    RateLimited = "RATE_LIMITED", 429, Retryable;
    /// The request was given up after its time limit; what it accepted before that stands.
    RequestTimedOut = "REQUEST_TIMED_OUT", 504, Retryable;
    /// The Idempotency-Key was used before with another body.
    IdempotencyKeyReused = "IDEMPOTENCY_KEY_REUSED", 422, Terminal;
    Internal = "INTERNAL", 500, Retryable;

    // Tenants and consent.
    TenantExists = "TENANT_EXISTS", 409, Terminal;
    TenantNotFound = "TENANT_NOT_FOUND", 404, Terminal;
    /// The tenant is still being onboarded, or its onboarding was undone.
    TenantNotReady = "TENANT_NOT_READY", 409, Terminal;
    ConsentMissing = "CONSENT_MISSING", 403, Terminal;
    ConsentWithdrawn = "CONSENT_WITHDRAWN", 403, Terminal;
    /// A consent was decided on a version that is no longer in force.
    ConsentChanged = "CONSENT_CHANGED", 409, Terminal;

    // Operations.
    OperationNotFound = "OPERATION_NOT_FOUND", 404, Terminal;
    OperationEnded = "OPERATION_ENDED", 409, Terminal;
    Cancelled = "CANCELLED", 409, Terminal;
    /// Nothing is waited for, or another decision came first.
    OperationNotParked = "OPERATION_NOT_PARKED", 409, Terminal;
    /// The parked step does not allow what was asked.
    VerbNotAllowed = "VERB_NOT_ALLOWED", 409, Terminal;
    /// A person gave the operation up while it was parked.
    OperationAbandoned = "OPERATION_ABANDONED", 409, Terminal;
    /// A drill waits for the operator who practises on it.
    DrillWaits = "DRILL_WAITS", 409, NeedsOperator;
    /// A drill was told to fail, so that its undo is practised on.
    DrillFailed = "DRILL_FAILED", 409, Terminal;
    /// Its run was terminated in Temporal.
    OperationTerminated = "OPERATION_TERMINATED", 409, Terminal;
    /// It was accepted after the backup that PostgreSQL was restored from, and had not ended.
    OperationLost = "OPERATION_LOST", 409, Terminal;
    /// An undo found that the operation's effect has been seen: a reset run must not take it back.
    PivotPassed = "PIVOT_PASSED", 409, NeedsOperator;
    /// An attempt woke up after its step had been undone; it changed nothing.
    EpochClosed = "EPOCH_CLOSED", 409, Terminal;
    /// A heavy step waits until fewer of its tenant's run.
    ConcurrencyLimited = "CONCURRENCY_LIMITED", 429, Retryable;
    StepTimedOut = "STEP_TIMED_OUT", 504, Terminal;
    /// A step met a defect of leadline, which it would meet again.
    StepDefect = "STEP_DEFECT", 500, Terminal;
    /// This build's code does not do what a run's history says that it did.
    ReplayFailed = "REPLAY_FAILED", 409, Terminal;

    // Builds of the workers.
    BuildUnknown = "BUILD_UNKNOWN", 404, Terminal;
    /// No worker of the build polls, or none that polls every queue.
    BuildWithoutWorkers = "BUILD_WITHOUT_WORKERS", 409, Terminal;
    /// A run can be moved to the build of the API that is asked, and to no other.
    BuildMismatch = "BUILD_MISMATCH", 409, Terminal;
    /// The build takes new runs.
    BuildInUse = "BUILD_IN_USE", 409, Terminal;
    /// Runs of the build have not ended.
    BuildDraining = "BUILD_DRAINING", 409, Terminal;

    // Data sets and models.
    ExportNotFound = "EXPORT_NOT_FOUND", 404, Terminal;
    DatasetNotFound = "DATASET_NOT_FOUND", 404, Terminal;
    DatasetEmpty = "DATASET_EMPTY", 422, Terminal;
    TrainingRunNotFound = "TRAINING_RUN_NOT_FOUND", 404, Terminal;
    ModelNotFound = "MODEL_NOT_FOUND", 404, Terminal;
    /// The model's state does not allow what was asked.
    ModelStateForbids = "MODEL_STATE_FORBIDS", 409, Terminal;
    /// A staged model was compared with another one than is in production now.
    ComparisonOutdated = "COMPARISON_OUTDATED", 409, Terminal;
    /// A gate refused the model; the model card says which and why.
    GateRefused = "GATE_REFUSED", 422, Terminal;
    ObjectNotFound = "OBJECT_NOT_FOUND", 404, Terminal;
    FieldNotFound = "FIELD_NOT_FOUND", 422, Terminal;
    LabelNotBinary = "LABEL_NOT_BINARY", 422, Terminal;
    TooFewRows = "TOO_FEW_ROWS", 422, Terminal;
    TrainingBudgetExceeded = "TRAINING_BUDGET_EXCEEDED", 422, Terminal;
    ArtifactUnreadable = "ARTIFACT_UNREADABLE", 500, NeedsOperator;
    /// The data no longer has the fields, or the types, that the model was trained on.
    SchemaMismatch = "SCHEMA_MISMATCH", 422, Terminal;

    // Predictions.
    NoActiveModel = "NO_ACTIVE_MODEL", 409, Terminal;
    RecordNotFound = "RECORD_NOT_FOUND", 404, Terminal;
    UnknownField = "UNKNOWN_FIELD", 422, Terminal;
    FieldTypeMismatch = "FIELD_TYPE_MISMATCH", 422, Terminal;
    PredictionNotFound = "PREDICTION_NOT_FOUND", 404, Terminal;
    /// The request id names an earlier request with other content.
    RequestIdTaken = "REQUEST_ID_TAKEN", 409, Terminal;
    /// The fields that came with the request have expired before they were scored.
    ClaimExpired = "CLAIM_EXPIRED", 410, Terminal;
    CallbackRefused = "CALLBACK_REFUSED", 502, Retryable;
    /// The org has refused a callback for so long that a person has to look at it.
    CallbackUndelivered = "CALLBACK_UNDELIVERED", 502, NeedsOperator;

    // Salesforce.
    SalesforceAuthRefused = "SALESFORCE_AUTH_REFUSED", 502, NeedsOperator;
    SalesforceAccessDenied = "SALESFORCE_ACCESS_DENIED", 502, NeedsOperator;
    SalesforceLimitExceeded = "SALESFORCE_LIMIT_EXCEEDED", 503, Quota;
    /// leadline's own share of the org's daily calls is used up.
    ApiBudgetExhausted = "API_BUDGET_EXHAUSTED", 503, Quota;
    SalesforceBusy = "SALESFORCE_BUSY", 503, Retryable;
    SalesforceUnavailable = "SALESFORCE_UNAVAILABLE", 503, Retryable;
    SalesforceRefused = "SALESFORCE_REFUSED", 502, Terminal;
    BulkJobFailed = "BULK_JOB_FAILED", 502, Terminal;
    PageTruncated = "PAGE_TRUNCATED", 502, Retryable;
    CsvMalformed = "CSV_MALFORMED", 422, Terminal;
    CsvNotUtf8 = "CSV_NOT_UTF8", 422, Terminal;
    CsvFieldTooLong = "CSV_FIELD_TOO_LONG", 422, Terminal;
    CsvColumnMismatch = "CSV_COLUMN_MISMATCH", 422, Terminal;
    CsvTypeMismatch = "CSV_TYPE_MISMATCH", 422, Terminal;
    WriteBackRefused = "WRITE_BACK_REFUSED", 502, Terminal;

    // What leadline stands on.
    StorageUnavailable = "STORAGE_UNAVAILABLE", 503, Retryable;
    StorageCorrupt = "STORAGE_CORRUPT", 500, NeedsOperator;
    StorageConflict = "STORAGE_CONFLICT", 409, Terminal;
    StorageDenied = "STORAGE_DENIED", 500, NeedsOperator;
    DatabaseUnavailable = "DATABASE_UNAVAILABLE", 503, Retryable;
    TemporalUnavailable = "TEMPORAL_UNAVAILABLE", 503, Retryable;
    SecretUnreadable = "SECRET_UNREADABLE", 500, NeedsOperator;
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A text that is none of the public codes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not an error code")]
pub struct UnknownCode;

impl std::str::FromStr for Code {
    type Err = UnknownCode;

    fn from_str(text: &str) -> Result<Self, UnknownCode> {
        Self::ALL.iter().copied().find(|c| c.as_str() == text).ok_or(UnknownCode)
    }
}

impl Serialize for Code {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Code {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// A coded failure with a message for people. The message holds no row, no personal data and no credential.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[error("{code}: {message}")]
pub struct Failure {
    pub code: Code,
    pub message: String,
    /// For [`Class::Quota`]: how long to wait before trying again, in seconds.
    pub retry_after_seconds: Option<u64>,
}

impl Failure {
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), retry_after_seconds: None }
    }

    #[must_use]
    pub fn retry_after(mut self, seconds: u64) -> Self {
        self.retry_after_seconds = Some(seconds);
        self
    }

    pub fn class(&self) -> Class {
        self.code.class()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_code_is_unique_and_reads_back() {
        let names: HashSet<_> = Code::ALL.iter().map(|c| c.as_str()).collect();
        assert_eq!(names.len(), Code::ALL.len());
        for code in Code::ALL {
            assert_eq!(code.as_str().parse(), Ok(*code));
            assert!((400..600).contains(&code.http_status()), "{code}");
        }
    }

    #[test]
    fn every_code_has_its_section_in_the_error_reference() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/errors.md");
        let reference = std::fs::read_to_string(path).expect("docs/errors.md is part of the repository");
        let sections: HashSet<_> = reference.lines().filter_map(|l| l.strip_prefix("## ")).collect();
        for code in Code::ALL {
            assert!(sections.contains(code.as_str()), "docs/errors.md has no section for {code}");
        }
        for section in sections {
            assert!(section.parse::<Code>().is_ok(), "docs/errors.md has a section for {section}, which is no code");
        }
    }
}
