//! `/sobjects/{Object}[/{id} | /{ExternalIdField}/{value}]`: one record at a time.

use super::request::{Call, parsed};
use super::rest::Answer;
use crate::app::App;
use crate::error::{ApiError, RecordError};
use crate::ids::RecordId;
use crate::org::row::RowRef;
use crate::org::table::{Table, is_live};
use crate::org::writes::{Action, Commit, Target, Write, Written, cells_of_json};
use crate::schema::describe;
use crate::soql::column::record_value;
use axum::Json;
use axum::http::{Method, StatusCode};
use axum::response::IntoResponse;
use serde_json::{Map, Value as JsonValue, json};
use std::sync::Arc;

pub(super) fn route(app: &App, call: &Call, resource: &[&str], body: &[u8]) -> Answer {
    let object = resource[0];
    let table = app.org.table(object).ok_or_else(ApiError::not_found)?;
    match (&call.method, resource) {
        (&Method::GET, [_]) => {
            let summary = describe::summary(&table.def, call.version());
            Ok(Json(json!({ "objectDescribe": summary, "recentItems": [] })).into_response())
        }
        (&Method::POST, [_]) => create(app, call, table, body),
        (&Method::GET, [_, id]) => retrieve(call, table, existing(table, id)?),
        (&Method::PATCH, [_, id]) => update(app, call, table, existing(table, id)?, body),
        (&Method::DELETE, [_, id]) => delete(app, call, table, existing(table, id)?),
        (&Method::GET, [_, field, value]) => retrieve(call, table, by_key(table, field, value)?),
        (&Method::PATCH, [_, field, value]) => upsert(app, call, table, (field, value), body),
        (&Method::DELETE, [_, field, value]) => delete(app, call, table, by_key(table, field, value)?),
        (method, [_]) => Err(ApiError::method_not_allowed(method.as_str(), "GET,HEAD,POST")),
        (method, [_, _] | [_, _, _]) => Err(ApiError::method_not_allowed(method.as_str(), "DELETE,GET,HEAD,PATCH")),
        _ => Err(ApiError::not_found()),
    }
}

/// One write of one request, as the session's user.
pub(super) fn commit_one(app: &App, call: &Call, write: Write) -> Result<Written, ApiError> {
    let outcomes = commit(app, &call.target, vec![Ok(write)], false)?;
    let [outcome] = <[_; 1]>::try_from(outcomes).map_err(|_| ApiError::unexpected("writing a record", &"no outcome"))?;
    Ok(outcome?)
}

pub(crate) fn commit(
    app: &App,
    path: &str,
    writes: Vec<Result<Write, RecordError>>,
    all_or_none: bool,
) -> Result<Vec<Result<Written, RecordError>>, ApiError> {
    let by = RecordId::parse(&app.connected_app.user_id).expect("the integration user has an id");
    let commit = Commit { by, all_or_none, faults: &app.faults, path };
    app.org.commit(&commit, writes).map_err(|error| ApiError::unexpected("writing records", &error))
}

/// The row of a live record with this id, or the vendor's 404.
fn existing(table: &Table, id: &str) -> Result<u64, ApiError> {
    let Some(id) = RecordId::parse(id).filter(|id| id.prefix() == table.def.key_prefix) else {
        let message = format!("Provided external ID field does not exist or is not accessible: {id}");
        return Err(ApiError::new(StatusCode::NOT_FOUND, "NOT_FOUND", message));
    };
    let content = match id.row() {
        Some(row) => table.snapshot().get(row).map_err(|error| ApiError::unexpected("reading a record", &error))?,
        None => None,
    };
    match (content, id.row()) {
        (Some(content), Some(row)) if is_live(content.as_ref()) => Ok(row),
        (Some(_), _) => Err(RecordError::new("ENTITY_IS_DELETED", "entity is deleted").into()),
        _ => Err(ApiError::not_found()),
    }
}

fn key_field<'a>(table: &'a Table, field: &str) -> Result<&'a str, ApiError> {
    table.def.field(field).filter(|field| field.external_id).map(|field| field.name.as_str()).ok_or_else(|| {
        let message = format!("Provided external ID field does not exist or is not accessible: {field}");
        ApiError::new(StatusCode::NOT_FOUND, "NOT_FOUND", message)
    })
}

