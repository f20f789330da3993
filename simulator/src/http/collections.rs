//! `/composite/sobjects`: up to 200 records per call, one outcome per record in the order of the request, HTTP 200 even when some
//! fail.

use super::records::{commit, record_json};
use super::request::{Call, parsed};
use super::rest::Answer;
use crate::app::App;
use crate::error::{ApiError, RecordError};
use crate::ids::RecordId;
use crate::org::table::{Table, is_live};
use crate::org::writes::{Action, Target, Write, Written, cells_of_json};
use axum::Json;
use axum::http::Method;
use axum::response::IntoResponse;
use serde::Deserialize;
use serde_json::{Map, Value as JsonValue, json};
use std::sync::Arc;

const MOST_RECORDS: usize = 200;
const MOST_RETRIEVED: usize = 2_000;

#[derive(Deserialize)]
struct Collection {
    #[serde(default, rename = "allOrNone")]
    all_or_none: bool,
    records: Vec<Map<String, JsonValue>>,
}

#[derive(Deserialize)]
struct Retrieval {
    ids: Vec<String>,
    fields: Vec<String>,
}

pub(super) fn route(app: &App, call: &Call, resource: &[&str], body: &[u8]) -> Answer {
    match (&call.method, resource) {
        (&Method::POST, []) => save(app, call, body, |fields, table| Ok((Target::New, written_fields(table, fields, None)?))),
        (&Method::PATCH, []) => {
            save(app, call, body, |fields, table| Ok((id_target(fields, table)?, written_fields(table, fields, None)?)))
        }
        (&Method::PATCH, [object, field]) => upsert(app, call, object, field, body),
        (&Method::DELETE, []) => delete(app, call),
        (&Method::GET, [object]) => {
            let list = |name| call.parameter(name).unwrap_or_default().split(',').map(|item| item.trim().to_owned()).collect();
            retrieve(app, call, object, &Retrieval { ids: list("ids"), fields: list("fields") })
        }
        (&Method::POST, [object]) => retrieve(app, call, object, &parsed(body)?),
        (method, [] | [_] | [_, _]) => Err(ApiError::method_not_allowed(method.as_str(), "DELETE,GET,HEAD,PATCH,POST")),
        _ => Err(ApiError::not_found()),
    }
}

type Cells = std::collections::BTreeMap<String, String>;

fn save(
    app: &App,
    call: &Call,
    body: &[u8],
    write: impl Fn(&Map<String, JsonValue>, &Arc<Table>) -> Result<(Target, Cells), RecordError>,
) -> Answer {
    let collection = checked_collection(body)?;
    let mut writes = Vec::with_capacity(collection.records.len());
    for fields in &collection.records {
        let table = table_of(app, fields)?;
        let target = write(fields, &table);
        writes.push(target.map(|(target, cells)| Write { table, target, action: Action::Save, cells }));
    }
    let outcomes = commit(app, &call.target, writes, collection.all_or_none)?;
    Ok(Json(outcomes.iter().map(|outcome| item(outcome, false)).collect::<Vec<_>>()).into_response())
}

fn upsert(app: &App, call: &Call, object: &str, field: &str, body: &[u8]) -> Answer {
    let collection = checked_collection(body)?;
    let table = app.org.table(object).ok_or_else(ApiError::not_found)?;
    let by_id = field.eq_ignore_ascii_case("Id");
    let key = table.def.field(field).filter(|field| field.external_id || by_id).map(|field| field.name.clone());
    let Some(key) = key else {
        let message = format!("Provided external ID field does not exist or is not accessible: {field}");
        return Err(ApiError::bad_request("INVALID_FIELD", message));
    };
    let mut writes = Vec::with_capacity(collection.records.len());
    for fields in &collection.records {
        let own = table_of(app, fields)?;
        if !Arc::ptr_eq(&own, table) {
            let message = format!("all records of the request must be of type {}", table.def.name);
            return Err(ApiError::bad_request("INVALID_INPUT", message));
        }
        let write = upsert_target(fields, table, &key, by_id).and_then(|target| {
            let skip = if by_id { None } else { Some(key.as_str()) };
            let cells = written_fields(table, fields, skip)?;
            Ok(Write { table: own, target, action: Action::Save, cells })
        });
        writes.push(write);
    }
    let outcomes = commit(app, &call.target, writes, collection.all_or_none)?;
    Ok(Json(outcomes.iter().map(|outcome| item(outcome, true)).collect::<Vec<_>>()).into_response())
}

fn upsert_target(fields: &Map<String, JsonValue>, table: &Table, key: &str, by_id: bool) -> Result<Target, RecordError> {
    let value = fields.iter().find(|(name, _)| name.eq_ignore_ascii_case(key)).map(|(_, value)| value);
    if by_id {
        return match value {
            None | Some(JsonValue::Null) => Ok(Target::New),
            Some(_) => id_target(fields, table),
        };
    }
    if fields.keys().any(|name| name.eq_ignore_ascii_case("Id")) {
        let message = "The Id field should not be specified in the sobject data.";
        return Err(RecordError::on("INVALID_FIELD", message, "Id"));
    }
    let value = match value {
        Some(JsonValue::String(text)) => text.clone(),
        Some(JsonValue::Number(number)) => number.to_string(),
        _ => String::new(),
    };
    Ok(Target::Key { field: key.to_owned(), value })
}

