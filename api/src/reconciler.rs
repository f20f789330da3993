//! Compares what should be running with what runs.
//!
//! A run writes down how its operation ends before it ends itself. One that has ended otherwise was terminated by hand, or has
//! timed out, or is not kept by the server any more, and would leave its operation running for ever. It is started anew, and
//! unwinds what the ledger says was done. A run whose workflow task keeps failing meets a defect: it is shown as stuck, and goes on
//! with the build that mends it.

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
        let how = match self.temporal.status(&operation.reference()).await? {
            RunStatus::Open { task_attempts } => {
                let mut tx = self.store.tenant(&operation.tenant).await?;
                operations::reconciled(&mut tx, &operation.id, task_attempts >= stuck_after).await?;
                tx.commit().await?;
                return Ok(false);
            }
            RunStatus::Closed(how) => how,
            RunStatus::Unknown => "not kept by the server",
        };
        let mut tx = self.store.tenant(&operation.tenant).await?;
        if !operations::found_terminated(&mut tx, &operation.id, how).await? {
            return Ok(false);
        }
        tx.commit().await?;
        // When this start is lost, the next look finds the ended run again.
        self.temporal.start_anew(&operation.reference(), operation.params.clone()).await?;
        info!(operation = %operation.id, how, "a run was lost; a new one unwinds it");
        Ok(true)
    }
}
