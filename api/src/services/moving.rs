//! Moving an operation to this build: a run that waits for a person may outlive the workers that it began on.

use leadline_domain::{Code, Failure};
use leadline_proto::v1::MoveOperationRequest;
use leadline_store::operations::{self, Operation};
use leadline_worker::{
    deployment::{self, DeploymentError, Pin, Version},
    replay::{self, RecordedRun, Replayer, RunName, ServerError},
};
use serde_json::json;
use temporalio_client::Client;

use super::{Facade, invalid, operations::operation_id, short_text};
use crate::{caller::Call, layers::observation::note_operation};

impl Facade {
    /// The run may get on while it is being moved: a decision reaches it, or its deadline passes. So its history is replayed again
    /// once it is pinned here, when no other build adds to it any more, and the pin is taken back when it does not replay then.
    pub(super) async fn move_to_build(&self, request: MoveOperationRequest) -> Result<Operation, Failure> {
        let call = Call::current()?;
        call.caller.require_operator()?;
        let id = operation_id(&request.operation_id)?;
        short_text(&request.reason, 500, "reason")?;
        note_operation(id.as_str());
        let operation = self.operation_of(&call, &id).await?;
        operations::movable(&operation)?;
        let to = self.own_version(&request.build_id)?;
        let client = self.starter.temporal.client().await?;
        let run = latest_run(client, &operation).await?;
        let recorded = self.replayed(client, &run).await?;
        check_workers(client, to, recorded.task_queue()).await?;
        let (from, pin) = deployment::pinned_to(client, &run).await.map_err(failed)?;

        let from = from.map(|from| from.build_id().to_owned());
        let detail = json!({ "from": from, "to": to.build_id(), "run": run.run_id, "reason": request.reason });
        let mut tx = self.store.tenant(&operation.tenant).await?;
        operations::request_move(&mut tx, &id, call.caller.key.as_str(), detail).await?;
        tx.commit().await?;

        deployment::pin(client, &run, Pin::to(to)).await.map_err(failed)?;
        if let Err(failure) = self.replayed(client, &run).await {
            deployment::pin(client, &run, pin).await.map_err(failed)?;
            self.note_refusal(&operation, &failure).await?;
            return Err(failure);
        }
        self.operation_of(&call, &id).await
    }

    /// This build, which has to be the one that was named: no other knows whether the run can go on there.
    fn own_version(&self, build_id: &str) -> Result<&Version, Failure> {
        if build_id.is_empty() {
            return Err(invalid("buildId is missing"));
        }
        let mismatch = |own: &str| Failure::new(Code::BuildMismatch, format!("{own}: ask the API of build {build_id}"));
        match &self.version {
            None => Err(mismatch("this API was started without a build id")),
            Some(own) if own.build_id() == build_id => Ok(own),
            Some(own) => Err(mismatch(&format!("this API is of build {}", own.build_id()))),
        }
    }

    /// The run's history, once it has replayed on the sagas of this build.
    async fn replayed(&self, client: &Client, run: &RunName) -> Result<RecordedRun, Failure> {
        let recorded = replay::fetch(client, run.clone()).await.map_err(unfetched)?;
        let recorded = recorded.ok_or_else(|| gone(run))?;
        let replayer = Replayer::new().data_converter(self.starter.temporal.converter().clone());
        match replayer.replay(&recorded).await {
            Ok(()) => Ok(recorded),
            Err(failure) => Err(Failure::new(Code::ReplayFailed, failure.to_string())),
        }
    }

    async fn note_refusal(&self, operation: &Operation, why: &Failure) -> Result<(), Failure> {
        let mut tx = self.store.tenant(&operation.tenant).await?;
        operations::record_move_refused(&mut tx, operation, json!({ "code": why.code, "why": why.message })).await?;
        Ok(tx.commit().await?)
    }
}

async fn latest_run(client: &Client, operation: &Operation) -> Result<RunName, Failure> {
    let latest = replay::latest(client, &operation.workflow_id).await.map_err(unfetched)?;
    latest.ok_or_else(|| Failure::new(Code::NotFound, format!("Temporal knows no workflow {}", operation.workflow_id)))
}

async fn check_workers(client: &Client, version: &Version, queue: &str) -> Result<(), Failure> {
    let build_id = version.build_id();
    if deployment::build(client, version).await.map_err(failed)?.is_none() {
        return Err(Failure::new(Code::BuildUnknown, format!("no worker of build {build_id} has ever polled")));
    }
    if deployment::workers(client, version, queue).await.map_err(failed)?.is_empty() {
        let message = format!("no worker of build {build_id} polls every queue beside {queue}");
        return Err(Failure::new(Code::BuildWithoutWorkers, message));
    }
    Ok(())
}

fn gone(run: &RunName) -> Failure {
    Failure::new(Code::NotFound, format!("Temporal no longer keeps the history of {run}"))
}

fn failed(error: DeploymentError) -> Failure {
    let code = match error {
        DeploymentError::Unavailable(_) => Code::TemporalUnavailable,
        DeploymentError::Unknown(_) => Code::NotFound,
        DeploymentError::Refused(_) => Code::Internal,
    };
    Failure::new(code, error.to_string())
}

fn unfetched(error: ServerError) -> Failure {
    let code = match error {
        ServerError::Unavailable { .. } => Code::TemporalUnavailable,
        ServerError::Invalid { .. } => Code::ReplayFailed,
        ServerError::Query { .. } | ServerError::Refused { .. } => Code::Internal,
    };
    Failure::new(code, error.to_string())
}
