//! A cancel before the pivot: the story stops, and what was told is undone.
//!
//! A run may be younger than its operation: it was reset, or it follows one that Temporal has lost. An earlier run has then begun steps
//! that this one has not told yet, and what is not told is not undone. So a cancel is heeded once all of them are told: up to there the
//! ledger answers for each, and none is done anew. The step at which it is heeded is told as well: an attempt of the earlier run may be
//! about to begin it, and its undo shuts that out.

use crate::{call::Named, envelope::OperationSteps, parking::SagaWorkflow, saga::Saga, stop::Stop};

/// How far the run has told its story, beside how far the operation has come.
#[derive(Debug, Default)]
pub(crate) struct Told {
    steps: Vec<String>,
    /// The steps that the ledger has, once the run had to ask.
    begun: Option<Vec<String>>,
}

impl Told {
    pub(crate) fn add(&mut self, step: &str) {
        self.steps.push(step.to_owned());
    }

    fn has_all_of(&self, begun: &[String]) -> bool {
        begun.iter().all(|step| self.steps.contains(step))
    }
}

impl<W: SagaWorkflow> Saga<W> {
    /// # Errors
    /// Once a cancel is asked for and everything is told that was begun. A run that is there to unwind pays it no heed: it undoes in any
    /// case, unless the ledger has the pivot.
    pub(crate) async fn heed_cancel(&mut self) -> Result<(), Stop> {
        if self.unwinds.is_some() || !self.caller.cancel_requested() {
            return Ok(());
        }
        let all_told = self.all_told().await;
        // Until then the cancel does not reach the steps either.
        self.caller.heeds_cancel = all_told;
        if all_told { Err(Stop::Cancelled) } else { Ok(()) }
    }

    /// Whether every step is told that any run of the operation has begun.
    pub(crate) async fn all_told(&mut self) -> bool {
        let begun = match self.told.begun.take() {
            Some(begun) => begun,
            None => self.persist(&Named::of(&OperationSteps::begun_steps), "begun_steps", ()).await,
        };
        let all_told = self.told.has_all_of(&begun);
        self.told.begun = Some(begun);
        all_told
    }
}
