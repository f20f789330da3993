//! `/limits`: the org's allowances and what is left of them.

use crate::app::App;
use crate::usage::Counted;
use serde_json::{Value as JsonValue, json};

/// The vendor's figures for allowances per rolling 24 hours that this server does not let a configuration change.
const QUERY_JOBS: u64 = 10_000;
const INGEST_BATCHES: u64 = 15_000;
const QUERY_RESULT_MB: u64 = 976_562;

pub(crate) fn query_jobs_left(app: &App) -> u64 {
    QUERY_JOBS.saturating_sub(app.usage.used(Counted::QueryJob))
}

pub(super) fn limits(app: &App) -> JsonValue {
    let allowance = |max: u64, left: u64| json!({ "Max": max, "Remaining": left });
    let untouched = |max: u64| allowance(max, max);
    let requests = app.config.daily_api_requests;
    let batches_left = INGEST_BATCHES.saturating_sub(app.usage.used(Counted::IngestBatch));
    let stored_mb = app.jobs.stored_result_bytes() / 1_000_000;
    json!({
        "ActiveScratchOrgs": untouched(3),
        "ConcurrentAsyncGetReportInstances": untouched(200),
        "DailyApiRequests": allowance(requests, requests.saturating_sub(app.usage.used(Counted::Request))),
        "DailyAsyncApexExecutions": untouched(250_000),
        "DailyBulkApiBatches": allowance(INGEST_BATCHES, batches_left),
        "DailyBulkApiRequests": allowance(INGEST_BATCHES, batches_left),
        "DailyBulkV2QueryFileStorageMB": allowance(QUERY_RESULT_MB, QUERY_RESULT_MB.saturating_sub(stored_mb)),
        "DailyBulkV2QueryJobs": allowance(QUERY_JOBS, query_jobs_left(app)),
        "DailyStreamingApiEvents": untouched(10_000),
        "DataStorageMB": untouched(5_120),
        "FileStorageMB": untouched(5_120),
        "HourlyODataCallout": untouched(1_000),
        "MassEmail": untouched(5_000),
        "SingleEmail": untouched(5_000),
    })
}
