//! One HTTP call, described so that it can be sent twice, and the bounded reading of what comes back.

use bytes::Bytes;
use reqwest::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use reqwest::{Client, Method, RequestBuilder, Response};
use serde::Serialize;

use crate::error::{Missing, SalesforceError};
use crate::session::Session;

/// A call of the REST API, the Bulk API or Apex REST.
pub(crate) struct Call {
    /// The operation and its object, for errors: `describe of Lead`.
    pub(crate) what: String,
    /// What a 404 says is not there.
    pub(crate) missing: Missing,
    method: Method,
    /// Absolute path, percent-encoded, with its query string if the vendor gave it.
    path: String,
    query: Vec<(&'static str, String)>,
    headers: Vec<(HeaderName, HeaderValue)>,
    body: Option<Bytes>,
    brief: bool,
}

impl Call {
    pub(crate) fn new(what: impl Into<String>, method: Method, path: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            missing: Missing::Resource,
            method,
            path: path.into(),
            query: Vec::new(),
            headers: Vec::new(),
            body: None,
            brief: false,
        }
    }

    pub(crate) fn get(what: impl Into<String>, path: impl Into<String>) -> Self {
        Self::new(what, Method::GET, path)
    }

    pub(crate) fn about(mut self, missing: Missing) -> Self {
        self.missing = missing;
        self
    }

    /// Bounds the whole call: see [`crate::Options::brief_timeout`].
    pub(crate) fn brief(mut self) -> Self {
        self.brief = true;
        self
    }

    pub(crate) fn is_brief(&self) -> bool {
        self.brief
    }

    pub(crate) fn query(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.query.push((name, value.into()));
        self
    }

    pub(crate) fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    pub(crate) fn body(mut self, content_type: &'static str, body: Bytes) -> Self {
        self.body = Some(body);
        self.header(CONTENT_TYPE, HeaderValue::from_static(content_type))
    }

    pub(crate) fn json(self, body: &impl Serialize) -> Result<Self, SalesforceError> {
        let bytes = serde_json::to_vec(body).map_err(|_| SalesforceError::InvalidRequest {
            what: self.what.clone(),
            reason: "the body has no JSON form".to_owned(),
        })?;
        Ok(self.body("application/json", bytes.into()))
    }

    /// The request of this call in a session.
    ///
    /// # Errors
    /// [`SalesforceError::MalformedResponse`] if the path, which may come from an earlier answer, leads to another origin: the
    /// session's token must not go there.
    pub(crate) fn request(&self, http: &Client, session: &Session) -> Result<RequestBuilder, SalesforceError> {
        let off_origin = || SalesforceError::MalformedResponse {
            what: self.what.clone(),
            reason: "its address leaves the org's instance".to_owned(),
        };
        let url = session.instance_url.join(&self.path).map_err(|_| off_origin())?;
        if url.origin() != session.instance_url.origin() {
            return Err(off_origin());
        }
        let mut request = http.request(self.method.clone(), url);
        if !self.query.is_empty() {
            request = request.query(&self.query);
        }
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        if let Some(body) = &self.body {
            request = request.body(body.clone());
        }
        Ok(request.header(reqwest::header::AUTHORIZATION, session.authorization.clone()))
    }
}

/// Reads a body of at most `limit` bytes.
pub(crate) async fn read_bounded(mut answer: Response, what: &str, limit: usize) -> Result<Vec<u8>, SalesforceError> {
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(|e| transport(what, e))? {
        if body.len() + chunk.len() > limit {
            let reason = format!("it is longer than {limit} bytes");
            return Err(SalesforceError::MalformedResponse { what: what.to_owned(), reason });
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// A failure below HTTP. The URL is left out: its query string holds SOQL, which may hold values.
pub(crate) fn transport(what: &str, error: reqwest::Error) -> SalesforceError {
    let kind = if error.is_connect() {
        "cannot connect"
    } else if error.is_timeout() {
        "timed out"
    } else if error.is_decode() || error.is_body() {
        "the connection broke in the body"
    } else {
        "the connection broke"
    };
    let root = root_cause(&error.without_url());
    SalesforceError::Transport { what: what.to_owned(), reason: format!("{kind} ({root})") }
}

fn root_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}
