//! The saga core: steps with their undos, a pivot, and what comes after it.
//!
//! ```text
//!                     every step done                    everything after the pivot done
//!   Running ────────────────────────────► pivot passed ────────────────────────────────────► Succeeded
//!    │   ▲                                    │    ▲     (a cancel is recorded, and changes nothing)
//!    │   └─ retry ── Parked ◄─ needs a person │    └─ retry, skip, deadline ── Parked
//!    │                 │                      └────────────────────────────────▲
//!    │ failed for good │ abandon,
//!    │ or cancelled    ▼ deadline, cancel
//!    └──────────► Compensating ── undos, newest first ──► Failed | Cancelled
//!                      └── an undo cannot go on ──► Parked ── retry, skip, deadline ──► Compensating
//! ```
//!
//! What the core holds to, so that a saga file need not:
//! - An undo is registered BEFORE its step is scheduled: a step that timed out may have taken effect.
//! - A step is scheduled to wait for its own cancellation, so that an undo never overlaps a living body. A body that the server
//!   has given up on is shut out by the ledger: the undo closes its epoch first.
//! - A pivot whose answer was lost is settled against the ledger, which decides once: it happened, or it never will.
//! - Undos and everything after the pivot run under a detached token and without an end. What they cannot do by themselves parks
//!   the run (`parking`), visibly, until a person decides or the deadline lets it try again.
//! - The closing write lands before the workflow ends; a second start of an ended operation does nothing.
//! - A run that was terminated by hand is started anew to unwind: it tells the story as far as the ledger has it, which names the
//!   undos, and stops there.
//!
//! A quota is waited out by a durable timer of the saga, and not by the server's retry, whose patience it would use up.

use leadline_domain::{
    Class, Code, Failure, OperationRef, OperationState, Verb,
    operation::SagaInput,
    parking::{Corrected, Correction, Stage},
};
use serde::de::DeserializeOwned;
use serde_json::Value as Json;
use temporalio_common::ActivityDefinition;
use temporalio_sdk::{WorkflowContext, WorkflowResult};

use crate::{
    call::{Caller, Cancel, Named, Role, reason},
    cancelling::Told,
    envelope::{ACCEPTANCE, Beginning, Ending, OperationSteps, Settlement, StepInput},
    forward::Forward,
    lane::Lane,
    limits::Limits,
    parking::{Resolution, SagaWorkflow},
    step::{Step, Undo},
    stop::{Stop, named_wait, report},
};

/// One run of a saga, before its pivot.
pub struct Saga<W> {
    pub(crate) caller: Caller<W>,
    pub(crate) undos: Vec<Undo<W>>,
    pivot_passed: bool,
    /// When the run is there to unwind what an earlier one did.
    pub(crate) unwinds: Option<Unwinding>,
    pub(crate) told: Told,
    pub(crate) corrections: Vec<Correction>,
    pub(crate) last_parking: u64,
    /// What was not undone, because a person said so.
    left_behind: Vec<String>,
    pub(crate) state: OperationState,
    /// Why the run is in its state, while it compensates.
    pub(crate) standing: Option<Failure>,
    pub(crate) shown: (OperationState, Option<Code>),
}

pub(crate) struct Unwinding {
    /// The steps that the ledger has as done.
    done: Vec<String>,
    /// Why the operation ends.
    why: Stop,
}

/// Runs a saga's story from the operation's beginning to its closing write.
///
/// The story returns the operation's result, or why it stopped before its pivot.
///
/// # Errors
/// The workflow's own end: failed with the code as its type, or cancelled.
pub async fn run<W: SagaWorkflow, P>(
    ctx: &WorkflowContext<W>,
    limits: Limits,
    input: SagaInput<P>,
    story: impl AsyncFnOnce(&mut Saga<W>, P) -> Result<Json, Stop>,
) -> WorkflowResult<Json> {
    let mut saga = Saga::new(ctx, limits, input.operation);
    match saga.begin().await {
        Ok(Beginning::Run) => {}
        Ok(Beginning::Unwind { done, why }) => {
            saga.caller.heeds_cancel = false;
            saga.unwinds = Some(Unwinding { done, why: why.map_or_else(terminated, Stop::from) });
        }
        Ok(Beginning::Ended { state }) => return Ok(saga.already(state)),
        Err(failure) => return Err(report(&failure).into()),
    }
    let told = story(&mut saga, input.params).await;
    let ending = saga.ending(told).await;
    saga.close(ending).await
}

