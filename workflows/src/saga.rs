//! The saga core: steps with their undos, a pivot, and what comes after it.
//!
//! ```text
//!                     every step done                    everything after the pivot done
//!   Running ────────────────────────────► pivot passed ────────────────────────────────────► Succeeded
//!      │                                                (a cancel is recorded, and changes nothing)
//!      │ a step failed for good, or a cancel
//!      ▼
//!   Compensating ── undos, newest first ──► Failed | Cancelled
//! ```
//!
//! What the core holds to, so that a saga file need not:
//! - An undo is registered BEFORE its step is scheduled: a step that timed out may have taken effect.
//! - A step is scheduled to wait for its own cancellation, so that an undo never overlaps a living body. A body that the server
//!   has given up on is shut out by the ledger: the undo closes its epoch first.
//! - A pivot whose answer was lost is settled against the ledger, which decides once: it happened, or it never will.
//! - Undos and everything after the pivot run under a detached token and without an end to their retries. While one cannot
//!   succeed, the reason shows in the search attributes and in the operation's row. (Parking takes the place of that wait.)
//! - The closing write lands before the workflow ends; a second start of an ended operation does nothing.
//!
//! A quota is waited out by a durable timer of the saga, and not by the server's retry, whose patience it would use up.

use leadline_domain::{
    Code, Failure, OperationRef, OperationState,
    operation::{SagaInput, attribute},
};
use serde::de::DeserializeOwned;
use serde_json::{Value as Json, json};
use temporalio_common::{ActivityDefinition, search_attributes::SearchAttributeKey};
use temporalio_sdk::{WorkflowContext, WorkflowResult, WorkflowTermination};

use crate::{
    call::{Caller, Cancel, Named, reason},
    envelope::{ACCEPTANCE, Beginning, Ending, OperationSteps, Settlement, StateChange, StepInput},
    lane::Lane,
    limits::Limits,
    step::{Step, Undo},
    stop::{Stop, named_wait, report},
};

/// What a run shows of itself in Temporal's visibility store.
pub const TENANT_ATTRIBUTE: SearchAttributeKey<String> = SearchAttributeKey::keyword(attribute::TENANT);
pub const KIND_ATTRIBUTE: SearchAttributeKey<String> = SearchAttributeKey::keyword(attribute::KIND);
pub const STATE_ATTRIBUTE: SearchAttributeKey<String> = SearchAttributeKey::keyword(attribute::STATE);
pub const REASON_ATTRIBUTE: SearchAttributeKey<String> = SearchAttributeKey::keyword(attribute::REASON);

/// One run of a saga, before its pivot.
pub struct Saga<W> {
    pub(crate) caller: Caller<W>,
    undos: Vec<Undo<W>>,
    pivot_passed: bool,
    state: OperationState,
    sequence: i64,
    shown: (OperationState, Option<Code>),
}

/// The run after its pivot. It has no way to fail: there is nothing left that could be undone.
pub struct Forward<'s, W> {
    saga: &'s mut Saga<W>,
}

/// Runs a saga's story from the operation's beginning to its closing write.
///
/// The story returns the operation's result, or why it stopped before its pivot.
///
/// # Errors
/// The workflow's own end: failed with the code as its type, or cancelled.
pub async fn run<W, P>(
    ctx: &WorkflowContext<W>,
    limits: Limits,
    input: SagaInput<P>,
    story: impl AsyncFnOnce(&mut Saga<W>, P) -> Result<Json, Stop>,
) -> WorkflowResult<Json> {
    let mut saga = Saga::new(ctx, limits, input.operation);
    match saga.begin().await {
        Ok(Beginning::Run { sequence }) => saga.sequence = sequence,
        Ok(Beginning::Ended { state }) => return Ok(json!({ "already": state })),
        Err(failure) => return Err(report(&failure).into()),
    }
    let told = story(&mut saga, input.params).await;
    let ending = saga.ending(told).await;
    saga.close(ending).await
}

impl<W> Saga<W> {
    fn new(ctx: &WorkflowContext<W>, limits: Limits, operation: OperationRef) -> Self {
        Self {
            caller: Caller { ctx: ctx.clone(), operation, limits },
            undos: Vec::new(),
            pivot_passed: false,
            state: OperationState::Running,
            sequence: 0,
            shown: (OperationState::Running, None),
        }
    }

    pub fn operation(&self) -> &OperationRef {
        &self.caller.operation
    }

    /// Names the undo of what the transaction wrote that accepted the operation. In the ledger it stands as the step
    /// [`ACCEPTANCE`]. Called first, it runs last.
    pub fn accepted<U, Q>(&mut self, undo: U, params: Q)
    where
        U: ActivityDefinition<Input = StepInput<Q>, Output = ()> + 'static,
        Q: Clone + 'static,
        W: 'static,
    {
        self.undos.push(Undo::new(&undo, ACCEPTANCE, params));
    }

