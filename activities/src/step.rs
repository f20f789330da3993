//! What every step goes through, and the rules by which a step stays right when it is repeated, killed, cancelled or woken late.
//!
//! **Ledger.** An attempt opens its step's row before it works. If the step is done, its recorded result is the answer and the
//! body does not run. The body's last effect in PostgreSQL commits in one transaction with the row ([`Attempt::finish`]); a
//! body cannot end well without it, since only that makes a [`Done`].
//!
//! **Fence.** [`Attempt::fence`] begins a transaction that holds the row's lock and has seen it open. An object becomes visible
//! in the lake, and a vendor is asked to create something, while the fence is held. An undo closes the epoch first, and for
//! that waits for the fence; whoever comes after it is refused with `EPOCH_CLOSED`, before anything is visible. So an attempt
//! that was given up and wakes up later changes nothing.
//!
//! The database gives a session up that has been idle for too long in its transaction, and the fence with it. An attempt that
//! was frozen between the fence and its effect may so make something that the undo has looked for in vain. It finds out when
//! it cannot commit, and takes it back itself ([`Attempt::or_take_back`]).
//!
//! **Undo.** It closes the epoch, in a transaction of its own, then undoes what the recorded facts say, then marks the row
//! undone. It may be repeated at any point, and it must be right for a step that never began.
//!
//! **Cancel.** A body is asked to stop and has a short time to end by itself, so that no vendor call is cut off in the middle;
//! then it is dropped, which is no worse than a crash. The same happens when the worker shuts down or the server gives up.
//!
//! **Heartbeat.** It says that the body gets on: a body that has not for a while is left to the server's timeout.
//!
//! **Permit.** Of a tenant's heavy steps only so many run at a time ([`Services::admit`]): one that gets no permit ends at once, holds
//! no slot, and is tried again by the server.
//!
//! **Pivot.** A saga's pivot ends by [`Attempt::finish_pivot`], which notes that the effect has been seen. From then on every undo
//! of the operation is refused with `PIVOT_PASSED`: a run that knows less than the ledger must not take back what others rely on.

