//! Bulk API 2.0 query jobs: create, watch, read page by page, abort, delete.

use std::fmt;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures::TryStreamExt;
use futures::stream::BoxStream;
use leadline_domain::value::{FieldType, ObjectSchema, Value};
use reqwest::header::{ACCEPT, HeaderMap, HeaderValue};
use reqwest::{Method, Response};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::bulk_rows::RowBatches;
use crate::call::{Call, transport};
use crate::client::OrgClient;
use crate::error::{BulkLimit, Missing, SalesforceError};
use crate::query::object_of;
use crate::soql;

const RECORD_COUNT: &str = "sforce-numberofrecords";
const LOCATOR: &str = "sforce-locator";

/// The body of a page, as it comes off the wire, decompressed.
pub type ByteStream = BoxStream<'static, Result<Bytes, SalesforceError>>;

/// Where a page begins: the vendor's opaque text, valid as long as its job exists. Never taken apart; kept to resume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Locator(String);

impl Locator {
    /// A locator that was stored earlier.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Locator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum JobState {
    UploadComplete,
    InProgress,
    JobComplete,
    Failed,
    Aborted,
}

impl JobState {
    pub fn has_ended(self) -> bool {
        matches!(self, Self::JobComplete | Self::Failed | Self::Aborted)
    }
}

/// A query job as the vendor describes it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct QueryJob {
    /// 18 characters, beginning `750`.
    pub id: String,
    #[serde(default)]
    pub object: Option<String>,
    pub state: JobState,
    #[serde(default)]
    pub created_by_id: Option<String>,
    #[serde(default)]
    created_date: Option<String>,
    /// Rises while the job runs.
    #[serde(default)]
    pub number_records_processed: Option<u64>,
    #[serde(default)]
    pub retries: Option<u64>,
    /// Milliseconds.
    #[serde(default)]
    pub total_processing_time: Option<u64>,
    #[serde(default)]
    error_message: Option<String>,
}

impl QueryJob {
    /// When the vendor took the job, to the second; `None` when it did not say so.
    pub fn created_at(&self) -> Option<DateTime<Utc>> {
        match Value::parse(FieldType::DateTime, self.created_date.as_deref()?) {
            Ok(Value::DateTime(at)) => Some(at),
            _ => None,
        }
    }

    /// Whether the results can be read: `false` while the job runs.
    ///
    /// # Errors
    /// [`SalesforceError::BulkJobFailed`] if it failed or was aborted, whatever for: a job that has ended never goes on. The vendor
    /// has by then retried up to 15 times by itself.
    pub fn is_complete(&self) -> Result<bool, SalesforceError> {
        match self.state {
            JobState::UploadComplete | JobState::InProgress => Ok(false),
            JobState::JobComplete => Ok(true),
            JobState::Aborted => Err(self.failed("it was aborted")),
            JobState::Failed => Err(self.failure()),
        }
    }

    /// The vendor's message may quote the query, so it only decides the case.
    fn failure(&self) -> SalesforceError {
        let message = self.error_message.as_deref().unwrap_or_default().to_ascii_lowercase();
        let says = |words: &str| message.contains(words);
        if says("query jobs") && says("per 24 hrs") {
            self.failed(&used_up(BulkLimit::QueryJobs))
        } else if says("per 24 hrs") {
            self.failed(&used_up(BulkLimit::ResultVolume))
        } else if says("timeout") || says("timed out") {
            self.failed("the query ran into the vendor's time limit")
        } else if says("invalid_field") || says("no such column") {
            self.failed("the query names a field that does not exist")
        } else if message.is_empty() {
            self.failed("the vendor gives no reason")
        } else {
            self.failed("the vendor's reason is shown in the org's setup under Bulk Data Load Jobs")
        }
    }

    fn failed(&self, reason: &str) -> SalesforceError {
        SalesforceError::BulkJobFailed { job: self.id.clone(), reason: reason.to_owned() }
    }
}

fn used_up(limit: BulkLimit) -> String {
    format!("{limit} of the last 24 hours is used up")
}

/// One page of a job's results: a CSV with a header row of its own.
pub struct ResultsPage {
    /// Data rows of this page, as the vendor announces them.
    pub records: u64,
    /// Where the next page begins; `None` on the last.
    pub next: Option<Locator>,
    body: ByteStream,
}

impl ResultsPage {
    pub(crate) fn new(records: u64, next: Option<Locator>, body: ByteStream) -> Self {
        Self { records, next, body }
    }

    /// The raw CSV. Whoever reads it checks the row count: a page that ends early is not always an error of the transport.
    pub fn into_body(self) -> ByteStream {
        self.body
    }

    /// The page's rows, each value checked against the schema whose columns were selected.
    pub fn rows(self, schema: &ObjectSchema) -> RowBatches {
        RowBatches::new(self, schema)
    }
}

