//! The signed-in clients of the tenants' orgs, one each, so that steps share sessions instead of asking for tokens.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use leadline_domain::{Code, Failure, TenantId};
use leadline_salesforce::{Credentials, OrgClient};
use leadline_secrets::Purpose;
use leadline_store::{sealed_secrets, tenants};

use crate::{secrets, services::Services};

#[derive(Default)]
pub(crate) struct OrgClients {
    by_tenant: Mutex<HashMap<TenantId, OrgClient>>,
}

impl OrgClients {
    pub(crate) async fn client(&self, services: &Services, tenant: &TenantId) -> Result<OrgClient, Failure> {
        if let Some(client) = self.lock().get(tenant) {
            return Ok(client.clone());
        }
        // Two steps may sign in at once; the org allows it, and the later client stays.
        let client = OrgClient::connect(credentials(services, tenant).await?, services.config.salesforce.clone()).await?;
        self.lock().insert(tenant.clone(), client.clone());
        Ok(client)
    }

    pub(crate) fn forget(&self, tenant: &TenantId) {
        self.lock().remove(tenant);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<TenantId, OrgClient>> {
        self.by_tenant.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn credentials(services: &Services, tenant: &TenantId) -> Result<Credentials, Failure> {
    let mut tx = services.store.tenant_read(tenant).await?;
    let connection = tenants::get(&mut tx, tenant).await?.connection;
    let sealed = sealed_secrets::get(&mut tx, Purpose::SalesforcePrivateKey).await?;
    let key = services.keyring.open(tenant, Purpose::SalesforcePrivateKey, &sealed).map_err(secrets)?;
    let pem = std::str::from_utf8(&key)
        .map_err(|_| Failure::new(Code::SecretUnreadable, format!("the private key of tenant {tenant} is not text")))?;
    Ok(Credentials::new(&connection.login_url, connection.client_id, connection.username, pem, connection.audience)?)
}
