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

use crate::{services::Services, step::AttemptInfo};

/// A part of the time after which a permit lapses: so often it is kept up.
const KEPT_UP: u32 = 3;

/// Whether a step may run now.
pub(crate) enum Admission {
    /// With the permit that its lane asks for, if any.
    Granted(Option<Permit>),
    /// The failure says when to come again.
    InLine(Failure),
}

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

    /// Lets the step run, or puts it in line, which the transaction has to commit, and shows it.
    pub(crate) async fn admit(
        self: &Arc<Self>,
        tx: &mut TenantTx,
        step: &StepKey,
        attempt: &AttemptInfo,
    ) -> Result<Admission, Failure> {
        let Some(at_most) = self.at_most(attempt.lane) else { return Ok(Admission::Granted(None)) };
        let (lane, holder, lapses_after) = (attempt.lane.name(), attempt.holder.as_str(), self.config.permit_lapses);
        let request = PermitRequest { lane, step, holder, at_most: at_most.max(1), lapses_after };
        let permits::Permit::Waiting { ahead } = permits::take(tx, &request).await? else {
            let (services, tenant) = (Arc::clone(self), tx.tenant().clone());
            let permit = Permit { services, tenant, step: step.clone(), holder: holder.to_owned() };
            return Ok(Admission::Granted(Some(permit)));
        };
        let in_line = Progress { unit: Progress::IN_LINE.to_owned(), done: i64::from(ahead), total: None };
        operations::begin_step(tx, &step.operation, (&step.step, &in_line), (&attempt.run, attempt.sequence)).await?;
        let message = format!("at most {at_most} of the tenant's {lane} steps run at a time, and {ahead} wait before this one");
        let again = permits::Permit::ask_again_after(ahead);
        Ok(Admission::InLine(Failure::new(Code::ConcurrencyLimited, message).retry_after(again.as_secs())))
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
