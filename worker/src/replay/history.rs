//! A recorded run: its names and its events.

use std::fmt;

use leadline_codec::TenantCodec;
use temporalio_common::protos::temporal::api::{
    enums::v1::EventType,
    history::v1::{History, HistoryEvent, WorkflowExecutionStartedEventAttributes, history_event::Attributes},
};

use super::json;

/// What a run is called.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RunName {
    pub workflow_id: String,
    pub workflow_type: String,
    pub run_id: String,
}

impl fmt::Display for RunName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} (run {})", self.workflow_type, self.workflow_id, self.run_id)
    }
}

/// Why something is no history, or not a whole one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidHistory {
    #[error("not a history in JSON, as `temporal workflow show --output json` prints it: {0}")]
    Json(String),
    #[error("the history has no events")]
    Empty,
    #[error("the first event does not start a workflow of a known type, run id and task queue")]
    NoStart,
    #[error("event {expected} is missing: event {found} stands in its place")]
    Gap { expected: i64, found: i64 },
    #[error("the workflow task that starts at event {0} neither ends nor is the last")]
    OpenTask(i64),
}

/// A run whose history is whole.
#[derive(Debug, Clone, PartialEq)]
pub struct RecordedRun {
    pub name: RunName,
    events: Vec<HistoryEvent>,
    task_queue: String,
}

impl RecordedRun {
    /// Reads what `temporal workflow show --output json` prints.
    ///
    /// # Errors
    /// [`InvalidHistory`].
    pub fn from_json(text: &[u8]) -> Result<Self, InvalidHistory> {
        json::read(text).map_err(InvalidHistory::Json).and_then(Self::new)
    }

    /// The same as `temporal workflow show --output json` prints it.
    pub fn to_json(&self) -> serde_json::Value {
        json::write(&History { events: self.events.clone() })
    }

    /// Takes a history whose events are all there. A run that came of a reset has another run id than its history says: correct it
    /// in the name where it is known.
    ///
    /// # Errors
    /// [`InvalidHistory`]; the SDK's replayer panics on such a one.
    pub fn new(history: History) -> Result<Self, InvalidHistory> {
        let events = history.events;
        let first = events.first().ok_or(InvalidHistory::Empty)?;
        let (name, task_queue) = start(first).ok_or(InvalidHistory::NoStart)?;
        for (event, expected) in events.iter().zip(1..) {
            if event.event_id != expected {
                return Err(InvalidHistory::Gap { expected, found: event.event_id });
            }
        }
        let open = events.windows(2).find(|pair| is(&pair[0], EventType::WorkflowTaskStarted) && !ends_task(&pair[1]));
        match open {
            Some(pair) => Err(InvalidHistory::OpenTask(pair[0].event_id)),
            None => Ok(Self { name, events, task_queue }),
        }
    }

    /// Whether its input can be read with the keyring only that encrypted it.
    pub fn is_encrypted(&self) -> bool {
        let Some(Attributes::WorkflowExecutionStartedEventAttributes(started)) = &self.events[0].attributes else { return false };
        started.input.iter().flat_map(|input| &input.payloads).any(TenantCodec::is_sealed)
    }

    pub fn events(&self) -> &[HistoryEvent] {
        &self.events
    }

    pub fn task_queue(&self) -> &str {
        &self.task_queue
    }

    /// The run as it was at the start of each of its workflow tasks, shortest first: whatever task a worker takes a run over at, it
    /// must be able to. What the last task of a prefix makes the workflow do is compared with nothing.
    pub fn prefixes(&self) -> impl Iterator<Item = Self> {
        let cuts = self.events.iter().zip(1..).filter(|(event, _)| is(event, EventType::WorkflowTaskStarted));
        cuts.map(|(_, length)| Self { events: self.events[..length].to_vec(), ..self.clone() })
    }

    /// The events as the replayer takes them; `None` when no code has run yet, so that there is nothing to compare.
    pub(super) fn to_replay(&self) -> Option<History> {
        let begun = self.events.iter().any(|event| is(event, EventType::WorkflowTaskStarted));
        begun.then(|| History { events: self.events.clone() })
    }

    /// The start of the last workflow task that has to wake the workflow: it was not given up, and something happened before it
    /// that is not the workflow's own doing.
    pub(super) fn last_waking_task(&self) -> i64 {
        let (mut last, mut happened) = (0, false);
        for (at, event) in self.events.iter().enumerate() {
            let completed = self.events.get(at + 1).is_none_or(|next| is(next, EventType::WorkflowTaskCompleted));
            if happened && completed && is(event, EventType::WorkflowTaskStarted) {
                (last, happened) = (event.event_id, false);
            }
            happened |= is_news(event);
        }
        last
    }
}

fn start(first: &HistoryEvent) -> Option<(RunName, String)> {
    let Some(Attributes::WorkflowExecutionStartedEventAttributes(started)) = &first.attributes else { return None };
    let WorkflowExecutionStartedEventAttributes { workflow_id, workflow_type, task_queue, original_execution_run_id, .. } =
        started;
    if original_execution_run_id.is_empty() {
        return None;
    }
    let name = RunName {
        workflow_id: workflow_id.clone(),
        workflow_type: workflow_type.as_ref()?.name.clone(),
        run_id: original_execution_run_id.clone(),
    };
    Some((name, task_queue.as_ref()?.name.clone()))
}

fn is(event: &HistoryEvent, kind: EventType) -> bool {
    event.event_type() == kind
}

fn ends_task(event: &HistoryEvent) -> bool {
    matches!(
        event.event_type(),
        EventType::WorkflowTaskCompleted
            | EventType::WorkflowTaskFailed
            | EventType::WorkflowTaskTimedOut
            | EventType::WorkflowExecutionTerminated
            | EventType::WorkflowExecutionTimedOut
    )
}

/// Whether the workflow hears of it.
fn is_news(event: &HistoryEvent) -> bool {
    let of_tasks = matches!(
        event.event_type(),
        EventType::WorkflowTaskScheduled
            | EventType::WorkflowTaskStarted
            | EventType::WorkflowTaskCompleted
            | EventType::WorkflowTaskFailed
            | EventType::WorkflowTaskTimedOut
            | EventType::ActivityTaskStarted
    );
    !of_tasks && !event.is_command_event()
}
