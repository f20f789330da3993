//! The drill's activities without a body: what is left is Temporal, the SDK and the saga core.

#![expect(dead_code, reason = "the macro makes a constant of each activity, for workflows that would call it by that")]

use leadline_domain::operation::RunDrill;
use leadline_workflows::{
    StepInput,
    envelope::{BeginOperation, Beginning, CloseOperation, Ending},
    run_drill::{CompleteDrill, DebriefDrill, PrepareDrill, RehearseDrill},
};
use temporalio_macros::activities;
use temporalio_sdk::activities::{ActivityContext, ActivityError};

pub struct NoOps;

#[activities]
impl NoOps {
    #[activity(definition = BeginOperation)]
    pub async fn begin_operation(_: ActivityContext, _: StepInput<()>) -> Result<Beginning, ActivityError> {
        Ok(Beginning::Run)
    }

    #[activity(definition = PrepareDrill)]
    pub async fn prepare_drill(_: ActivityContext, _: StepInput<RunDrill>) -> Result<(), ActivityError> {
        Ok(())
    }

    #[activity(definition = RehearseDrill)]
    pub async fn rehearse_drill(_: ActivityContext, _: StepInput<RunDrill>) -> Result<(), ActivityError> {
        Ok(())
    }

    #[activity(definition = CompleteDrill)]
    pub async fn complete_drill(_: ActivityContext, _: StepInput<RunDrill>) -> Result<(), ActivityError> {
        Ok(())
    }

    #[activity(definition = DebriefDrill)]
    pub async fn debrief_drill(_: ActivityContext, _: StepInput<RunDrill>) -> Result<(), ActivityError> {
        Ok(())
    }

    #[activity(definition = CloseOperation)]
    pub async fn close_operation(_: ActivityContext, _: StepInput<Ending>) -> Result<(), ActivityError> {
        Ok(())
    }
}
