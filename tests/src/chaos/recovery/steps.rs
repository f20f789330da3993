//! Steps that a worker had in its hands when it died.

use std::{
    collections::HashSet,
    time::{Duration, SystemTime},
};

use futures::{StreamExt as _, TryStreamExt as _, stream};
use temporalio_client::{Client, UntypedWorkflow, WorkflowListOptions, errors::WorkflowInteractionError};
use temporalio_common::protos::temporal::api::{
    enums::v1::TimeoutType, failure::v1::failure::FailureInfo, workflow::v1::PendingActivityInfo,
};
use tokio::{sync::mpsc::UnboundedReceiver, task::JoinSet};

use super::{Interrupted, Task};

const LOOK_AGAIN: Duration = Duration::from_secs(1);
const ASKED_AT_ONCE: usize = 8;

/// An attempt that a death interrupted.
struct Attempt {
    workflow: String,
    activity_id: String,
    activity: String,
    number: i32,
}

/// Looks on after each death until the last step that it interrupted has ended, for `patience` at most.
///
/// # Panics
/// When Temporal does not come back in that time.
pub async fn observe(client: Client, mut deaths: UnboundedReceiver<SystemTime>, patience: Duration) -> Vec<Interrupted> {
    let mut looks = JoinSet::new();
    while let Some(death) = deaths.recv().await {
        looks.spawn(interrupted(client.clone(), death, patience));
    }
    let mut all: Vec<_> = looks.join_all().await.into_iter().flatten().collect();
    all.sort_by_key(|(_, interrupted)| interrupted.death);
    // An attempt that nobody has missed yet is found after the next death as well.
    let mut seen = HashSet::new();
    all.retain(|(attempt, _)| seen.insert((attempt.workflow.clone(), attempt.activity_id.clone(), attempt.number)));
    all.into_iter().map(|(_, interrupted)| interrupted).collect()
}

async fn interrupted(client: Client, death: SystemTime, patience: Duration) -> Vec<(Attempt, Interrupted)> {
    let in_hand = loop {
        // Temporal may be dead as well.
        match in_hand(&client, death).await {
            Ok(in_hand) => break in_hand,
            Err(error) => assert!(elapsed(death) < patience, "Temporal does not come back: {error}"),
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    };
    let mut looks = JoinSet::new();
    for attempt in in_hand {
        let client = client.clone();
        looks.spawn(async move {
            let after = until_ended(&client, &attempt, death, patience).await;
            let (workflow, task) = (attempt.workflow.clone(), Task::Step(attempt.activity.clone()));
            (attempt, Interrupted { workflow, death, task, after })
        });
    }
    looks.join_all().await
}

async fn in_hand(client: &Client, death: SystemTime) -> anyhow::Result<Vec<Attempt>> {
    let open = client.list_workflows("ExecutionStatus = 'Running'", WorkflowListOptions::default());
    let open: Vec<_> = open.map_ok(|run| run.id().to_owned()).try_collect().await?;
    let found = stream::iter(open).map(|workflow| async move {
        let pending = pending(client, &workflow).await?;
        let in_hand = pending.into_iter().filter_map(|pending| {
            let number = number_in_hand(&pending, death)?;
            let activity = pending.activity_type.map(|named| named.name).unwrap_or_default();
            Some(Attempt { workflow: workflow.clone(), activity_id: pending.activity_id, activity, number })
        });
        anyhow::Ok(in_hand.collect::<Vec<_>>())
    });
    let found: Vec<_> = found.buffer_unordered(ASKED_AT_ONCE).try_collect().await?;
    Ok(found.into_iter().flatten().collect())
}

/// The number of the attempt that was in a worker's hands. The server has it down as started, or has missed its heartbeats meanwhile.
fn number_in_hand(pending: &PendingActivityInfo, death: SystemTime) -> Option<i32> {
    if time(pending.last_started_time).is_some_and(|started| started <= death) {
        return Some(pending.attempt);
    }
    let missed = time(pending.last_attempt_complete_time).is_some_and(|missed| missed > death) && timed_out(pending);
    missed.then(|| pending.attempt - 1)
}

fn time<T>(at: Option<T>) -> Option<SystemTime>
where
    SystemTime: TryFrom<T>,
{
    SystemTime::try_from(at?).ok()
}

fn timed_out(pending: &PendingActivityInfo) -> bool {
    let failure = pending.last_failure.as_ref().and_then(|failure| failure.failure_info.as_ref());
    matches!(failure, Some(FailureInfo::TimeoutFailureInfo(info)) if info.timeout_type() == TimeoutType::Heartbeat)
}

/// Activities of the run that have not ended; none when the run has.
async fn pending(client: &Client, workflow: &str) -> Result<Vec<PendingActivityInfo>, WorkflowInteractionError> {
    let described = client.get_workflow_handle::<UntypedWorkflow>(workflow).describe(Default::default()).await?;
    Ok(described.raw_description.pending_activities)
}

async fn until_ended(client: &Client, attempt: &Attempt, death: SystemTime, patience: Duration) -> Option<Duration> {
    while elapsed(death) < patience {
        let pending = pending(client, &attempt.workflow).await;
        if pending.is_ok_and(|pending| pending.iter().all(|pending| pending.activity_id != attempt.activity_id)) {
            return Some(elapsed(death));
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    None
}

fn elapsed(since: SystemTime) -> Duration {
    since.elapsed().unwrap_or_default()
}
