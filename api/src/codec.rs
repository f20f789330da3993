//! The codec endpoint: Temporal's remote codec protocol, by which its UI and its CLI show what leadline has encrypted.
//!
//! `POST /codec/encode` and `/codec/decode` take `{"payloads": [{"metadata": {…}, "data": …}]}` with every value in base64 and
//! answer with the same shape. Whoever may decode reads every tenant's histories, so a request shows an operator's key. A browser
//! reads answers only on pages of the configured origins (CORS).
//!
//! The UI of Temporal's dev server sends no key. For it, and for nothing else, pages of those origins are answered without one
//! ([`CodecConfig::keyless`]): on a loopback address, asked for by a loopback name (a page that has its own name resolve to
//! 127.0.0.1 is refused), and not by way of a proxy.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

use axum::{
    Extension, Json, Router,
    body::{Body, Bytes},
    extract::{DefaultBodyLimit, FromRequest as _, Request, State},
    middleware::{Next, from_fn_with_state},
    response::{IntoResponse, Response},
    routing::post,
};
use base64::{
    Engine as _, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig, general_purpose::STANDARD},
};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use leadline_codec::TenantCodec;
use leadline_domain::{Code, Failure};
use leadline_secrets::{Keyring, SecretsError};
use serde::{Deserialize, Serialize};
use temporalio_common::protos::temporal::api::common::v1::Payload;
use tracing::info;

use crate::{
    config::CodecConfig,
    failures::problem,
    keys::Keys,
    layers::{authentication::shown_key, origin},
};

const NAMESPACE: &str = "x-namespace";
/// What a page's request may carry, as Temporal's UI does.
const ALLOWED_HEADERS: HeaderValue = HeaderValue::from_static("authorization, authorization-extras, content-type, x-namespace");
/// Any of them says that a request came by way of a proxy.
const PROXY_HEADERS: [&str; 4] = ["forwarded", "x-forwarded-for", "x-forwarded-host", "via"];

/// The protocol is JSON of protobuf, which reads base64 with and without padding.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// What the endpoint answers with.
#[derive(Clone)]
pub struct Codec {
    codec: TenantCodec,
    namespace: Arc<str>,
    config: Arc<CodecConfig>,
    keys: Arc<Keys>,
}

/// Who asks, for the log.
#[derive(Clone)]
struct Asker(String);

#[derive(Serialize, Deserialize)]
struct WirePayloads {
    #[serde(default)]
    payloads: Vec<WirePayload>,
}

#[derive(Serialize, Deserialize)]
struct WirePayload {
    #[serde(default)]
    metadata: BTreeMap<String, String>,
    #[serde(default)]
    data: Option<String>,
}

/// The two routes, with CORS and without a size or time limit.
pub fn routes(codec: Codec, max_body: usize) -> Router {
    Router::new()
        .route("/codec/encode", post(encode))
        .route("/codec/decode", post(decode))
        .layer(DefaultBodyLimit::max(max_body))
        .layer(from_fn_with_state(codec.clone(), admit))
        .layer(from_fn_with_state(codec.clone(), answer_pages))
        .with_state(codec)
}

impl Codec {
    pub fn new(keyring: &Keyring, namespace: &str, config: CodecConfig, keys: Arc<Keys>) -> Self {
        Self { codec: TenantCodec::new(keyring), namespace: namespace.into(), config: Arc::new(config), keys }
    }

    /// # Errors
    /// [`Code::Unauthenticated`]; [`Code::Forbidden`] for a tenant's key; [`Code::InvalidArgument`] for another namespace.
    async fn identify(&self, headers: &HeaderMap) -> Result<String, Failure> {
        let caller = match shown_key(headers) {
            Some(key) => {
                let caller = self.keys.identify(key).await?;
                caller.require_operator()?;
                caller.key.to_string()
            }
            None if self.is_local_page(headers) => "a page of the local Temporal UI".to_owned(),
            None => return Err(Failure::new(Code::Unauthenticated, "the request shows no operator's key")),
        };
        match headers.get(NAMESPACE) {
            // Temporal's CLI sends an empty one when it was told no namespace.
            Some(named) if !named.is_empty() && named.as_bytes() != self.namespace.as_bytes() => {
                Err(Failure::new(Code::InvalidArgument, format!("X-Namespace: leadline's runs are in {}", self.namespace)))
            }
            _ => Ok(caller),
        }
    }

    fn is_local_page(&self, headers: &HeaderMap) -> bool {
        self.config.keyless
            && !headers.contains_key(header::AUTHORIZATION)
            && self.page(headers).is_some()
            && headers.get(header::HOST).and_then(|host| host.to_str().ok()).is_some_and(is_loopback)
            && !PROXY_HEADERS.iter().any(|name| headers.contains_key(*name))
    }

    /// The origin of the page that asks, if it is one of the configured.
    fn page(&self, headers: &HeaderMap) -> Option<HeaderValue> {
        let origin = headers.get(header::ORIGIN)?;
        self.config.origins.iter().any(|allowed| allowed.as_bytes() == origin.as_bytes()).then(|| origin.clone())
    }
}

