//! Parking: how a run waits for a person, and how the person's decision reaches it.
//!
//! Every saga answers to the updates `retry`, `skip` and `abandon`, whether the API sends them or somebody fills the form of the
//! Temporal UI in. A validator turns down what the parking does not allow, with the code at the start of its message, and leaves no
//! trace in the history; what it lets through is lying on the run's [`Desk`] when the run wakes.

use std::{error::Error, time::SystemTime};

use futures::{
    FutureExt as _,
    future::{Either, select},
};
use leadline_domain::{
    Code, Failure, OperationState,
    parking::{AtDeadline, Decision, Instruction, Parked, Stage, Verb},
};
use temporalio_sdk::{TimerOptions, WaitConditionOptions, WorkflowCancellationToken};

use crate::{call::Cancel, envelope::Parking, saga::Saga};

/// Where a decision is laid down for the run to find.
#[derive(Debug, Default)]
pub struct Desk {
    parked: Option<Parked>,
    decision: Option<Decision>,
}

/// A workflow with a desk: what `saga_workflow!` makes.
pub trait SagaWorkflow: 'static {
    fn desk(&self) -> &Desk;
    fn desk_mut(&mut self) -> &mut Desk;
}

/// How a parking ended.
pub(crate) enum Resolution {
    Decided(Decision),
    Cancelled,
    Expired,
}

type Refusal = Box<dyn Error + Send + Sync>;

impl Desk {
    /// # Errors
    /// `OPERATION_NOT_PARKED`, and what [`Parked::check`] says.
    pub(crate) fn check(&self, verb: Verb, instruction: &Instruction) -> Result<(), Refusal> {
        let not_parked = |why: &str| Failure::new(Code::OperationNotParked, why.to_owned());
        let checked = match (&self.parked, &self.decision) {
            (None, _) => Err(not_parked("the operation waits for nobody's decision")),
            (Some(_), Some(_)) => Err(not_parked("another decision came first")),
            (Some(parked), None) => parked.check(verb, instruction),
        };
        // The server passes nothing of a rejected update on but its message.
        checked.map_err(|failure| failure.to_string().into())
    }

    pub(crate) fn lay_down(&mut self, verb: Verb, instruction: Instruction) {
        self.decision = Some(Decision { verb, instruction });
    }

    pub(crate) fn parked(&self) -> Option<Parked> {
        self.parked.clone()
    }
}

impl<W: SagaWorkflow> Saga<W> {
    /// Parks until somebody decides, a cancel comes where one still reaches the run, or `deadline` has passed. Until the row says so
    /// too, nobody can decide through the API; in Temporal they can at once.
    pub(crate) async fn park(
        &mut self,
        stage: Stage,
        step: &str,
        skippable: bool,
        why: &Failure,
        deadline: std::time::Duration,
    ) -> Resolution {
        let kind = self.operation().kind;
        let parked = Parked { number: self.number_of_parking(), kind, step: step.to_owned(), verbs: stage.verbs(skippable) };
        let (cancel, at_deadline) = match stage {
            Stage::BeforePivot => (Cancel::Reaches, AtDeadline::Compensate),
            Stage::AfterPivot | Stage::Compensation => (Cancel::Detached, AtDeadline::Retry),
        };
        self.caller.ctx.state_mut(|saga| *saga.desk_mut() = Desk { parked: Some(parked.clone()), decision: None });
        let before = std::mem::replace(&mut self.state, OperationState::Parked);
        self.tell(Some(why.clone()), Some(Parking { parked, deadline, at_deadline }), None).await;
        let resolution = self.decided(cancel, deadline).await;
        self.caller.ctx.state_mut(|saga| *saga.desk_mut() = Desk::default());
        self.state = before;
        if let Resolution::Decided(decision) = &resolution {
            self.corrections.extend(decision.instruction.correction.clone());
            self.tell(self.standing.clone(), None, Some(decision.clone())).await;
        }
        resolution
    }

    /// A count would begin anew in a run that was reset, and what was decided about one parking be taken for another.
    fn number_of_parking(&mut self) -> u64 {
        let now = self.caller.ctx.workflow_time().and_then(|now| now.duration_since(SystemTime::UNIX_EPOCH).ok());
        let millis = now.and_then(|now| u64::try_from(now.as_millis()).ok()).unwrap_or_default();
        self.last_parking = millis.max(self.last_parking + 1);
        self.last_parking
    }

    async fn decided(&self, cancel: Cancel, deadline: std::time::Duration) -> Resolution {
        let ctx = &self.caller.ctx;
        let clock = WorkflowCancellationToken::new();
        let timer = ctx.timer(TimerOptions::builder(deadline).cancellation_token(clock.clone()).build());
        let options = WaitConditionOptions::builder().maybe_cancellation_token(self.caller.token(cancel)).build();
        let decision = ctx.wait_condition_with_options(|saga: &W| saga.desk().decision.is_some(), options);
        // The decision first: it counts when it comes with the task in which the deadline passes.
        let outcome = select(decision.boxed_local(), timer.boxed_local()).await;
        match outcome {
            Either::Left((Ok(()), _)) => {
                clock.cancel();
                ctx.state_mut(|saga| saga.desk_mut().decision.take()).map_or(Resolution::Expired, Resolution::Decided)
            }
            Either::Left((Err(_), _)) => {
                clock.cancel();
                Resolution::Cancelled
            }
            Either::Right(_) => Resolution::Expired,
        }
    }
}
