//! Tenants and their consent.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use leadline_domain::{Failure, OperationId, OperationKind, TenantId, operation::OnboardTenant};
use leadline_proto::v1::{
    self, ActiveModel, CreateTenantRequest, GetConsentRequest, GetTenantStatusRequest, ListTenantsRequest, ListTenantsResponse,
    RecordConsentRequest, SalesforceConnection, TenantStatus, tenants_server::Tenants,
};
use leadline_secrets::Purpose;
use leadline_store::{
    budgets,
    consents::{self, ConsentChange},
    models,
    operations::{IdempotencyScope, Operation},
    sealed_secrets,
    tenants::{self, NewTenant, OrgConnection},
};
use tonic::{Request, Response, Status};
use zeroize::Zeroizing;

use super::{Facade, answer, invalid, short_text, started, storable};
use crate::{
    acceptance::{Start, accept},
    caller::Call,
    shapes,
};

/// What an HMAC-SHA256 key should have at least (RFC 2104, section 3).
const MIN_CALLBACK_KEY: usize = 32;

#[tonic::async_trait]
impl Tenants for Facade {
    async fn create_tenant(&self, request: Request<CreateTenantRequest>) -> Result<Response<v1::Operation>, Status> {
        started(self.accept_tenant(request.into_inner()).await)
    }

    async fn list_tenants(&self, request: Request<ListTenantsRequest>) -> Result<Response<ListTenantsResponse>, Status> {
        answer(self.page_of_tenants(request.into_inner()).await)
    }

    async fn get_tenant_status(&self, request: Request<GetTenantStatusRequest>) -> Result<Response<TenantStatus>, Status> {
        answer(self.tenant_status(request.into_inner()).await)
    }

    async fn record_consent(&self, request: Request<RecordConsentRequest>) -> Result<Response<v1::Consent>, Status> {
        answer(self.write_consent(request.into_inner()).await)
    }

    async fn get_consent(&self, request: Request<GetConsentRequest>) -> Result<Response<v1::Consent>, Status> {
        answer(self.read_consent(request.into_inner()).await)
    }
}

impl Facade {
    async fn accept_tenant(&self, request: CreateTenantRequest) -> Result<Operation, Failure> {
        let call = Call::current()?;
        call.caller.require_operator()?;
        let checked = NewConnection::check(&request)?;
        let (tenant, id) = (TenantId::random(), OperationId::random());
        let private_key = self
            .keyring
            .seal(&tenant, Purpose::SalesforcePrivateKey, checked.private_key_pem.as_bytes())
            .map_err(|e| e.failure())?;
        let callback_key = self.keyring.seal(&tenant, Purpose::CallbackKey, &checked.callback_key).map_err(|e| e.failure())?;
        let mut tx = self.store.operator_for(&tenant).await?;
        let start = Start {
            id: id.clone(),
            kind: OperationKind::OnboardTenant,
            rpc: "CreateTenant",
            scope: IdempotencyScope::Operator,
            request: &request,
            params: &OnboardTenant {},
            consent_version: None,
        };
        let accepted = accept(&mut tx, &call, start).await?;
        if !accepted.replayed {
            let new = NewTenant {
                name: request.name.clone(),
                display_name: checked.display_name,
                connection: checked.connection,
                created_by: id,
            };
            tenants::insert(&mut tx, &new).await?;
            sealed_secrets::put(&mut tx, Purpose::SalesforcePrivateKey, &private_key).await?;
            sealed_secrets::put(&mut tx, Purpose::CallbackKey, &callback_key).await?;
        }
        tx.commit().await?;
        self.starter.launch(&accepted.operation);
        Ok(accepted.operation)
    }

    async fn page_of_tenants(&self, request: ListTenantsRequest) -> Result<ListTenantsResponse, Failure> {
        Call::current()?.caller.require_operator()?;
        let page = shapes::page(request.page_size, request.page_token)?;
        let mut tx = self.store.operator().await?;
        if !request.name.is_empty() {
            storable(&request.name, "name")?;
            let found = tenants::find_by_name(&mut tx, &request.name).await?;
            return Ok(ListTenantsResponse { tenants: found.into_iter().map(shapes::tenant).collect(), ..Default::default() });
        }
        let page = tenants::list(&mut tx, &page).await?.map(shapes::tenant);
        Ok(ListTenantsResponse { tenants: page.items, next_page_token: page.next_token })
    }