impl fmt::Debug for ResultsPage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResultsPage").field("records", &self.records).field("next", &self.next).finish_non_exhaustive()
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct JobListPage {
    done: bool,
    records: Vec<ListedJob>,
    next_records_url: Option<String>,
}

/// The list mixes the jobs of both Bulk APIs; those of version 1 have states of their own.
#[derive(Deserialize)]
#[serde(untagged)]
enum ListedJob {
    Query(QueryJob),
    Other(serde::de::IgnoredAny),
}

impl OrgClient {
    /// Starts a job. A call that got no answer may have started one all the same: see [`Self::list_query_jobs`].
    ///
    /// # Errors
    /// [`SalesforceError::EntityNotBulkable`] and [`SalesforceError::CompoundField`] for what only REST serves,
    /// [`SalesforceError::BulkLimit`] when the day's jobs are used up; otherwise as any call.
    pub async fn create_query_job(&self, soql: &str) -> Result<QueryJob, SalesforceError> {
        let body = json!({
            "operation": "query", "query": soql, "contentType": "CSV", "columnDelimiter": "COMMA", "lineEnding": "LF",
        });
        let what = format!("a bulk query job of {}", object_of(soql));
        self.send_for_json(&Call::new(what, Method::POST, self.data_path("/jobs/query")).brief().json(&body)?).await
    }

    /// # Errors
    /// [`SalesforceError::NotFound`] if the job was deleted, or is older than the vendor's seven days.
    pub async fn query_job(&self, id: &str) -> Result<QueryJob, SalesforceError> {
        self.send_for_json(&self.job_call("the state of", Method::GET, id, "")?).await
    }

    /// Every Bulk API 2.0 query job the org still holds, in no particular order.
    ///
    /// # Errors
    /// As any call: see [`SalesforceError`].
    pub async fn list_query_jobs(&self) -> Result<Vec<QueryJob>, SalesforceError> {
        let mut jobs = Vec::new();
        let mut path = self.data_path("/jobs/query");
        let mut first = true;
        loop {
            let mut call = Call::get("the list of bulk query jobs", path).brief();
            if std::mem::take(&mut first) {
                call = call.query("jobType", "V2Query");
            }
            let page: JobListPage = self.send_for_json(&call).await?;
            jobs.extend(page.records.into_iter().filter_map(|job| match job {
                ListedJob::Query(job) => Some(job),
                ListedJob::Other(_) => None,
            }));
            match (page.done, page.next_records_url) {
                (false, Some(next)) => path = next,
                _ => return Ok(jobs),
            }
        }
    }

    /// Stops a job; what it has found so far cannot be read.
    ///
    /// # Errors
    /// [`SalesforceError::JobStateForbids`] if it has ended already, [`SalesforceError::NotFound`] if there is none.
    pub async fn abort_query_job(&self, id: &str) -> Result<(), SalesforceError> {
        let call = self.job_call("the abort of", Method::PATCH, id, "")?.brief().json(&json!({ "state": "Aborted" }))?;
        self.send(&call).await.map(drop)
    }

    /// Removes an ended job and its results.
    ///
    /// # Errors
    /// [`SalesforceError::JobStateForbids`] while it runs, [`SalesforceError::NotFound`] if there is none.
    pub async fn delete_query_job(&self, id: &str) -> Result<(), SalesforceError> {
        self.send(&self.job_call("the deletion of", Method::DELETE, id, "")?.brief()).await.map(drop)
    }

    /// Opens a page: the first one without a locator. A page can be opened again as often as needed.
    ///
    /// # Errors
    /// As any call; [`SalesforceError::BulkJobFailed`] if the org no longer holds the page, which it does as long as it holds the
    /// job; [`SalesforceError::MalformedResponse`] if the vendor does not say how many rows the page has or where the next
    /// one begins: without either, a loss of rows could not be seen.
    pub async fn query_results_page(
        &self,
        id: &str,
        locator: Option<&Locator>,
        max_records: u32,
    ) -> Result<ResultsPage, SalesforceError> {
        let mut call = self
            .job_call("a results page of", Method::GET, id, "/results")?
            .header(ACCEPT, HeaderValue::from_static("text/csv"))
            .query("maxRecords", max_records.to_string());
        if let Some(locator) = locator {
            call = call.query("locator", locator.as_str());
        }
        match self.send(&call).await {
            Ok(answer) => open_page(answer, call.what),
            Err(SalesforceError::CursorExpired { .. }) => {
                let reason = "the org no longer holds the page that is to be read next".to_owned();
                Err(SalesforceError::BulkJobFailed { job: id.to_owned(), reason })
            }
            Err(error) => Err(error),
        }
    }

