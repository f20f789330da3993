//! How soon a saga that was under way went on after its worker was killed.

use std::time::{Duration, SystemTime};

use futures::{StreamExt as _, TryStreamExt as _, stream};
use temporalio_client::{Client, ClientOptions, Connection, ConnectionOptions, UntypedWorkflow, WorkflowFetchHistoryOptions};
use temporalio_common::protos::temporal::api::{enums::v1::EventType, history::v1::HistoryEvent};

use super::trouble::{Kill, Part};
use crate::dev_stack::DevStack;

const FETCHED_AT_ONCE: usize = 8;

/// Times from a worker's death to the next thing that a saga got done, shortest first.
#[derive(Debug, Default)]
pub struct Recovery(Vec<Duration>);

impl Recovery {
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// The time within which this part of the sagas went on; zero when there was none.
    pub fn quantile(&self, part: f64) -> Duration {
        let last = self.0.len().saturating_sub(1);
        self.0.get((last as f64 * part).ceil() as usize).copied().unwrap_or_default()
    }
}

/// Looks at every saga that had a task in a worker's hands when the worker died. One that waited, for a person or for a time, had
/// none.
pub async fn after(stack: &DevStack, kills: &[Kill]) -> Recovery {
    let address = format!("http://{}", stack.endpoint("/temporal_address")).parse::<url::Url>().expect("a URL");
    let connection = Connection::connect(ConnectionOptions::new(address).build()).await.expect("the Temporal server answers");
    let client = Client::new(connection, ClientOptions::new("default").build()).expect("a client of the default namespace");
    let histories = stream::iter(stack.runs()).map(|(id, _)| {
        let handle = client.get_workflow_handle::<UntypedWorkflow>(id);
        async move { handle.fetch_history(WorkflowFetchHistoryOptions::default()).try_collect::<Vec<_>>().await }
    });
    let histories: Vec<Vec<HistoryEvent>> =
        histories.buffered(FETCHED_AT_ONCE).try_collect().await.expect("the histories are there");
    let deaths: Vec<_> = kills.iter().filter(|kill| kill.part == Part::Worker).map(|kill| kill.at).collect();
    let mut times: Vec<Duration> =
        histories.iter().flat_map(|history| deaths.iter().filter_map(|at| went_on(history, *at))).collect();
    times.sort();
    Recovery(times)
}

/// How long after `death` the run got its next task done, if one was in a worker's hands then.
fn went_on(history: &[HistoryEvent], death: SystemTime) -> Option<Duration> {
    let before = history.iter().take_while(|event| at(event).is_some_and(|at| at <= death)).count();
    let (past, future) = history.split_at(before);
    let count = |kinds: &[EventType]| past.iter().filter(|event| kinds.contains(&event.event_type())).count();
    let open = |scheduled, ends: &[EventType]| count(&[scheduled]) > count(ends);
    let in_hand = open(EventType::ActivityTaskScheduled, &ACTIVITY_ENDS) || open(EventType::WorkflowTaskScheduled, &TASK_ENDS);
    let next = future.iter().find(|event| DONE.contains(&event.event_type()))?;
    if in_hand { at(next)?.duration_since(death).ok() } else { None }
}

const ACTIVITY_ENDS: [EventType; 4] = [
    EventType::ActivityTaskCompleted,
    EventType::ActivityTaskFailed,
    EventType::ActivityTaskTimedOut,
    EventType::ActivityTaskCanceled,
];
const TASK_ENDS: [EventType; 3] =
    [EventType::WorkflowTaskCompleted, EventType::WorkflowTaskFailed, EventType::WorkflowTaskTimedOut];
/// What only a living worker brings about.
const DONE: [EventType; 4] = [
    EventType::ActivityTaskCompleted,
    EventType::ActivityTaskFailed,
    EventType::ActivityTaskCanceled,
    EventType::WorkflowTaskCompleted,
];

fn at(event: &HistoryEvent) -> Option<SystemTime> {
    SystemTime::try_from(event.event_time?).ok()
}
