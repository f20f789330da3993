//! Bulk API 2.0: jobs under `/jobs/query` and `/jobs/ingest`.
//!
//! A job runs as a task of its own and really works through its states: a query job scans the org and writes its result to a
//! file, from which pages are served as often as asked until the job is deleted. Jobs survive a restart; one that was under way starts
//! again.

mod csv_text;
mod ingest;
mod ingest_run;
pub(crate) mod job;
mod multipart;
mod page_faults;
mod query;
mod results;

use crate::app::App;
use crate::error::{ApiError, SimulatorError};
use crate::http::request::Call;
use crate::ids::RecordId;
use crate::org::cells::{instant_text, rest_instant};
use crate::state;
use axum::Json;
use axum::body::Body;
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use chrono::Utc;
use job::{Delimiter, Job, JobInfo, LineEnding, State, Work};
use serde_json::json;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Ended jobs and their results are kept for seven days.
const RETENTION_DAYS: i64 = 7;
const LIST_PAGE: usize = 1_000;
/// The file that holds the number of the next job.
const COUNTER: &str = "next.json";

pub(crate) struct Jobs {
    folder: PathBuf,
    next: Mutex<u64>,
    jobs: Mutex<BTreeMap<String, Arc<Job>>>,
    runtime: tokio::runtime::Handle,
}

impl Jobs {
    /// Opens the jobs on disk; must be called within a runtime, on which jobs will run.
    pub fn open(state_dir: &Path) -> Result<Self, SimulatorError> {
        let folder = state_dir.join("jobs");
        std::fs::create_dir_all(&folder).map_err(SimulatorError::file("making", &folder))?;
        let mut jobs = BTreeMap::new();
        let counter = folder.join(COUNTER);
        let stored: Option<u64> = state::read_json(&counter).map_err(SimulatorError::file("reading", &counter))?;
        let mut next = stored.unwrap_or(0);
        for entry in std::fs::read_dir(&folder).map_err(SimulatorError::file("reading", &folder))? {
            let path = entry.map_err(SimulatorError::file("reading", &folder))?.path();
            if path == counter || path.extension().is_none_or(|extension| extension != "json") {
                continue;
            }
            let info: Option<JobInfo> = state::read_json(&path).map_err(SimulatorError::file("reading", &path))?;
            let Some(info) = info else { continue };
            next = next.max(RecordId::parse(&info.id).and_then(|id| id.row()).map_or(0, |row| row + 1));
            let job = Job::new(&folder, info.clone());
            if info.state.is_terminal() && is_old(&info.modified) {
                job.remove_files().map_err(SimulatorError::file("removing", &path))?;
                continue;
            }
            jobs.insert(info.id, Arc::new(job));
        }
        let runtime = tokio::runtime::Handle::current();
        Ok(Self { folder, next: Mutex::new(next), jobs: Mutex::new(jobs), runtime })
    }

    /// Goes on with the jobs that a stop interrupted.
    pub fn resume(app: &Arc<App>) {
        let waiting: Vec<Arc<Job>> = app.jobs.list().into_iter().filter(|job| is_due(job.info().state)).collect();
        for job in waiting {
            start(app, job);
        }
    }

    pub fn list(&self) -> Vec<Arc<Job>> {
        self.jobs.lock().expect("no holder panics").values().cloned().collect()
    }

    pub fn stored_result_bytes(&self) -> u64 {
        self.list().iter().map(|job| job.info().result_bytes).sum()
    }

    /// An id is never given twice, also when its job is gone: who kept it would meet another's job.
    fn next_id(&self) -> std::io::Result<String> {
        let mut next = self.next.lock().expect("no holder panics");
        state::write_json(&self.folder.join(COUNTER), &(*next + 1))?;
        *next += 1;
        Ok(RecordId::new("750", *next - 1).to_string())
    }

    fn add(&self, info: JobInfo) -> std::io::Result<Arc<Job>> {
        let job = Arc::new(Job::new(&self.folder, info.clone()));
        job.change(|_| Ok::<(), std::io::Error>(()))?;
        self.jobs.lock().expect("no holder panics").insert(info.id, job.clone());
        Ok(job)
    }

    /// Ids are accepted in both lengths.
    fn find(&self, id: &str, query: bool) -> Result<Arc<Job>, ApiError> {
        let id = RecordId::parse(id).ok_or_else(ApiError::not_found)?;
        let jobs = self.jobs.lock().expect("no holder panics");
        jobs.get(id.as_str()).filter(|job| job.info().is_query() == query).cloned().ok_or_else(ApiError::not_found)
    }

