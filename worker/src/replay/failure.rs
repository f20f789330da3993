//! How a history does not replay.

use std::fmt;

use super::history::{RecordedRun, RunName};

/// What kind of thing went wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    /// The code does something else than it did.
    Nondeterminism,
    /// The code fails where it went on; this is also how a workflow of an unknown type and input that does not parse show.
    TaskFailed,
    /// The history is none, or not whole.
    Invalid,
    TimedOut,
    /// The replayer itself failed, or came to no end.
    Replayer,
}

impl Reason {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Nondeterminism => "nondeterminism",
            Self::TaskFailed => "task_failed",
            Self::Invalid => "invalid",
            Self::TimedOut => "timed_out",
            Self::Replayer => "replayer",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A history that this build's workflows do not replay.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{run} does not replay at event {event_id}: {reason}: {message}")]
pub struct ReplayFailure {
    pub run: RunName,
    /// The event that does not fit, where Core names it; otherwise the start of the workflow task that does not fit.
    pub event_id: i64,
    pub reason: Reason,
    pub message: String,
}

impl ReplayFailure {
    /// `reached` is the start of the task that the replay had come to.
    pub(super) fn new(run: &RecordedRun, reason: Reason, message: String, reached: i64) -> Self {
        let message = unwrapped(&message).unwrap_or(message);
        Self { run: run.name.clone(), event_id: event_named_in(&message).unwrap_or(reached), reason, message }
    }
}

/// What Core says of a task that failed, out of the debug form of the failure that it prints around it.
fn unwrapped(message: &str) -> Option<String> {
    let (_, quoted) = message.strip_prefix("Workflow activation completion failed: ")?.split_once("message: \"")?;
    let mut said = String::new();
    let mut characters = quoted.chars();
    loop {
        match characters.next()? {
            '"' => return Some(said),
            '\\' => said.push(characters.next()?),
            other => said.push(other),
        }
    }
}

/// The event that a message of Core names, in one of the two forms in which it prints events.
fn event_named_in(message: &str) -> Option<i64> {
    let (_, rest) = ["HistoryEvent(id: ", "HistoryEvent { event_id: "].iter().find_map(|form| message.split_once(form))?;
    let digits = rest.split(|c: char| !c.is_ascii_digit()).next()?;
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_core_says_is_read_out_of_what_it_prints_around_it() {
        let printed = "Workflow activation completion failed: Failure { failure: Some(Failure { message: \"[TMPRL1100] no \\\"x\\\" here\", \
                       source: \"\" }) }";
        assert_eq!(unwrapped(printed).as_deref(), Some("[TMPRL1100] no \"x\" here"));
        assert_eq!(unwrapped("Workflow type export_dataset not found"), None);
    }

    #[test]
    fn the_event_is_read_from_both_forms_in_which_core_names_it() {
        let shown = "[TMPRL1100] No command scheduled for event HistoryEvent(id: 12, ActivityTaskScheduled)";
        assert_eq!(event_named_in(shown), Some(12));
        let debugged = "could not find a matching command for it: HistoryEvent { event_id: 7, event_time: None }";
        assert_eq!(event_named_in(debugged), Some(7));
        assert_eq!(event_named_in("Activity type of scheduled event 'a' does not match"), None);
    }
}
