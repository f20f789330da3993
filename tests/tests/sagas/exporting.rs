//! An export is exact, resumes where it stopped, and leaves nothing behind when it is undone.

use std::collections::BTreeSet;

use futures::StreamExt as _;
use leadline_domain::{Code, ConsentGrant, OperationId, OperationKind, OperationState, value::Value};
use leadline_lake::Dataset;
use leadline_salesforce::OrgClient;
use leadline_store::{
    budgets,
    datasets::{self, DatasetState},
    export_parts, records, tenants,
};
use leadline_tests::scenario::{FreezableWorker, Frozen, Scenario};
use serde_json::json;

const EXPORT: OperationKind = OperationKind::ExportDataset;
const ALLOWANCE: i64 = 100_000;
const USED_UP: &str = "Max bulk v2 query result size stored (1000000000) kb per 24 hrs has been exceeded";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_export_holds_exactly_the_rows_of_the_org_in_lake_and_current_state() {
    let scenario = Scenario::onboarded(1500).await;
    let org = scenario.org().await;
    let ids = lead_ids(&org).await;
    let id = scenario.export("Lead").await;
    let ended = scenario.ended(&id).await;
    assert_eq!(ended.state, OperationState::Succeeded, "{ended:?}");
    assert_complete(&scenario, &org, &id, &ids).await;
    let result = ended.result.unwrap();
    assert_eq!((result["rows"].as_u64(), result["dataset"].as_str()), (Some(ids.len() as u64), Some(id.dataset().as_str())));
    scenario.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancelled_export_aborts_its_job_and_leaves_no_object_behind() {
    let scenario = Scenario::onboarded(1500).await;
    let org = scenario.org().await;
    // The third page hangs: two parts are committed by then.
    let slow = json!({ "kind": "latency", "delay_ms": 60_000, "match": { "path": "/results" }, "nth": 3 });
    scenario.inject(&slow).await;
    let id = scenario.export("Lead").await;
    scenario.until(&id, "committed two parts", |operation| operation.progress.as_ref().is_some_and(|p| p.done == 200)).await;
    assert_eq!(scenario.objects().await.len(), 2);
    scenario.cancel(EXPORT, &id).await;
    let ended = scenario.ended(&id).await;
    assert_eq!((ended.state, ended.code), (OperationState::Cancelled, Some(Code::Cancelled)), "{ended:?}");
    assert_clean(&scenario, &org, &id).await;
    let (status, _) = scenario.status(EXPORT, &id).await;
    assert_eq!(status, "Canceled");

    let audited = scenario.audited(&id).await;
    let cancels: Vec<_> = audited.iter().filter(|entry| entry.contains("cancel")).collect();
    assert_eq!(cancels, ["operation.cancel by temporal"]);
    scenario.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_data_ends_the_export_with_its_code_and_leaves_nothing() {
    let scenario = Scenario::onboarded(1000).await;
    let org = scenario.org().await;
    let cases = [
        (json!({ "kind": "malformed_csv", "nth": 2 }), Code::CsvMalformed),
        (json!({ "kind": "non_utf8" }), Code::CsvNotUtf8),
        (json!({ "kind": "oversized_field" }), Code::CsvFieldTooLong),
        (json!({ "kind": "missing_column" }), Code::CsvColumnMismatch),
        (json!({ "kind": "wrong_type" }), Code::CsvTypeMismatch),
        (json!({ "kind": "failed_bulk_job" }), Code::BulkJobFailed),
        // An allowance that ended a job comes back tomorrow; the job does not.
        (json!({ "kind": "failed_bulk_job", "message": USED_UP }), Code::BulkJobFailed),
    ];
    for (fault, code) in cases {
        scenario.inject(&fault).await;
        let id = scenario.export("Lead").await;
        scenario.failed(&id, code).await;
        scenario.clear_faults().await;
        assert_clean(&scenario, &org, &id).await;
    }
    scenario.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_that_breaks_off_is_read_again_and_no_other() {
    let scenario = Scenario::onboarded(1500).await;
    let org = scenario.org().await;
    let ids = lead_ids(&org).await;
    scenario.inject(&json!({ "kind": "dropped_connection", "nth": 3 })).await;
    scenario.inject(&json!({ "kind": "short_page", "nth": 5 })).await;
    let before = calls_used(&scenario, &org).await;
    let id = scenario.export("Lead").await;
    let ended = scenario.ended(&id).await;
    assert_eq!(ended.state, OperationState::Succeeded, "{ended:?}");
    let after = calls_used(&scenario, &org).await;
    // The test's own call between the two looks is its first look.
    assert_eq!(after.0 - before.0, after.1 - before.1 - 1, "the budget counts what the org counts, failed attempts included");
    assert_complete(&scenario, &org, &id, &ids).await;
    scenario.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_whose_id_was_lost_is_found_and_removed() {
    let scenario = Scenario::onboarded(1000).await;
    let org = scenario.org().await;
    let ids = lead_ids(&org).await;
    // Somebody else's job, which must stay.
    let foreign = org.create_query_job("SELECT Id FROM Lead").await.unwrap();
    let lost = json!({ "kind": "lost_response", "match": { "path": "/jobs/query", "method": "POST" } });
    scenario.inject(&lost).await;
    let id = scenario.export("Lead").await;
    let ended = scenario.ended(&id).await;
    assert_eq!(ended.state, OperationState::Succeeded, "{ended:?}");
    let jobs: Vec<String> = org.list_query_jobs().await.unwrap().into_iter().map(|job| job.id).collect();
    assert_eq!(jobs, [foreign.id]);
    assert_eq!(part_rows(&scenario, &id).await, ids.len() as i64);
    scenario.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_worker_goes_on_after_the_last_committed_part() {
    let mut scenario = Scenario::onboarded(1500).await;
    let org = scenario.org().await;
    let ids = lead_ids(&org).await;
    let slow = json!({ "kind": "latency", "delay_ms": 60_000, "match": { "path": "/results" }, "nth": 4 });
    scenario.inject(&slow).await;
    let id = scenario.export("Lead").await;
    scenario.until(&id, "committed three parts", |operation| operation.progress.as_ref().is_some_and(|p| p.done == 300)).await;
    let before = part_keys(&scenario, &id).await;
    scenario.stop_worker().await;
    scenario.clear_faults().await;
    scenario.start_worker();
    let ended = scenario.ended(&id).await;
    assert_eq!(ended.state, OperationState::Succeeded, "{ended:?}");
    let after = part_keys(&scenario, &id).await;
    assert_eq!(after[..before.len()], before, "committed parts stand");
    assert_complete(&scenario, &org, &id, &ids).await;
    scenario.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn consent_that_is_withdrawn_before_the_pivot_undoes_the_export() {
    let scenario = Scenario::onboarded(1500).await;
    let org = scenario.org().await;
    scenario.inject(&json!({ "kind": "latency", "delay_ms": 1000, "match": { "path": "/results" }, "nth": 3 })).await;
    let id = scenario.export("Lead").await;
    scenario.until(&id, "committed two parts", |operation| operation.progress.as_ref().is_some_and(|p| p.done == 200)).await;
    scenario.consent(ConsentGrant { allow_export: false, ..ConsentGrant::ALL }).await;
    scenario.failed(&id, Code::ConsentWithdrawn).await;
    assert_clean(&scenario, &org, &id).await;
    scenario.end().await;
}

/// Freezes an export in the middle of its third page, whose answer then reaches the frozen worker's socket.
async fn frozen_in_mid_export(scenario: &mut Scenario) -> (OperationId, FreezableWorker, Frozen) {
    let worker = scenario.start_freezable_worker().await;
    let slow = json!({ "kind": "latency", "delay_ms": 1000, "match": { "path": "/results" }, "nth": 3 });
    scenario.inject(&slow).await;
    let id = scenario.export("Lead").await;
    scenario.until(&id, "committed two parts", |operation| operation.progress.as_ref().is_some_and(|p| p.done == 200)).await;
    let frozen = worker.freeze();
    (id, worker, frozen)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_attempt_that_wakes_up_after_its_undo_changes_nothing() {
    let mut scenario = Scenario::onboarded(1500).await;
    let org = scenario.org().await;
    let (id, zombie, frozen) = frozen_in_mid_export(&mut scenario).await;
    scenario.start_worker();
    scenario.cancel(EXPORT, &id).await;
    let ended = scenario.ended(&id).await;
    assert_eq!(ended.state, OperationState::Cancelled, "{ended:?}");
    assert_clean(&scenario, &org, &id).await;
    drop(frozen);
    zombie.stop().await;
    assert_clean(&scenario, &org, &id).await;
    assert_eq!(scenario.operation(&id).await, ended);
    scenario.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_attempt_that_wakes_up_after_another_finished_its_step_changes_nothing() {
    let mut scenario = Scenario::onboarded(1500).await;
    let org = scenario.org().await;
    let ids = lead_ids(&org).await;
    let (id, zombie, frozen) = frozen_in_mid_export(&mut scenario).await;
    scenario.start_worker();
    let ended = scenario.ended(&id).await;
    assert_eq!(ended.state, OperationState::Succeeded, "{ended:?}");
    drop(frozen);
    zombie.stop().await;
    assert_complete(&scenario, &org, &id, &ids).await;
    assert_eq!(scenario.operation(&id).await, ended);
    scenario.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_daily_limit_is_waited_out_and_shown_as_the_reason() {
    let scenario = Scenario::onboarded(1000).await;
    let org = scenario.org().await;
    scenario.inject(&json!({ "kind": "request_limit_exceeded", "match": { "path": "/limits" } })).await;
    let id = scenario.export("Lead").await;
    let waiting = scenario.until(&id, "waited for its quota", |operation| operation.code.is_some()).await;
    assert_eq!((waiting.state, waiting.code), (OperationState::Running, Some(Code::SalesforceLimitExceeded)));
    scenario.cancel(EXPORT, &id).await;
    let ended = scenario.ended(&id).await;
    assert_eq!(ended.state, OperationState::Cancelled, "{ended:?}");
    assert_clean(&scenario, &org, &id).await;
    scenario.end().await;
}

/// Calls that the tenant's budget has counted today, and the org.
async fn calls_used(scenario: &Scenario, org: &OrgClient) -> (i64, i64) {
    let org = org.limits().await.unwrap().daily_api_requests().unwrap();
    let mut tx = scenario.store.tenant(&scenario.tenant).await.unwrap();
    (budgets::today(&mut tx, ALLOWANCE).await.unwrap().used, org.max - org.remaining)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_login_that_leads_to_another_org_is_refused() {
    let mut scenario = Scenario::onboarded(1000).await;
    let mut tx = scenario.store.tenant(&scenario.tenant).await.unwrap();
    tenants::set_org(&mut tx, "https://acme.my.salesforce.com", "00DE0000000Hq5dMAC").await.unwrap();
    tx.commit().await.unwrap();
    // A worker that has not signed in yet.
    scenario.stop_worker().await;
    scenario.start_worker();
    let id = scenario.export("Lead").await;
    let parked = scenario.parked(&id, Code::SalesforceAuthRefused).await;
    assert!(parked.message.is_some_and(|message| message.contains("00DE0000000Hq5dMAC")));
    scenario.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_object_without_records_ends_the_export_with_its_code_and_leaves_nothing() {
    let scenario = Scenario::onboarded(1).await;
    let org = scenario.org().await;
    scenario.delete_in_org("Lead", &all_ids(&org, "Lead").await).await;
    let id = scenario.export("Lead").await;
    scenario.failed(&id, Code::DatasetEmpty).await;
    assert_clean(&scenario, &org, &id).await;
    scenario.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn records_that_were_deleted_in_the_org_are_gone_after_the_next_export() {
    let scenario = Scenario::onboarded(1000).await;
    let org = scenario.org().await;
    let ids = all_ids(&org, "Account").await;
    let succeeded = async || {
        let ended = scenario.ended(&scenario.export("Account").await).await;
        assert_eq!(ended.state, OperationState::Succeeded, "{ended:?}");
        let mut tx = scenario.store.tenant(&scenario.tenant).await.unwrap();
        records::ids(&mut tx, "Account", "", 1000).await.unwrap().into_iter().collect::<BTreeSet<_>>()
    };
    assert_eq!(succeeded().await, ids);

    let gone: BTreeSet<String> = ids.iter().step_by(7).cloned().collect();
    let kept: BTreeSet<String> = ids.difference(&gone).cloned().collect();
    scenario.delete_in_org("Account", &gone).await;
    assert_eq!(succeeded().await, kept);
    scenario.end().await;
}

async fn all_ids(org: &OrgClient, object: &str) -> BTreeSet<String> {
    let soql = format!("SELECT Id FROM {object}");
    org.query(&soql).map(|row| row.unwrap().id().expect("an id").to_owned()).collect().await
}

pub async fn lead_ids(org: &OrgClient) -> BTreeSet<String> {
    let ids = all_ids(org, "Lead").await;
    assert!(ids.len() > 300, "the org is large enough for several pages");
    ids
}

async fn part_keys(scenario: &Scenario, id: &OperationId) -> Vec<String> {
    let mut tx = scenario.store.tenant(&scenario.tenant).await.unwrap();
    export_parts::parts(&mut tx, id, 1).await.unwrap().into_iter().map(|part| part.key).collect()
}

async fn part_rows(scenario: &Scenario, id: &OperationId) -> i64 {
    let mut tx = scenario.store.tenant(&scenario.tenant).await.unwrap();
    export_parts::parts(&mut tx, id, 1).await.unwrap().iter().map(|part| part.rows).sum()
}

pub async fn assert_complete(scenario: &Scenario, org: &OrgClient, id: &OperationId, ids: &BTreeSet<String>) {
    let dataset = Dataset::open(&scenario.ground.lake, &scenario.tenant, &id.dataset()).await.unwrap();
    let at = dataset.manifest().schema.position("Id").unwrap();
    let mut rows = dataset.rows(1000);
    let mut exported = Vec::new();
    while let Some(batch) = rows.next().await {
        for row in batch.unwrap() {
            let Value::Text(id) = &row[at] else { panic!("a row without an id") };
            exported.push(id.clone());
        }
    }
    assert_eq!(exported.len(), ids.len(), "no row twice");
    assert_eq!(&exported.into_iter().collect::<BTreeSet<_>>(), ids);
    let objects = scenario.objects().await;
    assert_eq!(objects.len(), dataset.manifest().parts.len() + 1, "parts and manifest, nothing else: {objects:?}");

    let mut tx = scenario.store.tenant(&scenario.tenant).await.unwrap();
    assert_eq!(records::count(&mut tx, "Lead").await.unwrap(), ids.len() as i64);
    let row = datasets::get(&mut tx, &id.dataset()).await.unwrap();
    assert_eq!((row.state, row.row_count), (DatasetState::Committed, ids.len() as i64));
    assert!(row.applied_at.is_some());
    assert_eq!(budgets::today(&mut tx, ALLOWANCE).await.unwrap().outstanding, 0);
    drop(tx);
    assert_eq!(org.list_query_jobs().await.unwrap(), Vec::new());
}

pub async fn assert_clean(scenario: &Scenario, org: &OrgClient, id: &OperationId) {
    assert_eq!(scenario.objects().await, Vec::<String>::new());
    let mut tx = scenario.store.tenant(&scenario.tenant).await.unwrap();
    assert!(datasets::find(&mut tx, &id.dataset()).await.unwrap().is_none());
    assert_eq!(records::count(&mut tx, "Lead").await.unwrap(), 0);
    assert_eq!(budgets::today(&mut tx, ALLOWANCE).await.unwrap().outstanding, 0);
    drop(tx);
    assert_eq!(part_keys(scenario, id).await, Vec::<String>::new());
    assert_eq!(org.list_query_jobs().await.unwrap(), Vec::new());
}