fn delete(app: &App, call: &Call) -> Answer {
    let ids: Vec<&str> =
        call.parameter("ids").unwrap_or_default().split(',').map(str::trim).filter(|id| !id.is_empty()).collect();
    check_count(ids.len(), MOST_RECORDS)?;
    let all_or_none = call.parameter("allOrNone").is_some_and(|value| value.eq_ignore_ascii_case("true"));
    let write = |id: &str| {
        let malformed = || RecordError::new("MALFORMED_ID", format!("malformed id {id}"));
        let id = RecordId::parse(id).ok_or_else(malformed)?;
        let table = app.org.table_of(&id).ok_or_else(malformed)?.clone();
        Ok(Write { table, target: Target::Id(id), action: Action::Delete, cells: Cells::default() })
    };
    let outcomes = commit(app, &call.target, ids.into_iter().map(write).collect(), all_or_none)?;
    Ok(Json(outcomes.iter().map(|outcome| item(outcome, false)).collect::<Vec<_>>()).into_response())
}

fn retrieve(app: &App, call: &Call, object: &str, wanted: &Retrieval) -> Answer {
    let table = app.org.table(object).ok_or_else(ApiError::not_found)?;
    check_count(wanted.ids.len(), MOST_RETRIEVED)?;
    let fields: Vec<&str> = wanted.fields.iter().map(String::as_str).collect();
    let snapshot = table.snapshot();
    let mut records = Vec::with_capacity(wanted.ids.len());
    for id in &wanted.ids {
        let row = RecordId::parse(id).filter(|id| id.prefix() == table.def.key_prefix).and_then(|id| id.row());
        let found = match row {
            Some(row) => snapshot.get(row).map_err(|error| ApiError::unexpected("reading records", &error))?,
            None => None,
        };
        records.push(match found.filter(|row| is_live(row.as_ref())) {
            Some(row) => record_json(table, row.as_ref(), call.version(), Some(&fields))?,
            None => JsonValue::Null,
        });
    }
    Ok(Json(records).into_response())
}

fn checked_collection(body: &[u8]) -> Result<Collection, ApiError> {
    let collection: Collection = parsed(body)?;
    check_count(collection.records.len(), MOST_RECORDS)?;
    Ok(collection)
}

fn check_count(count: usize, most: usize) -> Result<(), ApiError> {
    if count <= most {
        return Ok(());
    }
    let message = format!("Exceeded max number of records ({most}) per request");
    Err(ApiError::bad_request("EXCEEDED_ID_LIMIT", message))
}

fn table_of(app: &App, fields: &Map<String, JsonValue>) -> Result<Arc<Table>, ApiError> {
    let Some(name) = fields.get("attributes").and_then(|attributes| attributes["type"].as_str()) else {
        return Err(ApiError::bad_request("INVALID_INPUT", "Must send sobject type in attributes of each record"));
    };
    let message = || format!("sObject type '{name}' is not supported.");
    app.org.table(name).cloned().ok_or_else(|| ApiError::bad_request("INVALID_TYPE", message()))
}

fn id_target(fields: &Map<String, JsonValue>, table: &Table) -> Result<Target, RecordError> {
    let id = fields.iter().find(|(name, _)| name.eq_ignore_ascii_case("Id")).and_then(|(_, value)| value.as_str());
    let Some(id) = id else { return Err(RecordError::on("MISSING_ARGUMENT", "Id not specified in an update call", "Id")) };
    let malformed = || RecordError::on("MALFORMED_ID", format!("{} ID: id value of incorrect type: {id}", table.def.label), "Id");
    let id = RecordId::parse(id).filter(|id| id.prefix() == table.def.key_prefix).ok_or_else(malformed)?;
    Ok(Target::Id(id))
}

fn written_fields(table: &Table, fields: &Map<String, JsonValue>, skip: Option<&str>) -> Result<Cells, RecordError> {
    let Some(skip) = skip else { return cells_of_json(&table.def, fields) };
    let kept = fields.iter().filter(|(name, _)| !name.eq_ignore_ascii_case(skip));
    cells_of_json(&table.def, &kept.map(|(name, value)| (name.clone(), value.clone())).collect())
}

fn item(outcome: &Result<Written, RecordError>, upsert: bool) -> JsonValue {
    match outcome {
        Ok(written) => {
            let mut item = json!({ "id": written.id.as_str(), "success": true, "errors": [] });
            if upsert {
                item["created"] = json!(written.created);
            }
            item
        }
        Err(error) => json!({ "success": false, "errors": [error.as_item()] }),
    }
}
