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
//! `SALESFORCE_UNAVAILABLE` shows as the reason, and after a day the run parks with `CALLBACK_UNDELIVERED`: retry, or skip the
//! notice. The model answers predictions all the same.

use leadline_domain::{ModelId, operation::PromoteModel};
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};
use temporalio_macros::activity_definitions;
use temporalio_sdk::activities::ActivityError;

use crate::{envelope::StepInput, parking::SagaWorkflow, saga::Saga, saga_workflow::saga_workflow, stop::Stop};

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

    /// Gives back the calls that were reserved to tell the org.
    #[activity(name = "forgo_notice")]
    pub fn forgo_notice(_: StepInput<ActivatedModel>) -> Result<(), ActivityError> {
        unimplemented!()
    }
}

pub use promote_steps::{ActivateModel, CheckPromotion, ForgoNotice, NotifyOrg};

leadline_domain::nothing_to_correct!(ActivatedModel);

saga_workflow!(PromoteModelSaga, "promote_model", PromoteModel, promote_model);

async fn promote_model<W: SagaWorkflow>(saga: &mut Saga<W>, promote: PromoteModel) -> Result<Json, Stop> {
    saga.step(PromoteSteps::check_promotion, promote.clone()).nothing_to_undo().await?;
    let (activated, mut forward) = saga.pivot(PromoteSteps::activate_model, promote).await?;
    forward.optional_step(PromoteSteps::notify_org, PromoteSteps::forgo_notice, activated.clone()).await;
    Ok(json!(activated))
}
