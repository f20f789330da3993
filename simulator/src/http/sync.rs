//! `/sobjects/{Object}/deleted` and `/updated`: which records a copy must drop or read again.

use super::request::Call;
use super::rest::Answer;
use crate::app::App;
use crate::error::ApiError;
use crate::org::cells::{instant_text, parse_instant, rest_instant};
use crate::org::table::is_live;
use crate::schema::standard::{ID, SYSTEM_MODSTAMP};
use axum::Json;
use axum::response::IntoResponse;
use serde_json::json;
use std::ops::ControlFlow;

pub(super) fn deleted(app: &App, call: &Call, object: &str) -> Answer {
    let (start, end) = span(call)?;
    let changed = changed(app, object, &start, &end, false)?;
    let records: Vec<_> = changed.iter().map(|(id, at)| json!({ "id": id, "deletedDate": rest_instant(at) })).collect();
    let earliest = "2024-01-01T00:00:00.000+0000";
    let answer = json!({ "deletedRecords": records, "earliestDateAvailable": earliest, "latestDateCovered": rest_instant(&end) });
    Ok(Json(answer).into_response())
}

pub(super) fn updated(app: &App, call: &Call, object: &str) -> Answer {
    let (start, end) = span(call)?;
    let changed = changed(app, object, &start, &end, true)?;
    let ids: Vec<_> = changed.into_iter().map(|(id, _)| id).collect();
    Ok(Json(json!({ "ids": ids, "latestDateCovered": rest_instant(&end) })).into_response())
}

/// Ids and times of the records whose last change lies in the span.
fn changed(app: &App, object: &str, start: &str, end: &str, live: bool) -> Result<Vec<(String, String)>, ApiError> {
    let table = app.org.table(object).ok_or_else(ApiError::not_found)?;
    let mut found = Vec::new();
    let scanned = table.snapshot().scan(|_, row| {
        let at = row.text(SYSTEM_MODSTAMP);
        if is_live(row) == live && at >= start && at < end {
            found.push((row.text(ID).to_owned(), at.to_owned()));
        }
        ControlFlow::Continue(())
    });
    scanned.map_err(|error| ApiError::unexpected("reading records", &error))?;
    Ok(found)
}

fn span(call: &Call) -> Result<(String, String), ApiError> {
    let instant = |name: &str| {
        let given = call.parameter(name).unwrap_or_default();
        // An unescaped plus of a zone arrives as a blank.
        let instant = parse_instant(&given.replace(' ', "+"));
        instant
            .map(instant_text)
            .ok_or_else(|| ApiError::bad_request("INVALID_REPLICATION_DATE", format!("{name} date is invalid")))
    };
    let (start, end) = (instant("start")?, instant("end")?);
    if start >= end {
        return Err(ApiError::bad_request("INVALID_REPLICATION_DATE", "startDate before endDate required"));
    }
    Ok((start, end))
}
