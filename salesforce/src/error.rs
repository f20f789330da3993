//! Everything that can go wrong between leadline and an org, told apart as far as what to do about it differs.
//!
//! Messages name operations, objects, fields, ids, codes and counts. The vendor's own messages are never copied: they quote
//! queries and field values.

use leadline_domain::{Code, Failure};

/// How long to wait after a daily limit. The vendor's windows are rolling 24 hours, so no time of day frees them at once:
/// calls come back as yesterday's age out, and asking `/limits` again after a quarter of an hour costs one call.
const LIMIT_RECHECK_SECONDS: u64 = 15 * 60;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SalesforceError {
    // Signing in.
    #[error("the connected app's private key is not an RSA key in PEM")]
    PrivateKeyUnreadable,
    #[error("{role} {reason}")]
    UnsafeUrl { role: &'static str, reason: &'static str },
    #[error("salesforce refused a token: {0}")]
    TokenRejected(TokenRejection),
    /// A new session was refused as well, right after it was granted.
    #[error("salesforce ended the session during {what}, and again after a renewal")]
    SessionExpired { what: String },
    #[error("the login belongs to org {found} instead of {expected}")]
    OrgChanged { expected: String, found: String },

    // Refusals.
    #[error("salesforce denied {what} with {code}; the connected user lacks a permission, or the org its API")]
    AccessDenied { what: String, code: String },
    #[error("salesforce refused {what}: the org's API calls of the last 24 hours are used up")]
    DailyLimitExceeded { what: String },
    #[error("salesforce refused {what}: {limit} of the last 24 hours is used up")]
    BulkLimit { what: String, limit: BulkLimit },
    #[error("salesforce refused {what}: too many calls at the same time")]
    ConcurrentLimit { what: String },
    #[error("salesforce could not lock a row for {what}")]
    RowLocked { what: String },
    #[error("salesforce knows no {missing} for {what}")]
    NotFound { what: String, missing: Missing },
    #[error("salesforce knows no field {} for {what}", field.as_deref().unwrap_or("of that name"))]
    InvalidField { what: String, field: Option<String> },
    #[error("salesforce could not parse the query of {what}")]
    MalformedQuery { what: String },
    #[error("the Bulk API does not serve the object of {what}")]
    EntityNotBulkable { what: String },
    #[error("the Bulk API does not serve compound fields, which {what} selects")]
    CompoundField { what: String },
    #[error("the state of the job does not allow {what}")]
    JobStateForbids { what: String },
    #[error("salesforce no longer holds the cursor of {what}")]
    CursorExpired { what: String },
    #[error("the external id of {what} matches several records")]
    AmbiguousExternalId { what: String },
    #[error("the request line of {what} is too long for salesforce")]
    UriTooLong { what: String },
    /// A value or a rule of the org stands against a record. Codes and field names, never values.
    #[error("salesforce refused a record in {what} with {code} on fields [{}]", fields.join(", "))]
    RecordRefused { what: String, code: String, fields: Vec<String> },
    /// A good record of an all-or-none request, rolled back with a bad one.
    #[error("salesforce rolled back a record in {what} with the others of its request")]
    RolledBack { what: String },
    #[error("salesforce refused {what} with HTTP {status} {code}")]
    Refused { what: String, status: u16, code: String },
    #[error("bulk query job {job} failed: {reason}")]
    BulkJobFailed { job: String, reason: String },
    /// A caller's mistake, found before anything was sent.
    #[error("{what}: {reason}")]
    InvalidRequest { what: String, reason: String },

    // The way there and back.
    #[error("no answer from salesforce to {what}: {reason}")]
    Transport { what: String, reason: String },
    #[error("salesforce is unavailable for {what} (HTTP {status})")]
    ServerUnavailable { what: String, status: u16 },
    #[error("the answer to {what} is not what salesforce documents: {reason}")]
    MalformedResponse { what: String, reason: String },

    // Data.
    #[error("a results page ended after {received} of {expected} rows")]
    PageTruncated { expected: u64, received: u64 },
    #[error("a results page has malformed CSV in row {row}: {reason}")]
    CsvMalformed { row: u64, reason: &'static str },
    #[error("a results page is not UTF-8 in row {row}")]
    NotUtf8 { row: u64 },
    #[error("field {field} of row {row} is longer than {} characters", crate::csv::MAX_FIELD_CHARACTERS)]
    FieldTooLong { row: u64, field: String },
    #[error("the columns are not the requested ones: {0}")]
    ColumnMismatch(ColumnMismatch),
    #[error("field {field} of row {row} does not hold what its description says: {shape}")]
    TypeMismatch { row: u64, field: String, shape: String },
}

/// Why the token endpoint refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenRejection {
    #[error("the user has not approved the connected app, or has withdrawn the approval")]
    NotApproved,
    #[error("no administrator has approved the user for the connected app")]
    NotAdminApproved,
    #[error("the audience is not this login host's")]
    WrongAudience,
    #[error("the assertion had expired on arrival; check this machine's clock")]
    AssertionExpired,
    #[error("the login host knows no such consumer key")]
    UnknownClient,
    #[error("the org's policy does not let the user sign in from this address or at this hour")]
    OutsideLoginPolicy,
    #[error("the user cannot sign in: unknown, inactive, locked, or signed with another key")]
    AuthenticationFailure,
    #[error("{0}")]
    Other(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BulkLimit {
    #[error("the number of bulk query jobs")]
    QueryJobs,
    #[error("the volume of bulk query results")]
    ResultVolume,
    #[error("a bulk allowance")]
    Other,
}

/// What a call was about, for when the org does not have it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Missing {
    #[error("object")]
    Object,
    #[error("record")]
    Record,
    #[error("job")]
    Job,
    #[error("resource")]
    Resource,
}

/// How the columns of a page differ from the requested ones. A column that was not asked for is not named: if the header row is
/// lost, the row in its place holds data.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ColumnMismatch {
    #[error("{0} is missing")]
    Missing(String),
    #[error("there are {0} more than requested")]
    Extra(usize),
    #[error("they come in another order")]
    Reordered,
}

