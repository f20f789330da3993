//! A run that cannot go on by itself waits for a person, visibly, and does what the person decides.

use std::time::Duration;

use leadline_activities::faults::{Fault, FaultKind};
use leadline_domain::{Code, Failure, OperationId, OperationKind, OperationState, Verb};
use leadline_store::{PageRequest, audit, datasets};
use leadline_tests::scenario::Scenario;
use serde_json::json;

use crate::exporting::{assert_clean, assert_complete, lead_ids};

const EXPORT: OperationKind = OperationKind::ExportDataset;

/// The activity fails so many times with this code, and does nothing.
pub fn refuse(activity: &str, code: Code, times: u32) -> Fault {
    let kind = FaultKind::Refuse(Failure::new(code, "a fault of the test"));
    Fault { activity: activity.to_owned(), kind, times }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_parked_export_says_what_it_waits_for_and_goes_on_with_a_corrected_input() {
    let scenario = Scenario::onboarded(1000).await;
    scenario.steps.faults.add(refuse("start_bulk_job", Code::SalesforceAccessDenied, 1));
    let id = scenario.export("Lead").await;
    let parked = scenario.parked(&id, Code::SalesforceAccessDenied).await;
    let parking = parked.parking.expect("a parked operation says so");
    assert_eq!(parking.verbs, [Verb::Retry, Verb::Abandon]);
    assert!(parking.deadline > parking.since + chrono::TimeDelta::days(6));
    assert_eq!(parked.step.as_deref(), Some("start_bulk_job"));
    assert_eq!(scenario.shown(EXPORT, &id).await, json!(["parked", "SALESFORCE_ACCESS_DENIED"]));

    let decide = async |verb, instruction| scenario.decide(EXPORT, &id, verb, instruction).await.unwrap_err();
    let rejected = decide(Verb::Skip, json!({ "reason": "why not" })).await;
    assert!(rejected.starts_with("VERB_NOT_ALLOWED"), "{rejected}");
    let rejected = decide(Verb::Abandon, json!({})).await;
    assert!(rejected.starts_with("INVALID_ARGUMENT"), "{rejected}");
    let rejected = decide(Verb::Retry, json!({ "correction": { "fields": [] } })).await;
    assert!(rejected.starts_with("INVALID_ARGUMENT"), "{rejected}");
    let rejected = decide(Verb::Retry, json!({ "park": parking.number + 1 })).await;
    assert!(rejected.starts_with("OPERATION_NOT_PARKED"), "{rejected}");
    decide(Verb::Retry, json!({ "no such thing": 1 })).await;
    assert_eq!(scenario.operation(&id).await.state, OperationState::Parked, "what is rejected changes nothing");

    let correction = json!({ "correction": { "fields": ["LastName", "Company"] } });
    scenario.decide(EXPORT, &id, Verb::Retry, correction).await.unwrap();
    let ended = scenario.ended(&id).await;
    assert_eq!((ended.state, ended.code, ended.parking), (OperationState::Succeeded, None, None));
    assert_eq!(ended.params["fields"], json!(["LastName", "Company"]), "a run that is started anew has the correction too");
    let rejected = scenario.decide(EXPORT, &id, Verb::Retry, json!({})).await;
    assert!(rejected.is_err(), "an ended run takes no update");
    let mut tx = scenario.store.tenant(&scenario.tenant).await.unwrap();
    let dataset = datasets::get(&mut tx, &id.dataset()).await.unwrap();
    assert!(dataset.row_count > 0);
    let entries = audit::list(&mut tx, Some(&id), &PageRequest::default()).await.unwrap().items;
    let resumed = entries.iter().find(|entry| entry.action == "operation.resume").expect("who did what is written down");
    assert_eq!((resumed.actor.as_str(), &resumed.detail["verb"]), ("temporal", &json!("retry")));
    drop(tx);
    let exported = leadline_lake::Dataset::open(&scenario.ground.lake, &scenario.tenant, &id.dataset()).await.unwrap();
    let schema = &exported.manifest().schema;
    assert!(schema.position("Company").is_some() && schema.position("Email").is_none(), "only the corrected fields");
    scenario.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_training_run_that_parks_in_its_own_export_goes_on_with_corrected_fields() {
    let scenario = Scenario::onboarded(6000).await;
    let whole = scenario.export("Lead").await;
    assert_eq!(scenario.ended(&whole).await.state, OperationState::Succeeded);
    let mut fields = names_of(&scenario, &whole).await;
    fields.retain(|name| name != "Email");
    scenario.steps.faults.add(refuse("start_bulk_job", Code::SalesforceAccessDenied, 1));
    let id = scenario.train().await;
    scenario.parked(&id, Code::SalesforceAccessDenied).await;
    let correction = json!({ "correction": { "fields": fields } });
    scenario.decide(OperationKind::TrainModel, &id, Verb::Retry, correction).await.unwrap();
    let ended = scenario.ended(&id).await;
    assert_eq!(ended.state, OperationState::Succeeded, "{ended:?}");
    assert_eq!(ended.params["fields"], json!(fields), "a run that is started anew has the correction too");
    assert_eq!(names_of(&scenario, &id).await, fields);
    scenario.end().await;
}

/// The fields of the operation's data set.
async fn names_of(scenario: &Scenario, id: &OperationId) -> Vec<String> {
    let dataset = leadline_lake::Dataset::open(&scenario.ground.lake, &scenario.tenant, &id.dataset()).await.unwrap();
    let mut names: Vec<String> = dataset.manifest().schema.fields.iter().map(|field| field.name.clone()).collect();
    names.sort();
    names
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_parked_run_did_is_undone_when_it_is_abandoned_cancelled_or_forgotten() {
    let mut scenario = Scenario::onboarded(1000).await;
    let org = scenario.org().await;
    scenario.steps.faults.add(refuse("commit_manifest", Code::StorageDenied, u32::MAX));
    let abandoned = scenario.export("Lead").await;
    scenario.parked(&abandoned, Code::StorageDenied).await;
    let reason = json!({ "reason": "the bucket is gone for good" });
    scenario.decide(EXPORT, &abandoned, Verb::Abandon, reason).await.unwrap();
    scenario.failed(&abandoned, Code::OperationAbandoned).await;
    assert_clean(&scenario, &org, &abandoned).await;

    let cancelled = scenario.export("Lead").await;
    scenario.parked(&cancelled, Code::StorageDenied).await;
    scenario.cancel(EXPORT, &cancelled).await;
    assert_eq!(scenario.ended(&cancelled).await.state, OperationState::Cancelled);
    assert_clean(&scenario, &org, &cancelled).await;

    scenario.stop_worker().await;
    scenario.limits.park_deadline = Duration::from_secs(2);
    scenario.start_worker();
    let forgotten = scenario.export("Lead").await;
    scenario.parked(&forgotten, Code::StorageDenied).await;
    scenario.failed(&forgotten, Code::StorageDenied).await;
    assert_clean(&scenario, &org, &forgotten).await;
    scenario.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_undo_that_cannot_go_on_parks_and_is_tried_again_or_left() {
    let scenario = Scenario::onboarded(1000).await;
    let org = scenario.org().await;
    scenario
        .steps
        .faults
        .set(vec![refuse("commit_manifest", Code::StorageConflict, 1), refuse("abort_bulk_job", Code::SalesforceAuthRefused, 1)]);
    let id = scenario.export("Lead").await;
    let parked = scenario.parked(&id, Code::SalesforceAuthRefused).await;
    assert_eq!(parked.step.as_deref(), Some("start_bulk_job"));
    assert_eq!(parked.parking.unwrap().verbs, [Verb::Retry, Verb::Skip]);
    assert!(parked.message.unwrap().contains("undone because of STORAGE_CONFLICT"), "why it is undone at all");
    scenario.decide(EXPORT, &id, Verb::Retry, json!({})).await.unwrap();
    let ended = scenario.failed(&id, Code::StorageConflict).await;
    assert!(!ended.message.unwrap().contains("left behind"));
    assert_clean(&scenario, &org, &id).await;

    scenario
        .steps
        .faults
        .set(vec![refuse("commit_manifest", Code::StorageConflict, 1), refuse("abort_bulk_job", Code::SalesforceAuthRefused, 1)]);
    let id = scenario.export("Lead").await;
    scenario.parked(&id, Code::SalesforceAuthRefused).await;
    scenario.decide(EXPORT, &id, Verb::Skip, json!({ "reason": "the org is gone" })).await.unwrap();
    let ended = scenario.failed(&id, Code::StorageConflict).await;
    assert!(ended.message.unwrap().contains("left behind, as a person decided: what start_bulk_job did"));
    assert_eq!(org.list_query_jobs().await.unwrap().len(), 1, "the job is what was left");
    scenario.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_the_pivot_a_run_parks_until_its_step_succeeds_or_is_skipped() {
    let scenario = Scenario::onboarded(1000).await;
    let org = scenario.org().await;
    let ids = lead_ids(&org).await;
    scenario.steps.faults.set(vec![
        refuse("apply_current_state", Code::StepDefect, 1),
        refuse("delete_bulk_job", Code::SalesforceAccessDenied, 1),
    ]);
    let id = scenario.export("Lead").await;
    let parked = scenario.parked(&id, Code::StepDefect).await;
    assert_eq!(parked.parking.unwrap().verbs, [Verb::Retry], "current state cannot be gone without");
    scenario.cancel(EXPORT, &id).await;
    scenario.decide(EXPORT, &id, Verb::Retry, json!({})).await.unwrap();
    scenario.until(&id, "parked again", |row| row.code == Some(Code::SalesforceAccessDenied)).await;
    scenario.decide(EXPORT, &id, Verb::Skip, json!({ "reason": "the org deletes it itself" })).await.unwrap();
    let ended = scenario.ended(&id).await;
    assert_eq!(ended.state, OperationState::Succeeded, "{ended:?}");
    assert!(ended.message.is_some_and(|message| message.contains("cancel")), "the late cancel is recorded");
    let audited = scenario.audited(&id).await;
    assert!(audited.contains(&"operation.cancel by temporal".to_owned()), "{audited:?}");
    assert!(audited.contains(&"operation.late_cancel by worker".to_owned()), "{audited:?}");
    for job in org.list_query_jobs().await.unwrap() {
        org.delete_query_job(&job.id).await.unwrap();
    }
    assert_complete(&scenario, &org, &id, &ids).await;
    scenario.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_parked_exports_job_is_no_orphan_to_another() {
    let mut scenario = Scenario::onboarded(1000).await;
    scenario.retry_after(Duration::from_secs(4)).await;
    let org = scenario.org().await;
    let ids = lead_ids(&org).await;
    let lost = json!({ "kind": "lost_response", "match": { "path": "/jobs/query", "method": "POST" } });
    scenario.inject(&lost).await;
    let other = scenario.export("Lead").await;
    scenario.until_met("lost_response").await;
    scenario.steps.faults.set(vec![refuse("extract_pages", Code::StorageDenied, 1)]);
    let parked = scenario.export("Lead").await;
    scenario.parked(&parked, Code::StorageDenied).await;
    assert_eq!(scenario.ended(&other).await.state, OperationState::Succeeded);
    let jobs = org.list_query_jobs().await.unwrap();
    assert_eq!(jobs.len(), 1, "the one whose id was lost is removed, and the parked export's is not: {jobs:?}");
    scenario.decide(EXPORT, &parked, Verb::Retry, json!({})).await.unwrap();
    let ended = scenario.ended(&parked).await;
    assert_eq!(ended.state, OperationState::Succeeded, "{ended:?}");
    assert_eq!(ended.result.unwrap()["rows"].as_u64(), Some(ids.len() as u64));
    scenario.end().await;
}
