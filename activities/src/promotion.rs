//! The steps of `promote_model`.

use std::sync::Arc;

use leadline_domain::{Code, Failure, ModelState, operation::PromoteModel};
use leadline_store::{budgets, models};
use leadline_workflows::{
    StepInput,
    promote_model::{ActivateModel, ActivatedModel, CheckPromotion, ForgoNotice, NotifyOrg},
};
use serde_json::json;
use temporalio_macros::activities;
use temporalio_sdk::activities::{ActivityContext, ActivityError};

use crate::{
    attempt::{Attempt, Done, Undoing},
    callback::{self, Callback},
    services::Services,
    training::artifact_of,
};

pub struct PromoteActivities(pub(crate) Arc<Services>);

#[activities]
impl PromoteActivities {
    #[activity(definition = CheckPromotion)]
    pub async fn check_promotion(
        self: Arc<Self>,
        ctx: ActivityContext,
        input: StepInput<PromoteModel>,
    ) -> Result<(), ActivityError> {
        self.0.step(ctx, input, check_promotion).await
    }

    #[activity(definition = ActivateModel)]
    pub async fn activate_model(
        self: Arc<Self>,
        ctx: ActivityContext,
        input: StepInput<PromoteModel>,
    ) -> Result<ActivatedModel, ActivityError> {
        self.0.step(ctx, input, activate_model).await
    }

    #[activity(definition = NotifyOrg)]
    pub async fn notify_org(
        self: Arc<Self>,
        ctx: ActivityContext,
        input: StepInput<ActivatedModel>,
    ) -> Result<(), ActivityError> {
        self.0.step(ctx, input, notify_org).await
    }

    #[activity(definition = ForgoNotice)]
    pub async fn forgo_notice(
        self: Arc<Self>,
        ctx: ActivityContext,
        input: StepInput<ActivatedModel>,
    ) -> Result<(), ActivityError> {
        self.0.forgo(ctx, input, forgo_notice).await
    }
}

/// A model that cannot be read would leave the tenant without predictions.
async fn check_promotion(attempt: Attempt, promote: PromoteModel) -> Result<Done<()>, Failure> {
    let mut tx = attempt.read().await?;
    let model = models::get(&mut tx, &promote.model).await?;
    drop(tx);
    if model.state != ModelState::Production {
        let forbidden = |e: leadline_domain::model::ForbiddenTransition| {
            Failure::new(Code::ModelStateForbids, format!("{e} (model {})", promote.model))
        };
        model.state.become_state(ModelState::Production).map_err(forbidden)?;
    }
    artifact_of(attempt.services(), attempt.tenant(), &model).await?;
    attempt.finish_alone(&()).await
}

async fn activate_model(attempt: Attempt, promote: PromoteModel) -> Result<Done<ActivatedModel>, Failure> {
    let mut tx = attempt.fence().await?;
    let previous = models::activate(&mut tx, &promote.model).await?;
    let definition = models::get(&mut tx, &promote.model).await?.definition_name;
    attempt.finish_pivot(tx, &ActivatedModel { model: promote.model, definition, previous }).await
}

async fn notify_org(attempt: Attempt, activated: ActivatedModel) -> Result<Done<()>, Failure> {
    let body = json!({
        "event": "model-ready",
        "operationId": attempt.operation().operation,
        "modelId": activated.model,
        "definition": activated.definition,
        "previousModelId": activated.previous,
    });
    match callback::post(&attempt, Callback::ModelReady, &body).await {
        Ok(()) => {
            let mut tx = attempt.fence().await?;
            budgets::release(&mut tx, &attempt.operation().operation).await?;
            attempt.finish(tx, &()).await
        }
        Err(refused) => {
            let mut tx = attempt.fence().await?;
            let later = callback::next_attempt(&attempt, &mut tx, refused).await?;
            tx.commit().await?;
            Err(later.failure)
        }
    }
}

async fn forgo_notice(undoing: Undoing, _: ActivatedModel) -> Result<(), Failure> {
    let mut tx = undoing.begin().await?;
    budgets::release(&mut tx, &undoing.operation.operation).await?;
    Ok(tx.commit().await?)
}