/// Whether a `Host` header names this machine.
fn is_loopback(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    };
    let address = name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    name == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

/// CORS: answers preflights, and lets pages of the configured origins read answers, refusals included.
async fn answer_pages(State(codec): State<Codec>, request: Request<Body>, next: Next) -> Response {
    let page = codec.page(request.headers());
    let mut response = match *request.method() {
        Method::OPTIONS => StatusCode::NO_CONTENT.into_response(),
        _ => next.run(request).await,
    };
    let headers = response.headers_mut();
    headers.insert(header::VARY, HeaderValue::from_static("origin"));
    if let Some(page) = page {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, page);
        headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("POST, OPTIONS"));
        headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, ALLOWED_HEADERS);
        headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
    }
    response
}

/// Refuses whoever may not decode, before the body is read.
async fn admit(State(codec): State<Codec>, mut request: Request<Body>, next: Next) -> Response {
    match codec.identify(request.headers()).await {
        Ok(caller) => {
            request.extensions_mut().insert(Asker(caller));
            next.run(request).await
        }
        Err(failure) => problem(&failure, &origin(&request)),
    }
}

async fn encode(State(codec): State<Codec>, request: Request<Body>) -> Response {
    answer(request, |payload| codec.codec.seal(payload)).await
}

/// Whose histories somebody reads stands in the log.
async fn decode(State(codec): State<Codec>, Extension(asker): Extension<Asker>, request: Request<Body>) -> Response {
    let read = |payload| {
        if let Some(tenant) = TenantCodec::tenant(&payload) {
            info!(asker = asker.0, %tenant, "decodes");
        }
        codec.codec.open(payload)
    };
    answer(request, read).await
}

async fn answer(request: Request<Body>, convert: impl Fn(Payload) -> Result<Payload, SecretsError>) -> Response {
    let at = origin(&request);
    let body = match Bytes::from_request(request, &()).await {
        Ok(body) => body,
        Err(refused) => return refused.into_response(),
    };
    match converted(&body, convert) {
        Ok(payloads) => Json(payloads).into_response(),
        Err(failure) => problem(&failure, &at),
    }
}

fn converted(body: &[u8], convert: impl Fn(Payload) -> Result<Payload, SecretsError>) -> Result<WirePayloads, Failure> {
    let malformed = || Failure::new(Code::InvalidArgument, "the body is no JSON of temporal.api.common.v1.Payloads");
    let asked: WirePayloads = serde_json::from_slice(body).map_err(|_| malformed())?;
    let payloads = asked.payloads.into_iter().map(|wire| {
        let payload = wire.read().ok_or_else(malformed)?;
        Ok(WirePayload::write(&convert(payload)?))
    });
    Ok(WirePayloads { payloads: payloads.collect::<Result<_, Failure>>()? })
}

impl WirePayload {
    fn read(self) -> Option<Payload> {
        let metadata = self.metadata.into_iter().map(|(name, value)| Some((name, bytes(&value)?)));
        let data = bytes(&self.data.unwrap_or_default())?;
        Some(Payload { metadata: metadata.collect::<Option<_>>()?, data, ..Payload::default() })
    }

    fn write(payload: &Payload) -> Self {
        let metadata = payload.metadata.iter().map(|(name, value)| (name.clone(), STANDARD.encode(value)));
        Self { metadata: metadata.collect(), data: Some(STANDARD.encode(&payload.data)) }
    }
}

/// Base64 in either alphabet.
fn bytes(text: &str) -> Option<Vec<u8>> {
    LENIENT.decode(text.replace('-', "+").replace('_', "/")).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_this_machine_are_loopback() {
        for host in ["127.0.0.1", "127.0.0.1:7200", "localhost:7200", "[::1]:7200", "[::1]"] {
            assert!(is_loopback(host), "{host}");
        }
        for host in ["leadline.example.com", "127.0.0.1.example.com:7200", "10.0.0.7:7200", "localhost.example.com", ""] {
            assert!(!is_loopback(host), "{host}");
        }
    }

    #[test]
    fn payloads_are_read_as_protobufs_json_is() {
        let body = br#"{"payloads":[{"metadata":{"encoding":"anNvbi9wbGFpbg=="},"data":"_w","other":1},{"data":null},{}]}"#;
        let read = converted(body, Ok).unwrap();
        assert_eq!(read.payloads[0].metadata["encoding"], "anNvbi9wbGFpbg==");
        let data: Vec<_> = read.payloads.iter().map(|payload| payload.data.as_deref().unwrap()).collect();
        assert_eq!(data, ["/w==", "", ""]);
        for bad in [b"7".as_slice(), br#"{"payloads":[{"data":"*"}]}"#] {
            assert_eq!(converted(bad, Ok).err().map(|failure| failure.code), Some(Code::InvalidArgument));
        }
    }
}
