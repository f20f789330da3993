//! `/composite` (subrequests that may refer to earlier answers) and `/composite/batch`.

use super::request::{Call, parsed};
use super::rest::{Answer, route};
use crate::app::App;
use crate::error::ApiError;
use axum::Json;
use axum::http::Method;
use axum::response::{IntoResponse, Response};
use http_body_util::BodyExt;
use serde::Deserialize;
use serde_json::{Value as JsonValue, json};
use std::collections::HashMap;
use std::sync::Arc;

const MOST_SUBREQUESTS: usize = 25;

#[derive(Deserialize)]
struct Chained {
    #[serde(default, rename = "allOrNone")]
    all_or_none: bool,
    #[serde(rename = "compositeRequest")]
    requests: Vec<Subrequest>,
}

#[derive(Deserialize)]
struct Subrequest {
    method: String,
    url: String,
    #[serde(rename = "referenceId")]
    reference: String,
    #[serde(default)]
    body: JsonValue,
}

#[derive(Deserialize)]
struct Batch {
    #[serde(default, rename = "haltOnError")]
    halt_on_error: bool,
    #[serde(rename = "batchRequests")]
    requests: Vec<BatchRequest>,
}

#[derive(Deserialize)]
struct BatchRequest {
    method: String,
    url: String,
    #[serde(default, rename = "richInput")]
    body: JsonValue,
}

/// One transaction is not promised: with `allOrNone`, what follows a failure is not run, but what went before stays.
pub(super) fn chained(app: &Arc<App>, call: &Call, body: &[u8]) -> Answer {
    let chained: Chained = parsed(body)?;
    check_count(chained.requests.len())?;
    let mut known: HashMap<String, JsonValue> = HashMap::new();
    let mut answers = Vec::new();
    let mut halted = false;
    for request in chained.requests {
        let (status, answer) = if halted {
            let message = "The transaction was rolled back since another operation in the same transaction failed.";
            (400, json!([{ "errorCode": "PROCESSING_HALTED", "message": message }]))
        } else {
            let url = with_references(&request.url, &known);
            let body = with_references(&request.body.to_string(), &known);
            run(app, call, &request.method, &url, body.as_bytes())
        };
        halted |= chained.all_or_none && status >= 400;
        known.insert(request.reference.clone(), answer.clone());
        answers.push(json!({ "body": answer, "httpHeaders": {}, "httpStatusCode": status, "referenceId": request.reference }));
    }
    Ok(Json(json!({ "compositeResponse": answers })).into_response())
}

pub(super) fn batch(app: &Arc<App>, call: &Call, body: &[u8]) -> Answer {
    let batch: Batch = parsed(body)?;
    check_count(batch.requests.len())?;
    let mut results = Vec::new();
    let mut failed = false;
    for request in batch.requests {
        if failed && batch.halt_on_error {
            let skipped = json!([{ "errorCode": "BATCH_PROCESSING_HALTED", "message": "Batch processing halted per request" }]);
            results.push(json!({ "statusCode": 412, "result": skipped }));
            continue;
        }
        let path = format!("/services/data/{}", request.url.trim_start_matches("/services/data/").trim_start_matches('/'));
        let (status, answer) = run(app, call, &request.method, &path, request.body.to_string().as_bytes());
        failed |= status >= 400;
        results.push(json!({ "statusCode": status, "result": answer }));
    }
    Ok(Json(json!({ "hasErrors": failed, "results": results })).into_response())
}

fn check_count(count: usize) -> Result<(), ApiError> {
    if count <= MOST_SUBREQUESTS {
        return Ok(());
    }
    let message = format!("Limit of {MOST_SUBREQUESTS} subrequests exceeded");
    Err(ApiError::bad_request("LIMIT_EXCEEDED", message))
}

fn run(app: &Arc<App>, call: &Call, method: &str, target: &str, body: &[u8]) -> (u16, JsonValue) {
    let method = Method::from_bytes(method.to_ascii_uppercase().as_bytes()).unwrap_or(Method::GET);
    let inner = call.inner(&method, target).filter(|inner| inner.resource().first().is_some_and(|name| may_nest(name, inner)));
    let answer = match inner {
        Some(inner) => route(app, &inner, body).unwrap_or_else(IntoResponse::into_response),
        None => ApiError::bad_request("ILLEGAL_QUERY_PARAMETER_VALUE", "this resource cannot be called here").into_response(),
    };
    whole(answer)
}

/// Composites do not nest, and Bulk is not callable from one.
fn may_nest(name: &str, inner: &Call) -> bool {
    match name.to_ascii_lowercase().as_str() {
        "composite" => inner.resource().get(1).is_some_and(|next| next.eq_ignore_ascii_case("sobjects")),
        "jobs" => false,
        _ => true,
    }
}

/// The JSON of an answer that was made whole in memory, as all answers but Bulk pages are.
fn whole(answer: Response) -> (u16, JsonValue) {
    let status = answer.status().as_u16();
    let body =
        futures::executor::block_on(answer.into_body().collect()).map(http_body_util::Collected::to_bytes).unwrap_or_default();
    (status, serde_json::from_slice(&body).unwrap_or(JsonValue::Null))
}

/// Puts the values of earlier answers in place of `@{reference.path}`.
fn with_references(text: &str, known: &HashMap<String, JsonValue>) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(start) = rest.find("@{") {
        let Some(length) = rest[start..].find('}') else { break };
        let expression = &rest[start + 2..start + length];
        out.push_str(&rest[..start]);
        out.push_str(&resolve(expression, known).unwrap_or_else(|| rest[start..=start + length].to_owned()));
        rest = &rest[start + length + 1..];
    }
    out + rest
}

fn resolve(expression: &str, known: &HashMap<String, JsonValue>) -> Option<String> {
    let mut steps = expression.split(['.', '[', ']']).filter(|step| !step.is_empty());
    let mut at = known.get(steps.next()?)?;
    for step in steps {
        at = match step.parse::<usize>() {
            Ok(index) => at.get(index)?,
            Err(_) => at.get(step)?,
        };
    }
    Some(at.as_str().map_or_else(|| at.to_string(), str::to_owned))
}
