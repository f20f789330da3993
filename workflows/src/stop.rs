//! Why a saga stops before its pivot, read from what the SDK reports of a step.

use std::time::Duration;

use leadline_domain::{Class, Code, Failure};
use serde::{Deserialize, Serialize};
use temporalio_common::error::{ApplicationFailure, IncomingError};
use temporalio_sdk::{ActivityExecutionError, RetryState};

/// Why a saga stops before its pivot: everything done so far is undone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stop {
    Cancelled,
    Failed(Failure),
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        if failure.code == Code::Cancelled { Self::Cancelled } else { Self::Failed(failure) }
    }
}

impl Stop {
    pub fn code(&self) -> Code {
        match self {
            Self::Cancelled => Code::Cancelled,
            Self::Failed(failure) => failure.code,
        }
    }
}

/// What travels beside code and message when a step fails.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailureDetails {
    pub retry_after_seconds: Option<u64>,
}

/// A failure as an activity or a workflow reports it: type = code, and a message that begins with the code, since some views
/// show only the message. Only what may work at any moment is left to the server's retries; the rest is for the saga to decide.
pub fn report(failure: &Failure) -> ApplicationFailure {
    ApplicationFailure::builder(failure.to_string())
        .type_name(failure.code.as_str().to_owned())
        .non_retryable(!is_the_servers(failure))
        .maybe_next_retry_delay(server_wait(failure))
        .details(FailureDetails { retry_after_seconds: failure.retry_after_seconds })
        .build()
}

/// The failure behind a step's error; `None` when the step was cancelled.
///
/// A Retryable failure that arrives here has used up the step's patience, and so ends as `STEP_TIMED_OUT`.
pub(crate) fn failure_of(step: &str, error: &ActivityExecutionError) -> Option<Failure> {
    match error {
        ActivityExecutionError::Cancelled(_) => None,
        ActivityExecutionError::Failed(failed) if failed.as_cancelled().is_some() => None,
        ActivityExecutionError::Failed(failed) => Some(match failed.cause() {
            Some(IncomingError::Application(reported)) => {
                let failure = coded(reported);
                let exhausted = failure.class() == Class::Retryable && named_wait(&failure).is_none();
                if exhausted && failed.retry_state() != RetryState::CancelRequested {
                    timed_out(step, Some(&failure))
                } else {
                    failure
                }
            }
            Some(IncomingError::Timeout(timeout)) => {
                let last = match timeout.cause() {
                    Some(IncomingError::Application(reported)) => Some(coded(reported)),
                    _ => None,
                };
                timed_out(step, last.as_ref())
            }
            _ => Failure::new(Code::Internal, format!("step {step} failed without a reason that leadline knows")),
        }),
        other => Some(Failure::new(Code::Internal, format!("step {step} ended with {other}"))),
    }
}

fn coded(reported: &ApplicationFailure) -> Failure {
    let code = reported.type_name().and_then(|name| name.parse::<Code>().ok());
    let Some(code) = code else {
        // The SDK's own failures (an activity that no worker knows, input that does not parse) have no code of ours.
        return Failure::new(Code::Internal, "a step failed outside leadline's own code");
    };
    let text = reported.to_string();
    let message = text.strip_prefix(code.as_str()).and_then(|rest| rest.strip_prefix(": ")).unwrap_or(&text).to_owned();
    let details = reported.details::<FailureDetails>().ok().flatten().unwrap_or_default();
    Failure { code, message, retry_after_seconds: details.retry_after_seconds }
}

fn timed_out(step: &str, last: Option<&Failure>) -> Failure {
    // It has not begun: it stood in line for all that time, and may go on to.
    if let Some(in_line) = last.filter(|last| server_wait(last).is_some()) {
        return in_line.clone();
    }
    let message = match last {
        Some(last) => format!("step {step} did not succeed in the time it has; last: {last}"),
        None => format!("step {step} did not answer in the time it has"),
    };
    Failure::new(Code::StepTimedOut, message)
}

/// Whether the server tries the step again, and the saga hears nothing of it.
fn is_the_servers(failure: &Failure) -> bool {
    server_wait(failure).is_some() || (failure.class() == Class::Retryable && named_wait(failure).is_none())
}

/// A wait that is the server's: however often the step has to come again, the history stays as short as it was.
fn server_wait(failure: &Failure) -> Option<Duration> {
    let in_line = failure.code == Code::ConcurrencyLimited;
    failure.retry_after_seconds.filter(|_| in_line).map(Duration::from_secs)
}

/// How long a failure itself says that the saga must wait before it tries the step again. A quota without a named time: a quarter of
/// an hour, which is how often a rolling daily limit is worth another look.
pub(crate) fn named_wait(failure: &Failure) -> Option<Duration> {
    let seconds = match failure.class() {
        Class::Quota => Some(failure.retry_after_seconds.unwrap_or(900)),
        // What waits for a person names a time only where it is tried again in any case.
        Class::Retryable | Class::NeedsOperator => failure.retry_after_seconds,
        Class::Terminal => None,
    };
    seconds.map(|seconds| Duration::from_secs(seconds.max(1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reported_failure_carries_its_code_as_type_and_at_the_start_of_its_message() {
        let quota = Failure::new(Code::SalesforceLimitExceeded, "daily limit of the org").retry_after(900);
        let reported = report(&quota);
        assert_eq!(reported.type_name(), Some("SALESFORCE_LIMIT_EXCEEDED"));
        assert_eq!(reported.to_string(), "SALESFORCE_LIMIT_EXCEEDED: daily limit of the org");
        assert!(reported.is_non_retryable(), "the saga waits, not the server");
        assert_eq!(named_wait(&quota), Some(Duration::from_secs(900)));
        let callback = Failure::new(Code::CallbackRefused, "503").retry_after(4);
        assert!(report(&callback).is_non_retryable(), "a failure that names its time is waited out by the saga");

        let in_line = Failure::new(Code::ConcurrencyLimited, "two run").retry_after(3);
        assert!(!report(&in_line).is_non_retryable(), "the server waits, not the saga");
        assert_eq!(report(&in_line).next_retry_delay(), Some(Duration::from_secs(3)));
        assert_eq!(named_wait(&in_line), Some(Duration::from_secs(3)), "until the step's time is used up: then the saga goes on");
        assert_eq!(timed_out("extract_pages", Some(&in_line)), in_line, "a step that has not begun has not failed");

        assert!(!report(&Failure::new(Code::SalesforceBusy, "row lock")).is_non_retryable());
        assert!(report(&Failure::new(Code::CsvMalformed, "line 4")).is_non_retryable());
        assert!(report(&Failure::new(Code::SalesforceAuthRefused, "revoked")).is_non_retryable());
        let back = coded(&report(&Failure::new(Code::CsvMalformed, "line 4")));
        assert_eq!(back, Failure::new(Code::CsvMalformed, "line 4"));
    }
}