impl SalesforceError {
    /// Whether a write that ended so may have taken effect all the same.
    pub fn leaves_open(&self) -> bool {
        matches!(self, Self::Transport { .. } | Self::ServerUnavailable { .. } | Self::MalformedResponse { .. })
    }

    /// The public failure: a stable code with its class, and this error's text.
    pub fn failure(&self) -> Failure {
        let failure = Failure::new(self.code(), self.to_string());
        match self {
            Self::DailyLimitExceeded { .. } | Self::BulkLimit { .. } => failure.retry_after(LIMIT_RECHECK_SECONDS),
            _ => failure,
        }
    }

    fn code(&self) -> Code {
        match self {
            Self::PrivateKeyUnreadable | Self::UnsafeUrl { .. } | Self::TokenRejected(_) | Self::OrgChanged { .. } => {
                Code::SalesforceAuthRefused
            }
            Self::AccessDenied { .. } => Code::SalesforceAccessDenied,
            Self::DailyLimitExceeded { .. } | Self::BulkLimit { .. } => Code::SalesforceLimitExceeded,
            Self::ConcurrentLimit { .. } | Self::RowLocked { .. } => Code::SalesforceBusy,
            // Something on the way answered in the vendor's place, or the org is in trouble: a later attempt starts afresh.
            Self::SessionExpired { .. }
            | Self::CursorExpired { .. }
            | Self::Transport { .. }
            | Self::ServerUnavailable { .. }
            | Self::MalformedResponse { .. } => Code::SalesforceUnavailable,
            Self::NotFound { missing: Missing::Object, .. } => Code::ObjectNotFound,
            Self::NotFound { missing: Missing::Record, .. } => Code::RecordNotFound,
            Self::NotFound { missing: Missing::Job, .. } | Self::BulkJobFailed { .. } => Code::BulkJobFailed,
            Self::InvalidField { .. } => Code::FieldNotFound,
            Self::RecordRefused { .. } | Self::RolledBack { .. } | Self::AmbiguousExternalId { .. } => Code::WriteBackRefused,
            Self::NotFound { missing: Missing::Resource, .. }
            | Self::MalformedQuery { .. }
            | Self::EntityNotBulkable { .. }
            | Self::CompoundField { .. }
            | Self::JobStateForbids { .. }
            | Self::UriTooLong { .. }
            | Self::Refused { .. }
            | Self::InvalidRequest { .. } => Code::SalesforceRefused,
            Self::PageTruncated { .. } => Code::PageTruncated,
            Self::CsvMalformed { .. } => Code::CsvMalformed,
            Self::NotUtf8 { .. } => Code::CsvNotUtf8,
            Self::FieldTooLong { .. } => Code::CsvFieldTooLong,
            Self::ColumnMismatch(_) => Code::CsvColumnMismatch,
            Self::TypeMismatch { .. } => Code::CsvTypeMismatch,
        }
    }
}

impl From<SalesforceError> for Failure {
    fn from(error: SalesforceError) -> Self {
        error.failure()
    }
}