    fn remove(&self, job: &Job) -> std::io::Result<()> {
        self.jobs.lock().expect("no holder panics").remove(&job.id);
        job.remove()
    }
}

fn is_due(state: State) -> bool {
    matches!(state, State::UploadComplete | State::InProgress)
}

fn is_old(modified: &str) -> bool {
    let oldest = rest_instant(&instant_text(Utc::now() - chrono::Duration::days(RETENTION_DAYS)));
    modified < oldest.as_str()
}

pub(super) fn now() -> String {
    rest_instant(&instant_text(Utc::now()))
}

/// A job as it is created now, by the session's user.
fn new_job(app: &App, call: &Call, object: &str, work: Work, state: State) -> std::io::Result<JobInfo> {
    let created = now();
    Ok(JobInfo {
        id: app.jobs.next_id()?,
        work,
        object: object.to_owned(),
        created_by: app.connected_app.user_id.clone(),
        modified: created.clone(),
        created,
        state,
        api_version: call.version().to_owned(),
        delimiter: Delimiter::default(),
        line_ending: LineEnding::default(),
        error_message: None,
        processing_ms: 0,
        processed: 0,
        failed: 0,
        header: Vec::new(),
        result_bytes: 0,
    })
}

/// Runs a job that has all it needs.
fn start(app: &Arc<App>, job: Arc<Job>) {
    let app = app.clone();
    let runtime = app.jobs.runtime.clone();
    runtime.spawn(async move {
        tokio::time::sleep(app.config.bulk_queue_delay).await;
        let run = move || if job.info().is_query() { query::run(&app, &job) } else { ingest_run::run(&app, &job) };
        if let Err(error) = tokio::task::spawn_blocking(run).await {
            tracing::error!(%error, "a bulk job ended without a state");
        }
    });
}

pub(crate) fn route(app: &Arc<App>, call: &Call, body: &[u8]) -> Result<Response, ApiError> {
    let resource = call.resource();
    let lower: Vec<String> = resource.iter().skip(1).map(|segment| segment.to_ascii_lowercase()).collect();
    let lower: Vec<&str> = lower.iter().map(String::as_str).collect();
    let [family @ ("query" | "ingest"), rest @ ..] = lower.as_slice() else { return Err(ApiError::not_found()) };
    let is_query = *family == "query";
    let job = || app.jobs.find(resource[2], is_query);
    match (&call.method, rest) {
        (&Method::POST, []) if is_query => query::create(app, call, body),
        (&Method::POST, []) => ingest::create(app, call, body),
        (&Method::GET, []) => Ok(list(app, call, is_query)),
        (&Method::GET, [_]) => Ok(Json(job()?.info().to_json(true)).into_response()),
        (&Method::PATCH, [_]) if is_query => query::patch(&*job()?, body),
        (&Method::PATCH, [_]) => ingest::patch(app, &job()?, body),
        (&Method::DELETE, [_]) => delete(app, &*job()?),
        (&Method::GET, [_, "results"]) if is_query => results::page(app, call, &*job()?),
        (&Method::GET, [_, "resultpages"]) if is_query => results::pages(app, call, &*job()?),
        (&Method::GET, [_, kind @ ("successfulresults" | "failedresults" | "unprocessedrecords")]) if !is_query => {
            ingest::results(&*job()?, kind)
        }
        (method, [] | [_] | [_, _]) => Err(ApiError::method_not_allowed(method.as_str(), "DELETE,GET,HEAD,PATCH,POST,PUT")),
        _ => Err(ApiError::not_found()),
    }
}

/// Uploads are streamed to disk, so they are told apart before the body is read.
pub(crate) fn is_upload(call: &Call) -> bool {
    let resource: Vec<String> = call.resource().iter().map(|segment| segment.to_ascii_lowercase()).collect();
    let shape: Vec<&str> = resource.iter().map(String::as_str).collect();
    call.method == Method::PUT && matches!(shape.as_slice(), ["jobs", "ingest", _, "batches"])
}

pub(crate) async fn upload(app: &Arc<App>, call: &Call, body: Body) -> Result<StatusCode, ApiError> {
    let job = app.jobs.find(call.resource()[2], false)?;
    ingest::upload(app, &job, body).await
}

