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
//! Faults for tests belong into [`supervise`]: it surrounds every body, forward and undo.

use std::{future::Future, marker::PhantomData, panic::AssertUnwindSafe, pin::pin, sync::Arc, time::Duration};

use futures::{FutureExt as _, TryFutureExt as _};
use leadline_domain::{Code, Failure, OperationRef, TenantId};
use leadline_salesforce::{Meter, OrgClient};
use leadline_store::{
    TenantTx,
    ledger::{self, LedgerRow, StepKey, StepStart, StepState},
    operations::{self, Progress},
};
use leadline_workflows::{StepInput, stop::report};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value as Json;
use temporalio_sdk::activities::{ActivityContext, ActivityError};
use tokio::time::Instant;
use tracing::Instrument as _;

use crate::{calls, pulse::Pulse, services::Services};

/// How often a heartbeat is offered when the step names no timeout.
const DEFAULT_BEAT: Duration = Duration::from_secs(10);

/// One attempt at a step: what its body works with.
#[derive(Clone)]
pub(crate) struct Attempt {
    services: Arc<Services>,
    operation: OperationRef,
    key: StepKey,
    facts: Json,
    pulse: Arc<Pulse>,
    meter: Arc<Meter>,
}

/// Proof that a step's result stands in the ledger.
pub(crate) struct Done<R> {
    result: Json,
    of: PhantomData<fn() -> R>,
}

/// An undo under way: the epoch is closed.
#[derive(Clone)]
pub(crate) struct Undoing {
    services: Arc<Services>,
    pub(crate) operation: OperationRef,
    pub(crate) key: StepKey,
    /// What the step recorded on its way.
    pub(crate) facts: Json,
    meter: Arc<Meter>,
}

impl Services {
    /// Runs a step's body, or answers with what an earlier attempt has recorded.
    pub(crate) async fn step<P, R, F>(
        self: &Arc<Self>,
        ctx: ActivityContext,
        input: StepInput<P>,
        body: impl FnOnce(Attempt, P) -> F + Send,
    ) -> Result<R, ActivityError>
    where
        P: Send,
        R: DeserializeOwned,
        F: Future<Output = Result<Done<R>, Failure>> + Send,
    {
        let pulse = Arc::new(Pulse::new());
        let tenant = input.operation.tenant.clone();
        let work = self.attempt(input, Arc::clone(&pulse), body).inspect_err(|failure| self.doubt_org(&tenant, failure));
        let result = self.supervise(&ctx, &pulse, work).await?;
        serde_json::from_value(result).map_err(|e| {
            // Never the value: only what serde says about its shape.
            let found = format!("the recorded result does not parse ({:?} error)", e.classify());
            ActivityError::application(report(&Failure::new(Code::Internal, found)))
        })
    }

