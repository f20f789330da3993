//! The signed-in clients of the tenants' orgs, one each, so that steps share sessions instead of asking for tokens.

use std::time::Duration;

use leadline_domain::{Code, Failure, TenantId};
use leadline_salesforce::{Credentials, OrgClient, SalesforceError};
use leadline_secrets::Purpose;
use leadline_store::{sealed_secrets, tenants};
use moka::sync::Cache;

use crate::{secrets, services::Services};

/// A client holds connections and the org's private key: those of tenants that nothing is done for are let go.
const MOST: u64 = 1_000;
const IDLE: Duration = Duration::from_secs(3600);

pub(crate) struct OrgClients {
    by_tenant: Cache<TenantId, OrgClient>,
}

impl Default for OrgClients {
    fn default() -> Self {
        Self { by_tenant: Cache::builder().max_capacity(MOST).time_to_idle(IDLE).build() }
    }
}

impl OrgClients {
    /// # Errors
    /// `SALESFORCE_AUTH_REFUSED`, also when the login leads to another org than the one the tenant was onboarded with: what
    /// is not found there would be taken for gone, and two orgs' records would be mixed.
    pub(crate) async fn client(&self, services: &Services, tenant: &TenantId) -> Result<OrgClient, Failure> {
        if let Some(client) = self.by_tenant.get(tenant) {
            return Ok(client);
        }
        // Two steps may sign in at once; the org allows it, and the later client stays.
        let (credentials, onboarded) = connection(services, tenant).await?;
        let client = OrgClient::connect(credentials, services.config.salesforce.clone()).await?;
        if let Some(expected) = onboarded.filter(|expected| expected != client.org_id().as_str()) {
            let found = client.org_id().to_string();
            return Err(SalesforceError::OrgChanged { expected, found }.into());
        }
        self.by_tenant.insert(tenant.clone(), client.clone());
        Ok(client)
    }

    pub(crate) fn forget(&self, tenant: &TenantId) {
        self.by_tenant.invalidate(tenant);
    }
}

/// How to sign in, and which org answered when the tenant was onboarded.
async fn connection(services: &Services, tenant: &TenantId) -> Result<(Credentials, Option<String>), Failure> {
    let mut tx = services.store.tenant_read(tenant).await?;
    let row = tenants::get(&mut tx, tenant).await?;
    let sealed = sealed_secrets::get(&mut tx, Purpose::SalesforcePrivateKey).await?;
    let key = services.keyring.open(tenant, Purpose::SalesforcePrivateKey, &sealed).map_err(secrets)?;
    let pem = std::str::from_utf8(&key)
        .map_err(|_| Failure::new(Code::SecretUnreadable, format!("the private key of tenant {tenant} is not text")))?;
    let connection = row.connection;
    let credentials =
        Credentials::new(&connection.login_url, connection.client_id, connection.username, pem, connection.audience)?;
    Ok((credentials, row.org_id))
}
