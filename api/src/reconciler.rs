//! Compares what should be running with what runs.
//!
//! A run writes down how its operation ends before it ends itself. One that has ended otherwise was terminated by hand, or has
//! timed out, and would leave its operation running for ever: it is started anew, and unwinds what the ledger says was done. A run
//! of which the server knows nothing was lost with the server's data: nobody wanted it to end, so it is started anew and goes on
//! from what the ledger has. A run whose workflow task keeps failing meets a defect: it is shown as stuck, and goes on with the build
//! that mends it.

use leadline_domain::{Code, Failure};
use leadline_store::operations::{self, Operation};
use tracing::{info, warn};

use crate::{config::SweepConfig, metrics, starter::Starter, temporal::RunStatus};

impl Starter {
    /// Answers how many operations were started anew. One that cannot be compared does not hold up the others.
    pub(crate) async fn reconcile(&self, config: &SweepConfig) -> Result<usize, Failure> {
        let mut tx = self.store.operator().await?;
        let running = operations::unreconciled(&mut tx, config.reconcile_after, config.batch).await?;
        drop(tx);
        let mut started = 0;
        for operation in &running {
            match self.compare(operation, config.stuck_after).await {
                Ok(anew) => started += usize::from(anew),
                Err(failure) if failure.code == Code::TemporalUnavailable => return Err(failure),
                Err(failure) => {
                    self.put_off_comparing(operation).await?;
                    metrics::count_sweep_failure();
                    warn!(operation = %operation.id, code = %failure.code, reason = failure.message, "cannot be compared");
                }
            }
        }
        Ok(started)
    }

    /// Answers whether a new run was started.
    async fn compare(&self, operation: &Operation, stuck_after: i32) -> Result<bool, Failure> {
        let status = self.temporal.status(&operation.reference()).await?;
        match status {
            // Of several attempts, the last is under way.
            RunStatus::Open { task_attempts } => self.note_open(operation, task_attempts > stuck_after).await.map(|()| false),
            RunStatus::Closed(how) => self.replace(operation, Some(how)).await,
            RunStatus::Unknown => self.replace(operation, None).await,
        }
    }

    async fn note_open(&self, operation: &Operation, stuck: bool) -> Result<(), Failure> {
        // Before the transaction: Temporal may take its time.
        let failure = if stuck { self.temporal.failing_task(&operation.reference()).await } else { None };
        let mut tx = self.store.tenant(&operation.tenant).await?;
        match stuck {
            true => operations::found_stuck(&mut tx, &operation.id, failure.as_ref()).await?,
            false => operations::found_alive(&mut tx, &operation.id).await?,
        }
        Ok(tx.commit().await?)
    }

    /// Starts a run in the place of one that has ended in this way, or that was lost.
    async fn replace(&self, operation: &Operation, how: Option<&str>) -> Result<bool, Failure> {
        let mut tx = self.store.tenant(&operation.tenant).await?;
        let found = match how {
            Some(how) => operations::found_terminated(&mut tx, &operation.id, how).await?,
            None => operations::found_lost(&mut tx, &operation.id).await?,
        };
        let Some(operation) = found else { return Ok(false) };
        tx.commit().await?;
        // When this start is lost, the next look finds the same again.
        self.temporal.start_anew(&operation.reference(), operation.params.clone()).await?;
        // At once: a run that is told late may be at its pivot by then. The row is read anew, since a cancel that came meanwhile was told to
        // the run before.
        self.deliver_cancel(&self.read_anew(&operation).await?).await?;
        info!(operation = %operation.id, how, "a run had gone; a new one takes its place");
        Ok(true)
    }

    async fn put_off_comparing(&self, operation: &Operation) -> Result<(), Failure> {
        let mut tx = self.store.tenant(&operation.tenant).await?;
        operations::put_off_comparing(&mut tx, &operation.id).await?;
        Ok(tx.commit().await?)
    }
}
