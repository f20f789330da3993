//! Follows an operation to its end, with a progress bar where people watch.

use std::{borrow::Cow, time::Duration};

use indicatif::{ProgressBar, ProgressStyle};
use leadline_proto::v1::{AtDeadline, Operation, OperationState, OperationVerb};

use crate::{
    client::{Answer, Client},
    error::{CliError, Result},
    output,
};

const POLL: Duration = Duration::from_millis(300);
/// A restart of the API must not end the watch of an operation that goes on without it.
const OUTAGE: u32 = 100;

/// Whether an operation that has ended did so with success.
///
/// # Errors
/// [`CliError::Ended`] when it failed or was cancelled.
pub fn success(ended: &Operation) -> Result<()> {
    let state = ended.state();
    if state == OperationState::Succeeded {
        return Ok(());
    }
    let error = ended.error.clone().unwrap_or_default();
    Err(CliError::Ended {
        operation: ended.operation_id.clone(),
        state: state_name(state),
        code: error.code,
        message: error.message,
        cancelled: state == OperationState::Cancelled,
    })
}

/// Waits until the operation has ended, however it does.
///
/// # Errors
/// [`CliError::Parked`] when it waits for a person; what the API refuses; an API that stays away.
pub async fn to_end(client: &Client, operation_id: &str) -> Result<Answer<Operation>> {
    let bar = ProgressBar::new_spinner();
    bar.enable_steady_tick(Duration::from_millis(120));
    let ended = poll(client, operation_id, |operation| show(&bar, operation)).await;
    bar.finish_and_clear();
    ended
}

async fn poll(client: &Client, operation_id: &str, mut seen: impl FnMut(&Operation)) -> Result<Answer<Operation>> {
    let mut outage = 0;
    loop {
        match client.get::<Operation>(&["v1", "operations", operation_id], &[]).await {
            Ok(answer) => {
                outage = 0;
                seen(&answer.message);
                if is_ended(answer.message.state()) {
                    return Ok(answer);
                }
                if let Some(parked) = parked(&answer.message) {
                    return Err(parked);
                }
            }
            Err(CliError::Unreachable { .. }) if outage < OUTAGE => outage += 1,
            Err(CliError::Refused(problem)) if problem.status == 503 && outage < OUTAGE => outage += 1,
            Err(error) => return Err(error),
        }
        tokio::time::sleep(POLL).await;
    }
}

/// An operation that waits for a person, and about which nobody has decided yet.
fn parked(operation: &Operation) -> Option<CliError> {
    let parking = operation.parking.as_ref().filter(|parking| parking.decided() == OperationVerb::Unspecified)?;
    // What can be abandoned, a cancel undoes.
    if operation.cancel_request_time.is_some() && parking.verbs().any(|verb| verb == OperationVerb::Abandon) {
        return None;
    }
    let error = operation.error.clone().unwrap_or_default();
    // It tries again by itself, soon.
    if error.code == "STEP_TIMED_OUT" && parking.at_deadline() == AtDeadline::TryAgain {
        return None;
    }
    Some(CliError::Parked {
        operation: operation.operation_id.clone(),
        step: parking.step.clone(),
        code: error.code,
        message: error.message,
    })
}

fn show(bar: &ProgressBar, operation: &Operation) {
    let state = state_name(operation.state());
    let doing: Cow<'_, str> = match (operation.step.as_str(), &operation.error) {
        (step, Some(error)) => format!("{state} {step} [{}]", error.code).into(),
        ("", None) => state.into(),
        (step, None) if operation.state() == OperationState::Running => step.to_owned().into(),
        (step, None) => format!("{state} {step}").into(),
    };
    let progress = operation.progress.clone().unwrap_or_default();
    match progress.total.and_then(|total| u64::try_from(total).ok()) {
        Some(total) if total > 0 => {
            bar.set_style(style("{spinner} {msg:28} {bar:30} {human_pos}/{human_len} {prefix} {elapsed}"));
            bar.set_length(total);
            bar.set_position(u64::try_from(progress.done).unwrap_or(0).min(total));
            bar.set_prefix(progress.unit);
            bar.set_message(doing.into_owned());
        }
        _ => {
            bar.set_style(style("{spinner} {msg} {elapsed}"));
            let counted = output::progress(&progress);
            bar.set_message(counted.map_or_else(|| doing.to_string(), |counted| format!("{doing} {counted}")));
        }
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).expect("the templates are literals")
}

pub fn is_ended(state: OperationState) -> bool {
    matches!(state, OperationState::Succeeded | OperationState::Failed | OperationState::Cancelled)
}

pub fn state_name(state: OperationState) -> &'static str {
    match state {
        OperationState::Unspecified => "unknown",
        OperationState::Accepted => "accepted",
        OperationState::Running => "running",
        OperationState::Parked => "parked",
        OperationState::Compensating => "compensating",
        OperationState::Succeeded => "succeeded",
        OperationState::Failed => "failed",
        OperationState::Cancelled => "cancelled",
    }
}

#[cfg(test)]
mod tests {
    use leadline_proto::v1::Parking;

    use super::*;

    #[test]
    fn a_cancel_ends_the_wait_for_a_person_where_an_abandon_would() {
        let waits = |verbs: &[OperationVerb], cancelled: bool| {
            let verbs = verbs.iter().map(|verb| i32::from(*verb)).collect();
            let parking = Some(Parking { verbs, ..Parking::default() });
            let cancel_request_time = cancelled.then(Default::default);
            parked(&Operation { parking, cancel_request_time, ..Operation::default() }).is_some()
        };
        let before_pivot = [OperationVerb::Retry, OperationVerb::Abandon];
        assert!(waits(&before_pivot, false));
        assert!(!waits(&before_pivot, true), "everything is being undone");
        assert!(waits(&[OperationVerb::Retry, OperationVerb::Skip], true), "the cancel came too late");
    }
}
