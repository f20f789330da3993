//! Scheduling one activity with the options that every step has.

use std::{future, marker::PhantomData};

use leadline_domain::{Failure, OperationRef};
use temporalio_common::ActivityDefinition;
use temporalio_sdk::{
    ActivityCancellationType, ActivityCloseTimeouts, ActivityExecutionError, ActivityOptions, TimerOptions, TimerResult,
    WorkflowCancellationToken, WorkflowContext,
};
use temporalio_workflow::common::Priority;

use crate::{
    envelope::{FIRST_EPOCH, StepInput},
    lane::Lane,
    limits::Limits,
    stop::{Stop, failure_of},
};

/// An activity by its name and types, so that it can be scheduled more than once: the SDK's markers cannot be copied.
pub(crate) struct Named<A> {
    name: String,
    definition: PhantomData<fn() -> A>,
}

impl<A: ActivityDefinition> Named<A> {
    pub(crate) fn of(activity: &A) -> Self {
        Self { name: activity.name().to_owned(), definition: PhantomData }
    }
}

impl<A> Clone for Named<A> {
    fn clone(&self) -> Self {
        Self { name: self.name.clone(), definition: PhantomData }
    }
}

impl<A: ActivityDefinition> ActivityDefinition for Named<A> {
    type Input = A::Input;
    type Output = A::Output;

    fn name(&self) -> &str {
        &self.name
    }
}

/// Whether the operation's cancel reaches a step.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cancel {
    Reaches,
    /// Undos, and all that comes after the pivot, run to their end whatever anyone asks.
    Detached,
}

/// What an activity is in its saga.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Step,
    /// A step that says that there is nothing to undo.
    StepWithoutUndo,
    Pivot,
    AfterPivot,
    Undo,
    /// Keeps the operation's row.
    Course,
}

impl Role {
    fn cancel(self) -> Cancel {
        match self {
            Self::Step | Self::StepWithoutUndo | Self::Pivot => Cancel::Reaches,
            Self::AfterPivot | Self::Undo | Self::Course => Cancel::Detached,
        }
    }

    /// What the Temporal UI shows beside the activity's name.
    fn summary(self) -> Option<&'static str> {
        match self {
            Self::Step => Some("step"),
            Self::StepWithoutUndo => Some("step, nothing to undo"),
            Self::Pivot => Some("pivot"),
            Self::AfterPivot => Some("after the pivot"),
            Self::Undo => Some("undo"),
            Self::Course => None,
        }
    }
}

/// The run's context with what every step of it shares.
pub(crate) struct Caller<W> {
    pub(crate) ctx: WorkflowContext<W>,
    pub(crate) operation: OperationRef,
    pub(crate) limits: Limits,
    /// Whether a cancel of the run reaches its steps before the pivot.
    pub(crate) heeds_cancel: bool,
}

impl<W> Caller<W> {
    pub(crate) fn cancel_requested(&self) -> bool {
        self.ctx.cancellation_token().is_cancelled()
    }

    /// Runs one activity to its end under the server's retries. `step` is the name in the ledger.
    pub(crate) async fn call<A, P>(
        &self,
        activity: &Named<A>,
        step: &str,
        params: P,
        lane: Lane,
        role: Role,
    ) -> Result<A::Output, Stop>
    where
        A: ActivityDefinition<Input = StepInput<P>>,
    {
        let cancel = self.reach(role.cancel());
        let input = StepInput { operation: self.operation.clone(), step: step.to_owned(), epoch: FIRST_EPOCH, params };
        let outcome = self.ctx.execute_activity(activity.clone(), input, self.options(lane, role)).await;
        match outcome {
            Ok(output) => Ok(output),
            // Without serde's words, which may quote the value: this text reaches the server as it is.
            Err(ActivityExecutionError::Serialization(_)) => {
                self.stuck(format!("the answer of step {step} does not parse")).await
            }
            // A cancel that was asked for is why the step ended, whatever its body then said.
            Err(_) if cancel == Cancel::Reaches && self.cancel_requested() => Err(Stop::Cancelled),
            Err(error) => Err(failure_of(step, &error).map_or(Stop::Cancelled, Stop::Failed)),
        }
    }

    /// How far a cancel really reaches: a run that heeds none is out of its reach altogether.
    fn reach(&self, cancel: Cancel) -> Cancel {
        if self.heeds_cancel { cancel } else { Cancel::Detached }
    }

    /// The token of what the run does next; without one it is the run's own.
    pub(crate) fn token(&self, cancel: Cancel) -> Option<WorkflowCancellationToken> {
        (self.reach(cancel) == Cancel::Detached).then(WorkflowCancellationToken::new)
    }

    /// Waits by a durable timer; `false` when a cancel cut the wait short.
    pub(crate) async fn wait(&self, duration: std::time::Duration, cancel: Cancel) -> bool {
        let timer = TimerOptions::builder(duration).maybe_cancellation_token(self.token(cancel)).build();
        self.ctx.timer(timer).await == TimerResult::Fired
    }

    /// Fails the workflow task until another build of the worker can go on: a defect of leadline undoes nobody's work.
    pub(crate) async fn stuck<T>(&self, why: String) -> T {
        self.ctx.force_task_fail(why);
        future::pending().await
    }

    fn options(&self, lane: Lane, role: Role) -> ActivityOptions {
        let (attempt, patience) = self.limits.of(lane);
        ActivityOptions::with_close_timeouts(ActivityCloseTimeouts::ScheduleAndStartToClose {
            schedule_to_close: patience,
            start_to_close: attempt,
        })
        .task_queue(lane.queue(self.ctx.task_queue()))
        .heartbeat_timeout(self.limits.heartbeat)
        // With the default, an undo could overlap a body that is still running.
        .cancellation_type(ActivityCancellationType::WaitCancellationCompleted)
        .maybe_cancellation_token(self.token(role.cancel()))
        .maybe_summary(role.summary().map(str::to_owned))
        .retry_policy(self.limits.retry(lane))
        .priority(Priority::builder().fairness_key(self.operation.tenant.as_str()).build())
        // Eager activities bypass the task queue, and so its fairness between tenants.
        .do_not_eagerly_execute(true)
        .build()
    }
}

/// A step's failure as the reason that is shown while the run waits.
pub(crate) fn reason(stop: &Stop) -> Failure {
    match stop {
        Stop::Failed(failure) => failure.clone(),
        Stop::Cancelled => Failure::new(leadline_domain::Code::Cancelled, "the step ended as cancelled"),
    }
}
