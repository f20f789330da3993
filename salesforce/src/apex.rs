//! Calls to Apex REST services that live in the org, such as leadline's own callbacks.

use bytes::Bytes;
use reqwest::Method;
use reqwest::header::{HeaderName, HeaderValue};

use crate::call::Call;
use crate::client::OrgClient;
use crate::error::SalesforceError;

/// The answer of an Apex REST service, whose body is the service's own affair.
#[derive(Debug, Clone)]
pub struct ApexAnswer {
    /// Between 200 and 299.
    pub status: u16,
    pub body: Bytes,
}

impl OrgClient {
    /// Posts exactly these bytes, as JSON, to `{instance}/services/apexrest/{path}`.
    ///
    /// # Errors
    /// [`SalesforceError::InvalidRequest`] for a path with anything but names, dashes and slashes, or a header that HTTP does not
    /// allow; any status but 2xx as its refusal. A 401 that is not the vendor's own (a service that refuses a signature) does
    /// not renew the session and comes back as [`SalesforceError::Refused`].
    pub async fn apex_rest_post(
        &self,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Result<ApexAnswer, SalesforceError> {
        let path = path.trim_start_matches('/');
        let what = format!("apex rest post to {path}");
        let invalid =
            |reason: &str| SalesforceError::InvalidRequest { what: "apex rest post".to_owned(), reason: reason.to_owned() };
        let plain_segment = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'));
        if !path.split('/').all(plain_segment) {
            return Err(invalid("the path has a segment that is not a plain name"));
        }
        let mut call = Call::new(what, Method::POST, format!("/services/apexrest/{path}")).body("application/json", body.into());
        for (name, value) in headers {
            let name: HeaderName = name.parse().map_err(|_| invalid("a header name is not one"))?;
            let value = HeaderValue::from_str(value).map_err(|_| invalid("a header value is not one"))?;
            call = call.header(name, value);
        }
        let answer = self.send(&call).await?;
        let status = answer.status().as_u16();
        let body = self.read_bounded(answer, &call.what).await?.into();
        Ok(ApexAnswer { status, body })
    }
}
