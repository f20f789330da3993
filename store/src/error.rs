//! What a call to PostgreSQL can end with.

use std::{fmt, panic::Location};

use leadline_domain::{Code, Failure};

pub type Result<T, E = StoreError> = std::result::Result<T, E>;

/// Why a statement had no effect. Nothing of what PostgreSQL or sqlx reported is kept but codes and names: their messages
/// quote values.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The data refuses what was asked, with its public code.
    #[error(transparent)]
    Refused(#[from] Failure),
    /// No connection, a lost one, or a transaction that lost against another one: the same again may succeed.
    #[error("PostgreSQL is unavailable: {reason} (at {at})")]
    Unavailable { reason: String, at: Place },
    /// A statement that this schema does not allow: a defect of leadline, or a database of another version.
    #[error("PostgreSQL refused a statement: {reason} (at {at})")]
    Statement { reason: String, at: Place },
    /// A row does not read back as what was written.
    #[error("a stored row cannot be read: column {column} (at {at})")]
    Unreadable { column: String, at: Place },
}

/// Where in the source the call was made.
#[derive(Debug, Clone, Copy)]
pub struct Place(&'static Location<'static>);

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.0.file(), self.0.line())
    }
}

impl StoreError {
    pub(crate) fn refused(code: Code, message: impl Into<String>) -> Self {
        Self::Refused(Failure::new(code, message))
    }

    #[track_caller]
    pub(crate) fn statement(reason: String) -> Self {
        Self::Statement { reason, at: Place(Location::caller()) }
    }

    /// The public code of the refusal, if the data refused.
    pub fn code(&self) -> Option<Code> {
        match self {
            Self::Refused(failure) => Some(failure.code),
            _ => None,
        }
    }

    pub fn failure(&self) -> Failure {
        match self {
            Self::Refused(failure) => failure.clone(),
            Self::Unavailable { .. } => Failure::new(Code::DatabaseUnavailable, self.to_string()),
            Self::Statement { .. } | Self::Unreadable { .. } => Failure::new(Code::Internal, self.to_string()),
        }
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Refused(failure) => failure,
            other => other.failure(),
        }
    }
}

impl From<sqlx::Error> for StoreError {
    #[track_caller]
    fn from(error: sqlx::Error) -> Self {
        let at = Place(Location::caller());
        match error {
            sqlx::Error::Database(refusal) => from_refusal(&*refusal, at),
            sqlx::Error::ColumnDecode { index, .. } => Self::Unreadable { column: index, at },
            sqlx::Error::ColumnNotFound(column) => Self::Unreadable { column, at },
            sqlx::Error::Decode(_) => Self::Unreadable { column: "of unknown name".to_owned(), at },
            sqlx::Error::Io(source) => Self::Unavailable { reason: format!("connection failed: {}", source.kind()), at },
            sqlx::Error::Tls(_) => Self::Unavailable { reason: "TLS handshake failed".to_owned(), at },
            sqlx::Error::PoolTimedOut => Self::Unavailable { reason: "no connection became free in time".to_owned(), at },
            sqlx::Error::PoolClosed => Self::Unavailable { reason: "the pool is closed".to_owned(), at },
            sqlx::Error::Protocol(_) | sqlx::Error::WorkerCrashed | sqlx::Error::BeginFailed => {
                Self::Unavailable { reason: "the connection broke".to_owned(), at }
            }
            sqlx::Error::RowNotFound => Self::Statement { reason: "no row came back".to_owned(), at },
            sqlx::Error::Configuration(_) => Self::Statement { reason: "the connection URL is malformed".to_owned(), at },
            _ => Self::Statement { reason: "the driver refused it".to_owned(), at },
        }
    }
}

fn from_refusal(refusal: &dyn sqlx::error::DatabaseError, at: Place) -> StoreError {
    let sqlstate = refusal.code().unwrap_or_default();
    if refusal.is_foreign_key_violation() && refusal.constraint().is_some_and(|name| name.ends_with("_tenant_id_fkey")) {
        return StoreError::refused(Code::TenantNotFound, "the tenant does not exist");
    }
    let reason = match refusal.constraint() {
        Some(constraint) => format!("SQLSTATE {sqlstate}, constraint {constraint}"),
        None => format!("SQLSTATE {sqlstate}"),
    };
    if may_succeed_again(&sqlstate) { StoreError::Unavailable { reason, at } } else { StoreError::Statement { reason, at } }
}

/// Classes and codes of PostgreSQL's appendix A that say nothing about the statement itself.
fn may_succeed_again(sqlstate: &str) -> bool {
    // connection exception, transaction rollback (serialization, deadlock), insufficient resources, operator intervention
    ["08", "40", "53", "57"].iter().any(|class| sqlstate.starts_with(class))
        // lock not available; a standby that has not been promoted yet
        || matches!(sqlstate, "55P03" | "25006")
}

/// Tells a unique constraint's refusal from other errors.
pub(crate) fn violates(error: &sqlx::Error, constraint: &str) -> bool {
    matches!(error, sqlx::Error::Database(refusal) if refusal.constraint() == Some(constraint))
}