impl<W: SagaWorkflow> Saga<W> {
    fn new(ctx: &WorkflowContext<W>, limits: Limits, operation: OperationRef) -> Self {
        Self {
            caller: Caller { ctx: ctx.clone(), operation, limits, heeds_cancel: true },
            undos: Vec::new(),
            pivot_passed: false,
            unwinds: None,
            told: Told::default(),
            corrections: Vec::new(),
            last_parking: 0,
            left_behind: Vec::new(),
            state: OperationState::Running,
            standing: None,
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
        Q: Clone + Corrected + 'static,
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
        P: Clone + Corrected,
    {
        let activity = Named::of(&activity);
        self.told.add(activity.name());
        let output = match self.attempt(&activity, params.clone(), Lane::Light, Role::Pivot).await {
            Ok(output) => output,
            Err(stop) => self.decide_pivot(&activity, params, stop).await?,
        };
        self.pivot_passed = true;
        self.show(None).await;
        Ok((output, Forward { saga: self }))
    }

    /// Runs a step until it succeeds or ends for good: waits out quotas and other named times, and parks for what a person has to
    /// mend.
    pub(crate) async fn attempt<A, P>(
        &mut self,
        activity: &Named<A>,
        params: P,
        lane: Lane,
        role: Role,
    ) -> Result<A::Output, Stop>
    where
        A: ActivityDefinition<Input = StepInput<P>>,
        P: Clone + Corrected,
    {
        loop {
            self.heed_cancel().await?;
            self.stay_within_the_ledger(activity.name())?;
            let params = self.corrected(params.clone());
            let stop = match self.caller.call(activity, activity.name(), params, lane, role).await {
                Ok(output) => {
                    self.show(None).await;
                    return Ok(output);
                }
                Err(stop) => stop,
            };
            let Stop::Failed(failure) = stop else {
                self.heed_cancel().await?;
                continue;
            };
            if let Some(wait) = named_wait(&failure) {
                self.show(Some(failure)).await;
                self.caller.wait(wait, Cancel::Reaches).await;
            } else if failure.class() == Class::NeedsOperator {
                self.await_a_person(activity.name(), failure).await?;
            } else if failure.code == Code::StepTimedOut && !self.all_told().await {
                // The ledger has it as done, and could not say so. What it has beyond would be left if this run stopped here.
                self.caller.wait(self.caller.limits.first_round, Cancel::Reaches).await;
            } else {
                return Err(Stop::Failed(failure));
            }
        }
    }

    /// Parks at a step before the pivot. Goes on when the step is to be tried again.
    async fn await_a_person(&mut self, step: &str, failure: Failure) -> Result<(), Stop> {
        let deadline = self.caller.limits.park_deadline;
        match self.park(Stage::BeforePivot, step, false, &failure, deadline).await {
            Resolution::Decided(decision) if decision.verb == Verb::Retry => Ok(()),
            Resolution::Decided(_) => {
                let message = format!("given up by a person while it was parked at {step} with {}", failure.code);
                Err(Stop::Failed(Failure::new(Code::OperationAbandoned, message)))
            }
            Resolution::Cancelled => self.heed_cancel().await,
            Resolution::Expired => Err(Stop::Failed(failure)),
        }
    }

    /// Finds out what became of a pivot that did not answer with success.
    async fn decide_pivot<A, P>(&mut self, activity: &Named<A>, params: P, stop: Stop) -> Result<A::Output, Stop>
    where
        A: ActivityDefinition<Input = StepInput<P>>,
        A::Output: DeserializeOwned,
        P: Clone + Corrected,
    {
        let mut pause = self.caller.limits.first_round;
        let mut failed: Option<Stop> = None;
        loop {
            // Anew after each answer: a refusal settles it.
            let decided = self.persist(&Named::of(&OperationSteps::decide_pivot), activity.name(), ()).await;
            match decided {
                Settlement::Refused => return Err(stop),
                Settlement::Happened(result) => match serde_json::from_value(result) {
                    Ok(output) => return Ok(output),
                    Err(_) => {
                        return self.caller.stuck(format!("the ledger's result of {} does not parse", activity.name())).await;
                    }
                },
                Settlement::Unknown => {
                    if let Some(failed) = failed.take() {
                        self.recover(Stage::AfterPivot, activity.name(), false, &failed, &mut pause).await;
                    }
                    let params = self.corrected(params.clone());
                    let again = self.caller.call(activity, activity.name(), params, Lane::Light, Role::AfterPivot).await;
                    match again {
                        Ok(output) => return Ok(output),
                        Err(stop) => failed = Some(stop),
                    }
                }
            }
        }
    }

    /// Runs what has to succeed, an undo or a step after the pivot, for as long as it takes. `None` when a person said to go on
    /// without it, where that is possible.
    pub(crate) async fn insist<A, P>(
        &mut self,
        stage: Stage,
        (activity, step): (&Named<A>, &str),
        params: P,
        lane: Lane,
        skippable: bool,
    ) -> Option<A::Output>
    where
        A: ActivityDefinition<Input = StepInput<P>>,
        P: Clone + Corrected,
    {
        let mut pause = self.caller.limits.first_round;
        let role = if stage == Stage::Compensation { Role::Undo } else { Role::AfterPivot };
        loop {
            let params = self.corrected(params.clone());
            match self.caller.call(activity, step, params, lane, role).await {
                Ok(output) => return Some(output),
                Err(failed) if self.recover(stage, step, skippable, &failed, &mut pause).await => {}
                Err(_) => return None,
            }
        }
    }

    /// Waits until a step that has to succeed can be tried again; `false` when it is to be gone without.
    ///
    /// What failed only by using its time up is tried again by itself, after twice as long each time; a person may be quicker.
    async fn recover(
        &mut self,
        stage: Stage,
        step: &str,
        skippable: bool,
        failed: &Stop,
        pause: &mut std::time::Duration,
    ) -> bool {
        let failure = reason(failed);
        if let Some(wait) = named_wait(&failure) {
            self.tell(Some(self.waiting(step, failure)), None, None).await;
            self.caller.wait(wait, Cancel::Detached).await;
            self.tell(self.standing.clone(), None, None).await;
            return true;
        }
        let failure = self.parking_for(failure);
        let deadline = if failure.code == Code::StepTimedOut { *pause } else { self.caller.limits.park_deadline };
        *pause = (*pause * 2).min(self.caller.limits.longest_round);
        match self.park(stage, step, skippable, &failure, deadline).await {
            Resolution::Decided(decision) => decision.verb != Verb::Skip,
            Resolution::Cancelled | Resolution::Expired => {
                self.show(self.standing.clone()).await;
                true
            }
        }
    }

    /// The row has one reason. While an undo waits by itself that is why anything is undone, which a run that takes this one's place
    /// goes on with.
    fn waiting(&self, step: &str, failure: Failure) -> Failure {
        let Some(cause) = &self.standing else { return failure };
        let message = format!("{} (the undo of {step} waits, {}: {})", cause.message, failure.code, failure.message);
        Failure { message, ..cause.clone() }
    }

    /// While an undo waits for a person, the reason is its own: the person decides by it.
    fn parking_for(&self, failure: Failure) -> Failure {
        let Some(cause) = &self.standing else { return failure };
        Failure { message: format!("{} (undone because of {}: {})", failure.message, cause.code, cause.message), ..failure }
    }

    /// # Errors
    /// When the run is there to unwind, and the run before had not finished the step. Its undo is registered by then: it may have begun.
    fn stay_within_the_ledger(&self, step: &str) -> Result<(), Stop> {
        match &self.unwinds {
            Some(unwinding) if !unwinding.done.iter().any(|name| name == step) => Err(unwinding.why.clone()),
            _ => Ok(()),
        }
    }

    fn corrected<P: Corrected>(&self, params: P) -> P {
        self.corrections.iter().fold(params, Corrected::corrected)
    }

    /// Undoes what was done, and says how the operation ends.
    async fn ending(&mut self, told: Result<Json, Stop>) -> Ending {
        match told {
            Ok(result) if self.pivot_passed => Ending::Succeeded { result, late_cancel: self.caller.cancel_requested() },
            Ok(_) => self.caller.stuck("the saga ended without passing its pivot".to_owned()).await,
            Err(_) if self.pivot_passed => self.caller.stuck("the saga stopped after its pivot".to_owned()).await,
            Err(stop) => {
                self.unwind(&stop).await;
                let left_behind = std::mem::take(&mut self.left_behind);
                match stop {
                    Stop::Cancelled => Ending::Cancelled { left_behind },
                    Stop::Failed(Failure { code, message, .. }) => Ending::Failed { code, message, left_behind },
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
        self.standing = Some(why);
        while let Some(undo) = self.undos.pop() {
            self.show(self.standing.clone()).await;
            if !undo.run(self).await {
                self.left_behind.push(undo.step().to_owned());
            }
        }
    }
}

fn terminated() -> Stop {
    Stop::Failed(Failure::new(Code::OperationTerminated, "its run was terminated in Temporal"))
}
