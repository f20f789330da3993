//! The steps of `run_drill`.

use std::sync::Arc;

use leadline_domain::{
    Code, Failure, OperationId,
    operation::{DrillWait, RunDrill},
};
use leadline_store::{
    TenantTx,
    drills::{self, Asker},
};
use leadline_workflows::{
    StepInput,
    run_drill::{ClearDrill, CompleteDrill, DebriefDrill, ForgoDebriefing, PrepareDrill, RehearseDrill},
};
use temporalio_macros::activities;
use temporalio_sdk::activities::{ActivityContext, ActivityError};

use crate::{
    attempt::{Attempt, Done, Undoing},
    operation::{run_of, sequence},
    services::Services,
};

pub struct DrillActivities(pub(crate) Arc<Services>);

#[activities]
impl DrillActivities {
    #[activity(definition = PrepareDrill)]
    pub async fn prepare_drill(self: Arc<Self>, ctx: ActivityContext, input: StepInput<RunDrill>) -> Result<(), ActivityError> {
        self.0.step(ctx, input, prepare_drill).await
    }

    #[activity(definition = ClearDrill)]
    pub async fn clear_drill(self: Arc<Self>, ctx: ActivityContext, input: StepInput<RunDrill>) -> Result<(), ActivityError> {
        let asker = asker(&ctx);
        self.0.undo(ctx, input, move |undoing, drill| clear_drill(undoing, drill, asker.clone())).await
    }

    #[activity(definition = RehearseDrill)]
    pub async fn rehearse_drill(self: Arc<Self>, ctx: ActivityContext, input: StepInput<RunDrill>) -> Result<(), ActivityError> {
        let asker = asker(&ctx);
        self.0.step(ctx, input, move |attempt, drill| rehearse_drill(attempt, drill, asker.clone())).await
    }

    #[activity(definition = CompleteDrill)]
    pub async fn complete_drill(self: Arc<Self>, ctx: ActivityContext, input: StepInput<RunDrill>) -> Result<(), ActivityError> {
        self.0.step(ctx, input, complete_drill).await
    }

    #[activity(definition = DebriefDrill)]
    pub async fn debrief_drill(self: Arc<Self>, ctx: ActivityContext, input: StepInput<RunDrill>) -> Result<(), ActivityError> {
        let asker = asker(&ctx);
        self.0.step(ctx, input, move |attempt, drill| debrief_drill(attempt, drill, asker.clone())).await
    }

    #[activity(definition = ForgoDebriefing)]
    pub async fn forgo_debriefing(
        self: Arc<Self>,
        ctx: ActivityContext,
        input: StepInput<RunDrill>,
    ) -> Result<(), ActivityError> {
        self.0.forgo(ctx, input, |_, _| async { Ok(()) }).await
    }
}

fn asker(ctx: &ActivityContext) -> Asker {
    Asker { run: run_of(ctx), scheduled: sequence(ctx) }
}

async fn prepare_drill(attempt: Attempt, _: RunDrill) -> Result<Done<()>, Failure> {
    let mut tx = attempt.fence().await?;
    drills::prepare(&mut tx, &attempt.key().operation).await?;
    attempt.finish(tx, &()).await
}

async fn rehearse_drill(attempt: Attempt, drill: RunDrill, asker: Asker) -> Result<Done<()>, Failure> {
    let tx = match drill.wait_at {
        DrillWait::BeforePivot => answered(attempt.fence().await?, &attempt.key().operation, &asker).await?,
        DrillWait::Undo => return Err(Failure::new(Code::DrillFailed, "the drill fails, as it was told to")),
        DrillWait::AfterPivot | DrillWait::Nowhere => attempt.fence().await?,
    };
    attempt.finish(tx, &()).await
}

async fn complete_drill(attempt: Attempt, _: RunDrill) -> Result<Done<()>, Failure> {
    let mut tx = attempt.fence().await?;
    drills::complete(&mut tx, &attempt.key().operation).await?;
    attempt.finish_pivot(tx, &()).await
}

async fn debrief_drill(attempt: Attempt, drill: RunDrill, asker: Asker) -> Result<Done<()>, Failure> {
    let operation = &attempt.key().operation;
    let mut tx = attempt.fence().await?;
    if drill.wait_at == DrillWait::AfterPivot {
        tx = answered(tx, operation, &asker).await?;
    }
    drills::debrief(&mut tx, operation).await?;
    attempt.finish(tx, &()).await
}

async fn clear_drill(undoing: Undoing, drill: RunDrill, asker: Asker) -> Result<(), Failure> {
    let operation = &undoing.operation.operation;
    let mut tx = undoing.begin().await?;
    if drill.wait_at == DrillWait::Undo && drills::exists(&mut tx, operation).await? {
        tx = answered(tx, operation, &asker).await?;
    }
    drills::clear(&mut tx, operation).await?;
    Ok(tx.commit().await?)
}

/// Goes on once an operator has answered.
///
/// # Errors
/// `DRILL_WAITS` until then.
async fn answered(mut tx: TenantTx, operation: &OperationId, asker: &Asker) -> Result<TenantTx, Failure> {
    if drills::ask(&mut tx, operation, asker).await? {
        return Ok(tx);
    }
    tx.commit().await?;
    Err(Failure::new(Code::DrillWaits, "the drill waits for an operator: retry it, or whatever else is possible here"))
}
