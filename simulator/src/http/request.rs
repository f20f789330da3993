//! A request without its body, taken apart once.

use crate::app::App;
use crate::error::ApiError;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use serde::de::DeserializeOwned;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scheme {
    Http,
    Https,
}

#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub method: Method,
    /// Path and query as they came.
    pub target: String,
    /// Path segments, decoded, without empty ones: trailing and doubled slashes mean nothing.
    pub segments: Vec<String>,
    pub query: Vec<(String, String)>,
    pub headers: HeaderMap,
    scheme: Scheme,
    host: String,
}

impl Call {
    pub fn new(method: &Method, uri: &Uri, headers: &HeaderMap, scheme: Scheme) -> Self {
        let mut segments = Vec::new();
        for segment in uri.path().split('/').filter(|segment| !segment.is_empty()) {
            segments.push(percent_decoded(segment));
        }
        let query = url::form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes()).into_owned().collect();
        let host = headers.get("host").and_then(|host| host.to_str().ok()).map(str::to_owned);
        let host = host.or_else(|| uri.authority().map(ToString::to_string)).unwrap_or_default();
        let target = uri.path_and_query().map_or_else(|| uri.path().to_owned(), ToString::to_string);
        // A Java client without PATCH says it in the query.
        let overridden = uri.query().and_then(|query| query.split('&').find_map(|pair| pair.strip_prefix("_HttpMethod=")));
        let method = overridden.and_then(|name| Method::from_bytes(name.as_bytes()).ok()).unwrap_or_else(|| method.clone());
        let method = if method == Method::HEAD { Method::GET } else { method };
        Self { method, target, segments, query, headers: headers.clone(), scheme, host }
    }

    /// A call inside a composite request: same session, another method and path.
    pub fn inner(&self, method: &Method, target: &str) -> Option<Self> {
        let uri: Uri = target.parse().ok()?;
        Some(Self::new(method, &uri, &self.headers, self.scheme)).map(|call| Self { host: self.host.clone(), ..call })
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// Scheme and host as the client named them.
    pub fn origin(&self) -> String {
        let scheme = match self.scheme {
            Scheme::Http => "http",
            Scheme::Https => "https",
        };
        format!("{scheme}://{}", self.host)
    }

    /// Where the API is for this client: the org's own domain behind the vendor's names, else the very address it used.
    pub fn instance_url(&self, app: &App) -> String {
        let name = self.host.split(':').next().unwrap_or_default();
        if name.ends_with(".salesforce.com") {
            return format!("https://{}.my.salesforce.com", app.config.my_domain);
        }
        self.origin()
    }

    /// `60.0` of `/services/data/v60.0/...`.
    pub fn version(&self) -> &str {
        self.segments.get(2).map_or("", |segment| segment.trim_start_matches('v'))
    }

    /// The segments behind the API version.
    pub fn resource(&self) -> Vec<&str> {
        self.segments.iter().skip(3).map(String::as_str).collect()
    }

    pub fn bearer(&self) -> Result<&str, ApiError> {
        let Some(value) = self.header("authorization") else { return Err(ApiError::session_invalid()) };
        let mut words = value.split_whitespace();
        match (words.next(), words.next(), words.next()) {
            (Some(kind), Some(token), None) if kind.eq_ignore_ascii_case("Bearer") || kind.eq_ignore_ascii_case("OAuth") => {
                Ok(token)
            }
            _ => Err(ApiError::new(StatusCode::UNAUTHORIZED, "INVALID_AUTH_HEADER", "INVALID_HEADER_TYPE")),
        }
    }
}

fn percent_decoded(segment: &str) -> String {
    let bytes = segment.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let hex = bytes.get(at + 1..at + 3).and_then(|pair| std::str::from_utf8(pair).ok());
        match hex.and_then(|pair| u8::from_str_radix(pair, 16).ok()) {
            Some(byte) if bytes[at] == b'%' => {
                decoded.push(byte);
                at += 3;
            }
            _ => {
                decoded.push(bytes[at]);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

/// A JSON body, whatever content type it claims.
pub(crate) fn parsed<T: DeserializeOwned>(body: &[u8]) -> Result<T, ApiError> {
    serde_json::from_slice(body).map_err(|error| {
        // The position and the kind only: serde repeats values in some of its messages.
        let kind = if error.is_data() { "a value is not of the expected form" } else { "Unexpected character" };
        ApiError::json_parser(format!("{kind} at [line:{}, column:{}]", error.line(), error.column()))
    })
}
