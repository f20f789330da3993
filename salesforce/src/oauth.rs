//! OAuth 2.0 JWT bearer flow (RFC 7523): a short-lived signed assertion for an access token.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use reqwest::Client;
use reqwest::header::HeaderValue;
use serde::{Deserialize, Serialize};
use url::Url;
use zeroize::Zeroizing;

use crate::call::{read_bounded, transport};
use crate::credentials::{Credentials, safe_url};
use crate::error::SalesforceError;
use crate::org_id::OrgId;
use crate::refusal::token_refusal;
use crate::soql::is_id;

const GRANT_TYPE: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
/// The vendor refuses assertions that live longer than five minutes; its own clients use three.
const ASSERTION_SECONDS: u64 = 180;
const MAX_TOKEN_ANSWER: usize = 64 * 1024;
const WHAT: &str = "a token request";

#[derive(Serialize, Deserialize, Debug, PartialEq, Eq)]
struct Claims {
    iss: String,
    sub: String,
    aud: String,
    exp: u64,
}

/// A granted session.
pub(crate) struct Grant {
    pub(crate) authorization: HeaderValue,
    pub(crate) instance_url: Url,
    pub(crate) org_id: OrgId,
    pub(crate) user_id: String,
}

#[derive(Deserialize)]
struct TokenAnswer {
    access_token: String,
    instance_url: String,
    id: String,
}

/// Exchanges a fresh assertion for a session.
pub(crate) async fn request_token(http: &Client, credentials: &Credentials, timeout: Duration) -> Result<Grant, SalesforceError> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
    let assertion = sign_assertion(credentials, now)?;
    let url = credentials.login_url.join("/services/oauth2/token").map_err(|_| malformed("the login URL has no path"))?;
    let answer = http
        .post(url)
        .timeout(timeout)
        .form(&[("grant_type", GRANT_TYPE), ("assertion", &assertion)])
        .send()
        .await
        .map_err(|e| transport(WHAT, e))?;
    let status = answer.status();
    let body = Zeroizing::new(read_bounded(answer, WHAT, MAX_TOKEN_ANSWER).await?);
    if !status.is_success() {
        return Err(token_refusal(status.as_u16(), &body));
    }
    read_grant(&body)
}

fn sign_assertion(credentials: &Credentials, now: u64) -> Result<Zeroizing<String>, SalesforceError> {
    let claims = Claims {
        iss: credentials.client_id.clone(),
        sub: credentials.username.clone(),
        aud: credentials.audience.clone(),
        exp: now + ASSERTION_SECONDS,
    };
    EncodingKey::from_rsa_pem(credentials.private_key_pem.as_bytes())
        .and_then(|key| jsonwebtoken::encode(&Header::new(Algorithm::RS256), &claims, &key))
        .map(Zeroizing::new)
        .map_err(|_| SalesforceError::PrivateKeyUnreadable)
}

fn read_grant(body: &[u8]) -> Result<Grant, SalesforceError> {
    let answer: TokenAnswer = serde_json::from_slice(body).map_err(|_| malformed("a key is missing"))?;
    let token = Zeroizing::new(answer.access_token);
    let bearer = Zeroizing::new(format!("Bearer {}", token.as_str()));
    let mut authorization = HeaderValue::from_str(&bearer).map_err(|_| malformed("the token does not fit a header"))?;
    authorization.set_sensitive(true);
    let (org_id, user_id) = read_identity_url(&answer.id).ok_or_else(|| malformed("the identity URL names no org and user"))?;
    Ok(Grant { authorization, instance_url: safe_url("instance_url", &answer.instance_url)?, org_id, user_id })
}

/// `{login}/id/{org}/{user}`.
fn read_identity_url(url: &str) -> Option<(OrgId, String)> {
    let mut segments = url.trim_end_matches('/').rsplit('/');
    let (user, org) = (segments.next()?, segments.next()?);
    Some((OrgId::parse(org)?, Some(user).filter(|user| is_id(user))?.to_owned()))
}

fn malformed(reason: &str) -> SalesforceError {
    SalesforceError::MalformedResponse { what: WHAT.to_owned(), reason: reason.to_owned() }
}

#[cfg(test)]
mod tests {
    use jsonwebtoken::{DecodingKey, Validation};
    use rsa::pkcs1::{EncodeRsaPrivateKey, EncodeRsaPublicKey, LineEnding};

    use super::*;

    fn credentials(key: &str) -> Credentials {
        Credentials::new("https://login.salesforce.com", "3MVG9", "ada@example.org", key, "https://test.salesforce.com").unwrap()
    }

    #[test]
    fn the_assertion_says_who_asks_whom_and_lives_three_minutes() {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let private_key = rsa::RsaPrivateKey::new(&mut rsa::rand_core::OsRng, 2048).unwrap();
        let private_pem = private_key.to_pkcs1_pem(LineEnding::LF).unwrap();
        let public_pem = private_key.to_public_key().to_pkcs1_pem(LineEnding::LF).unwrap();
        let assertion = sign_assertion(&credentials(&private_pem), now).unwrap();
        let mut validation = Validation::new(Algorithm::RS256);
        validation.set_audience(&["https://test.salesforce.com"]);
        let key = DecodingKey::from_rsa_pem(public_pem.as_bytes()).unwrap();
        let claims = jsonwebtoken::decode::<Claims>(assertion.as_str(), &key, &validation).unwrap().claims;
        let expected = Claims {
            iss: "3MVG9".into(),
            sub: "ada@example.org".into(),
            aud: "https://test.salesforce.com".into(),
            exp: now + 180,
        };
        assert_eq!(claims, expected);
        let error = sign_assertion(&credentials("not a key"), now).unwrap_err();
        assert_eq!(error, SalesforceError::PrivateKeyUnreadable);
    }

    #[test]
    fn a_grant_binds_the_token_to_an_org_and_a_safe_instance() {
        let answer = |instance: &str, id: &str| {
            serde_json::json!({ "access_token": "00DE0000000Hq5d!AQ", "instance_url": instance, "id": id, "token_type": "Bearer" })
                .to_string()
        };
        let identity = "https://login.salesforce.com/id/00DE0000000Hq5dMAC/005E0000000xxxxIAB";
        let grant = read_grant(answer("https://acme.my.salesforce.com", identity).as_bytes()).expect("a full answer");
        assert_eq!((grant.org_id.as_str(), grant.user_id.as_str()), ("00DE0000000Hq5dMAC", "005E0000000xxxxIAB"));
        assert!(grant.authorization.is_sensitive());
        assert!(read_grant(answer("http://acme.example.org", identity).as_bytes()).is_err(), "in the clear");
        assert!(read_grant(answer("https://acme.my.salesforce.com", "https://login.salesforce.com/id/x/y").as_bytes()).is_err());
        assert!(read_grant(b"{}").is_err());
    }
}
