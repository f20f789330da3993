//! Routes of `/services/data/vXX.X/...` and `/services/apexrest/...`, for a caller with a session.

use super::dispatch::blocking;
use super::request::Call;
use super::{collections, composite, limits, query, records, sync};
use crate::app::App;
use crate::bulk;
use crate::error::ApiError;
use crate::schema::describe;
use axum::Json;
use axum::body::{Body, to_bytes};
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value as JsonValue, json};
use std::sync::Arc;

const MAX_BODY: usize = 50 << 20;
const OLDEST_VERSION: f64 = 20.0;
const NEWEST_VERSION: f64 = 68.0;

pub(super) type Answer = Result<Response, ApiError>;

pub(super) async fn answer(app: Arc<App>, call: Call, body: Body) -> Response {
    if bulk::is_upload(&call) {
        return bulk::upload(&app, &call, body).await.into_response();
    }
    let Ok(body) = to_bytes(body, MAX_BODY).await else {
        let message = "the request body is too large or ended early";
        return ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "REQUEST_TOO_LARGE", message).into_response();
    };
    blocking(move || {
        let body = match plain(&call, &body) {
            Ok(body) => body,
            Err(error) => return error.into_response(),
        };
        route(&app, &call, &body).unwrap_or_else(IntoResponse::into_response)
    })
    .await
}

/// The body without its gzip coding, if it has one.
fn plain<'a>(call: &Call, body: &'a [u8]) -> Result<std::borrow::Cow<'a, [u8]>, ApiError> {
    if !call.header("content-encoding").is_some_and(|coding| coding.eq_ignore_ascii_case("gzip")) {
        return Ok(body.into());
    }
    let mut decoded = Vec::new();
    let limited = std::io::Read::take(flate2::read::GzDecoder::new(body), MAX_BODY as u64);
    std::io::Read::read_to_end(&mut { limited }, &mut decoded).map_err(|_| ApiError::json_parser("the body is not gzip"))?;
    Ok(decoded.into())
}

pub(super) fn route(app: &Arc<App>, call: &Call, body: &[u8]) -> Answer {
    if call.segments.get(1).is_some_and(|segment| segment == "apexrest") {
        return crate::callbacks::receive(app, call, body);
    }
    let known = call.version().parse::<f64>().is_ok_and(|version| (OLDEST_VERSION..=NEWEST_VERSION).contains(&version));
    if !known {
        return Err(ApiError::not_found());
    }
    let resource = call.resource();
    let lower: Vec<String> = resource.iter().map(|segment| segment.to_ascii_lowercase()).collect();
    let lower: Vec<&str> = lower.iter().map(String::as_str).collect();
    let is = |method: Method| call.method == method;
    match lower.as_slice() {
        [] if is(Method::GET) => Ok(Json(resources(call)).into_response()),
        ["limits"] if is(Method::GET) => Ok(Json(limits::limits(app)).into_response()),
        ["recent"] if is(Method::GET) => Ok(Json(json!([])).into_response()),
        ["query"] | ["queryall"] if is(Method::GET) => query::first_page(app, call, lower[0] == "queryall"),
        ["query", _] | ["queryall", _] if is(Method::GET) => query::next_page(app, call, resource[1]),
        ["sobjects"] if is(Method::GET) => Ok(Json(global_describe(app, call)).into_response()),
        ["sobjects", _, "describe"] if is(Method::GET) => object_describe(app, call, resource[1]),
        ["sobjects", _, "deleted"] if is(Method::GET) => sync::deleted(app, call, resource[1]),
        ["sobjects", _, "updated"] if is(Method::GET) => sync::updated(app, call, resource[1]),
        ["sobjects", ..] => records::route(app, call, &resource[1..], body),
        ["composite", "sobjects", ..] => collections::route(app, call, &resource[2..], body),
        ["composite"] if is(Method::POST) => composite::chained(app, call, body),
        ["composite", "batch"] if is(Method::POST) => composite::batch(app, call, body),
        ["jobs", ..] => bulk::route(app, call, body),
        ["limits" | "query" | "queryall" | "recent" | "composite"] => {
            Err(ApiError::method_not_allowed(call.method.as_str(), "GET,HEAD"))
        }
        _ => Err(ApiError::not_found()),
    }
}

fn resources(call: &Call) -> JsonValue {
    let names = ["composite", "jobs", "limits", "query", "queryAll", "recent", "sobjects"];
    let mut all = Map::new();
    for name in names {
        all.insert(name.to_owned(), json!(format!("/services/data/v{}/{name}", call.version())));
    }
    all.insert("identity".to_owned(), json!(format!("{}/services/oauth2/userinfo", call.origin())));
    JsonValue::Object(all)
}

fn global_describe(app: &App, call: &Call) -> JsonValue {
    let objects: Vec<JsonValue> = app.org.tables().map(|table| describe::summary(&table.def, call.version())).collect();
    json!({ "encoding": "UTF-8", "maxBatchSize": 200, "sobjects": objects })
}

fn object_describe(app: &App, call: &Call, object: &str) -> Answer {
    let table = app.org.table(object).ok_or_else(ApiError::not_found)?;
    let children = app.org.children_of(&table.def.name);
    Ok(Json(describe::full(&table.def, &children, call.version())).into_response())
}
