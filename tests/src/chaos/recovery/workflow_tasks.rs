//! Workflow tasks that were open when a worker died.

use std::time::{Duration, SystemTime};

use futures::{StreamExt as _, TryStreamExt as _, stream};
use temporalio_client::{Client, UntypedWorkflow, WorkflowFetchHistoryOptions};
use temporalio_common::protos::temporal::api::{enums::v1::EventType, history::v1::HistoryEvent};

use super::{Interrupted, Task};
use crate::dev_stack::DevStack;

const FETCHED_AT_ONCE: usize = 8;
const OPEN: [EventType; 2] = [EventType::WorkflowTaskScheduled, EventType::WorkflowTaskStarted];
const CLOSED: [EventType; 3] = [EventType::WorkflowTaskCompleted, EventType::WorkflowTaskFailed, EventType::WorkflowTaskTimedOut];

/// Of every run and each of the deaths at which a task of it was scheduled or started, as its history has it. A task that is tried for
/// the second time at once is not written down before it ends, and not found.
pub async fn interrupted(client: &Client, stack: &DevStack, deaths: &[SystemTime]) -> Vec<Interrupted> {
    let histories = stream::iter(stack.runs()).map(|(workflow, _)| {
        let handle = client.get_workflow_handle::<UntypedWorkflow>(&workflow);
        async move {
            let history: Vec<_> = handle.fetch_history(WorkflowFetchHistoryOptions::default()).try_collect().await?;
            anyhow::Ok((workflow, history))
        }
    });
    let histories: Vec<_> = histories.buffered(FETCHED_AT_ONCE).try_collect().await.expect("the histories are there");
    let of_run = |(workflow, history): &(String, Vec<HistoryEvent>)| {
        let interrupted = deaths.iter().filter(|death| open_at(history, **death));
        let interrupted = interrupted.map(|death| Interrupted {
            workflow: workflow.clone(),
            death: *death,
            task: Task::Workflow,
            after: next_done(history, *death),
        });
        interrupted.collect::<Vec<_>>()
    };
    histories.iter().flat_map(of_run).collect()
}

fn open_at(history: &[HistoryEvent], death: SystemTime) -> bool {
    let past = history.iter().take_while(|event| at(event).is_some_and(|at| at <= death));
    let kinds = past.map(HistoryEvent::event_type).filter(|kind| OPEN.contains(kind) || CLOSED.contains(kind));
    kinds.last().is_some_and(|last| OPEN.contains(&last))
}

fn next_done(history: &[HistoryEvent], death: SystemTime) -> Option<Duration> {
    let done = history.iter().filter(|event| event.event_type() == EventType::WorkflowTaskCompleted);
    done.filter_map(at).find(|at| *at > death)?.duration_since(death).ok()
}

fn at(event: &HistoryEvent) -> Option<SystemTime> {
    SystemTime::try_from(event.event_time?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn history(kinds: &[EventType]) -> Vec<HistoryEvent> {
        let event = |(second, kind): (u64, &EventType)| HistoryEvent {
            event_time: Some((SystemTime::UNIX_EPOCH + Duration::from_secs(second)).into()),
            event_type: *kind as i32,
            ..HistoryEvent::default()
        };
        (0..).zip(kinds).map(event).collect()
    }

    #[test]
    fn a_task_that_was_open_counts_until_the_next_is_done_and_not_until_it_has_timed_out() {
        use EventType::{
            WorkflowExecutionStarted as Run, WorkflowTaskCompleted as Done, WorkflowTaskScheduled as Scheduled,
            WorkflowTaskStarted as Started, WorkflowTaskTimedOut as TimedOut,
        };
        let history = history(&[Run, Scheduled, Started, TimedOut, Scheduled, Started, Done]);
        let death = |second: u64| SystemTime::UNIX_EPOCH + Duration::from_millis(second * 1000 + 500);
        let seen: Vec<_> = (0..7).map(|second| open_at(&history, death(second))).collect();
        assert_eq!(seen, [false, true, true, false, true, true, false]);
        assert_eq!(next_done(&history, death(2)), Some(Duration::from_millis(3500)));
        assert_eq!(next_done(&history, death(6)), None);
    }
}
