//! What the bodies of steps and undos work with: their operation, their row in the ledger, the fence, and life signs.

use std::{marker::PhantomData, sync::Arc, time::Duration};

use leadline_domain::{Code, Failure, OperationRef, TenantId};
use leadline_salesforce::{Meter, OrgClient};
use leadline_store::{
    TenantTx,
    ledger::{self, LedgerRow, StepKey, StepState},
    operations::{self, Progress},
};
use serde::Serialize;
use serde_json::Value as Json;

use crate::{pulse::Pulse, services::Services};

/// One attempt at a step: what its body works with.
#[derive(Clone)]
pub(crate) struct Attempt {
    pub(crate) services: Arc<Services>,
    pub(crate) operation: OperationRef,
    pub(crate) key: StepKey,
    pub(crate) facts: Json,
    pub(crate) pulse: Arc<Pulse>,
    pub(crate) meter: Arc<Meter>,
}

/// Proof that a step's result stands in the ledger.
pub(crate) struct Done<R> {
    pub(crate) result: Json,
    of: PhantomData<fn() -> R>,
}

/// An undo under way: the epoch is closed.
#[derive(Clone)]
pub(crate) struct Undoing {
    pub(crate) services: Arc<Services>,
    pub(crate) operation: OperationRef,
    pub(crate) key: StepKey,
    /// What the step recorded on its way.
    pub(crate) facts: Json,
    pub(crate) meter: Arc<Meter>,
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
    pub(crate) async fn finish<R: Serialize>(&self, tx: TenantTx, result: &R) -> Result<Done<R>, Failure> {
        let progress = self.pulse.progress().unwrap_or_else(|| whole_step(1));
        let result = serde_json::to_value(result)
            .map_err(|e| Failure::new(Code::Internal, format!("a result cannot be written ({:?} error)", e.classify())))?;
        let result = ledger::finish_step(tx, &self.key, &result, &progress).await?;
        Ok(Done { result, of: PhantomData })
    }

    /// The same for the saga's pivot: whoever sees the effect also sees that there is no undoing it any more.
    pub(crate) async fn finish_pivot<R: Serialize>(&self, mut tx: TenantTx, result: &R) -> Result<Done<R>, Failure> {
        operations::pass_pivot(&mut tx, &self.key.operation).await?;
        self.finish(tx, result).await
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

/// The progress of a step that counts nothing.
pub(crate) fn whole_step(done: i64) -> Progress {
    Progress { unit: "steps".to_owned(), done, total: Some(1) }
}

fn stopped() -> Failure {
    Failure::new(Code::Cancelled, "the step was asked to stop")
}
