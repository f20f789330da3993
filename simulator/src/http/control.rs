//! `/__simulator/`: what a person or a test may see and steer. No session is needed: it listens on loopback only.

use super::page;
use super::request::{Call, parsed};
use crate::app::App;
use crate::error::ApiError;
use crate::faults::Fault;
use crate::usage::Counted;
use axum::Json;
use axum::http::{Method, StatusCode};
use axum::response::{Html, IntoResponse, Response};
use serde_json::{Map, Value as JsonValue, json};

pub(super) fn answer(app: &App, call: &Call, body: &[u8]) -> Response {
    let segments: Vec<&str> = call.segments.iter().skip(1).map(String::as_str).collect();
    let answered = match (&call.method, segments.as_slice()) {
        (&Method::GET, []) => Ok(Html(page::render(app)).into_response()),
        (&Method::GET, ["status"]) => Ok(Json(status(app)).into_response()),
        (&Method::GET, ["faults"]) => Ok(Json(app.faults.list()).into_response()),
        (&Method::POST, ["faults"]) => add_fault(app, body),
        (&Method::DELETE, ["faults"]) => removed(app.faults.remove(None)),
        (&Method::DELETE, ["faults", id]) => removed(app.faults.remove(Some(id))),
        (&Method::GET, ["callbacks"]) => Ok(Json(app.callbacks.list()).into_response()),
        (&Method::DELETE, ["callbacks"]) => removed(app.callbacks.clear()),
        (&Method::GET, ["sessions"]) => Ok(Json(app.sessions.list()).into_response()),
        (&Method::DELETE, ["sessions"]) => removed(app.sessions.end_all()),
        (&Method::GET, ["jobs"]) => {
            let jobs: Vec<JsonValue> = app.jobs.list().iter().map(|job| job.info().to_json(true)).collect();
            Ok(Json(jobs).into_response())
        }
        _ => Err(ApiError::not_found()),
    };
    answered.unwrap_or_else(IntoResponse::into_response)
}

fn add_fault(app: &App, body: &[u8]) -> Result<Response, ApiError> {
    // Here the whole reason may be told: the body is a test's own.
    let fault: Fault = serde_json::from_slice(body).map_err(|error| ApiError::json_parser(error.to_string()))?;
    let _: Map<String, JsonValue> = parsed(body)?;
    let fault = app.faults.add(fault).map_err(|error| ApiError::unexpected("keeping a fault", &error))?;
    Ok((StatusCode::CREATED, Json(fault)).into_response())
}

fn removed(count: std::io::Result<usize>) -> Result<Response, ApiError> {
    let count = count.map_err(|error| ApiError::unexpected("removing", &error))?;
    Ok(Json(json!({ "removed": count })).into_response())
}

fn status(app: &App) -> JsonValue {
    let objects: Map<String, JsonValue> =
        app.org.tables().map(|table| (table.def.name.clone(), json!(table.live_count()))).collect();
    json!({
        "orgId": app.connected_app.org_id,
        "httpUrl": app.urls.http,
        "httpsUrl": app.urls.https,
        "proxyUrl": app.urls.proxy,
        "objects": objects,
        "apiRequests": { "used": app.usage.used(Counted::Request), "limit": app.config.daily_api_requests },
        "sessions": app.sessions.list().len(),
        "faults": app.faults.list().len(),
    })
}
