//! The connection to one org: sends calls and counts them, renews the session once.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{HeaderName, HeaderValue};
use reqwest::{Certificate, Client, Response, redirect};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use url::Url;

use crate::call::{Call, read_bounded, transport};
use crate::credentials::{Credentials, is_loopback};
use crate::error::SalesforceError;
use crate::limits::ApiUsage;
use crate::meter::Meter;
use crate::org_id::OrgId;
use crate::refusal::rest_refusal;
use crate::session::{Session, Sessions};
use crate::tls;

static CALL_OPTIONS: HeaderName = HeaderName::from_static("sforce-call-options");
const LIMIT_INFO: &str = "sforce-limit-info";
const MAX_ERROR_BODY: usize = 64 * 1024;

/// What of a client can be set.
#[derive(Debug, Clone)]
pub struct Options {
    /// `60.0`. One version for all calls: a Bulk job's results can only be read with the version that created it.
    pub api_version: String,
    pub connect_timeout: Duration,
    /// The longest silence before or within an answer; a long answer that keeps coming is not cut.
    pub read_timeout: Duration,
    /// The longest that a small call may take in all: signing in, writing one record, starting, listing and ending jobs. Whoever
    /// makes one may hold a lock meanwhile.
    pub brief_timeout: Duration,
    /// Named in `Sforce-Call-Options`, and so in the `changeOrigin` of change events: how leadline tells its own writes.
    pub call_options_client: String,
    /// The largest JSON answer read into memory, in bytes. Bulk pages are streams and not bound by it.
    pub max_json_bytes: usize,
    /// Certificates, in PEM, to trust beside the system's: for a private CA, as the simulator's.
    pub extra_root_certificates_pem: Option<Vec<u8>>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            api_version: "60.0".to_owned(),
            connect_timeout: Duration::from_secs(10),
            read_timeout: Duration::from_secs(60),
            brief_timeout: Duration::from_secs(18),
            call_options_client: "leadline".to_owned(),
            max_json_bytes: 64 * 1024 * 1024,
            extra_root_certificates_pem: None,
        }
    }
}

/// One connected org. Cheap to clone; clones share connections and session, and the meter unless given another.
#[derive(Clone)]
pub struct OrgClient {
    inner: Arc<Inner>,
    meter: Arc<Meter>,
}

struct Inner {
    http: Client,
    sessions: Sessions,
    options: Options,
    call_options: HeaderValue,
}

/// Who the session belongs to, as the org says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    pub org_id: OrgId,
    pub user_id: String,
}

impl OrgClient {
    /// Signs in.
    ///
    /// # Errors
    /// [`SalesforceError::TokenRejected`] and the other errors of the token request; [`SalesforceError::InvalidRequest`] for
    /// options that no client can be built from.
    pub async fn connect(credentials: Credentials, options: Options) -> Result<Self, SalesforceError> {
        let call_options = check_options(&options)?;
        let http = build_http(&credentials.login_url, &options)?;
        let sessions = Sessions::sign_in(&http, credentials, options.brief_timeout).await?;
        Ok(Self { inner: Arc::new(Inner { http, sessions, options, call_options }), meter: Arc::default() })
    }

    /// The same connection, whose calls count on `meter`.
    #[must_use]
    pub fn metered_by(&self, meter: Arc<Meter>) -> Self {
        Self { inner: Arc::clone(&self.inner), meter }
    }

    pub fn meter(&self) -> &Meter {
        &self.meter
    }

    /// The org that answered the first sign-in, from the token's identity URL.
    pub fn org_id(&self) -> &OrgId {
        self.inner.sessions.org_id()
    }

    pub fn instance_url(&self) -> Url {
        self.inner.sessions.current().instance_url.clone()
    }

    /// The id of the user who is signed in.
    pub fn user_id(&self) -> String {
        self.inner.sessions.current().user_id.clone()
    }

    /// Asks the org itself whose session this is.
    ///
    /// # Errors
    /// As any call: see [`SalesforceError`].
    pub async fn identity(&self) -> Result<Identity, SalesforceError> {
        #[derive(Deserialize)]
        struct UserInfo {
            organization_id: String,
            user_id: String,
        }
        let call = Call::get("userinfo", "/services/oauth2/userinfo");
        let info: UserInfo = self.send_for_json(&call).await?;
        let org_id = OrgId::parse(&info.organization_id).ok_or_else(|| SalesforceError::MalformedResponse {
            what: call.what,
            reason: "organization_id is no org id".to_owned(),
        })?;
        Ok(Identity { org_id, user_id: info.user_id })
    }

    /// `/services/data/v60.0` and the given rest.
    pub(crate) fn data_path(&self, rest: &str) -> String {
        format!("/services/data/v{}{rest}", self.inner.options.api_version)
    }

