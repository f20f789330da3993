//! Query jobs: creation with the vendor's refusals, and the run that writes the result file.

use super::csv_text::push_cell;
use super::job::{Delimiter, Job, JobInfo, LineEnding, State, Work};
use super::{begin, finish, new_job, set_state, start};
use crate::app::App;
use crate::error::ApiError;
use crate::faults::{Event, FaultKind, Point};
use crate::http::request::{Call, parsed};
use crate::schema::FieldKind;
use crate::soql::ast::{Query, Selected};
use crate::soql::column::Column;
use crate::soql::parser;
use crate::soql::plan::Plan;
use crate::usage::Counted;
use axum::Json;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

const QUERY_JOBS_PER_DAY: u64 = 10_000;
/// How often a run shows its progress and looks whether it was aborted.
const STRIDE: u64 = 1_000;

#[derive(Deserialize)]
struct NewQuery {
    operation: String,
    query: String,
    #[serde(rename = "contentType")]
    content_type: Option<String>,
    #[serde(rename = "columnDelimiter")]
    delimiter: Option<Delimiter>,
    #[serde(rename = "lineEnding")]
    line_ending: Option<LineEnding>,
}

#[derive(Deserialize)]
pub(super) struct StateChange {
    pub state: String,
}

pub(super) fn create(app: &Arc<App>, call: &Call, body: &[u8]) -> Result<Response, ApiError> {
    let new: NewQuery = parsed(body)?;
    let include_deleted = match new.operation.as_str() {
        "query" => false,
        "queryAll" => true,
        other => return Err(ApiError::bad_request("INVALIDJOB", format!("Invalid operation for a query job: {other}"))),
    };
    if new.content_type.is_some_and(|kind| kind != "CSV") {
        return Err(ApiError::bad_request("INVALIDJOB", "Only content type CSV is supported"));
    }
    let query = parser::parse(&new.query)?;
    refuse_unsupported(&query)?;
    let plan = Plan::bind(&app.org, &new.query, &query, include_deleted)?;
    refuse_compounds(&plan)?;
    let event = Event { path: &call.target, method: "POST", object: Some(&plan.table.def.name), id: None };
    let injected = app.faults.strike(Point::JobCreation, &event);
    if injected.contains(&FaultKind::EntityNotSupported) {
        return Err(unsupported_entity(&plan.table.def.name));
    }
    let used = app.usage.count(Counted::QueryJob);
    if used > QUERY_JOBS_PER_DAY || injected.contains(&FaultKind::BulkLimitExceeded) {
        let message = format!("Max bulk v2 query jobs ({QUERY_JOBS_PER_DAY}) per 24 hrs has been reached ({used}).");
        return Err(ApiError::bad_request("LIMIT_EXCEEDED", message));
    }
    let pk_chunking = query.order_by.is_empty() && query.limit.is_none();
    let work = Work::Query { soql: new.query, include_deleted, pk_chunking };
    let mut info = new_job(app, call, &plan.table.def.name, work, State::UploadComplete)?;
    info.delimiter = new.delimiter.unwrap_or_default();
    info.line_ending = new.line_ending.unwrap_or_default();
    let job = app.jobs.add(info)?;
    start(app, job.clone());
    // The state as of creation, whatever the run has done since.
    let answer = JobInfo { state: State::UploadComplete, ..job.info() };
    Ok(Json(answer.to_json(false)).into_response())
}

pub(super) fn unsupported_entity(object: &str) -> ApiError {
    ApiError::bad_request("INVALIDENTITY", format!("Entity '{object}' is not supported by the Bulk API."))
}

fn refuse_unsupported(query: &Query) -> Result<(), ApiError> {
    let refused = |what: &str| {
        Err(ApiError::bad_request("API_ERROR", format!("Implementation restriction: {what} not supported in Bulk Query")))
    };
    if query.is_aggregate() {
        return refused("aggregate functions and GROUP BY are");
    }
    if query.offset.is_some() {
        return refused("OFFSET is");
    }
    for item in &query.select {
        match item {
            Selected::Fields { .. } => return refused("FIELDS() is"),
            Selected::Children { .. } => return refused("parent-to-child relationship queries are"),
            _ => {}
        }
    }
    Ok(())
}

fn refuse_compounds(plan: &Plan) -> Result<(), ApiError> {
    if plan.columns.iter().any(|column| column.field.kind == FieldKind::Address) {
        return Err(ApiError::bad_request("INVALID_FIELD", "Selecting compound data not supported in Bulk Query"));
    }
    Ok(())
}