fn list(app: &App, call: &Call, is_query: bool) -> Response {
    let first: usize = call.parameter("queryLocator").and_then(|locator| locator.parse().ok()).unwrap_or(0);
    let all: Vec<JobInfo> = app.jobs.list().iter().map(|job| job.info()).filter(|info| info.is_query() == is_query).collect();
    let records: Vec<_> = all.iter().skip(first).take(LIST_PAGE).map(|info| info.to_json(false)).collect();
    let next = first + records.len();
    let family = if is_query { "query" } else { "ingest" };
    let next_url = (next < all.len()).then(|| format!("/services/data/v{}/jobs/{family}?queryLocator={next}", call.version()));
    Json(json!({ "done": next >= all.len(), "records": records, "nextRecordsUrl": next_url })).into_response()
}

fn delete(app: &App, job: &Job) -> Result<Response, ApiError> {
    let state = job.info().state;
    if is_due(state) {
        let message = format!("Job is in state {state:?}; only ended jobs can be deleted");
        return Err(ApiError::bad_request("INVALIDJOBSTATE", message));
    }
    app.jobs.remove(job).map_err(|error| ApiError::unexpected("deleting a job", &error))?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

impl From<std::io::Error> for ApiError {
    fn from(error: std::io::Error) -> Self {
        Self::unexpected("writing a job", &error)
    }
}

/// Sets the state that a caller asked for, if the job may still go there.
fn set_state(job: &Job, wanted: State) -> Result<JobInfo, ApiError> {
    let info = job.change(|info| {
        if info.state.is_terminal() {
            let message = match wanted {
                State::Aborted => format!("Aborting already {} Job not allowed", ended_word(info.state)),
                _ => format!("Job is already in state {:?}", info.state),
            };
            return Err(ApiError::bad_request("INVALIDJOBSTATE", message));
        }
        info.state = wanted;
        Ok(())
    })?;
    if wanted == State::Aborted {
        job.abort.store(true, Ordering::Relaxed);
    }
    Ok(info)
}

fn ended_word(state: State) -> &'static str {
    match state {
        State::Failed => "Failed",
        State::Aborted => "Aborted",
        _ => "Completed",
    }
}

/// Moves a running job to its end, unless it was aborted meanwhile. A job that a stop interrupted stays InProgress on disk.
fn finish(app: &App, job: &Job, end: impl FnOnce(&mut JobInfo)) {
    if app.stop.is_cancelled() || job.is_removed() {
        return;
    }
    let changed = job.change(|info| {
        if info.state == State::InProgress {
            end(info);
        }
        Ok::<(), std::io::Error>(())
    });
    if let Err(error) = changed {
        tracing::error!(%error, job = job.id, "cannot write down the end of a bulk job");
    }
}

/// Keeps a job InProgress for a while, unless it is aborted or the server stops.
fn linger(app: &App, job: &Job, delay: Duration) {
    let end = Instant::now() + delay;
    while !job.is_aborted() && !app.stop.is_cancelled() && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// From UploadComplete to InProgress; false when the job was aborted before it began.
fn begin(job: &Job) -> bool {
    let began = job.change(|info| {
        if is_due(info.state) {
            info.state = State::InProgress;
            Ok(())
        } else {
            Err(std::io::Error::other("the job is not waiting"))
        }
    });
    began.is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_deleted_job_is_gone_for_good_and_its_id_with_it() {
        let folder = tempfile::tempdir().unwrap();
        let jobs = Jobs::open(folder.path()).unwrap();
        let id = jobs.next_id().unwrap();
        let info = serde_json::from_value(json!({
            "id": id, "work": { "Query": { "soql": "SELECT Id FROM Lead", "include_deleted": false } }, "object": "Lead",
            "created_by": "005", "created": now(), "modified": now(), "state": "InProgress", "api_version": "60.0",
            "delimiter": "COMMA", "line_ending": "LF", "error_message": null, "processing_ms": 0, "processed": 0, "failed": 0,
            "header": [], "result_bytes": 0,
        }));
        let job = jobs.add(info.unwrap()).unwrap();
        set_state(&job, State::Aborted).unwrap();
        jobs.remove(&job).unwrap();
        // Whoever still runs it cannot bring it back.
        assert!(job.change(|_| Ok::<(), std::io::Error>(())).is_err());
        assert!(!job.file("json").exists());
        drop(jobs);
        let jobs = Jobs::open(folder.path()).unwrap();
        assert!(jobs.list().is_empty());
        assert_ne!(jobs.next_id().unwrap(), id);
    }
}
