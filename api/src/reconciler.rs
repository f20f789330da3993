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
                    metrics::count_sweep_failure();
                    warn!(operation = %operation.id, code = %failure.code, reason = failure.message, "cannot be compared");
                }
            }
        }
        Ok(started)
    }

    async fn compare(&self, operation: &Operation, stuck_after: i32) -> Result<bool, Failure> {
        let status = self.temporal.status(&operation.reference()).await?;
        let stuck = matches!(status, RunStatus::Open { task_attempts } if task_attempts >= stuck_after);
        // Before the transaction: Temporal may take its time.
        let failing = if stuck { self.temporal.failing_task(&operation.reference()).await? } else { None };
        let mut tx = self.store.tenant(&operation.tenant).await?;
        let found = match status {
            RunStatus::Open { .. } => {
                match stuck {
                    true => operations::found_stuck(&mut tx, &operation.id, failing.as_ref()).await?,
                    false => operations::found_alive(&mut tx, &operation.id).await?,
                }
                tx.commit().await?;
                return Ok(false);
            }
            RunStatus::Closed(how) => operations::found_terminated(&mut tx, &operation.id, how).await?,
            RunStatus::Unknown => operations::found_lost(&mut tx, &operation.id).await?,
        };
        if !found {
            return Ok(false);
        }
        tx.commit().await?;
        // When this start is lost, the next look finds the same again.
        self.temporal.start_anew(&operation.reference(), operation.params.clone()).await?;
        // At once: a run that is told late may be at its pivot by then.
        self.deliver_cancel(operation).await?;
        info!(operation = %operation.id, ?status, "a run had gone; a new one takes its place");
        Ok(true)
    }
}
