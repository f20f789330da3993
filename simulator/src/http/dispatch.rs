//! From a request to its answer: injected faults, session, limits, route.

use super::request::{Call, Scheme};
use super::{control, rest};
use crate::app::App;
use crate::auth::{oauth, soap};
use crate::error::ApiError;
use crate::faults::{Event, FaultKind, Point};
use crate::usage::Counted;
use axum::Json;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::Request;
use axum::http::{HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse, Redirect, Response};
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;

/// JSON bodies; Bulk uploads have the vendor's 150 MB of their own.
const MAX_BODY: usize = 50 << 20;
const MAX_URI: usize = 16_384;

pub(crate) async fn serve(app: Arc<App>, scheme: Scheme, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let call = Call::new(&parts.method, &parts.uri, &parts.headers, scheme);
    if let Some(refusal) = too_long(&call) {
        return refusal;
    }
    if call.segments.first().map(String::as_str) == Some("__simulator") {
        return match to_bytes(body, MAX_BODY).await {
            Ok(body) => blocking(move || control::answer(&app, &call, &body)).await,
            Err(_) => StatusCode::PAYLOAD_TOO_LARGE.into_response(),
        };
    }
    let fired = app.faults.strike(Point::Request, &event(&app, &call));
    for fault in &fired {
        if let FaultKind::Latency { delay_ms } = fault {
            tokio::time::sleep(Duration::from_millis(*delay_ms)).await;
        }
    }
    if fired.contains(&FaultKind::ServiceUnavailable) {
        let message = "Server is unavailable, try again later";
        return ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "SERVER_UNAVAILABLE", message).into_response();
    }
    let lost = fired.contains(&FaultKind::LostResponse);
    let answer = route(app, call, body, fired).await;
    if lost { cut(answer) } else { answer }
}

/// The answer that never arrives: the connection breaks instead of the body.
fn cut(answer: Response) -> Response {
    let broken = futures::stream::once(async { Err::<Bytes, _>(std::io::Error::other("injected: response lost")) });
    let (mut parts, _) = answer.into_parts();
    // Of an answer that has no body by its status, the body would not even be asked for.
    if parts.status == StatusCode::NO_CONTENT || parts.status == StatusCode::NOT_MODIFIED {
        parts.status = StatusCode::OK;
    }
    parts.headers.remove("content-length");
    Response::from_parts(parts, Body::from_stream(broken))
}

async fn route(app: Arc<App>, call: Call, body: Body, fired: Vec<FaultKind>) -> Response {
    let segments: Vec<&str> = call.segments.iter().map(String::as_str).collect();
    let revoked = fired.contains(&FaultKind::RevokedUser);
    match segments.as_slice() {
        [] => Redirect::to("/__simulator/").into_response(),
        ["services", "data"] if call.method == Method::GET => Json(versions()).into_response(),
        ["services", "oauth2", "token"] => match form(&call, body).await {
            Ok(form) => blocking(move || oauth::token(&app, &call, &form, revoked)).await,
            Err(error) => error.into_response(),
        },
        ["services", "oauth2", "revoke"] => match form(&call, body).await {
            Ok(form) => {
                let token = form.into_iter().chain(call.query).find(|(key, _)| key == "token").map(|(_, value)| value);
                oauth::revoke(&app, &token.unwrap_or_default())
            }
            Err(error) => error.into_response(),
        },
        ["services", soap, "u", ..] if soap.eq_ignore_ascii_case("soap") => match to_bytes(body, MAX_BODY).await {
            Ok(body) => {
                let text = String::from_utf8_lossy(&body).into_owned();
                blocking(move || soap::answer(&app, &call, &text, revoked)).await
            }
            Err(_) => StatusCode::PAYLOAD_TOO_LARGE.into_response(),
        },
        ["services", "oauth2", "userinfo"] | ["id", _, _] => match session(&app, &call, &fired) {
            Ok(_) => oauth::user_info(&app, &call),
            // Here the vendor answers in plain words and with another status.
            Err(_) => (StatusCode::FORBIDDEN, "Bad_OAuth_Token").into_response(),
        },
        ["services", "data", ..] | ["services", "apexrest", ..] => api(app, call, body, &fired).await,
        _ => ApiError::not_found().into_response(),
    }
}

