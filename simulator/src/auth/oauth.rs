//! The token endpoint (JWT bearer, password and client-credentials flows), userinfo, the identity URL and revocation.

use super::connected_app::ConnectedApp;
use crate::app::App;
use crate::error::OauthError;
use crate::http::request::Call;
use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use chrono::Utc;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde_json::{Value as JsonValue, json};

const JWT_BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";

const INVALID_CLIENT: OauthError = OauthError { error: "invalid_client_id", description: "client identifier invalid" };
const BAD_SECRET: OauthError = OauthError { error: "invalid_client", description: "invalid client credentials" };
const NOT_APPROVED: OauthError = OauthError { error: "invalid_grant", description: "user hasn't approved this consumer" };
const BAD_AUDIENCE: OauthError = OauthError { error: "invalid_grant", description: "audience is invalid" };
const BAD_ASSERTION: OauthError = OauthError { error: "invalid_grant", description: "invalid assertion" };
// What the vendor calls a JWT that came too late.
const EXPIRED: OauthError = OauthError { error: "invalid_grant", description: "expired authorization code" };
const BAD_PASSWORD: OauthError = OauthError { error: "invalid_grant", description: "authentication failure" };
const BAD_GRANT: OauthError = OauthError { error: "unsupported_grant_type", description: "grant type not supported" };

/// `POST /services/oauth2/token`.
pub(crate) fn token(app: &App, call: &Call, form: &[(String, String)], revoked: bool) -> Response {
    let field = |name: &str| form.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
    let granted = match field("grant_type") {
        Some(JWT_BEARER) => {
            field("assertion").ok_or(BAD_ASSERTION).and_then(|jwt| check_assertion(app, call, jwt)).map(|()| "jwt-bearer")
        }
        Some("password") => check_password(&app.connected_app, call, &field).map(|()| "password"),
        Some("client_credentials") => check_client(&app.connected_app, call, &field).map(|()| "client-credentials"),
        _ => Err(BAD_GRANT),
    };
    let flow = match granted {
        Ok(_) if revoked => return NOT_APPROVED.into_response(),
        Ok(flow) => flow,
        Err(error) => return error.into_response(),
    };
    let owner = &app.connected_app;
    let token = match app.sessions.issue(&owner.org_id, &owner.user_id, flow) {
        Ok(token) => token,
        Err(error) => return crate::error::ApiError::unexpected("issuing a session", &error).into_response(),
    };
    let instance_url = call.instance_url(app);
    let mut answer = json!({
        "access_token": token,
        "scope": "id api",
        "instance_url": instance_url,
        "id": identity_url(call, owner),
        "token_type": "Bearer",
    });
    if flow != "jwt-bearer" {
        answer["issued_at"] = json!(Utc::now().timestamp_millis().to_string());
        answer["signature"] = json!(BASE64.encode(rand::random::<[u8; 32]>()));
    }
    Json(answer).into_response()
}

/// iss, sub, aud and exp as the vendor checks them, after the signature.
fn check_assertion(app: &App, call: &Call, assertion: &str) -> Result<(), OauthError> {
    let owner = &app.connected_app;
    let key = DecodingKey::from_rsa_pem(owner.public_key_pem.as_bytes()).map_err(|_| BAD_ASSERTION)?;
    // Claims are checked below: `exp` may be a text, and each refusal has words of its own.
    let mut validation = Validation::new(Algorithm::RS256);
    validation.required_spec_claims.clear();
    validation.validate_exp = false;
    validation.validate_aud = false;
    let unverified = unverified_claims(assertion).ok_or(BAD_ASSERTION)?;
    if unverified["iss"] != json!(owner.client_id) {
        return Err(INVALID_CLIENT);
    }
    let claims = jsonwebtoken::decode::<JsonValue>(assertion, &key, &validation).map_err(|_| BAD_ASSERTION)?.claims;
    if claims["sub"] != json!(owner.username) {
        return Err(NOT_APPROVED);
    }
    let audiences = match &claims["aud"] {
        JsonValue::Array(list) => list.iter().filter_map(JsonValue::as_str).collect(),
        one => one.as_str().into_iter().collect::<Vec<_>>(),
    };
    if !audiences.iter().any(|audience| is_audience(app, call, audience)) {
        return Err(BAD_AUDIENCE);
    }
    let expires = match &claims["exp"] {
        JsonValue::String(text) => text.parse::<f64>().ok(),
        number => number.as_f64(),
    };
    match expires {
        Some(expires) if expires > Utc::now().timestamp() as f64 => Ok(()),
        Some(_) => Err(EXPIRED),
        None => Err(BAD_ASSERTION),
    }
}