fn by_key(table: &Table, field: &str, value: &str) -> Result<u64, ApiError> {
    if field.eq_ignore_ascii_case("Id") {
        return existing(table, value);
    }
    let found = table.find_by_key(key_field(table, field)?, value);
    found.map_err(|error| ApiError::unexpected("reading records", &error))?.ok_or_else(ApiError::not_found)
}

fn create(app: &App, call: &Call, table: &Arc<Table>, body: &[u8]) -> Answer {
    let fields: Map<String, JsonValue> = parsed(body)?;
    let cells = cells_of_json(&table.def, &fields)?;
    let write = Write { table: table.clone(), target: Target::New, action: Action::Save, cells };
    let written = commit_one(app, call, write)?;
    Ok((StatusCode::CREATED, Json(json!({ "id": written.id.as_str(), "success": true, "errors": [] }))).into_response())
}

fn retrieve(call: &Call, table: &Table, row: u64) -> Answer {
    let content = table.snapshot().get(row).map_err(|error| ApiError::unexpected("reading a record", &error))?;
    let content = content.ok_or_else(ApiError::not_found)?;
    let wanted: Option<Vec<&str>> = call.parameter("fields").map(|fields| fields.split(',').map(str::trim).collect());
    Ok(Json(record_json(table, content.as_ref(), call.version(), wanted.as_deref())?).into_response())
}

/// A record with some of its fields, or all.
pub(super) fn record_json(table: &Table, row: RowRef<'_>, version: &str, wanted: Option<&[&str]>) -> Result<JsonValue, ApiError> {
    let def = &table.def;
    let mut record = Map::new();
    record.insert("attributes".to_owned(), attributes(table, row, version));
    match wanted {
        None => record.extend(def.fields.iter().map(|field| (field.name.clone(), record_value(table, field, row)))),
        Some(names) => {
            for name in names {
                let field = def.field(name).ok_or_else(|| {
                    ApiError::bad_request("INVALID_FIELD", format!("No such column '{name}' on sobject of type {}", def.name))
                })?;
                record.insert(field.name.clone(), record_value(table, field, row));
            }
            if def.field("Id").is_some() && !record.contains_key("Id") {
                record.insert("Id".to_owned(), json!(row.text(crate::schema::standard::ID)));
            }
        }
    }
    Ok(JsonValue::Object(record))
}

pub(super) fn attributes(table: &Table, row: RowRef<'_>, version: &str) -> JsonValue {
    let id = row.text(crate::schema::standard::ID);
    json!({ "type": table.def.name, "url": format!("/services/data/v{version}/sobjects/{}/{id}", table.def.name) })
}

fn update(app: &App, call: &Call, table: &Arc<Table>, row: u64, body: &[u8]) -> Answer {
    let fields: Map<String, JsonValue> = parsed(body)?;
    let cells = cells_of_json(&table.def, &fields)?;
    let target = Target::Id(table.id(row));
    commit_one(app, call, Write { table: table.clone(), target, action: Action::Save, cells })?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

fn upsert(app: &App, call: &Call, table: &Arc<Table>, (field, value): (&str, &str), body: &[u8]) -> Answer {
    if field.eq_ignore_ascii_case("Id") {
        return update(app, call, table, existing(table, value)?, body);
    }
    let field = key_field(table, field)?.to_owned();
    let mut fields: Map<String, JsonValue> = parsed(body)?;
    fields.retain(|name, _| !name.eq_ignore_ascii_case(&field));
    let cells = cells_of_json(&table.def, &fields)?;
    let target = Target::Key { field, value: value.to_owned() };
    let written = commit_one(app, call, Write { table: table.clone(), target, action: Action::Save, cells })?;
    let status = if written.created { StatusCode::CREATED } else { StatusCode::OK };
    let answer = json!({ "id": written.id.as_str(), "success": true, "errors": [], "created": written.created });
    Ok((status, Json(answer)).into_response())
}

fn delete(app: &App, call: &Call, table: &Arc<Table>, row: u64) -> Answer {
    let target = Target::Id(table.id(row));
    commit_one(app, call, Write { table: table.clone(), target, action: Action::Delete, cells: Default::default() })?;
    Ok(StatusCode::NO_CONTENT.into_response())
}
