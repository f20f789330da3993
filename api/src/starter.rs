//! Starts what was accepted: at once beside the answer, or later by the sweeper.

use std::{sync::Arc, time::Duration};

use leadline_domain::{Failure, OperationState};
use leadline_store::{
    Store, claims,
    operations::{self, Operation},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{Instrument, debug, info_span, warn};

use crate::{config::SweepConfig, metrics::Metrics, temporal::Temporal};

/// Why the sweeper, and not a caller, asks a run to cancel.
const LATE_CANCEL: &str = "the cancel was asked for before the run was started";

/// Starts and cancels the workflows of operations.
#[derive(Clone)]
pub struct Starter {
    store: Store,
    temporal: Temporal,
    metrics: Arc<Metrics>,
    under_way: TaskTracker,
}

impl Starter {
    pub fn new(store: Store, temporal: Temporal, metrics: Arc<Metrics>) -> Self {
        Self { store, temporal, metrics, under_way: TaskTracker::new() }
    }

    /// Starts the operation beside the caller, who has its answer already.
    pub fn launch(&self, operation: &Operation) {
        if operation.state != OperationState::Accepted || operation.run_id.is_some() {
            return;
        }
        let (starter, operation) = (self.clone(), operation.clone());
        let span = info_span!("start", operation = %operation.id, tenant = %operation.tenant, kind = %operation.kind);
        let start = async move {
            if let Err(failure) = starter.start(&operation).await {
                warn!(code = %failure.code, reason = failure.message, "the start is left to the sweeper");
            }
        };
        self.under_way.spawn(start.instrument(span));
    }

    /// Asks a running operation to cancel; one that was never started is started first, so that it unwinds and closes as
    /// every other.
    ///
    /// # Errors
    /// `TEMPORAL_UNAVAILABLE`.
    pub async fn cancel(&self, operation: &Operation, reason: &str) -> Result<(), Failure> {
        if operation.run_id.is_none() {
            self.start(operation).await?;
        }
        self.temporal.cancel(&operation.reference(), reason).await
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
                self.metrics.count_start();
                debug!(operation = %operation.id, run_id = started.run_id, "started");
                Ok(started.run_id)
            }
            Err(failure) => {
                self.metrics.count_start_failure();
                Err(failure)
            }
        }
    }

    /// Waits until no start is under way.
    pub async fn settle(&self) {
        self.under_way.close();
        self.under_way.wait().await;
    }

    /// Starts, again and again until `stop`, what was accepted and has no run.
    pub async fn sweep(self, config: SweepConfig, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(config.interval) => {}
            }
            match self.sweep_once(config.older_than, config.batch).await {
                Ok(0) => {}
                Ok(started) => debug!(started, "swept"),
                Err(failure) => {
                    self.metrics.count_sweep_failure();
                    warn!(code = %failure.code, reason = failure.message, "a sweep was given up; the next one goes on");
                }
            }
        }
    }

    /// The rows stay locked meanwhile, so that two API processes do not start the same operations; if they did, Temporal
    /// would refuse the second start. The first failure ends the sweep: the others would most likely fail as well.
    async fn sweep_once(&self, older_than: Duration, batch: u32) -> Result<usize, Failure> {
        self.forget_expired().await?;
        let mut tx = self.store.operator().await?;
        let waiting = operations::to_start(&mut tx, older_than, batch).await?;
        for operation in &waiting {
            if let Some(run_id) = self.start_workflow(operation).await? {
                operations::record_start(&mut tx, &operation.id, &run_id).await?;
            }
            if operation.cancel_requested_at.is_some() {
                self.temporal.cancel(&operation.reference(), LATE_CANCEL).await?;
            }
        }
        tx.commit().await?;
        Ok(waiting.len())
    }

    /// Deletes fields and answers that were promised to be kept no longer than until now.
    async fn forget_expired(&self) -> Result<(), Failure> {
        let mut tx = self.store.operator().await?;
        claims::purge(&mut tx).await?;
        Ok(tx.commit().await?)
    }
}
