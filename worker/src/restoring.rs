//! Operations that PostgreSQL has lost and Temporal remembers: found, read out of their histories, and written down again.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use futures::TryStreamExt as _;
use leadline_domain::{
    Code, OperationId, OperationKind, OperationState,
    operation::{SagaInput, attribute},
};
use leadline_store::{
    Store, StoreError,
    operations::{self, Closing, Remembered},
};
use leadline_workflows::{
    StepInput,
    envelope::{Ending, OperationSteps},
};
use serde::de::DeserializeOwned;
use serde_json::Value as Json;
use temporalio_client::Client;
use temporalio_common::{
    ActivityDefinition as _,
    data_converters::{DataConverter, SerializationContextData},
    payload_visitor::decode_payloads,
    protos::temporal::api::{
        common::v1::Payloads,
        history::v1::{History, HistoryEvent, history_event::Attributes},
    },
};

use crate::replay::{self, RecordedRun, RunName, ServerError};

/// Runs that PostgreSQL is asked about at a time.
const ASKED_AT_ONCE: usize = 500;

/// What came of looking for lost operations.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Restored {
    /// Operations whose runs Temporal keeps.
    pub remembered: usize,
    /// Written down again, or to be: as they ended,
    pub ended: Vec<OperationId>,
    /// and as lost, since their runs had not.
    pub lost: Vec<OperationId>,
    /// Histories that do not tell what was asked for, each with why.
    pub unreadable: Vec<String>,
}