    async fn tenant_status(&self, request: GetTenantStatusRequest) -> Result<TenantStatus, Failure> {
        let id = Call::current()?.caller.tenant(&request.tenant_id)?;
        let mut tx = self.store.tenant_read(&id).await?;
        let tenant = tenants::get(&mut tx, &id).await?;
        let consent = consents::current(&mut tx).await?;
        let budget = budgets::today(&mut tx, self.daily_api_calls).await?;
        let active = models::all_active(&mut tx).await?;
        Ok(TenantStatus {
            tenant_id: id.to_string(),
            name: tenant.name,
            display_name: tenant.display_name,
            state: shapes::tenant_state(tenant.state).into(),
            org_id: tenant.org_id.unwrap_or_default(),
            instance_url: tenant.instance_url.unwrap_or_default(),
            consent: consent.map(|consent| shapes::consent(id.as_str(), consent)),
            api_calls_remaining: budget.remaining(),
            create_time: Some(tenant.created_at.into()),
            active_models: active
                .into_iter()
                .map(|model| ActiveModel { definition: model.definition_name, model_id: model.id.to_string() })
                .collect(),
        })
    }

    async fn write_consent(&self, request: RecordConsentRequest) -> Result<v1::Consent, Failure> {
        let call = Call::current()?;
        let id = call.caller.tenant(&request.tenant_id)?;
        short_text(&request.decided_by, 200, "decidedBy")?;
        short_text(&request.note, 2000, "note")?;
        let change = ConsentChange {
            allow_export: request.allow_export,
            allow_training: request.allow_training,
            allow_store_predictions: request.allow_store_predictions,
            allow_write_back: request.allow_write_back,
            expected_version: request.expected_version,
        };
        if change == (ConsentChange { expected_version: change.expected_version, ..ConsentChange::default() }) {
            return Err(invalid(
                "the request names no permission: allowExport, allowTraining, allowStorePredictions, allowWriteBack",
            ));
        }
        let recorded_by = match request.decided_by.as_str() {
            "" => call.caller.key.to_string(),
            person => format!("{}: {person}", call.caller.key),
        };
        let mut tx = self.store.tenant(&id).await?;
        let consent = consents::record(&mut tx, change, &recorded_by, &request.note).await?;
        tx.commit().await?;
        Ok(shapes::consent(id.as_str(), consent))
    }

    async fn read_consent(&self, request: GetConsentRequest) -> Result<v1::Consent, Failure> {
        let id = Call::current()?.caller.tenant(&request.tenant_id)?;
        let mut tx = self.store.tenant_read(&id).await?;
        tenants::get(&mut tx, &id).await?;
        let consent = match request.version {
            0 => consents::current(&mut tx).await?.ok_or_else(no_consent)?,
            version => consents::version(&mut tx, version).await?,
        };
        Ok(shapes::consent(id.as_str(), consent))
    }
}

fn no_consent() -> Failure {
    Failure::new(leadline_domain::Code::NotFound, "the tenant has not recorded any consent yet")
}

/// The parts of a request to connect an org, each checked as far as that goes without the org.
struct NewConnection {
    display_name: String,
    connection: OrgConnection,
    private_key_pem: Zeroizing<String>,
    callback_key: Zeroizing<Vec<u8>>,
}

impl NewConnection {
    fn check(request: &CreateTenantRequest) -> Result<Self, Failure> {
        check_name(&request.name)?;
        short_text(&request.display_name, 200, "displayName")?;
        let salesforce = request.salesforce.as_ref().ok_or_else(|| invalid("salesforce is missing"))?;
        let connection = org_connection(salesforce)?;
        if !salesforce.private_key_pem.contains("PRIVATE KEY-----") {
            return Err(invalid("salesforce.privateKeyPem is no private key in PEM"));
        }
        let callback_key = callback_key(&request.callback_key)?;
        let display_name = if request.display_name.is_empty() { &request.name } else { &request.display_name };
        Ok(Self {
            display_name: display_name.clone(),
            connection,
            private_key_pem: Zeroizing::new(salesforce.private_key_pem.clone()),
            callback_key: Zeroizing::new(callback_key),
        })
    }
}