use std::{future::Future, panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures::{FutureExt as _, TryFutureExt as _};
use leadline_domain::{Code, Failure, TenantId};
use leadline_store::{
    ledger::{self, StepKey, StepStart},
    operations,
};
use leadline_workflows::{Lane, StepInput, stop::report};
use serde::de::DeserializeOwned;
use serde_json::Value as Json;
use temporalio_sdk::activities::{ActivityContext, ActivityError};
use tokio::time::Instant;
use tracing::Instrument as _;

use crate::{
    attempt::{Attempt, Done, Undoing, whole_step},
    calls,
    faults::FaultKind,
    operation::{run_of, sequence},
    permit::{Admission, Permit},
    pulse::Pulse,
    services::Services,
};

/// Whose attempt it is.
pub(crate) struct AttemptInfo {
    pub(crate) lane: Lane,
    pub(crate) run: String,
    pub(crate) sequence: i64,
    /// Names the attempt among all of its step.
    pub(crate) holder: String,
}

impl AttemptInfo {
    fn new(ctx: &ActivityContext, lane: Lane) -> Self {
        let (info, run) = (ctx.info(), run_of(ctx));
        let holder = format!("{run} {} {}", info.activity_id, info.attempt);
        Self { lane, run, sequence: sequence(ctx), holder }
    }
}

/// How often a heartbeat is offered when the step names no timeout.
const DEFAULT_BEAT: Duration = Duration::from_secs(10);

impl Services {
    /// Runs a light step's body, or answers with what an earlier attempt has recorded.
    pub(crate) async fn step<P, R, F>(
        self: &Arc<Self>,
        ctx: ActivityContext,
        input: StepInput<P>,
        body: impl Fn(Attempt, P) -> F + Send + Sync,
    ) -> Result<R, ActivityError>
    where
        P: Clone + Send + Sync,
        R: DeserializeOwned,
        F: Future<Output = Result<Done<R>, Failure>> + Send,
    {
        self.step_on(Lane::Light, ctx, input, body).await
    }

    /// The same for a step of any lane. One that is heavy waits in line until it is its turn among the tenant's.
    pub(crate) async fn step_on<P, R, F>(
        self: &Arc<Self>,
        lane: Lane,
        ctx: ActivityContext,
        input: StepInput<P>,
        body: impl Fn(Attempt, P) -> F + Send + Sync,
    ) -> Result<R, ActivityError>
    where
        P: Clone + Send + Sync,
        R: DeserializeOwned,
        F: Future<Output = Result<Done<R>, Failure>> + Send,
    {
        let pulse = Arc::new(Pulse::new());
        let info = &AttemptInfo::new(&ctx, lane);
        let work = |fault: Option<FaultKind>| {
            let (input, pulse, body) = (input.clone(), Arc::clone(&pulse), &body);
            async move {
                let tenant = input.operation.tenant.clone();
                self.attempt(input, info, pulse, body, fault).inspect_err(|failure| self.doubt_org(&tenant, failure)).await
            }
        };
        let result = self.supervise(&ctx, &pulse, work).await?;
        serde_json::from_value(result).map_err(|e| {
            // Never the value: only what serde says about its shape.
            let found = format!("the recorded result does not parse ({:?} error)", e.classify());
            ActivityError::application(report(&Failure::new(Code::Internal, found)))
        })
    }

    /// Runs an undo: closes the epoch, lets the body undo, and records it. Refused once the operation has passed its pivot.
    pub(crate) async fn undo<P, F>(
        self: &Arc<Self>,
        ctx: ActivityContext,
        input: StepInput<P>,
        body: impl Fn(Undoing, P) -> F + Send + Sync,
    ) -> Result<(), ActivityError>
    where
        P: Clone + Send + Sync,
        F: Future<Output = Result<(), Failure>> + Send,
    {
        self.close_and(ctx, input, true, body).await
    }

    /// Runs what takes the place of a step after the pivot that a person skips: as an undo, it closes the step's epoch first.
    pub(crate) async fn forgo<P, F>(
        self: &Arc<Self>,
        ctx: ActivityContext,
        input: StepInput<P>,
        body: impl Fn(Undoing, P) -> F + Send + Sync,
    ) -> Result<(), ActivityError>
    where
        P: Clone + Send + Sync,
        F: Future<Output = Result<(), Failure>> + Send,
    {
        self.close_and(ctx, input, false, body).await
    }

    async fn close_and<P, F>(
        self: &Arc<Self>,
        ctx: ActivityContext,
        input: StepInput<P>,
        undoes: bool,
        body: impl Fn(Undoing, P) -> F + Send + Sync,
    ) -> Result<(), ActivityError>
    where
        P: Clone + Send + Sync,
        F: Future<Output = Result<(), Failure>> + Send,
    {
        let pulse = Arc::new(Pulse::new());
        let work = |fault: Option<FaultKind>| {
            let (input, body) = (input.clone(), &body);
            async move {
                let tenant = input.operation.tenant.clone();
                let Some(undoing) = self.close(&input, undoes).await? else { return Ok(()) };
                let undone = async {
                    if fault == Some(FaultKind::Repeat) {
                        Box::pin(body(undoing.clone(), input.params.clone())).await?;
                    }
                    Box::pin(body(undoing.clone(), input.params)).await
                };
                let outcome = undone.await.inspect_err(|failure| self.doubt_org(&tenant, failure));
                calls::settle(self, &undoing.operation, &undoing.meter).await;
                outcome?;
                let mut tx = self.store.tenant(&tenant).await?;
                ledger::mark_undone(&mut tx, &undoing.key).await?;
                Ok(tx.commit().await?)
            }
        };
        self.supervise(&ctx, &pulse, work).await
    }

    /// Closes the step's epoch; `None` when it is undone already.
    async fn close<P>(self: &Arc<Self>, input: &StepInput<P>, undoes: bool) -> Result<Option<Undoing>, Failure> {
        let key = key_of(input);
        let mut tx = self.store.tenant(&input.operation.tenant).await?;
        let closed = ledger::close_epoch(&mut tx, &key).await?;
        if undoes {
            operations::begin_undo(&mut tx, &key.operation).await?;
        }
        tx.commit().await?;
        let undoing = Undoing {
            services: Arc::clone(self),
            operation: input.operation.clone(),
            key,
            facts: closed.facts,
            meter: Arc::default(),
        };
        Ok((!closed.undone).then_some(undoing))
    }

    /// The org has refused what it was shown: the tenant's key may have been changed since it was read.
    fn doubt_org(&self, tenant: &TenantId, failure: &Failure) {
        if failure.code == Code::SalesforceAuthRefused {
            self.forget_org(tenant);
        }
    }

    async fn attempt<P, R, F>(
        self: &Arc<Self>,
        input: StepInput<P>,
        info: &AttemptInfo,
        pulse: Arc<Pulse>,
        body: &(impl Fn(Attempt, P) -> F + Send + Sync),
        fault: Option<FaultKind>,
    ) -> Result<Json, Failure>
    where
        P: Clone + Send,
        F: Future<Output = Result<Done<R>, Failure>> + Send,
    {
        let key = key_of(&input);
        let mut tx = self.store.tenant(&input.operation.tenant).await?;
        let facts = match ledger::open_step(&mut tx, &key).await? {
            StepStart::Done { result } => return Ok(result),
            StepStart::Fresh => Json::Object(serde_json::Map::new()),
            StepStart::Resumed { facts } => facts,
        };
        let permit = match self.admit(&mut tx, &key, info).await? {
            Admission::Granted(permit) => permit,
            Admission::InLine(waits) => {
                tx.commit().await?;
                return Err(waits);
            }
        };
        operations::begin_step(&mut tx, &key.operation, (&key.step, &whole_step(0)), (&info.run, info.sequence)).await?;
        tx.commit().await?;
        let (services, operation) = (Arc::clone(self), input.operation);
        let attempt = Attempt { services, operation, key, facts, pulse, meter: Arc::default() };
        let bodies = async {
            let _held = self.config.faults.hold(fault.as_ref(), &attempt.key.step).await;
            if fault == Some(FaultKind::Repeat) {
                drop(Box::pin(body(attempt.clone(), input.params.clone())).await);
            }
            Box::pin(body(attempt.clone(), input.params.clone())).await
        };
        let outcome = Permit::hold(permit, bodies).await;
        calls::settle(self, &attempt.operation, &attempt.meter).await;
        match outcome {
            Ok(done) => Ok(done.result),
            Err(failure) => self.finished_elsewhere(&attempt).await.ok_or(failure),
        }
    }

    /// The result of the attempt that has finished the step while this one failed, which is then no failure of the step. `None`
    /// also when the ledger cannot be asked.
    async fn finished_elsewhere(&self, attempt: &Attempt) -> Option<Json> {
        let mut tx = self.store.tenant_read(attempt.tenant()).await.ok()?;
        ledger::result(&mut tx, &attempt.key).await.ok()?
    }

    /// Keeps a body company: heartbeats while it gets on, asks it to stop when that is asked for, and turns whatever it ends
    /// with into what Temporal understands. What is to go wrong, goes wrong here.
    pub(crate) async fn supervise<R, F>(
        &self,
        ctx: &ActivityContext,
        pulse: &Pulse,
        work: impl Fn(Option<FaultKind>) -> F,
    ) -> Result<R, ActivityError>
    where
        F: Future<Output = Result<R, Failure>> + Send,
        R: Send,
    {
        let info = ctx.info();
        let (step, workflow) = (info.activity_type.as_str(), info.workflow_id.as_deref().unwrap_or_default());
        let span = tracing::info_span!("step", otel.name = step, step, workflow, attempt = info.attempt);
        let fault = self.config.faults.take(step);
        let held = fault == Some(FaultKind::Hold);
        let beat = info.heartbeat_timeout.map_or(DEFAULT_BEAT, |timeout| timeout / 3).max(Duration::from_millis(100));
        // On the heap: a body's future is large, and a test build would move it over the stack several times.
        let mut body = Box::pin(AssertUnwindSafe(faulty(fault, work).instrument(span.clone())).catch_unwind());
        // Not at once: that would cost a call to the server for each of the many steps that are over by then.
        let mut ticks = tokio::time::interval_at(Instant::now() + beat, beat);
        let mut drop_at: Option<Instant> = None;
        let outcome = loop {
            let dropped = async { tokio::time::sleep_until(drop_at.unwrap_or_else(Instant::now)).await };
            tokio::select! {
                biased;
                outcome = &mut body => break outcome,
                () = ctx.cancelled(), if drop_at.is_none() => {
                    pulse.ask_to_stop();
                    drop_at = Some(Instant::now() + self.config.cancel_grace);
                }
                () = dropped, if drop_at.is_some() => return Err(ActivityError::cancelled()),
                _ = ticks.tick() => {
                    if !held && pulse.is_fresh(self.config.stall_after) {
                        // Cannot fail for plain JSON; and a lost heartbeat is only a lost heartbeat.
                        let _ = ctx.record_heartbeat(leadline_codec::Stamped::of_run(workflow, pulse.progress())).await;
                    }
                }
            }
        };
        let _entered = span.enter();
        match outcome {
            Ok(Ok(result)) => Ok(result),
            Ok(Err(failure)) if failure.code == Code::Cancelled && drop_at.is_some() => Err(ActivityError::cancelled()),
            Ok(Err(failure)) => {
                match failure.code {
                    Code::ConcurrencyLimited => tracing::debug!(message = %failure.message, "step waits in line"),
                    code => tracing::warn!(%code, class = ?failure.class(), message = %failure.message, "step failed"),
                }
                Err(ActivityError::application(report(&failure)))
            }
            // The panic's own text may hold anything; the panic hook has shown it to whoever runs the worker.
            Err(_) => {
                tracing::error!(code = %Code::StepDefect, "step panicked");
                Err(ActivityError::application(report(&Failure::new(Code::StepDefect, "the step panicked"))))
            }
        }
    }
}

/// The work with its fault. A repeat runs all of it twice, and within it the body.
async fn faulty<R, F>(fault: Option<FaultKind>, work: impl Fn(Option<FaultKind>) -> F) -> Result<R, Failure>
where
    F: Future<Output = Result<R, Failure>>,
{
    match fault {
        Some(FaultKind::Refuse(failure)) => Err(failure),
        Some(FaultKind::LoseAnswer(failure)) => {
            drop(Box::pin(work(None)).await);
            Err(failure)
        }
        Some(FaultKind::Repeat) => {
            Box::pin(work(Some(FaultKind::Repeat))).await?;
            Box::pin(work(Some(FaultKind::Repeat))).await
        }
        other => Box::pin(work(other)).await,
    }
}

fn key_of<P>(input: &StepInput<P>) -> StepKey {
    StepKey { operation: input.operation.operation.clone(), step: input.step.clone(), epoch: input.epoch }
}