fn unverified_claims(assertion: &str) -> Option<JsonValue> {
    let payload = assertion.split('.').nth(1)?;
    let bytes = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(payload.trim_end_matches('=')).ok()?;
    serde_json::from_slice(&bytes).ok()
}

/// The vendor's two login hosts, or the site: here any address under which this server is reached.
fn is_audience(app: &App, call: &Call, audience: &str) -> bool {
    let audience = audience.trim_end_matches('/');
    let audience = audience.strip_suffix("/services/oauth2/token").unwrap_or(audience);
    let own = [app.urls.http.clone(), app.urls.https.clone(), call.origin(), call.instance_url(app)];
    ["https://login.salesforce.com", "https://test.salesforce.com"].contains(&audience) || own.iter().any(|url| url == audience)
}

fn check_password<'a>(app: &ConnectedApp, call: &Call, field: &dyn Fn(&str) -> Option<&'a str>) -> Result<(), OauthError> {
    check_client(app, call, field)?;
    let password = field("password").unwrap_or_default();
    if field("username") == Some(&app.username) && password_fits(app, password) { Ok(()) } else { Err(BAD_PASSWORD) }
}

/// The password, alone or with the security token behind it.
pub(crate) fn password_fits(app: &ConnectedApp, given: &str) -> bool {
    given.strip_prefix(app.password.as_str()).is_some_and(|rest| rest.is_empty() || rest == app.security_token)
}

/// Client id and secret, from the form or from HTTP basic authentication.
fn check_client<'a>(app: &ConnectedApp, call: &Call, field: &dyn Fn(&str) -> Option<&'a str>) -> Result<(), OauthError> {
    let basic = call.header("authorization").and_then(|value| value.strip_prefix("Basic ")).and_then(|value| {
        let text = String::from_utf8(BASE64.decode(value.trim()).ok()?).ok()?;
        text.split_once(':').map(|(id, secret)| (id.to_owned(), secret.to_owned()))
    });
    let form = || Some((field("client_id")?.to_owned(), field("client_secret").unwrap_or_default().to_owned()));
    let Some((id, secret)) = basic.or_else(form) else { return Err(INVALID_CLIENT) };
    match (id == app.client_id, secret == app.client_secret) {
        (true, true) => Ok(()),
        (true, false) => Err(BAD_SECRET),
        (false, _) => Err(INVALID_CLIENT),
    }
}

fn identity_url(call: &Call, app: &ConnectedApp) -> String {
    format!("{}/id/{}/{}", call.origin(), app.org_id, app.user_id)
}

/// `GET /services/oauth2/userinfo` and `GET /id/{org}/{user}`: an OpenID answer with the identity's own keys beside it.
pub(crate) fn user_info(app: &App, call: &Call) -> Response {
    let owner = &app.connected_app;
    let (instance, origin) = (call.instance_url(app), call.origin());
    let rest = |name: &str| format!("{instance}/services/data/v{{version}}/{name}");
    Json(json!({
        "sub": identity_url(call, owner),
        "id": identity_url(call, owner),
        "asserted_user": true,
        "user_id": owner.user_id,
        "organization_id": owner.org_id,
        "preferred_username": owner.username,
        "username": owner.username,
        "nickname": "integration",
        "nick_name": "integration",
        "name": "Integration User",
        "display_name": "Integration User",
        "email": owner.username,
        "email_verified": true,
        "given_name": "Integration",
        "family_name": "User",
        "zoneinfo": "GMT",
        "timezone": "GMT",
        "photos": { "picture": format!("{origin}/profilephoto/005/F"), "thumbnail": format!("{origin}/profilephoto/005/T") },
        "profile": format!("{origin}/{}", owner.user_id),
        "picture": format!("{origin}/profilephoto/005/F"),
        "urls": {
            "enterprise": format!("{instance}/services/Soap/c/{{version}}/{}", &owner.org_id[..15]),
            "partner": format!("{instance}/services/Soap/u/{{version}}/{}", &owner.org_id[..15]),
            "rest": rest(""),
            "sobjects": rest("sobjects/"),
            "query": rest("query/"),
            "profile": format!("{origin}/{}", owner.user_id),
            "custom_domain": instance,
        },
        "active": true,
        "user_type": "STANDARD",
        "language": "en_US",
        "locale": "en_US",
        "utcOffset": 0,
        "is_app_installed": true,
    }))
    .into_response()
}

/// `POST /services/oauth2/revoke`: 200 when the token was a session's, 400 otherwise.
pub(crate) fn revoke(app: &App, token: &str) -> Response {
    match app.sessions.end(token) {
        Ok(true) => StatusCode::OK.into_response(),
        Ok(false) => OauthError { error: "unsupported_token_type", description: "this token is not supported" }.into_response(),
        Err(error) => crate::error::ApiError::unexpected("ending a session", &error).into_response(),
    }
}