/// Hex digits are base64 as well, of other bytes than were meant: every callback would be refused for its signature.
fn callback_key(text: &str) -> Result<Vec<u8>, Failure> {
    if text.len() >= 32 && text.len().is_multiple_of(2) && text.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err(invalid("callbackKey looks like hex; it is the key's bytes in base64"));
    }
    let key = STANDARD.decode(text).map_err(|_| invalid("callbackKey is not base64"))?;
    if key.len() < MIN_CALLBACK_KEY {
        return Err(invalid(format!("callbackKey has fewer than {MIN_CALLBACK_KEY} bytes")));
    }
    Ok(key)
}

fn check_name(name: &str) -> Result<(), Failure> {
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let fits = (2..=63).contains(&name.len()) && name.bytes().all(|b| allowed(b) || b == b'-') && !name.starts_with('-');
    if fits { Ok(()) } else { Err(invalid("name has 2 to 63 lower-case letters, digits and hyphens, and no hyphen first")) }
}

fn org_connection(salesforce: &SalesforceConnection) -> Result<OrgConnection, Failure> {
    check_login_url(&salesforce.login_url)?;
    for (text, what) in [(&salesforce.client_id, "salesforce.clientId"), (&salesforce.username, "salesforce.username")] {
        short_text(text, 300, what)?;
        if text.is_empty() {
            return Err(invalid(format!("{what} is missing")));
        }
    }
    short_text(&salesforce.audience, 300, "salesforce.audience")?;
    let audience = if salesforce.audience.is_empty() { &salesforce.login_url } else { &salesforce.audience };
    Ok(OrgConnection {
        login_url: salesforce.login_url.trim_end_matches('/').to_owned(),
        client_id: salesforce.client_id.clone(),
        username: salesforce.username.clone(),
        audience: audience.trim_end_matches('/').to_owned(),
    })
}

/// Assertions signed with the org's key go there, so it is TLS, or this machine.
fn check_login_url(text: &str) -> Result<(), Failure> {
    let url = url::Url::parse(text).map_err(|_| invalid("salesforce.loginUrl is no URL"))?;
    let loopback = match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost",
        Some(url::Host::Ipv4(ip)) => ip.is_loopback(),
        Some(url::Host::Ipv6(ip)) => ip.is_loopback(),
        None => false,
    };
    let plain = url.username().is_empty() && url.password().is_none() && url.query().is_none() && url.fragment().is_none();
    match url.scheme() {
        "https" if plain => Ok(()),
        "http" if plain && loopback => Ok(()),
        _ => Err(invalid("salesforce.loginUrl is an https URL without credentials or query (http on this machine only)")),
    }
}

#[cfg(test)]
mod tests {
    use leadline_domain::Code;

    use super::*;

    #[test]
    fn a_login_url_is_tls_or_this_machine() {
        for fine in ["https://login.salesforce.com", "http://127.0.0.1:8089", "http://localhost:1", "http://[::1]:1/"] {
            assert!(check_login_url(fine).is_ok(), "{fine}");
        }
        for wrong in ["http://login.salesforce.com", "ftp://127.0.0.1", "https://a:b@c", "https://a/?q", "nonsense", ""] {
            assert_eq!(check_login_url(wrong).unwrap_err().code, Code::InvalidArgument, "{wrong}");
        }
    }

    #[test]
    fn a_callback_key_in_hex_is_not_taken_for_base64() {
        assert_eq!(callback_key(&STANDARD.encode([7; 32])).unwrap(), [7; 32]);
        for wrong in ["0f".repeat(32), STANDARD.encode([7; 8]), "no base64!".to_owned()] {
            assert_eq!(callback_key(&wrong).unwrap_err().code, Code::InvalidArgument, "{wrong}");
        }
    }

    #[test]
    fn a_tenants_name_is_a_short_slug() {
        assert!(check_name("acme-2").is_ok());
        for wrong in ["a", "-acme", "Acme", "acme_2", &"a".repeat(64)] {
            assert_eq!(check_name(wrong).unwrap_err().code, Code::InvalidArgument, "{wrong}");
        }
    }
}