#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    #[error(transparent)]
    Temporal(#[from] ServerError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Writes down again what Temporal remembers and the store does not know; with `dry_run`, only finds it.
///
/// # Errors
/// When Temporal or PostgreSQL do not answer; what was written by then stays, and the call can be repeated.
pub async fn restore(client: &Client, store: &Store, converter: &DataConverter, dry_run: bool) -> Result<Restored, RestoreError> {
    let runs: Vec<RunName> = replay::list(client, &format!("{} IS NOT NULL", attribute::TENANT), None).try_collect().await?;
    // Of several runs of one operation, the latest is read.
    let workflows: BTreeMap<OperationId, String> =
        runs.into_iter().filter_map(|run| Some((operation_of(&run.workflow_id)?, run.workflow_id))).collect();
    let ids: Vec<OperationId> = workflows.keys().cloned().collect();
    let mut restored = Restored { remembered: ids.len(), ..Restored::default() };
    for asked in ids.chunks(ASKED_AT_ONCE) {
        let mut tx = store.operator().await?;
        let unknown = operations::unknown(&mut tx, asked).await?;
        drop(tx);
        for id in &unknown {
            match read(client, &workflows[id], converter).await? {
                None => {}
                Some(Err(why)) => restored.unreadable.push(why),
                Some(Ok(remembered)) => {
                    if !dry_run {
                        write(store, &remembered).await?;
                    }
                    let lost = remembered.closing.code == Some(Code::OperationLost);
                    if lost { &mut restored.lost } else { &mut restored.ended }.push(remembered.operation.operation);
                }
            }
        }
    }
    Ok(restored)
}

async fn write(store: &Store, remembered: &Remembered) -> Result<(), StoreError> {
    let mut tx = store.operator_for(&remembered.operation.tenant).await?;
    operations::reinsert(&mut tx, remembered).await?;
    tx.commit().await
}

/// Out of kind, tenant and operation; `None` for what is no operation's.
fn operation_of(workflow_id: &str) -> Option<OperationId> {
    let mut parts = workflow_id.split('/');
    parts.next()?.parse::<OperationKind>().ok()?;
    parts.nth(1)?.parse().ok()
}

/// `None` when the run is gone since it was listed.
async fn read(
    client: &Client,
    workflow_id: &str,
    converter: &DataConverter,
) -> Result<Option<Result<Remembered, String>>, ServerError> {
    let unreadable = |error: ServerError| match error {
        ServerError::Invalid { .. } | ServerError::Refused { .. } => Ok(Some(Err(error.to_string()))),
        error => Err(error),
    };
    let run = match replay::latest(client, workflow_id).await {
        Ok(Some(run)) => run,
        Ok(None) => return Ok(None),
        Err(error) => return unreadable(error),
    };
    let recorded = match replay::fetch(client, run).await {
        Ok(Some(recorded)) => recorded,
        Ok(None) => return Ok(None),
        Err(error) => return unreadable(error),
    };
    Ok(Some(remembered(&recorded, converter).await.map_err(|why| format!("{}: {why}", recorded.name))))
}

/// What a run's history says of its operation.
///
/// # Errors
/// Why it does not say it.
pub async fn remembered(run: &RecordedRun, converter: &DataConverter) -> Result<Remembered, String> {
    let mut history = History { events: run.events().to_vec() };
    let decoded = decode_payloads(&mut history, converter.codec(), &SerializationContextData::None).await;
    decoded.map_err(|error| format!("cannot be decrypted: {error}"))?;
    let events = &history.events;
    let first = events.first().ok_or("has no events")?;
    let Some(Attributes::WorkflowExecutionStartedEventAttributes(started)) = &first.attributes else {
        return Err("does not begin with a start".to_owned());
    };
    let SagaInput { operation, params } =
        input::<SagaInput<Json>>(started.input.as_ref()).ok_or("has another input than a saga")?;
    let last = events.last().unwrap_or(first);
    Ok(Remembered {
        operation,
        params,
        run_id: run.name.run_id.clone(),
        started_at: time_of(first).ok_or("does not say when it began")?,
        ended_at: time_of(last).ok_or("does not say when it ended")?,
        closing: closing_of(events).or_else(|| already(last)).unwrap_or_else(lost),
    })
}

fn lost() -> Closing {
    let message = "accepted after the last backup of PostgreSQL, and not ended by then: nothing of it goes on".to_owned();
    Closing { state: OperationState::Failed, result: None, code: Some(Code::OperationLost), message: Some(message) }
}

/// The closing write that the run has made.
fn closing_of(events: &[HistoryEvent]) -> Option<Closing> {
    let completed = events.iter().rev().filter_map(|event| match &event.attributes {
        Some(Attributes::ActivityTaskCompletedEventAttributes(completed)) => Some(completed.scheduled_event_id),
        _ => None,
    });
    let ending = completed.filter_map(|scheduled| ending_of(events.iter().find(|event| event.event_id == scheduled)?)).next()?;
    Some(leadline_activities::closing(ending))
}

fn ending_of(event: &HistoryEvent) -> Option<Ending> {
    let Some(Attributes::ActivityTaskScheduledEventAttributes(scheduled)) = &event.attributes else { return None };
    let closes = scheduled.activity_type.as_ref().is_some_and(|kind| kind.name == OperationSteps::close_operation.name());
    closes.then(|| input::<StepInput<Ending>>(scheduled.input.as_ref()).map(|input| input.params)).flatten()
}

/// The end of a run that found its operation ended, as one does that was reset afterwards. How it ended in full, only the run before knew.
fn already(last: &HistoryEvent) -> Option<Closing> {
    let Some(Attributes::WorkflowExecutionCompletedEventAttributes(completed)) = &last.attributes else { return None };
    let state = input::<Json>(completed.result.as_ref())?["already"].as_str()?.parse().ok()?;
    let message = "what it made, or why it failed, stands in the history of an earlier run".to_owned();
    Some(Closing { state, result: None, code: None, message: Some(message) })
}

fn input<T: DeserializeOwned>(payloads: Option<&Payloads>) -> Option<T> {
    serde_json::from_slice(&payloads?.payloads.first()?.data).ok()
}

fn time_of(event: &HistoryEvent) -> Option<DateTime<Utc>> {
    let time = event.event_time.as_ref()?;
    DateTime::from_timestamp(time.seconds, u32::try_from(time.nanos).ok()?)
}

#[cfg(test)]
mod tests {
    use leadline_domain::{OperationRef, TenantId};

    use super::*;

    #[test]
    fn a_workflows_id_names_its_operation() {
        let id = OperationId::random();
        let operation = OperationRef { tenant: TenantId::random(), operation: id.clone(), kind: OperationKind::RunDrill };
        assert_eq!(operation_of(&operation.workflow_id()), Some(id));
        for other in ["", "run_drill", "another/tn_1/op_2", "run_drill/tn_1"] {
            assert_eq!(operation_of(other), None, "{other}");
        }
    }
}
