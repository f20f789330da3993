//! What the steps stand on, shared by all activities of a worker.

use std::sync::Arc;

use leadline_domain::{Failure, TenantId};
use leadline_lake::Lake;
use leadline_salesforce::OrgClient;
use leadline_secrets::Keyring;
use leadline_serving::Predictor;
use leadline_store::Store;
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::{config::StepConfig, orgs::OrgClients};

/// The parts that [`Services`] is made of.
#[derive(Clone)]
pub struct Parts {
    pub store: Store,
    pub lake: Lake,
    pub keyring: Arc<Keyring>,
    pub predictor: Arc<Predictor>,
    pub config: StepConfig,
}

pub struct Services {
    pub(crate) store: Store,
    pub(crate) lake: Lake,
    pub(crate) keyring: Arc<Keyring>,
    pub(crate) predictor: Arc<Predictor>,
    pub(crate) config: StepConfig,
    orgs: OrgClients,
    fenced_calls: Semaphore,
}

impl Services {
    pub fn new(parts: Parts) -> Arc<Self> {
        let Parts { store, lake, keyring, predictor, config } = parts;
        let fenced_calls = Semaphore::new(config.fenced_calls.max(1));
        Arc::new(Self { store, lake, keyring, predictor, config, orgs: OrgClients::default(), fenced_calls })
    }

    /// The tenant's org, signed in.
    pub(crate) async fn org(&self, tenant: &TenantId) -> Result<OrgClient, Failure> {
        self.orgs.client(self, tenant).await
    }

    /// To be held by whoever asks an org for something within a transaction, from before its beginning: the pool must not be
    /// used up by transactions that wait for orgs. Not to be asked for twice by one step.
    pub(crate) async fn fenced_call(&self) -> SemaphorePermit<'_> {
        self.fenced_calls.acquire().await.expect("nobody closes it")
    }

    /// Signs in anew at the next call.
    pub(crate) fn forget_org(&self, tenant: &TenantId) {
        self.orgs.forget(tenant);
    }
}
