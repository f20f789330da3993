//! A drill: a saga with everything that a saga has, which touches nothing but a row of its own. Operators practise on it.
//!
//! Happy path: write the row, go through the rehearsal, mark the row as completed, mark it as debriefed.
//!
//! ```text
//!   prepare_drill ─► rehearse_drill ─► complete_drill ═pivot═► debrief_drill ─► Succeeded
//!   └ clear_drill
//! ```
//!
//! Compensation, in reverse order: the row goes.
//!
//! It waits for an operator with `DRILL_WAITS` where it was told to: at `rehearse_drill` (retry or abandon), at `debrief_drill`
//! (retry or skip), or, after it has failed with `DRILL_FAILED`, at the undo `clear_drill` (retry or skip).

use leadline_domain::operation::RunDrill;
use serde_json::{Value as Json, json};
use temporalio_macros::activity_definitions;
use temporalio_sdk::activities::ActivityError;

use crate::{envelope::StepInput, parking::SagaWorkflow, saga::Saga, saga_workflow::saga_workflow, stop::Stop};

pub struct DrillSteps;

#[activity_definitions]
impl DrillSteps {
    #[activity(name = "prepare_drill")]
    pub fn prepare_drill(_: StepInput<RunDrill>) -> Result<(), ActivityError> {
        unimplemented!()
    }

    #[activity(name = "clear_drill")]
    pub fn clear_drill(_: StepInput<RunDrill>) -> Result<(), ActivityError> {
        unimplemented!()
    }

    #[activity(name = "rehearse_drill")]
    pub fn rehearse_drill(_: StepInput<RunDrill>) -> Result<(), ActivityError> {
        unimplemented!()
    }

    #[activity(name = "complete_drill")]
    pub fn complete_drill(_: StepInput<RunDrill>) -> Result<(), ActivityError> {
        unimplemented!()
    }

    #[activity(name = "debrief_drill")]
    pub fn debrief_drill(_: StepInput<RunDrill>) -> Result<(), ActivityError> {
        unimplemented!()
    }

    /// Closes the debriefing that an operator skips; there is nothing to give back.
    #[activity(name = "forgo_debriefing")]
    pub fn forgo_debriefing(_: StepInput<RunDrill>) -> Result<(), ActivityError> {
        unimplemented!()
    }
}

pub use drill_steps::{ClearDrill, CompleteDrill, DebriefDrill, ForgoDebriefing, PrepareDrill, RehearseDrill};

saga_workflow!(RunDrillSaga, "run_drill", RunDrill, run_drill);

async fn run_drill<W: SagaWorkflow>(saga: &mut Saga<W>, drill: RunDrill) -> Result<Json, Stop> {
    saga.step(DrillSteps::prepare_drill, drill.clone()).undo(DrillSteps::clear_drill, drill.clone()).await?;
    saga.step(DrillSteps::rehearse_drill, drill.clone()).nothing_to_undo().await?;
    let ((), mut forward) = saga.pivot(DrillSteps::complete_drill, drill.clone()).await?;
    forward.optional_step(DrillSteps::debrief_drill, DrillSteps::forgo_debriefing, drill).await;
    Ok(json!({}))
}
