//! The REST client behind every verb: what a user does with curl, with the answers typed by the API's own messages.

use std::{fmt, path::PathBuf, time::Duration};

use clap::Args;
use leadline_domain::Failure;
use reqwest::{Method, StatusCode, header};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;
use url::Url;

use crate::{
    dev::state::{DevFile, StateDir},
    error::{CliError, Result},
};

/// Which leadline a verb talks to. Without any of these it finds the `leadline dev` of this directory.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Connection")]
pub struct TargetArgs {
    /// The API's address; that of the running `leadline dev` when absent
    #[arg(long, env = "LEADLINE_URL", global = true, value_name = "URL")]
    pub url: Option<Url>,
    /// An API key; that of the dev stack's operator when absent
    #[arg(long, env = "LEADLINE_KEY", global = true, hide_env_values = true, value_name = "KEY")]
    pub key: Option<String>,
    /// The state directory of `leadline dev`; the nearest .leadline upwards when absent
    #[arg(long, env = "LEADLINE_STATE_DIR", global = true, value_name = "DIR")]
    pub state_dir: Option<PathBuf>,
}

impl TargetArgs {
    pub fn state(&self) -> Option<StateDir> {
        StateDir::find(self.state_dir.as_deref())
    }

    pub fn dev_file(&self) -> Option<DevFile> {
        self.state()?.read(DevFile::NAME)
    }
}

/// What a coded error answer says (RFC 9457 with leadline's code).
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Problem {
    #[serde(default = "internal")]
    pub code: String,
    #[serde(default)]
    pub title: String,
    pub status: u16,
    #[serde(default)]
    pub detail: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
}

fn internal() -> String {
    "INTERNAL".to_owned()
}

impl From<Failure> for Problem {
    fn from(failure: Failure) -> Self {
        Self {
            code: failure.code.to_string(),
            title: String::new(),
            status: failure.code.http_status(),
            detail: failure.message,
            instance: None,
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let said = if self.detail.is_empty() { &self.title } else { &self.detail };
        write!(f, "{} ({}): {said}", self.code, self.status)
    }
}

impl std::error::Error for Problem {}

/// An answer, typed and as it came over the wire.
#[derive(Debug, Clone)]
pub struct Answer<T> {
    pub message: T,
    pub json: Value,
}

/// A connection to the API.
#[derive(Debug, Clone)]
pub struct Client {
    http: reqwest::Client,
    base: Url,
    key: String,
}

const TIMEOUT: Duration = Duration::from_secs(60);

impl Client {
    /// # Errors
    /// When neither flags, environment nor a dev stack say where to connect and with which key.
    pub fn new(target: &TargetArgs) -> Result<Self> {
        let dev = target.dev_file();
        let base = target.url.clone().or_else(|| dev.as_ref().map(|dev| dev.api_url.clone())).ok_or_else(|| {
            CliError::environment(
                "no leadline to talk to",
                "start `leadline dev` in this directory, or name one with --url and --key (LEADLINE_URL, LEADLINE_KEY)",
            )
        })?;
        // The dev stack's key is an operator's: it is shown to that stack and to nobody else.
        let own = dev.as_ref().filter(|dev| dev.api_url.origin() == base.origin());
        let key = match (&target.key, own) {
            (Some(key), _) => key.clone(),
            (None, Some(dev)) => std::fs::read_to_string(&dev.operator_key_file)
                .map_err(|error| {
                    let file = dev.operator_key_file.display();
                    CliError::environment(format!("cannot read the operator's key {file}: {error}"), "restart `leadline dev`")
                })?
                .trim()
                .to_owned(),
            (None, None) => {
                return Err(CliError::environment(format!("no API key for {base}"), "give one with --key (LEADLINE_KEY)"));
            }
        };
        Self::with_key(base, key)
    }

    fn with_key(base: Url, key: String) -> Result<Self> {
        Ok(Self { http: http(&base)?, base, key })
    }

    pub fn base(&self) -> &Url {
        &self.base
    }

    /// Reads a resource. `path` comes in segments, so that an id can hold any character.
    pub async fn get<T: DeserializeOwned>(&self, path: &[&str], query: &[(&str, String)]) -> Result<Answer<T>> {
        let mut url = address(&self.base, path);
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        self.call(Method::GET, url, None, None).await
    }

