//! The steps that keep the operation's own row. They have no row in the ledger: each is right however often it runs.

use std::sync::Arc;

use leadline_domain::{Code, Failure, OperationState};
use leadline_store::{
    audit::{self, AuditEntry},
    ledger::{self, StepKey, StepStart},
    operations::{self, Closing, CourseUpdate},
};
use leadline_workflows::{
    StepInput,
    envelope::{BeginOperation, Beginning, CloseOperation, DecidePivot, Ending, RecordState, Settlement, StateChange},
};
use serde_json::{Value as Json, json};
use temporalio_macros::activities;
use temporalio_sdk::activities::{ActivityContext, ActivityError};

use crate::{pulse::Pulse, services::Services};

/// The fact by which a pivot's body says that a vendor is about to be asked, and, set to false, that it has refused.
pub(crate) const ASKED: &str = "asked";

pub struct OperationActivities(pub(crate) Arc<Services>);

#[activities]
impl OperationActivities {
    #[activity(definition = BeginOperation)]
    pub async fn begin_operation(
        self: Arc<Self>,
        ctx: ActivityContext,
        input: StepInput<()>,
    ) -> Result<Beginning, ActivityError> {
        let run = ctx.info().workflow_run_id.clone().unwrap_or_default();
        self.0.supervise(&ctx, &Pulse::new(), begin(&self.0, input, run)).await
    }

    #[activity(definition = RecordState)]
    pub async fn record_state(self: Arc<Self>, ctx: ActivityContext, input: StepInput<StateChange>) -> Result<(), ActivityError> {
        self.0.supervise(&ctx, &Pulse::new(), record(&self.0, input)).await
    }

    #[activity(definition = CloseOperation)]
    pub async fn close_operation(self: Arc<Self>, ctx: ActivityContext, input: StepInput<Ending>) -> Result<(), ActivityError> {
        self.0.supervise(&ctx, &Pulse::new(), close(&self.0, input)).await
    }

    #[activity(definition = DecidePivot)]
    pub async fn decide_pivot(self: Arc<Self>, ctx: ActivityContext, input: StepInput<()>) -> Result<Settlement, ActivityError> {
        self.0.supervise(&ctx, &Pulse::new(), decide(&self.0, input)).await
    }
}

async fn begin(services: &Services, input: StepInput<()>, run: String) -> Result<Beginning, Failure> {
    let id = &input.operation.operation;
    let mut tx = services.store.tenant(&input.operation.tenant).await?;
    let row = operations::get(&mut tx, id).await?;
    if row.state.is_ended() {
        return Ok(Beginning::Ended { state: row.state });
    }
    operations::record_start(&mut tx, id, &run).await?;
    let sequence = row.sequence + 1;
    let update = CourseUpdate { sequence, state: OperationState::Running, step: None, code: None, message: None };
    operations::update_state(&mut tx, id, &update).await?;
    tx.commit().await?;
    Ok(Beginning::Run { sequence })
}

async fn record(services: &Services, input: StepInput<StateChange>) -> Result<(), Failure> {
    let StateChange { state, sequence, code, message } = input.params;
    let mut tx = services.store.tenant(&input.operation.tenant).await?;
    let update = CourseUpdate { sequence, state, step: None, code, message };
    operations::update_state(&mut tx, &input.operation.operation, &update).await?;
    Ok(tx.commit().await?)
}

async fn close(services: &Services, input: StepInput<Ending>) -> Result<(), Failure> {
    let state = input.params.state();
    let (closing, late_cancel) = match input.params {
        Ending::Succeeded { result, late_cancel } => {
            let message =
                late_cancel.then(|| "a cancel was asked for after the effect had been seen, and changed nothing".to_owned());
            (Closing { state, result: Some(result), code: None, message }, late_cancel)
        }
        Ending::Failed { code, message } => (Closing { state, result: None, code: Some(code), message: Some(message) }, false),
        Ending::Cancelled => {
            let message = "cancelled on request; everything it did is undone".to_owned();
            (Closing { state, result: None, code: Some(Code::Cancelled), message: Some(message) }, false)
        }
    };
    let mut tx = services.store.tenant(&input.operation.tenant).await?;
    let before = operations::get(&mut tx, &input.operation.operation).await?;
    operations::close(&mut tx, &input.operation.operation, &closing).await?;
    if late_cancel && !before.state.is_ended() {
        operations::note_late_cancel(&mut tx, &input.operation.operation).await?;
        let entry = AuditEntry {
            tenant: &input.operation.tenant,
            operation: Some(&input.operation.operation),
            actor: "worker",
            action: "operation.late_cancel",
            detail: json!({ "state": state }),
        };
        audit::append(&mut tx, &entry).await?;
    }
    Ok(tx.commit().await?)
}

/// Reads the pivot's ledger row under its lock. If the pivot is not done and no vendor may have heard of it, its epoch is
/// closed in the same transaction, so that the answer stays true.
async fn decide(services: &Services, input: StepInput<()>) -> Result<Settlement, Failure> {
    let key = StepKey { operation: input.operation.operation.clone(), step: input.step, epoch: input.epoch };
    let mut tx = services.store.tenant(&input.operation.tenant).await?;
    let facts = match ledger::open_step(&mut tx, &key).await {
        Ok(StepStart::Done { result }) => return Ok(Settlement::Happened(result)),
        Ok(StepStart::Resumed { facts }) => facts,
        Ok(StepStart::Fresh) => Json::Null,
        Err(error) if error.code() == Some(Code::EpochClosed) => return Ok(Settlement::Refused),
        Err(error) => return Err(error.into()),
    };
    if facts.get(ASKED).and_then(Json::as_bool) == Some(true) {
        return Ok(Settlement::Unknown);
    }
    ledger::close_epoch(&mut tx, &key).await?;
    tx.commit().await?;
    Ok(Settlement::Refused)
}