    /// Announces a step. It cannot run before its undo is named, or that there is none.
    pub fn step<A, P>(&mut self, activity: A, params: P) -> Step<'_, W, A, P>
    where
        A: ActivityDefinition<Input = StepInput<P>>,
    {
        Step::new(self, &activity, params)
    }

    /// Runs the step after which the world has seen the effect.
    ///
    /// # Errors
    /// Why the pivot did not happen. Its epoch is then closed, so it never will.
    pub async fn pivot<A, P>(&mut self, activity: A, params: P) -> Result<(A::Output, Forward<'_, W>), Stop>
    where
        A: ActivityDefinition<Input = StepInput<P>>,
        A::Output: DeserializeOwned,
        P: Clone,
    {
        let activity = Named::of(&activity);
        let output = match self.attempt(&activity, params.clone(), Lane::Light).await {
            Ok(output) => output,
            Err(stop) => self.decide_pivot(&activity, params, stop).await?,
        };
        self.pivot_passed = true;
        self.show(None).await;
        Ok((output, Forward { saga: self }))
    }

    pub(crate) fn register(&mut self, undo: Undo<W>) {
        self.undos.push(undo);
    }

    /// Runs a step until it succeeds or ends for good, waiting out quotas and other named times.
    pub(crate) async fn attempt<A, P>(&mut self, activity: &Named<A>, params: P, lane: Lane) -> Result<A::Output, Stop>
    where
        A: ActivityDefinition<Input = StepInput<P>>,
        P: Clone,
    {
        loop {
            if self.caller.cancel_requested() {
                return Err(Stop::Cancelled);
            }
            let outcome = self.caller.call(activity, activity.name(), params.clone(), lane, Cancel::Reaches).await;
            let stop = match outcome {
                Ok(output) => {
                    self.show(None).await;
                    return Ok(output);
                }
                Err(stop) => stop,
            };
            let Stop::Failed(failure) = stop else { return Err(stop) };
            let Some(wait) = named_wait(&failure) else { return Err(Stop::Failed(failure)) };
            self.show(Some(failure)).await;
            self.caller.wait(wait, Cancel::Reaches).await;
        }
    }

    /// Finds out what became of a pivot that did not answer with success.
    async fn decide_pivot<A, P>(&mut self, activity: &Named<A>, params: P, stop: Stop) -> Result<A::Output, Stop>
    where
        A: ActivityDefinition<Input = StepInput<P>>,
        A::Output: DeserializeOwned,
        P: Clone,
    {
        let mut pause = self.caller.limits.first_round;
        loop {
            let decided = self.insist(&Named::of(&OperationSteps::decide_pivot), activity.name(), (), Lane::Light).await;
            match decided {
                Settlement::Refused => return Err(stop),
                Settlement::Happened(result) => match serde_json::from_value(result) {
                    Ok(output) => return Ok(output),
                    Err(e) => {
                        return self
                            .caller
                            .stuck(format!("the ledger's result of {} does not parse: {e}", activity.name()))
                            .await;
                    }
                },
                Settlement::Unknown => {
                    let again = self.caller.call(activity, activity.name(), params.clone(), Lane::Light, Cancel::Detached).await;
                    match again {
                        Ok(output) => return Ok(output),
                        Err(failed) => pause = self.wait_a_round(&failed, pause).await,
                    }
                }
            }
        }
    }

    /// Runs a step that must succeed, for as long as it takes.
    pub(crate) async fn insist<A, P>(&mut self, activity: &Named<A>, step: &str, params: P, lane: Lane) -> A::Output
    where
        A: ActivityDefinition<Input = StepInput<P>>,
        P: Clone,
    {
        let mut pause = self.caller.limits.first_round;
        loop {
            match self.caller.call(activity, step, params.clone(), lane, Cancel::Detached).await {
                Ok(output) => return output,
                Err(failed) => pause = self.wait_a_round(&failed, pause).await,
            }
        }
    }

    /// Shows why a step cannot succeed and waits: as long as the failure says, or else twice as long each time. Answers the next
    /// wait. This is where a run will park.
    async fn wait_a_round(&mut self, failed: &Stop, pause: std::time::Duration) -> std::time::Duration {
        let failure = reason(failed);
        let wait = named_wait(&failure).unwrap_or(pause);
        self.show(Some(failure)).await;
        self.caller.wait(wait, Cancel::Detached).await;
        (pause * 2).min(self.caller.limits.longest_round)
    }

    async fn begin(&mut self) -> Result<Beginning, Failure> {
        self.caller.ctx.upsert_search_attributes([
            TENANT_ATTRIBUTE.value_set(self.caller.operation.tenant.to_string()),
            KIND_ATTRIBUTE.value_set(self.caller.operation.kind.to_string()),
            STATE_ATTRIBUTE.value_set(OperationState::Running.to_string()),
        ]);
        let activity = Named::of(&OperationSteps::begin_operation);
        loop {
            match self.caller.call(&activity, activity.name(), (), Lane::Light, Cancel::Detached).await {
                Ok(beginning) => return Ok(beginning),
                // The database was away for longer than a step's patience: nothing is done yet, so nothing is lost by waiting.
                Err(Stop::Failed(failure)) if failure.code == Code::StepTimedOut => {}
                Err(stop) => return Err(reason(&stop)),
            }
        }
    }

    /// Undoes what was done, and says how the operation ends.
    async fn ending(&mut self, told: Result<Json, Stop>) -> Ending {
        match told {
            Ok(result) if self.pivot_passed => Ending::Succeeded { result, late_cancel: self.caller.cancel_requested() },
            Ok(_) => self.caller.stuck("the saga ended without passing its pivot".to_owned()).await,
            Err(_) if self.pivot_passed => self.caller.stuck("the saga stopped after its pivot".to_owned()).await,
            Err(stop) => {
                self.unwind(&stop).await;
                match stop {
                    Stop::Cancelled => Ending::Cancelled,
                    Stop::Failed(failure) => Ending::Failed { code: failure.code, message: failure.message },
                }
            }
        }
    }

    async fn unwind(&mut self, stop: &Stop) {
        if self.undos.is_empty() {
            return;
        }
        let why = match stop {
            Stop::Cancelled => Failure::new(stop.code(), "cancelled on request"),
            Stop::Failed(failure) => failure.clone(),
        };
        self.state = OperationState::Compensating;
        self.show(Some(why.clone())).await;
        while let Some(undo) = self.undos.pop() {
            undo.run(self).await;
            // An undo that had to wait has shown its own reason meanwhile.
            self.show(Some(why.clone())).await;
        }
    }

    /// Makes the state, with the reason for it, visible: in the search attributes and in the operation's row.
    async fn show(&mut self, why: Option<Failure>) {
        let code = why.as_ref().map(|f| f.code);
        if self.shown == (self.state, code) {
            return;
        }
        self.shown = (self.state, code);
        self.sequence += 1;
        self.publish(self.state, code);
        let change = StateChange { state: self.state, sequence: self.sequence, code, message: why.map(|f| f.message) };
        let activity = Named::of(&OperationSteps::record_state);
        let mut pause = self.caller.limits.first_round;
        // Not by `insist`: that shows why it waits, by coming here.
        while self.caller.call(&activity, activity.name(), change.clone(), Lane::Light, Cancel::Detached).await.is_err() {
            self.caller.wait(pause, Cancel::Detached).await;
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

    async fn close(mut self, ending: Ending) -> WorkflowResult<Json> {
        let activity = Named::of(&OperationSteps::close_operation);
        let name = activity.name().to_owned();
        self.insist(&activity, &name, ending.clone(), Lane::Light).await;
        let code = match &ending {
            Ending::Succeeded { .. } => None,
            Ending::Failed { code, .. } => Some(*code),
            Ending::Cancelled => Some(Code::Cancelled),
        };
        self.publish(ending.state(), code);
        match ending {
            Ending::Succeeded { result, .. } => Ok(result),
            Ending::Failed { code, message } => Err(report(&Failure::new(code, message)).into()),
            Ending::Cancelled => Err(WorkflowTermination::cancelled()),
        }
    }
}

impl<W> Forward<'_, W> {
    pub fn operation(&self) -> &OperationRef {
        self.saga.operation()
    }

    /// Runs a step that comes after the pivot. It can always be repeated, and it is, until it succeeds.
    pub async fn step<A, P>(&mut self, activity: A, params: P) -> A::Output
    where
        A: ActivityDefinition<Input = StepInput<P>>,
        P: Clone,
    {
        self.step_on(Lane::Light, activity, params).await
    }

    /// The same, on another lane's task queue.
    pub async fn step_on<A, P>(&mut self, lane: Lane, activity: A, params: P) -> A::Output
    where
        A: ActivityDefinition<Input = StepInput<P>>,
        P: Clone,
    {
        let activity = Named::of(&activity);
        let name = activity.name().to_owned();
        let output = self.saga.insist(&activity, &name, params, lane).await;
        self.saga.show(None).await;
        output
    }
}
