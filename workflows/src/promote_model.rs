//! Puts a registered model into production, in the place of the one that is there, and tells the org.
//!
//! Happy path: check that the model may be promoted and that its artifact can be read, activate it, tell the org.
//!
//! ```text
//!   check_promotion ─► activate_model ═pivot═► notify_org (repeated with backoff) ─► Succeeded
//! ```
//!
//! There is nothing to undo before the pivot, and afterwards a rollback is a promotion of the model before: it is Archived and
//! may become Production again.
//!
//! When it stops: `MODEL_STATE_FORBIDS` says what state the model is in. While the org cannot be told, `CALLBACK_REFUSED` or
//! `SALESFORCE_UNAVAILABLE` shows as the reason; the model answers predictions all the same.

use leadline_domain::{
    ModelId,
    operation::{PromoteModel, SagaInput},
};
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};
use temporalio_macros::{activity_definitions, workflow, workflow_methods};
use temporalio_sdk::{WorkflowContext, WorkflowResult, activities::ActivityError};

use crate::{
    envelope::StepInput,
    limits::Limits,
    saga::{self, Saga},
    stop::Stop,
};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActivatedModel {
    pub model: ModelId,
    pub definition: String,
    /// The model that it replaced.
    pub previous: Option<ModelId>,
}

pub struct PromoteSteps;

#[activity_definitions]
impl PromoteSteps {
    #[activity(name = "check_promotion")]
    pub fn check_promotion(_: StepInput<PromoteModel>) -> Result<(), ActivityError> {
        unimplemented!()
    }

    /// Archives the model in production and puts this one there, in one transaction.
    #[activity(name = "activate_model")]
    pub fn activate_model(_: StepInput<PromoteModel>) -> Result<ActivatedModel, ActivityError> {
        unimplemented!()
    }

    /// Calls the org's `model-ready`.
    #[activity(name = "notify_org")]
    pub fn notify_org(_: StepInput<ActivatedModel>) -> Result<(), ActivityError> {
        unimplemented!()
    }
}

pub use promote_steps::{ActivateModel, CheckPromotion, NotifyOrg};

#[workflow]
pub struct PromoteModelSaga {
    pub(crate) limits: Limits,
}

#[workflow_methods(factory_only)]
impl PromoteModelSaga {
    #[run(name = "promote_model")]
    pub async fn run(ctx: &mut WorkflowContext<Self>, input: SagaInput<PromoteModel>) -> WorkflowResult<Json> {
        let limits = ctx.state(|saga| saga.limits);
        saga::run(ctx, limits, input, promote_model).await
    }
}

async fn promote_model<W: 'static>(saga: &mut Saga<W>, promote: PromoteModel) -> Result<Json, Stop> {
    saga.step(PromoteSteps::check_promotion, promote.clone()).nothing_to_undo().await?;
    let (activated, mut forward) = saga.pivot(PromoteSteps::activate_model, promote).await?;
    forward.step(PromoteSteps::notify_org, activated.clone()).await;
    Ok(json!(activated))
}