    /// Runs an undo: closes the epoch, lets the body undo, and records it.
    pub(crate) async fn undo<P, F>(
        self: &Arc<Self>,
        ctx: ActivityContext,
        input: StepInput<P>,
        body: impl FnOnce(Undoing, P) -> F + Send,
    ) -> Result<(), ActivityError>
    where
        P: Send,
        F: Future<Output = Result<(), Failure>> + Send,
    {
        let pulse = Arc::new(Pulse::new());
        let tenant = input.operation.tenant.clone();
        let work = async {
            let key = key_of(&input);
            let mut tx = self.store.tenant(&tenant).await?;
            let closed = ledger::close_epoch(&mut tx, &key).await?;
            tx.commit().await?;
            if closed.undone {
                return Ok(());
            }
            let undoing = Undoing {
                services: Arc::clone(self),
                operation: input.operation,
                key: key.clone(),
                facts: closed.facts,
                meter: Arc::default(),
            };
            let outcome = body(undoing.clone(), input.params).await;
            calls::settle(self, &undoing.operation, &undoing.meter).await;
            outcome?;
            let mut tx = self.store.tenant(&tenant).await?;
            ledger::mark_undone(&mut tx, &key).await?;
            Ok(tx.commit().await?)
        };
        let work = work.inspect_err(|failure| self.doubt_org(&tenant, failure));
        self.supervise(&ctx, &pulse, work).await
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
        pulse: Arc<Pulse>,
        body: impl FnOnce(Attempt, P) -> F + Send,
    ) -> Result<Json, Failure>
    where
        F: Future<Output = Result<Done<R>, Failure>> + Send,
    {
        let key = key_of(&input);
        let mut tx = self.store.tenant(&input.operation.tenant).await?;
        let facts = match ledger::open_step(&mut tx, &key).await? {
            StepStart::Done { result } => return Ok(result),
            StepStart::Fresh => Json::Object(serde_json::Map::new()),
            StepStart::Resumed { facts } => facts,
        };
        operations::progress(&mut tx, &key.operation, &key.step, &whole_step(0)).await?;
        tx.commit().await?;
        let (services, operation) = (Arc::clone(self), input.operation);
        let attempt = Attempt { services, operation, key, facts, pulse, meter: Arc::default() };
        let outcome = body(attempt.clone(), input.params).await;
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
    /// with into what Temporal understands.
    pub(crate) async fn supervise<R>(
        &self,
        ctx: &ActivityContext,
        pulse: &Pulse,
        body: impl Future<Output = Result<R, Failure>> + Send,
    ) -> Result<R, ActivityError> {
        let info = ctx.info();
        let (step, workflow) = (info.activity_type.as_str(), info.workflow_id.as_deref().unwrap_or_default());
        let span = tracing::info_span!("step", otel.name = step, step, workflow, attempt = info.attempt);
        let beat = info.heartbeat_timeout.map_or(DEFAULT_BEAT, |timeout| timeout / 3).max(Duration::from_millis(100));
        let mut body = pin!(AssertUnwindSafe(body.instrument(span.clone())).catch_unwind());
        let mut ticks = tokio::time::interval(beat);
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
                    if pulse.is_fresh(self.config.stall_after) {
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
                tracing::warn!(code = %failure.code, class = ?failure.class(), message = %failure.message, "step failed");
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

impl Attempt {
    pub(crate) fn services(&self) -> &Arc<Services> {
        &self.services
    }

    pub(crate) fn operation(&self) -> &OperationRef {
        &self.operation
    }

    /// The tenant's org, whose calls count on this attempt.
    pub(crate) async fn org(&self) -> Result<OrgClient, Failure> {
        Ok(self.services.org(self.tenant()).await?.metered_by(Arc::clone(&self.meter)))
    }

    pub(crate) fn meter(&self) -> &Meter {
        &self.meter
    }

    pub(crate) fn tenant(&self) -> &TenantId {
        &self.operation.tenant
    }

    pub(crate) fn key(&self) -> &StepKey {
        &self.key
    }

    /// The epoch as the lake counts it.
    pub(crate) fn epoch(&self) -> i64 {
        i64::from(self.key.epoch)
    }

    /// What earlier attempts recorded.
    pub(crate) fn facts(&self) -> &Json {
        &self.facts
    }

    /// A transaction that holds nothing; for reads.
    pub(crate) async fn read(&self) -> Result<TenantTx, Failure> {
        Ok(self.services.store.tenant_read(self.tenant()).await?)
    }

    /// A transaction under the step's open epoch, whose lock keeps an undo waiting until it ends.
    pub(crate) async fn fence(&self) -> Result<TenantTx, Failure> {
        let mut tx = self.services.store.tenant(self.tenant()).await?;
        ledger::require_open(&mut tx, &self.key).await?;
        Ok(tx)
    }

    /// The step's row, after whatever is being committed of the step, and a transaction that keeps it so.
    pub(crate) async fn row(&self) -> Result<(TenantTx, LedgerRow), Failure> {
        let mut tx = self.services.store.tenant(self.tenant()).await?;
        let row = ledger::locked(&mut tx, &self.key).await?;
        Ok((tx, row))
    }

    /// Whether an undo has begun.
    pub(crate) async fn is_closed(&self) -> Result<bool, Failure> {
        let (_tx, row) = self.row().await?;
        Ok(matches!(row.state, StepState::Closed | StepState::Undone))
    }

    /// Hands on how the transaction ended in which an effect outside of PostgreSQL was made. If it failed and the effect is
    /// `lost`, so that neither another attempt nor the undo will see to it, the effect is taken back.
    pub(crate) async fn or_take_back<R>(
        &self,
        outcome: Result<R, Failure>,
        lost: impl Future<Output = Result<bool, Failure>> + Send,
        take_back: impl Future<Output = Result<(), Failure>> + Send,
    ) -> Result<R, Failure> {
        if outcome.is_err() {
            let taken_back = async { if lost.await? { take_back.await } else { Ok(()) } };
            if let Err(left) = taken_back.await {
                tracing::warn!(code = %left.code, message = %left.message, "what a failed attempt made may be left behind");
            }
        }
        outcome
    }

    /// Records facts for later attempts and for the undo.
    pub(crate) async fn note(&self, facts: Json) -> Result<(), Failure> {
        let mut tx = self.services.store.tenant(self.tenant()).await?;
        ledger::record_facts(&mut tx, &self.key, &facts).await?;
        Ok(tx.commit().await?)
    }

    /// Commits the step's last effect with its result.
    pub(crate) async fn finish<R: Serialize>(&self, mut tx: TenantTx, result: &R) -> Result<Done<R>, Failure> {
        let progress = self.pulse.progress().unwrap_or_else(|| whole_step(1));
        operations::progress(&mut tx, &self.key.operation, &self.key.step, &progress).await?;
        let result = serde_json::to_value(result)
            .map_err(|e| Failure::new(Code::Internal, format!("a result cannot be written ({:?} error)", e.classify())))?;
        let result = ledger::finish_step(tx, &self.key, &result).await?;
        Ok(Done { result, of: PhantomData })
    }

    /// The same for a step without an effect in PostgreSQL.
    pub(crate) async fn finish_alone<R: Serialize>(&self, result: &R) -> Result<Done<R>, Failure> {
        let tx = self.services.store.tenant(self.tenant()).await?;
        self.finish(tx, result).await
    }

    /// Says that the body gets on, and how far it is.
    pub(crate) fn progress(&self, unit: &str, done: i64, total: Option<i64>) -> Progress {
        let progress = Progress { unit: unit.to_owned(), done, total };
        self.pulse.beat(Some(progress.clone()));
        progress
    }

    pub(crate) fn pulse(&self) -> &Arc<Pulse> {
        &self.pulse
    }

    /// # Errors
    /// `CANCELLED` once the body was asked to stop: between two pieces of work, never in the middle of one.
    pub(crate) fn go_on(&self) -> Result<(), Failure> {
        if self.pulse.stop_asked() { Err(stopped()) } else { Ok(()) }
    }

    /// Waits, unless the body is asked to stop meanwhile.
    pub(crate) async fn pause(&self, duration: Duration) -> Result<(), Failure> {
        tokio::select! {
            () = tokio::time::sleep(duration) => Ok(()),
            () = self.pulse.stop() => Err(stopped()),
        }
    }
}

impl Undoing {
    pub(crate) fn services(&self) -> &Arc<Services> {
        &self.services
    }

    /// The tenant's org, whose calls count on this undo.
    pub(crate) async fn org(&self) -> Result<OrgClient, Failure> {
        Ok(self.services.org(self.tenant()).await?.metered_by(Arc::clone(&self.meter)))
    }

    pub(crate) fn tenant(&self) -> &TenantId {
        &self.operation.tenant
    }

    pub(crate) fn epoch(&self) -> i64 {
        i64::from(self.key.epoch)
    }

    pub(crate) async fn begin(&self) -> Result<TenantTx, Failure> {
        Ok(self.services.store.tenant(self.tenant()).await?)
    }

    /// Why the operation is being undone, as its row says.
    pub(crate) async fn reason(&self, tx: &mut TenantTx) -> Result<(Code, String), Failure> {
        let row = operations::get(tx, &self.operation.operation).await?;
        let code = row.code.unwrap_or(Code::Cancelled);
        Ok((code, row.message.unwrap_or_else(|| "undone".to_owned())))
    }
}

fn key_of<P>(input: &StepInput<P>) -> StepKey {
    StepKey { operation: input.operation.operation.clone(), step: input.step.clone(), epoch: input.epoch }
}

/// The progress of a step that counts nothing.
fn whole_step(done: i64) -> Progress {
    Progress { unit: "steps".to_owned(), done, total: Some(1) }
}

fn stopped() -> Failure {
    Failure::new(Code::Cancelled, "the step was asked to stop")
}