/// `PATCH {"state": "Aborted"}`, the only change that a query job takes.
pub(super) fn patch(job: &Job, body: &[u8]) -> Result<Response, ApiError> {
    let change: StateChange = parsed(body)?;
    if change.state != "Aborted" {
        return Err(ApiError::bad_request("INVALIDJOBSTATE", format!("Cannot set a query job to state {}", change.state)));
    }
    Ok(Json(set_state(job, State::Aborted)?.to_json(false)).into_response())
}

pub(super) fn run(app: &App, job: &Job) {
    if !begin(job) {
        return;
    }
    let info = job.info();
    let started = Instant::now();
    let event = Event { object: Some(&info.object), id: Some(&job.id), path: "/jobs/query", ..Event::default() };
    let mut injected = None;
    for fault in app.faults.strike(Point::Job, &event) {
        match fault {
            FaultKind::SlowBulkJob { delay_ms } => super::linger(app, job, Duration::from_millis(delay_ms)),
            FaultKind::FailedBulkJob { message } => {
                injected = Some(message.unwrap_or_else(|| "InvalidBatch : Failed to process query: QUERY_TIMEOUT".to_owned()));
            }
            _ => {}
        }
    }
    // Nothing is written for a job that was aborted, and may be deleted, meanwhile.
    if job.is_aborted() {
        return;
    }
    let written = match injected {
        Some(message) => Err(io::Error::other(message)),
        None => write_result(app, job, &info),
    };
    let elapsed = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    if job.is_removed() {
        // It was deleted while its files were being written.
        if let Err(error) = job.remove_files() {
            tracing::warn!(%error, job = job.id, "cannot remove the files of a deleted job");
        }
        return;
    }
    finish(app, job, |info| {
        info.processing_ms = elapsed;
        match written {
            Ok((header, bytes)) => {
                info.state = State::JobComplete;
                info.header = header;
                info.result_bytes = bytes;
            }
            Err(error) => {
                info.state = State::Failed;
                info.error_message = Some(error.to_string());
            }
        }
    });
}

/// Writes rows without a header to `csv` and the offset of each row, and of the end, to `index`.
fn write_result(app: &App, job: &Job, info: &JobInfo) -> io::Result<(Vec<String>, u64)> {
    let Work::Query { soql, include_deleted, .. } = &info.work else { return Err(io::Error::other("not a query job")) };
    let refused =
        |error: ApiError| io::Error::other(format!("InvalidBatch : Failed to process query: {}: {}", error.code, error.message));
    let query = parser::parse(soql).map_err(refused)?;
    let mut plan = Plan::bind(&app.org, soql, &query, *include_deleted).map_err(refused)?;
    // Up to API 49 columns come in alphabetical order, whatever the query says.
    if info.api_version.parse::<f64>().is_ok_and(|version| version < 50.0) {
        plan.columns.sort_by_key(Column::header);
    }
    let create = |extension: &str| File::create(job.file(extension)).map(|file| BufWriter::with_capacity(1 << 20, file));
    let (mut rows, mut index) = (create("csv")?, create("index")?);
    let (mut offset, mut done) = (0_u64, 0_u64);
    let mut failure = None;
    let mut line = Vec::new();
    job.progress.store(0, Ordering::Relaxed);
    plan.rows(|_, row, parents| {
        line.clear();
        for (position, column) in plan.columns.iter().enumerate() {
            column
                .with_text(row, parents, |cell| push_cell(&mut line, position == 0, info.delimiter, boolean_text(column, cell)));
        }
        line.extend_from_slice(info.line_ending.bytes());
        let written = index.write_all(&offset.to_le_bytes()).and_then(|()| rows.write_all(&line));
        offset += line.len() as u64;
        done += 1;
        if done.is_multiple_of(STRIDE) {
            job.progress.store(done, Ordering::Relaxed);
            if job.is_aborted() || app.stop.is_cancelled() {
                return ControlFlow::Break(());
            }
        }
        match written {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => {
                failure = Some(error);
                ControlFlow::Break(())
            }
        }
    })?;
    job.progress.store(done, Ordering::Relaxed);
    if let Some(error) = failure {
        return Err(error);
    }
    index.write_all(&offset.to_le_bytes())?;
    rows.flush()?;
    index.flush()?;
    Ok((plan.columns.iter().map(Column::header).collect(), offset))
}

/// A boolean is never null.
fn boolean_text<'a>(column: &Column, cell: &'a [u8]) -> &'a [u8] {
    if cell.is_empty() && column.field.kind == FieldKind::Boolean { b"false" } else { cell }
}
