//! The course of a run as others see it: the operation's row follows it, and so do the search attributes of the workflow.
//!
//! These steps keep the row itself. When one of them fails there is nowhere to say so, and nothing that a person could decide
//! about it: the database is away, and the run waits until it is back.

use leadline_domain::{Code, Failure, OperationState, operation::attribute, parking::Decision};
use serde_json::{Value as Json, json};
use temporalio_common::{ActivityDefinition, search_attributes::SearchAttributeKey};
use temporalio_sdk::{WorkflowResult, WorkflowTermination};

use crate::{
    call::{Cancel, Named, Role},
    envelope::{Beginning, Ending, OperationSteps, Parking, StateChange, StepInput},
    lane::Lane,
    parking::SagaWorkflow,
    saga::Saga,
    stop::{Stop, report},
};

/// What a run shows of itself in Temporal's visibility store.
pub const TENANT_ATTRIBUTE: SearchAttributeKey<String> = SearchAttributeKey::keyword(attribute::TENANT);
pub const KIND_ATTRIBUTE: SearchAttributeKey<String> = SearchAttributeKey::keyword(attribute::KIND);
pub const STATE_ATTRIBUTE: SearchAttributeKey<String> = SearchAttributeKey::keyword(attribute::STATE);
pub const REASON_ATTRIBUTE: SearchAttributeKey<String> = SearchAttributeKey::keyword(attribute::REASON);

impl<W: SagaWorkflow> Saga<W> {
    pub(crate) async fn begin(&mut self) -> Result<Beginning, Failure> {
        self.caller.ctx.upsert_search_attributes([
            TENANT_ATTRIBUTE.value_set(self.caller.operation.tenant.to_string()),
            KIND_ATTRIBUTE.value_set(self.caller.operation.kind.to_string()),
            STATE_ATTRIBUTE.value_set(OperationState::Running.to_string()),
        ]);
        let activity = Named::of(&OperationSteps::begin_operation);
        let mut pause = self.caller.limits.first_round;
        loop {
            match self.caller.call(&activity, activity.name(), (), Lane::Light, Role::Course).await {
                Ok(beginning) => return Ok(beginning),
                // Without a row there is nobody to tell, and nothing that could be undone.
                Err(Stop::Failed(failure)) if failure.code == Code::OperationNotFound => return Err(failure),
                // Nothing is done yet, so nothing is lost by waiting.
                Err(_) => self.caller.wait(pause, Cancel::Detached).await,
            };
            pause = (pause * 2).min(self.caller.limits.longest_round);
        }
    }

    /// The end of a run that found its operation ended.
    pub(crate) fn already(&self, state: OperationState) -> Json {
        self.publish(state, None);
        json!({ "already": state })
    }

    /// Makes the state, with the reason for it, visible: in the search attributes and in the operation's row.
    pub(crate) async fn show(&mut self, why: Option<Failure>) {
        let code = why.as_ref().map(|f| f.code);
        if self.shown != (self.state, code) {
            self.tell(why, None, None).await;
        }
    }

    /// The same with what a parked run waits for, or with what ended its parking.
    pub(crate) async fn tell(&mut self, why: Option<Failure>, parking: Option<Parking>, decision: Option<Decision>) {
        let code = why.as_ref().map(|f| f.code);
        self.shown = (self.state, code);
        self.publish(self.state, code);
        let message = why.map(|f| f.message);
        let change = StateChange { state: self.state, code, message, parking, decision };
        self.persist(&Named::of(&OperationSteps::record_state), "record_state", change).await;
    }

    /// Runs a step that keeps the operation's row, until it succeeds.
    pub(crate) async fn persist<A, P>(&mut self, activity: &Named<A>, step: &str, params: P) -> A::Output
    where
        A: ActivityDefinition<Input = StepInput<P>>,
        P: Clone,
    {
        let mut pause = self.caller.limits.first_round;
        loop {
            match self.caller.call(activity, step, params.clone(), Lane::Light, Role::Course).await {
                Ok(output) => return output,
                Err(_) => self.caller.wait(pause, Cancel::Detached).await,
            };
            pause = (pause * 2).min(self.caller.limits.longest_round);
        }
    }

    /// An attribute that was set cannot be unset: SDK 1.1.1 sends an empty payload for that, which the server refuses. A reason
    /// that has gone is therefore an empty text.
    fn publish(&self, state: OperationState, reason: Option<Code>) {
        let state = STATE_ATTRIBUTE.value_set(state.to_string());
        let was_set = self.caller.ctx.search_attributes().contains_key(&REASON_ATTRIBUTE);
        let reason = match reason {
            Some(code) => Some(REASON_ATTRIBUTE.value_set(code.to_string())),
            None => was_set.then(|| REASON_ATTRIBUTE.value_set(String::new())),
        };
        self.caller.ctx.upsert_search_attributes([state].into_iter().chain(reason));
    }

    /// The one closing write, and then the workflow's own end.
    pub(crate) async fn close(mut self, ending: Ending) -> WorkflowResult<Json> {
        self.persist(&Named::of(&OperationSteps::close_operation), "close_operation", ending.clone()).await;
        let code = match &ending {
            Ending::Succeeded { .. } => None,
            Ending::Failed { code, .. } => Some(*code),
            Ending::Cancelled { .. } => Some(Code::Cancelled),
        };
        self.publish(ending.state(), code);
        match ending {
            Ending::Succeeded { result, .. } => Ok(result),
            Ending::Failed { code, message, .. } => Err(report(&Failure::new(code, message)).into()),
            Ending::Cancelled { .. } => Err(WorkflowTermination::cancelled()),
        }
    }
}