    fn job_call(&self, verb: &str, method: Method, id: &str, rest: &str) -> Result<Call, SalesforceError> {
        if !soql::is_id(id) {
            let (what, reason) = (format!("{verb} a bulk query job"), "the job's id is not one".to_owned());
            return Err(SalesforceError::InvalidRequest { what, reason });
        }
        let path = self.data_path(&format!("/jobs/query/{id}{rest}"));
        Ok(Call::new(format!("{verb} bulk query job {id}"), method, path).about(Missing::Job))
    }
}

fn open_page(answer: Response, what: String) -> Result<ResultsPage, SalesforceError> {
    let (records, next) = page_headers(answer.headers(), &what)?;
    let body = answer.bytes_stream().map_err(move |e| transport(&what, e));
    Ok(ResultsPage::new(records, next, Box::pin(body)))
}

fn page_headers(headers: &HeaderMap, what: &str) -> Result<(u64, Option<Locator>), SalesforceError> {
    let malformed = |reason: &str| SalesforceError::MalformedResponse { what: what.to_owned(), reason: reason.to_owned() };
    let text = |name: &str| headers.get(name).and_then(|v| v.to_str().ok());
    let records = text(RECORD_COUNT)
        .and_then(|n| n.trim().parse().ok())
        .ok_or_else(|| malformed("Sforce-NumberOfRecords is missing or no number"))?;
    let next = match text(LOCATOR) {
        None | Some("") => return Err(malformed("Sforce-Locator is missing")),
        Some("null") => None,
        Some(locator) => Some(Locator::new(locator)),
    };
    Ok((records, next))
}

#[cfg(test)]
mod tests {
    use leadline_domain::Class;

    use super::*;

    #[test]
    fn the_last_page_is_the_one_whose_locator_is_the_word_null() {
        let headers = |pairs: &[(&'static str, &'static str)]| {
            pairs.iter().map(|(n, v)| (n.parse().unwrap(), HeaderValue::from_static(v))).collect::<HeaderMap>()
        };
        let read = |pairs: &[(&'static str, &'static str)]| page_headers(&headers(pairs), "a results page");
        let recorded = "MDowR2FIbjAwMDAwNXMyVDRLQUk6MQ";
        assert_eq!(read(&[(RECORD_COUNT, "10"), (LOCATOR, recorded)]).unwrap(), (10, Some(Locator::new(recorded))));
        assert_eq!(read(&[(RECORD_COUNT, "3"), (LOCATOR, "null")]).unwrap(), (3, None));
        assert!(read(&[(RECORD_COUNT, "3")]).is_err(), "an answer that lost its locator is not the last page");
        assert!(read(&[(LOCATOR, "null")]).is_err());
    }

    #[test]
    fn a_job_is_complete_running_or_failed_for_a_reason_without_the_query() {
        let job = |state: &str, message: &str| -> QueryJob {
            serde_json::from_value(json!({
                "id": "750R0000000zlh9IAA", "operation": "query", "object": "Lead", "state": state, "apiVersion": 60.0,
                "numberRecordsProcessed": 5, "errorMessage": message, "isPkChunkingSupported": true,
            }))
            .unwrap()
        };
        assert_eq!(job("UploadComplete", "").is_complete(), Ok(false));
        assert_eq!(job("InProgress", "").is_complete(), Ok(false));
        assert_eq!(job("JobComplete", "").is_complete(), Ok(true));
        let failed = job("Failed", "Unexpected exception on WHERE Email = 'ada@example.org'").is_complete().unwrap_err();
        assert_eq!(failed.failure().class(), Class::Terminal);
        assert!(!failed.to_string().contains("ada@"));
        let limit = job("Failed", "Max bulk v2 query result size stored (1000000000) kb per 24 hrs has been exceeded");
        let failure = limit.is_complete().unwrap_err().failure();
        assert_eq!(failure.class(), Class::Terminal, "no wait brings an ended job back");
        assert!(failure.message.contains("the volume of bulk query results"), "{failure}");
        assert!(matches!(job("Aborted", "").is_complete(), Err(SalesforceError::BulkJobFailed { .. })));
    }

    #[test]
    fn the_list_of_jobs_skips_those_of_the_other_bulk_api() {
        let page: JobListPage = serde_json::from_value(json!({
            "done": true, "nextRecordsUrl": null,
            "records": [
                { "id": "750R0000000zlh9IAA", "state": "InProgress", "jobType": "V2Query" },
                { "id": "750R0000000zlhAIAQ", "state": "Closed", "jobType": "Classic" },
            ],
        }))
        .unwrap();
        let jobs: Vec<_> = page.records.iter().filter(|j| matches!(j, ListedJob::Query(_))).collect();
        assert_eq!(jobs.len(), 1);
    }
}
