//! What can go wrong at the command line, and the exit code that says which it was.

use std::process::ExitCode;

use leadline_domain::{Code, Failure};
use leadline_store::StoreError;
use thiserror::Error;

use crate::client::Problem;

pub type Result<T, E = CliError> = std::result::Result<T, E>;

/// Why a command did not do what it was asked. Every variant prints as one line that ends with what to do, where that is known.
#[derive(Debug, Error)]
pub enum CliError {
    /// Something on this machine, or in the configuration, is not as it should be.
    #[error("{problem}: {advice}")]
    Environment { problem: String, advice: String },
    /// The API answered with a coded error.
    #[error(transparent)]
    Refused(#[from] Box<Problem>),
    /// The API did not answer at all.
    #[error("cannot reach leadline at {url} ({reason}): start it with `leadline dev`, or name another with --url (LEADLINE_URL)")]
    Unreachable { url: String, reason: String },
    /// Temporal did not answer at all.
    #[error("cannot reach Temporal at {address} ({reason}): check TEMPORAL_ADDRESS, its TLS and its API key")]
    TemporalUnreachable { address: String, reason: String },
    /// Runs cannot go on with this build.
    #[error("{failed} of {of} histories do not replay on this build: do not deploy it over workers that have such runs")]
    NotReplayed { failed: usize, of: usize },
    /// An operation that was followed has ended, and not with success.
    #[error("operation {operation} ended {state}: {code}: {message}")]
    Ended { operation: String, state: &'static str, code: String, message: String, cancelled: bool },
    /// An operation that was followed waits for a person.
    #[error(
        "operation {operation} is parked at {step}: {code}: {message}: see `leadline operation get {operation}` for what to do"
    )]
    Parked { operation: String, step: String, code: String, message: String },
    /// A cancel reached an operation whose effect had been seen by then.
    #[error("operation {operation} succeeded: the cancel came after its effect had been seen, and changed nothing")]
    TooLate { operation: String },
    /// What was asked for was interrupted.
    #[error("interrupted")]
    Interrupted,
    /// A part of leadline stopped with an error of its own.
    #[error("{part}: {reason}")]
    Part { part: &'static str, reason: String },
}

impl CliError {
    pub fn environment(problem: impl Into<String>, advice: impl Into<String>) -> Self {
        Self::Environment { problem: problem.into(), advice: advice.into() }
    }

    /// An error of one of the parts below, with everything that caused it.
    pub fn part(part: &'static str, error: &(dyn std::error::Error + 'static)) -> Self {
        let mut reason = error.to_string();
        let mut cause = error.source();
        while let Some(inner) = cause {
            let text = inner.to_string();
            if !reason.contains(&text) {
                reason = format!("{reason}: {text}");
            }
            cause = inner.source();
        }
        Self::Part { part, reason }
    }

    /// 1: this machine or the configuration; 3: refused with a code, or a cancel too late; 4: the operation failed; 5: it was
    /// cancelled; 6: nobody answers; 7: it is parked; 8: a history does not
    /// replay; 130: interrupted. (2 is clap's: the command line itself was wrong.)
    pub fn exit_code(&self) -> ExitCode {
        ExitCode::from(match self {
            Self::Environment { .. } | Self::Part { .. } => 1,
            Self::Refused(_) | Self::TooLate { .. } => 3,
            Self::Ended { cancelled: false, .. } => 4,
            Self::Ended { cancelled: true, .. } => 5,
            Self::Unreachable { .. } | Self::TemporalUnreachable { .. } => 6,
            Self::Parked { .. } => 7,
            Self::NotReplayed { .. } => 8,
            Self::Interrupted => 130,
        })
    }

    /// The stable code, where there is one; it leads to a section of the error reference.
    pub fn code(&self) -> Option<&str> {
        match self {
            Self::Refused(problem) => Some(&problem.code),
            Self::Ended { code, .. } | Self::Parked { code, .. } => Some(code),
            Self::TemporalUnreachable { .. } => Some(Code::TemporalUnavailable.as_str()),
            Self::NotReplayed { .. } => Some(Code::ReplayFailed.as_str()),
            _ => None,
        }
    }
}

impl From<Failure> for CliError {
    fn from(failure: Failure) -> Self {
        Self::Refused(Box::new(Problem::from(failure)))
    }
}

impl From<StoreError> for CliError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Refused(failure) => failure.into(),
            other => Self::part("PostgreSQL", &other),
        }
    }
}