/// A call that needs a session and counts against the daily limit.
async fn api(app: Arc<App>, call: Call, body: Body, fired: &[FaultKind]) -> Response {
    if let Err(error) = session(&app, &call, fired) {
        return error.into_response();
    }
    let limit = app.config.daily_api_requests;
    let used = app.usage.count(Counted::Request);
    let refused = |message: &str| ApiError::new(StatusCode::FORBIDDEN, "REQUEST_LIMIT_EXCEEDED", message).into_response();
    let mut answer = if used > limit || fired.contains(&FaultKind::RequestLimitExceeded) {
        refused("TotalRequests Limit exceeded.")
    } else if fired.contains(&FaultKind::ConcurrentLimit) {
        refused("ConcurrentPerOrgLongTxn Limit exceeded.")
    } else {
        rest::answer(app, call, body).await
    };
    if let Ok(value) = HeaderValue::from_str(&format!("api-usage={}/{limit}", used.min(limit))) {
        answer.headers_mut().insert("sforce-limit-info", value);
    }
    answer
}

fn session(app: &App, call: &Call, fired: &[FaultKind]) -> Result<(), ApiError> {
    let token = call.bearer()?;
    if fired.contains(&FaultKind::ExpiredSession) {
        app.sessions.end(token).map_err(|error| ApiError::unexpected("ending a session", &error))?;
    }
    if fired.contains(&FaultKind::RevokedUser) {
        return Err(ApiError::session_invalid());
    }
    app.sessions.find(token).map(drop).ok_or_else(ApiError::session_invalid)
}

/// What an injected fault can match on: the object of a request is the one in its path, its query or its job.
fn event<'a>(app: &App, call: &'a Call) -> Event<'a> {
    let after = |word: &str| {
        let at = call.segments.iter().position(|segment| segment.eq_ignore_ascii_case(word))?;
        call.segments.get(at + 1).map(String::as_str).filter(|name| app.org.table(name).is_some())
    };
    let queried = || {
        let words: Vec<&str> = call.parameter("q")?.split_whitespace().collect();
        let from = words.iter().position(|word| word.eq_ignore_ascii_case("from"))?;
        words.get(from + 1).copied()
    };
    Event { path: &call.target, method: call.method.as_str(), object: after("sobjects").or_else(queried), id: None }
}

fn too_long(call: &Call) -> Option<Response> {
    let headers: usize = call.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
    if call.target.len() > MAX_URI {
        return Some(ApiError::new(StatusCode::URI_TOO_LONG, "URI_TOO_LONG", "URI Too Long").into_response());
    }
    let message = "Request Header Fields Too Large";
    let status = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
    (call.target.len() + headers > MAX_URI).then(|| ApiError::new(status, "REQUEST_HEADER_TOO_LARGE", message).into_response())
}

async fn form(call: &Call, body: Body) -> Result<Vec<(String, String)>, ApiError> {
    if call.method != Method::POST && call.method != Method::GET {
        return Err(ApiError::method_not_allowed(call.method.as_str(), "GET,POST"));
    }
    let body = to_bytes(body, MAX_BODY).await.map_err(|_| ApiError::json_parser("the body could not be read"))?;
    let from_body = url::form_urlencoded::parse(&body).into_owned();
    Ok(from_body.chain(call.query.clone()).collect())
}

fn versions() -> serde_json::Value {
    // Three releases a year: 59.0 is Winter '24.
    let label = |version: u32| {
        let (season, year) = match (version + 1) % 3 {
            0 => ("Winter", 24 + (version - 59) / 3),
            1 => ("Spring", 24 + (version - 60) / 3),
            _ => ("Summer", 24 + (version - 61) / 3),
        };
        format!("{season} '{year}")
    };
    let version = |n: u32| json!({ "label": label(n), "url": format!("/services/data/v{n}.0"), "version": format!("{n}.0") });
    (59..=68).map(version).collect()
}

/// Runs work that reads files on a thread that may wait for them.
pub(super) async fn blocking(work: impl FnOnce() -> Response + Send + 'static) -> Response {
    match tokio::task::spawn_blocking(work).await {
        Ok(answer) => answer,
        Err(error) => ApiError::unexpected("answering a request", &error).into_response(),
    }
}