    /// Sends a request that changes something. A start carries an Idempotency-Key, so that it can be repeated.
    pub async fn post<T: DeserializeOwned>(
        &self,
        path: &[&str],
        body: &impl Serialize,
        idempotency_key: Option<&str>,
    ) -> Result<Answer<T>> {
        let body = serde_json::to_value(body).map_err(|error| CliError::part("request", &error))?;
        self.call(Method::POST, address(&self.base, path), Some(body), idempotency_key).await
    }

    async fn call<T: DeserializeOwned>(
        &self,
        method: Method,
        url: Url,
        body: Option<Value>,
        idempotency_key: Option<&str>,
    ) -> Result<Answer<T>> {
        let mut request = self.http.request(method, url).bearer_auth(&self.key).header(header::ACCEPT, "application/json");
        if let Some(body) = &body {
            request = request.json(body);
        }
        if let Some(key) = idempotency_key {
            request = request.header("idempotency-key", key);
        }
        let response = request.send().await.map_err(|error| self.unreachable(&error))?;
        let status = response.status();
        let bytes = response.bytes().await.map_err(|error| self.unreachable(&error))?;
        if !status.is_success() {
            return Err(refusal(status, &bytes).into());
        }
        let unreadable = |error: serde_json::Error| CliError::part("answer of the API", &error);
        let json: Value = serde_json::from_slice(&bytes).map_err(unreadable)?;
        let message = T::deserialize(&json).map_err(unreadable)?;
        Ok(Answer { message, json })
    }

    fn unreachable(&self, error: &reqwest::Error) -> CliError {
        let reason = if error.is_timeout() { "no answer in time" } else { "no connection" };
        CliError::Unreachable { url: self.base.to_string(), reason: reason.to_owned() }
    }
}

fn address(base: &Url, path: &[&str]) -> Url {
    let mut url = base.clone();
    url.path_segments_mut().expect("an http URL has a path").pop_if_empty().extend(path);
    url
}

/// A client for what answers at `base`. On this machine no proxy stands in between, whatever the environment says of others.
pub fn http(base: &Url) -> Result<reqwest::Client> {
    let builder = reqwest::Client::builder().timeout(TIMEOUT);
    let builder = if is_loopback(base) { builder.no_proxy() } else { builder };
    builder.build().map_err(|error| CliError::part("HTTP client", &error))
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost",
        Some(url::Host::Ipv4(ip)) => ip.is_loopback(),
        Some(url::Host::Ipv6(ip)) => ip.is_loopback(),
        None => false,
    }
}

fn refusal(status: StatusCode, body: &[u8]) -> Box<Problem> {
    Box::new(serde_json::from_slice(body).unwrap_or_else(|_| Problem {
        code: internal(),
        title: status.canonical_reason().unwrap_or("error").to_owned(),
        status: status.as_u16(),
        detail: "the answer is not a problem document of leadline; is this its API?".to_owned(),
        instance: None,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_keep_verbs_and_escape_what_would_change_the_path() {
        let base = "http://127.0.0.1:7200".parse().unwrap();
        assert_eq!(address(&base, &["v1", "operations", "op_1:cancel"]).path(), "/v1/operations/op_1:cancel");
        assert_eq!(address(&base, &["v1", "predictions", "a/b?c"]).path(), "/v1/predictions/a%2Fb%3Fc");
    }

    #[test]
    fn only_this_machine_is_reached_past_a_proxy() {
        for (url, here) in [
            ("http://127.0.0.1:7200", true),
            ("http://localhost", true),
            ("http://[::1]:1", true),
            ("https://leadline.example", false),
            ("http://localhost.example", false),
        ] {
            assert_eq!(is_loopback(&url.parse().unwrap()), here, "{url}");
        }
    }

    #[test]
    fn a_refusal_keeps_its_code_and_a_foreign_answer_is_named_as_such() {
        let coded = br#"{"type":"x","title":"t","status":403,"detail":"no consent","code":"CONSENT_MISSING"}"#;
        let problem = refusal(StatusCode::FORBIDDEN, coded);
        assert_eq!((problem.code.as_str(), problem.to_string().contains("no consent")), ("CONSENT_MISSING", true));
        let foreign = refusal(StatusCode::BAD_GATEWAY, b"<html>");
        assert_eq!((foreign.code.as_str(), foreign.status), ("INTERNAL", 502));
    }
}
