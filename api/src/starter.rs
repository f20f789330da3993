//! Tells Temporal what was accepted, cancelled and decided: at once, or later by the sweeper.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use futures::stream::{self, StreamExt as _};
use leadline_domain::{Code, Failure, OperationState};
use leadline_store::{
    Store, claims,
    operations::{self, Operation},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{Instrument, Span, debug, info_span, warn};

use crate::{
    config::SweepConfig,
    metrics,
    start_limit::StartLimit,
    temporal::{Delivered, Temporal},
};

/// The caller's own words stay in the audit log: a workflow's history cannot be edited, and people write names.
const CANCEL_REASON: &str = "asked for through the API";

/// Decisions that are sent at the same time.
const DECISIONS_AT_ONCE: usize = 16;

/// Starts of one tenant that are sent at the same time.
const STARTS_PER_TENANT: usize = 1;

/// A delivery that takes longer gives its turn to the next. Each call to Temporal has its own, shorter limit.
const TURN: Duration = Duration::from_secs(30);

/// Brings the workflows of operations up to what their rows say.
#[derive(Clone)]
pub struct Starter {
    pub(crate) store: Store,
    pub(crate) temporal: Temporal,
    limit: StartLimit,
    under_way: TaskTracker,
}

impl Starter {
    pub fn new(store: Store, temporal: Temporal) -> Self {
        Self { store, temporal, limit: StartLimit::new(STARTS_PER_TENANT), under_way: TaskTracker::new() }
    }

    /// Starts the operation beside the caller, who has its answer already, when it is its turn.
    pub fn launch(&self, operation: &Operation) {
        if operation.state != OperationState::Accepted || operation.run_id.is_some() {
            return;
        }
        if let Some(place) = self.limit.join(operation.reference()) {
            self.beside(operation, |starter, operation| async move {
                let _turn = place.turn().await;
                let delivered = tokio::time::timeout(TURN, starter.deliver_unless_ended(&operation)).await;
                delivered.unwrap_or_else(|_| Err(Failure::new(Code::TemporalUnavailable, "the start has not ended in time")))
            });
        }
    }

    /// In line, the operation may have been started otherwise, cancelled and ended.
    async fn deliver_unless_ended(&self, operation: &Operation) -> Result<(), Failure> {
        let now = self.read_anew(operation).await?;
        if now.ended_at.is_some() { Ok(()) } else { self.deliver(&now).await }
    }

    pub(crate) async fn read_anew(&self, operation: &Operation) -> Result<Operation, Failure> {
        let mut tx = self.store.tenant_read(&operation.tenant).await?;
        Ok(operations::get(&mut tx, &operation.id).await?)
    }

    /// Tells Temporal of a cancel that is written down, beside the caller.
    pub fn cancel(&self, operation: &Operation) {
        self.beside(operation, |starter, operation| async move { starter.deliver(&operation).await });
    }

    /// Sends a decision that is written down, beside the caller.
    pub fn decide(&self, operation: &Operation) {
        self.beside(operation, |starter, operation| async move { starter.deliver_decision(&operation).await });
    }

    async fn deliver_decision(&self, operation: &Operation) -> Result<(), Failure> {
        let Some(parking) = &operation.parking else { return Ok(()) };
        let Some(decision) = &parking.decision else { return Ok(()) };
        let delivered = self.temporal.decide(&operation.reference(), decision).await?;
        let mut tx = self.store.tenant(&operation.tenant).await?;
        match delivered {
            Delivered::Taken => operations::record_decision(&mut tx, &operation.id, parking.number).await?,
            Delivered::Refused(why) => {
                warn!(verb = %decision.verb, why, "the run did not take the decision");
                operations::withdraw_decision(&mut tx, operation, decision, &why).await?;
            }
        }
        Ok(tx.commit().await?)
    }

    /// What cannot be delivered now, the sweeper delivers.
    fn beside<F>(&self, operation: &Operation, deliver: impl FnOnce(Self, Operation) -> F)
    where
        F: Future<Output = Result<(), Failure>> + Send + 'static,
    {
        let span = span_of(operation);
        let delivered = deliver(self.clone(), operation.clone());
        let delivery = async move {
            if let Err(failure) = delivered.await {
                warn!(code = %failure.code, reason = failure.message, "left to the sweeper");
            }
        };
        self.under_way.spawn(delivery.instrument(span));
    }

    /// Brings Temporal up to what the row says. An operation that was never started is started also when it is to be cancelled,
    /// so that it unwinds and closes as every other.
    async fn deliver(&self, operation: &Operation) -> Result<(), Failure> {
        if operation.run_id.is_none() {
            self.start(operation).await?;
        }
        self.deliver_cancel(operation).await
    }

    /// Tells the run of a cancel, if one was asked for.
    pub(crate) async fn deliver_cancel(&self, operation: &Operation) -> Result<(), Failure> {
        if operation.cancel_requested_at.is_some() {
            self.temporal.cancel(&operation.reference(), CANCEL_REASON).await?;
            let mut tx = self.store.tenant(&operation.tenant).await?;
            operations::record_cancel(&mut tx, &operation.id).await?;
            tx.commit().await?;
        }
        Ok(())
    }

    async fn start(&self, operation: &Operation) -> Result<(), Failure> {
        let run_id = self.start_workflow(operation).await?;
        if let Some(run_id) = run_id {
            let mut tx = self.store.tenant(&operation.tenant).await?;
            operations::record_start(&mut tx, &operation.id, &run_id).await?;
            tx.commit().await?;
        }
        Ok(())
    }

    async fn start_workflow(&self, operation: &Operation) -> Result<Option<String>, Failure> {
        match self.temporal.start(&operation.reference(), operation.params.clone()).await {
            Ok(started) => {
                metrics::count_start();
                debug!(operation = %operation.id, run_id = started.run_id, "started");
                Ok(started.run_id)
            }
            Err(failure) => {
                metrics::count_start_failure();
                Err(failure)
            }
        }
    }

    /// Waits until no start is under way.
    pub async fn settle(&self) {
        self.under_way.close();
        self.under_way.wait().await;
    }

    /// Delivers, again and again until `stop`, what Temporal has not been told yet.
    pub async fn sweep(self, config: SweepConfig, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(config.interval) => {}
            }
            // Beside each other: a decision needs a living worker, and starts must not wait for one.
            let (starts, decisions, runs) = tokio::join!(
                self.sweep_once(config.older_than, config.batch),
                self.sweep_decisions(config.batch),
                self.reconcile(&config),
            );
            for outcome in [starts, decisions, runs] {
                match outcome {
                    Ok(0) => {}
                    Ok(delivered) => debug!(delivered, "swept"),
                    Err(failure) => {
                        metrics::count_sweep_failure();
                        warn!(code = %failure.code, reason = failure.message, "a sweep was given up; the next one goes on");
                    }
                }
            }
        }
    }

    /// Nothing is locked meanwhile: what two sweepers deliver, Temporal takes once. One operation that Temporal refuses does not hold
    /// up the others; when Temporal does not answer at all, the rest waits for the next sweep. What this process has in line gets its
    /// turn, but a cancel does not wait for it.
    async fn sweep_once(&self, older_than: Duration, batch: u32) -> Result<usize, Failure> {
        self.forget_expired().await?;
        let mut tx = self.store.operator().await?;
        let waiting = operations::undelivered(&mut tx, older_than, batch).await?;
        drop(tx);
        let mut delivered = 0;
        let in_line = |operation: &Operation| self.limit.holds(&operation.reference());
        for operation in waiting.iter().filter(|operation| operation.cancel_requested_at.is_some() || !in_line(operation)) {
            match self.deliver(operation).instrument(span_of(operation)).await {
                Ok(()) => delivered += 1,
                Err(failure) if failure.code == Code::TemporalUnavailable => return Err(failure),
                Err(failure) => {
                    metrics::count_sweep_failure();
                    warn!(operation = %operation.id, code = %failure.code, reason = failure.message, "cannot be delivered");
                }
            }
        }
        Ok(delivered)
    }

    /// Several at once, since each waits for a worker.
    async fn sweep_decisions(&self, batch: u32) -> Result<usize, Failure> {
        let mut tx = self.store.operator().await?;
        let waiting = operations::undelivered_decisions(&mut tx, batch).await?;
        drop(tx);
        let delivered = AtomicUsize::new(0);
        let delivering = stream::iter(waiting).for_each_concurrent(DECISIONS_AT_ONCE, async |operation| {
            match self.deliver_decision(&operation).instrument(span_of(&operation)).await {
                Ok(()) => drop(delivered.fetch_add(1, Ordering::Relaxed)),
                Err(failure) => {
                    metrics::count_sweep_failure();
                    warn!(operation = %operation.id, code = %failure.code, reason = failure.message, "cannot be decided yet");
                    // It goes to the end of the queue, so that others get their turn.
                    self.put_off(&operation).await;
                }
            }
        });
        delivering.await;
        Ok(delivered.into_inner())
    }

    async fn put_off(&self, operation: &Operation) {
        let put_off = async {
            let mut tx = self.store.tenant(&operation.tenant).await?;
            operations::put_off_decision(&mut tx, &operation.id).await?;
            tx.commit().await
        };
        if let Err(error) = put_off.await {
            warn!(operation = %operation.id, %error, "the decision stays at the head of the queue");
        }
    }

    /// Deletes fields and answers that were promised to be kept no longer than until now.
    async fn forget_expired(&self) -> Result<(), Failure> {
        let mut tx = self.store.operator().await?;
        claims::purge(&mut tx).await?;
        Ok(tx.commit().await?)
    }
}

fn span_of(operation: &Operation) -> Span {
    info_span!("start", operation = %operation.id, tenant = %operation.tenant, kind = %operation.kind)
}
