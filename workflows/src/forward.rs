//! What comes after the pivot: it can always be repeated, and there is no way back.

use leadline_domain::{
    OperationRef,
    parking::{Corrected, Stage},
};
use temporalio_common::ActivityDefinition;

use crate::{call::Named, envelope::StepInput, lane::Lane, parking::SagaWorkflow, saga::Saga};

/// The run after its pivot. It has no way to fail: there is nothing left that could be undone.
pub struct Forward<'s, W> {
    pub(crate) saga: &'s mut Saga<W>,
}

impl<W: SagaWorkflow> Forward<'_, W> {
    pub fn operation(&self) -> &OperationRef {
        self.saga.operation()
    }

    /// Runs a step that comes after the pivot. It can always be repeated, and it is, until it succeeds.
    pub async fn step<A, P>(&mut self, activity: A, params: P) -> A::Output
    where
        A: ActivityDefinition<Input = StepInput<P>>,
        P: Clone + Corrected,
    {
        self.step_on(Lane::Light, activity, params).await
    }

    /// The same, on another lane's task queue.
    pub async fn step_on<A, P>(&mut self, lane: Lane, activity: A, params: P) -> A::Output
    where
        A: ActivityDefinition<Input = StepInput<P>>,
        P: Clone + Corrected,
    {
        let activity = Named::of(&activity);
        let name = activity.name().to_owned();
        let output = self.saga.insist(Stage::AfterPivot, (&activity, &name), params, lane, false).await;
        self.saga.show(None).await;
        match output {
            Some(output) => output,
            None => self.saga.caller.stuck(format!("step {name} was skipped, which it cannot be")).await,
        }
    }

    /// Runs a step that the operation can do without: when a person skips it, `instead` closes its epoch and leaves things as if
    /// there was nothing to do.
    pub async fn optional_step<A, U, P>(&mut self, activity: A, instead: U, params: P)
    where
        A: ActivityDefinition<Input = StepInput<P>, Output = ()>,
        U: ActivityDefinition<Input = StepInput<P>, Output = ()>,
        P: Clone + Corrected,
    {
        let activity = Named::of(&activity);
        let name = activity.name().to_owned();
        let done = self.saga.insist(Stage::AfterPivot, (&activity, &name), params.clone(), Lane::Light, true).await;
        if done.is_none() {
            self.saga.insist(Stage::AfterPivot, (&Named::of(&instead), &name), params, Lane::Light, false).await;
        }
        self.saga.show(None).await;
    }
}
