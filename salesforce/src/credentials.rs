//! What a connected org's owner gives leadline so that it can sign in.

use std::fmt;

use url::Url;
use zeroize::Zeroizing;

use crate::error::SalesforceError;

/// The identity of a connected app and its pre-authorised user. The private key is wiped from memory on drop.
#[derive(Clone)]
pub struct Credentials {
    /// `https://login.salesforce.com`, `https://test.salesforce.com`, a My Domain, or a simulator on loopback.
    pub login_url: Url,
    /// The connected app's consumer key.
    pub client_id: String,
    pub username: String,
    /// RSA private key, PKCS #1 or PKCS #8, in PEM.
    pub private_key_pem: Zeroizing<String>,
    /// The JWT's `aud`: the vendor's login host, or the site's URL; not always `login_url`.
    pub audience: String,
}

impl Credentials {
    /// # Errors
    /// [`SalesforceError::UnsafeUrl`] if `login_url` is no URL, carries credentials, or is neither https nor on loopback.
    pub fn new(
        login_url: &str,
        client_id: impl Into<String>,
        username: impl Into<String>,
        private_key_pem: impl Into<String>,
        audience: impl Into<String>,
    ) -> Result<Self, SalesforceError> {
        Ok(Self {
            login_url: safe_url("login_url", login_url)?,
            client_id: client_id.into(),
            username: username.into(),
            private_key_pem: Zeroizing::new(private_key_pem.into()),
            audience: audience.into(),
        })
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("login_url", &self.login_url.as_str()).finish_non_exhaustive()
    }
}

/// A base URL that a token may be sent to: https, or http to this very machine, where no wire is crossed.
pub(crate) fn safe_url(role: &'static str, text: &str) -> Result<Url, SalesforceError> {
    let unsafe_url = |reason| SalesforceError::UnsafeUrl { role, reason };
    let url = Url::parse(text).map_err(|_| unsafe_url("is not a URL"))?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(unsafe_url("carries credentials"));
    }
    match url.scheme() {
        "https" => Ok(url),
        "http" if is_loopback(&url) => Ok(url),
        _ => Err(unsafe_url("is neither https nor on loopback")),
    }
}

pub(crate) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost",
        Some(url::Host::Ipv4(ip)) => ip.is_loopback(),
        Some(url::Host::Ipv6(ip)) => ip.is_loopback(),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_never_sent_in_the_clear_over_a_network() {
        for good in ["https://login.salesforce.com", "http://127.0.0.1:9000", "http://[::1]:9000", "http://localhost:1"] {
            assert!(safe_url("login_url", good).is_ok(), "{good}");
        }
        for bad in ["http://login.salesforce.com", "http://10.0.0.1", "ftp://localhost", "https://u:p@example.org", "login"] {
            assert!(safe_url("login_url", bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn debug_shows_neither_key_nor_user() {
        let credentials = Credentials::new("https://test.salesforce.com", "3MVG9", "ada@example.org", "PEM", "aud").unwrap();
        let shown = format!("{credentials:?}");
        assert!(shown.contains("test.salesforce.com"));
        assert!(!shown.contains("PEM") && !shown.contains("ada@"), "{shown}");
    }
}