    /// Sends a call and reads its JSON answer.
    pub(crate) async fn send_for_json<T: DeserializeOwned>(&self, call: &Call) -> Result<T, SalesforceError> {
        let answer = self.send(call).await?;
        let body = read_bounded(answer, &call.what, self.inner.options.max_json_bytes).await?;
        // serde's message may quote the body, so only its position is kept.
        serde_json::from_slice(&body).map_err(|e| SalesforceError::MalformedResponse {
            what: call.what.clone(),
            reason: format!("unexpected JSON at line {} column {}", e.line(), e.column()),
        })
    }

    pub(crate) async fn read_bounded(&self, answer: Response, what: &str) -> Result<Vec<u8>, SalesforceError> {
        read_bounded(answer, what, self.inner.options.max_json_bytes).await
    }

    /// Sends a call; an expired session is renewed once and the call repeated. That is safe for every method: the refused
    /// attempt was never carried out.
    pub(crate) async fn send(&self, call: &Call) -> Result<Response, SalesforceError> {
        let session = self.inner.sessions.current();
        match self.attempt(call, &session).await {
            Err(SalesforceError::SessionExpired { .. }) => {
                let renewed = self.inner.sessions.renew(&self.inner.http, &session).await?;
                self.attempt(call, &renewed).await
            }
            outcome => outcome,
        }
    }

    async fn attempt(&self, call: &Call, session: &Session) -> Result<Response, SalesforceError> {
        let request = call.request(&self.inner.http, session)?.header(&CALL_OPTIONS, self.inner.call_options.clone());
        let request = if call.is_brief() { request.timeout(self.inner.options.brief_timeout) } else { request };
        self.meter.count();
        let answer = request.send().await.map_err(|e| transport(&call.what, e))?;
        self.note_usage(&answer);
        let status = answer.status();
        if status.is_success() {
            return Ok(answer);
        }
        let body = match read_bounded(answer, &call.what, MAX_ERROR_BODY).await {
            Ok(body) => body,
            // An endless page of somebody on the way: its status says enough.
            Err(SalesforceError::MalformedResponse { .. }) => Vec::new(),
            // Half an error could be read as another one.
            Err(error) => return Err(error),
        };
        let refusal = rest_refusal(&call.what, call.missing, status.as_u16(), &body);
        tracing::debug!(call = %call.what, status = status.as_u16(), "salesforce refused a call");
        Err(refusal)
    }

    fn note_usage(&self, answer: &Response) {
        let usage = answer.headers().get(LIMIT_INFO).and_then(|v| v.to_str().ok()).and_then(ApiUsage::parse);
        if let Some(usage) = usage {
            self.meter.note_usage(usage);
        }
    }
}

impl fmt::Debug for OrgClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OrgClient").field("org_id", self.org_id()).finish_non_exhaustive()
    }
}

fn check_options(options: &Options) -> Result<HeaderValue, SalesforceError> {
    let invalid = |reason: &str| SalesforceError::InvalidRequest { what: "connect".to_owned(), reason: reason.to_owned() };
    let version_fits =
        options.api_version.strip_suffix(".0").and_then(|major| major.parse::<u16>().ok()).is_some_and(|v| v >= 50);
    if !version_fits {
        // Up to 49.0 the columns of a Bulk page come in alphabetical order.
        return Err(invalid("api_version is not of the form 60.0, or is below 50.0"));
    }
    if !crate::soql::is_name(&options.call_options_client) {
        return Err(invalid("call_options_client is not a plain name"));
    }
    HeaderValue::from_str(&format!("client={}", options.call_options_client)).map_err(|_| invalid("call_options_client"))
}

/// No redirects: the vendor does not use them for these calls, and one must not carry a token elsewhere.
fn build_http(login_url: &Url, options: &Options) -> Result<Client, SalesforceError> {
    let invalid = |reason: &str| SalesforceError::InvalidRequest { what: "connect".to_owned(), reason: reason.to_owned() };
    tls::install_default_provider();
    let mut builder = Client::builder()
        .user_agent(concat!("leadline/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(options.connect_timeout)
        .read_timeout(options.read_timeout)
        .redirect(redirect::Policy::none())
        .referer(false)
        .gzip(true);
    if let Some(pem) = &options.extra_root_certificates_pem {
        let certificates = Certificate::from_pem_bundle(pem).map_err(|_| invalid("the extra root certificates are no PEM"))?;
        builder = builder.tls_certs_merge(certificates);
    }
    if is_loopback(login_url) {
        // A proxy of the environment knows nothing of this machine's loopback.
        builder = builder.no_proxy();
    }
    builder.build().map_err(|e| invalid(&format!("no HTTP client ({})", e.without_url())))
}
