//! Histories of a live server.

use futures::{Stream, StreamExt as _, TryStreamExt as _};
use temporalio_client::{
    Client, UntypedWorkflow, WorkflowExecutionInfo, WorkflowFetchHistoryOptions, WorkflowListOptions,
    errors::{ClientError, WorkflowInteractionError},
    tonic::{Code, Status},
};
use temporalio_common::protos::temporal::api::history::v1::History;

use super::history::{InvalidHistory, RecordedRun, RunName};

/// Why a server does not hand histories out.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    #[error("Temporal does not understand the query {query:?}: {reason}")]
    Query { query: String, reason: String },
    #[error("Temporal does not answer: {reason}")]
    Unavailable { reason: String },
    #[error("Temporal refuses to hand out {what}: {reason}")]
    Refused { what: String, reason: String },
    #[error("the history of {run} is not whole: {invalid}")]
    Invalid { run: RunName, invalid: InvalidHistory },
}

/// The runs that a visibility query finds, page by page, at most `limit` of them.
pub fn list(client: &Client, query: &str, limit: Option<usize>) -> impl Stream<Item = Result<RunName, ServerError>> + use<> {
    let options = WorkflowListOptions::builder().maybe_limit(limit).build();
    let asked = query.to_owned();
    client.list_workflows(query, options).map(move |listed| {
        let run = listed.map_err(|error| unlisted(&asked, error))?;
        Ok(RunName {
            workflow_id: run.id().to_owned(),
            workflow_type: run.workflow_type().to_owned(),
            run_id: run.run_id().to_owned(),
        })
    })
}

/// The latest run of a workflow id; `None` when the server knows none.
///
/// # Errors
/// [`ServerError::Unavailable`], [`ServerError::Refused`].
pub async fn latest(client: &Client, workflow_id: &str) -> Result<Option<RunName>, ServerError> {
    let described = client.get_workflow_handle::<UntypedWorkflow>(workflow_id).describe(Default::default()).await;
    match described {
        Ok(run) => Ok(Some(RunName {
            workflow_id: workflow_id.to_owned(),
            workflow_type: run.workflow_type().to_owned(),
            run_id: run.run_id().to_owned(),
        })),
        Err(WorkflowInteractionError::NotFound(_)) => Ok(None),
        Err(error) => Err(unfetched(workflow_id, error)),
    }
}

/// The history of a run; `None` when it is gone, or was never there.
///
/// # Errors
/// [`ServerError`], but for a query.
pub async fn fetch(client: &Client, run: RunName) -> Result<Option<RecordedRun>, ServerError> {
    let handle = WorkflowExecutionInfo::builder()
        .namespace(client.options().namespace.clone())
        .workflow_id(&run.workflow_id)
        .run_id(&run.run_id)
        .build()
        .bind_untyped(client.clone());
    let events: Vec<_> = match handle.fetch_history(WorkflowFetchHistoryOptions::default()).try_collect().await {
        Ok(events) => events,
        Err(WorkflowInteractionError::NotFound(_)) => return Ok(None),
        Err(error) => return Err(unfetched(&run.workflow_id, error)),
    };
    if events.is_empty() {
        return Ok(None);
    }
    match RecordedRun::new(History { events }) {
        Ok(mut recorded) => {
            // After a reset the history names the run that was reset.
            recorded.name.workflow_id = run.workflow_id;
            recorded.name.run_id = run.run_id;
            Ok(Some(recorded))
        }
        Err(invalid) => Err(ServerError::Invalid { run, invalid }),
    }
}

fn unlisted(query: &str, error: ClientError) -> ServerError {
    match error {
        ClientError::Rpc(status) if status.code() == Code::InvalidArgument => {
            ServerError::Query { query: query.to_owned(), reason: status.message().to_owned() }
        }
        ClientError::Rpc(status) => refused(format!("runs of the query {query:?}"), &status),
        other => ServerError::Refused { what: format!("runs of the query {query:?}"), reason: other.to_string() },
    }
}

fn unfetched(workflow_id: &str, error: WorkflowInteractionError) -> ServerError {
    match error {
        WorkflowInteractionError::Rpc(status) => refused(format!("the history of {workflow_id}"), &status),
        other => ServerError::Refused { what: format!("the history of {workflow_id}"), reason: other.to_string() },
    }
}

fn refused(what: String, status: &Status) -> ServerError {
    let reason = format!("{}: {}", status.code(), status.message());
    match status.code() {
        Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled => ServerError::Unavailable { reason },
        _ => ServerError::Refused { what, reason },
    }
}
