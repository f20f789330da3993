//! The permit that a heavy step needs, so that no tenant takes up what others need, too.

use std::sync::Arc;

use leadline_domain::{Code, Failure, TenantId};
use leadline_store::{
    TenantTx,
    ledger::StepKey,
    operations::{self, Progress},
    permits::{self, PermitRequest},
};
use leadline_workflows::Lane;

use crate::services::Services;

/// A part of the time after which a permit lapses: so often it is kept up.
const KEPT_UP: u32 = 3;

/// Held while a heavy step runs.
pub(crate) struct Permit {
    services: Arc<Services>,
    tenant: TenantId,
    step: StepKey,
    holder: String,
}

impl Services {
    /// How many of a tenant's steps run in the lane at the same time; `None` where nobody counts.
    fn at_most(&self, lane: Lane) -> Option<u32> {
        match lane {
            Lane::Light => None,
            Lane::Extraction => Some(self.config.heavy_per_tenant.extraction),
            Lane::Compute => Some(self.config.heavy_per_tenant.compute),
        }
    }

    /// Takes the permit that the lane asks for, if any. When there is none, the failure says when to come again; the transaction is
    /// then to be committed all the same, since it keeps the place in line and shows it.
    pub(crate) async fn permit(
        self: &Arc<Self>,
        tx: &mut TenantTx,
        lane: Lane,
        step: &StepKey,
        holder: &str,
    ) -> Result<Result<Option<Permit>, Failure>, Failure> {
        let Some(at_most) = self.at_most(lane) else { return Ok(Ok(None)) };
        let lapses_after = self.config.permit_lapses;
        let request = PermitRequest { lane: lane.name(), step, holder, at_most: at_most.max(1), lapses_after };
        let permits::Permit::Waiting { ahead } = permits::take(tx, &request).await? else {
            let (services, tenant) = (Arc::clone(self), tx.tenant().clone());
            return Ok(Ok(Some(Permit { services, tenant, step: step.clone(), holder: holder.to_owned() })));
        };
        let in_line = Progress { unit: "ahead in line".to_owned(), done: i64::from(ahead), total: None };
        operations::progress(tx, &step.operation, &step.step, &in_line).await?;
        let message = format!("{at_most} of the tenant's {} steps run, and {ahead} wait before this one", lane.name());
        let again = permits::Permit::ask_again_after(ahead);
        Ok(Err(Failure::new(Code::ConcurrencyLimited, message).retry_after(again.as_secs())))
    }
}

impl Permit {
    /// Runs the step's body, keeps the permit up meanwhile, and gives it back.
    pub(crate) async fn hold<R>(permit: Option<Self>, body: impl Future<Output = R>) -> R {
        let Some(permit) = permit else { return body.await };
        let outcome = tokio::select! {
            outcome = body => outcome,
            never = permit.keep_up() => match never {},
        };
        let given_back = async {
            let mut tx = permit.services.store.tenant(&permit.tenant).await?;
            permits::give_back(&mut tx, &permit.step, &permit.holder).await?;
            tx.commit().await
        };
        if let Err(error) = given_back.await {
            tracing::warn!(%error, step = permit.step.step, "a permit is not given back; it lapses");
        }
        outcome
    }

    /// A permit that cannot be kept up may lapse, and one step too many run: better than none.
    async fn keep_up(&self) -> std::convert::Infallible {
        let lapses_after = self.services.config.permit_lapses;
        loop {
            tokio::time::sleep(lapses_after / KEPT_UP).await;
            let kept = async {
                let mut tx = self.services.store.tenant(&self.tenant).await?;
                permits::keep(&mut tx, &self.step, &self.holder, lapses_after).await?;
                tx.commit().await
            };
            if let Err(error) = kept.await {
                tracing::warn!(%error, step = self.step.step, "a permit cannot be kept up");
            }
        }
    }
}
