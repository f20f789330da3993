//! Ingest jobs: creation, upload, closing, and the three result files.

use super::job::{Delimiter, Job, JobInfo, LineEnding, State, Work};
use super::query::{StateChange, unsupported_entity};
use super::{multipart, new_job, set_state, start};
use crate::app::App;
use crate::error::ApiError;
use crate::http::request::{Call, parsed};
use crate::usage::Counted;
use axum::Json;
use axum::body::Body;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures::StreamExt;
use serde::Deserialize;
use std::fs::File;
use std::sync::Arc;
use tokio::io::AsyncWriteExt;
use tokio_util::io::ReaderStream;

const MOST_INLINE_BYTES: usize = 100_000;
const MOST_UPLOAD_BYTES: u64 = 150_000_000;

#[derive(Deserialize)]
struct NewIngest {
    object: String,
    operation: String,
    #[serde(rename = "externalIdFieldName")]
    external_id_field: Option<String>,
    #[serde(rename = "contentType")]
    content_type: Option<String>,
    #[serde(rename = "columnDelimiter")]
    delimiter: Option<Delimiter>,
    #[serde(rename = "lineEnding")]
    line_ending: Option<LineEnding>,
}

/// A job, and in its multipart form the data with it.
pub(super) fn create(app: &Arc<App>, call: &Call, body: &[u8]) -> Result<Response, ApiError> {
    let boundary = call.header("content-type").and_then(multipart::boundary);
    let (job, data) = match boundary {
        Some(boundary) => {
            let parts = multipart::parts(body, &boundary);
            let part = |name: &str| parts.iter().find(|(found, _)| found == name).map(|(_, content)| *content);
            let missing = || ApiError::bad_request("INVALIDREQUEST", "a multipart request needs the parts job and content");
            (part("job").ok_or_else(missing)?, Some(part("content").ok_or_else(missing)?))
        }
        None => (body, None),
    };
    if data.is_some_and(|data| data.len() > MOST_INLINE_BYTES) {
        let message = "The content of a multipart request must not be larger than 100,000 characters";
        return Err(ApiError::bad_request("INVALIDREQUEST", message));
    }
    let new: NewIngest = parsed(job)?;
    let invalid = |message: String| ApiError::bad_request("INVALIDJOB", message);
    if !["insert", "update", "upsert", "delete", "hardDelete"].contains(&new.operation.as_str()) {
        return Err(invalid(format!("Invalid operation for an ingest job: {}", new.operation)));
    }
    if new.content_type.is_some_and(|kind| kind != "CSV") {
        return Err(invalid("Only content type CSV is supported".to_owned()));
    }
    let table = app.org.table(&new.object).ok_or_else(|| unsupported_entity(&new.object))?;
    let key = match (&new.external_id_field, new.operation.as_str()) {
        (Some(name), "upsert") => {
            let field = table.def.field(name).filter(|field| field.external_id || field.name == "Id");
            Some(field.ok_or_else(|| invalid(format!("Field name provided, {name} does not match an External ID")))?.name.clone())
        }
        (None, "upsert") => {
            return Err(invalid("External ID was blank. An External ID must be specified for upsert.".to_owned()));
        }
        _ => None,
    };
    let work = Work::Ingest { operation: new.operation, external_id_field: key };
    let mut info = new_job(app, call, &table.def.name, work, State::Open)?;
    info.delimiter = new.delimiter.unwrap_or_default();
    info.line_ending = new.line_ending.unwrap_or_default();
    let job = app.jobs.add(info)?;
    if let Some(data) = data {
        std::fs::write(job.file("upload"), data)?;
        app.usage.count(Counted::IngestBatch);
        set_state(&job, State::UploadComplete)?;
        start(app, job.clone());
    }
    let answer = JobInfo { state: if data.is_some() { State::UploadComplete } else { State::Open }, ..job.info() };
    Ok(Json(answer.to_json(false)).into_response())
}

/// `PUT .../batches`: one upload per job, streamed to disk.
pub(super) async fn upload(app: &App, job: &Job, body: Body) -> Result<StatusCode, ApiError> {
    if job.info().state != State::Open {
        let message = format!("Job is in state {:?}; data can be uploaded in state Open only", job.info().state);
        return Err(ApiError::bad_request("INVALIDJOBSTATE", message));
    }
    // Under another name until it is whole, so that an upload that breaks off is none.
    let partial = job.file("uploading");
    let mut file = tokio::fs::File::create(&partial).await?;
    let mut chunks = body.into_data_stream();
    let mut size = 0_u64;
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|_| ApiError::bad_request("CLIENT_NOT_READY", "the upload ended early"))?;
        size += chunk.len() as u64;
        if size > MOST_UPLOAD_BYTES {
            let message = "The request entity is larger than 150 MB";
            return Err(ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "REQUEST_TOO_LARGE", message));
        }
        file.write_all(&chunk).await?;
    }
    file.flush().await?;
    tokio::fs::rename(&partial, job.file("upload")).await?;
    app.usage.count(Counted::IngestBatch);
    Ok(StatusCode::CREATED)
}

pub(super) fn patch(app: &Arc<App>, job: &Arc<Job>, body: &[u8]) -> Result<Response, ApiError> {
    let change: StateChange = parsed(body)?;
    let info = match change.state.as_str() {
        "Aborted" => set_state(job, State::Aborted)?,
        "UploadComplete" if job.info().state == State::Open => {
            if !job.file("upload").exists() {
                return Err(ApiError::bad_request("INVALIDJOBSTATE", "Job has no uploaded data"));
            }
            let info = set_state(job, State::UploadComplete)?;
            start(app, job.clone());
            info
        }
        other => {
            let message = format!("Cannot set a job in state {:?} to state {other}", job.info().state);
            return Err(ApiError::bad_request("INVALIDJOBSTATE", message));
        }
    };
    Ok(Json(info.to_json(false)).into_response())
}

/// One of the three result files; an unknown one was filtered by the route.
pub(super) fn results(job: &Job, kind: &str) -> Result<Response, ApiError> {
    if !job.info().state.is_terminal() {
        let message = format!("Job is in state {:?}; results are available when it has ended", job.info().state);
        return Err(ApiError::bad_request("INVALIDJOBSTATE", message));
    }
    let extension = match kind {
        "successfulresults" => "successful",
        "failedresults" => "failed",
        _ => "unprocessed",
    };
    let body = match File::open(job.file(extension)) {
        Ok(file) => Body::from_stream(ReaderStream::with_capacity(tokio::fs::File::from_std(file), 64 << 10)),
        // An aborted job may have ended before any row was looked at.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Body::empty(),
        Err(error) => return Err(error.into()),
    };
    Ok(([(header::CONTENT_TYPE, "text/csv; charset=UTF-8")], body).into_response())
}
