//! Records the golden histories: `make histories`. Each run below takes one of the courses that its saga can take.

use std::collections::BTreeSet;

use futures::TryStreamExt as _;
use leadline_codec::data_converter;
use leadline_domain::{Code, ConsentGrant, OperationId, OperationKind, OperationState, Verb, operation::DrillWait};
use leadline_lake::Prefix;
use leadline_store::records;
use leadline_tests::scenario::Scenario;
use serde_json::json;
use temporalio_client::{UntypedWorkflow, WorkflowFetchHistoryOptions};
use temporalio_common::{
    data_converters::SerializationContextData, payload_visitor::decode_payloads, protos::temporal::api::history::v1::History,
};

use crate::golden;

const ONBOARD: OperationKind = OperationKind::OnboardTenant;
const EXPORT: OperationKind = OperationKind::ExportDataset;
const TRAIN: OperationKind = OperationKind::TrainModel;
const PROMOTE: OperationKind = OperationKind::PromoteModel;
const PREDICT: OperationKind = OperationKind::PredictAsync;
const DRILL: OperationKind = OperationKind::RunDrill;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "writes tests/histories anew: make histories"]
async fn the_courses_of_an_onboarding() {
    let scenario = Scenario::new(500).await;
    record(&scenario, ONBOARD, &scenario.onboard("whole").await, "succeeded").await;
    scenario.end().await;

    let scenario = Scenario::new(500).await;
    let marker = Prefix::tenant(&scenario.tenant).key("tenant.json").unwrap();
    scenario.ground.lake.put(&marker, "somebody else's".into()).await.unwrap();
    record(&scenario, ONBOARD, &scenario.onboard("late").await, "failed").await;
    scenario.end().await;

    let scenario = Scenario::new(500).await;
    scenario.inject(&json!({ "kind": "latency", "delay_ms": 1500, "match": { "path": "/describe" } })).await;
    let id = scenario.onboard("cancelled").await;
    cancel_at(&scenario, ONBOARD, &id, "verify_org").await;
    record(&scenario, ONBOARD, &id, "cancelled").await;
    scenario.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "writes tests/histories anew: make histories"]
async fn the_courses_of_an_export() {
    let scenario = Scenario::onboarded(1000).await;
    record(&scenario, EXPORT, &scenario.export("Lead").await, "succeeded").await;

    scenario.inject(&json!({ "kind": "malformed_csv", "nth": 2 })).await;
    record(&scenario, EXPORT, &scenario.export("Lead").await, "failed").await;
    scenario.clear_faults().await;

    scenario.inject(&json!({ "kind": "latency", "delay_ms": 60_000, "match": { "path": "/results" }, "nth": 2 })).await;
    let id = scenario.export("Lead").await;
    cancel_at(&scenario, EXPORT, &id, "extract_pages").await;
    record(&scenario, EXPORT, &id, "cancelled").await;
    scenario.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "writes tests/histories anew: make histories"]
async fn the_courses_of_a_training_run() {
    let scenario = Scenario::onboarded(6000).await;
    let trained = scenario.train().await;
    record(&scenario, TRAIN, &trained, "succeeded_with_own_export").await;
    let dataset = trained.dataset();
    record(&scenario, TRAIN, &scenario.train_on(&dataset).await, "succeeded").await;

    let id = scenario.train_on(&dataset).await;
    cancel_at(&scenario, TRAIN, &id, "fit_model").await;
    record(&scenario, TRAIN, &id, "cancelled").await;

    scenario.inject(&json!({ "kind": "slow_bulk_job", "delay_ms": 1500 })).await;
    let id = scenario.train().await;
    cancel_at(&scenario, TRAIN, &id, "extract_pages").await;
    record(&scenario, TRAIN, &id, "cancelled_with_own_export").await;
    scenario.clear_faults().await;

    scenario.consent(ConsentGrant { allow_training: false, ..ConsentGrant::ALL }).await;
    record(&scenario, TRAIN, &scenario.train_on(&dataset).await, "failed").await;
    scenario.end().await;

    // Far too few leads for a model that could be told from luck.
    let scenario = Scenario::onboarded(1200).await;
    let id = scenario.train().await;
    record(&scenario, TRAIN, &id, "failed_with_own_export").await;
    scenario.failed(&id, Code::GateRefused).await;
    scenario.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "writes tests/histories anew: make histories"]
async fn the_courses_of_a_promotion_and_of_a_prediction() {
    let mut scenario = Scenario::onboarded(6000).await;
    let trained = scenario.train().await;
    assert_eq!(scenario.ended(&trained).await.state, OperationState::Succeeded);
    let id =
        cancelled_before_its_first_step(&mut scenario, PROMOTE, async |scenario| scenario.promote(&trained.model()).await).await;
    record(&scenario, PROMOTE, &id, "cancelled").await;
    record(&scenario, PROMOTE, &scenario.promote(&trained.model()).await, "succeeded").await;
    let nobodys = OperationId::random();
    record(&scenario, PROMOTE, &scenario.promote(&nobodys.model()).await, "failed").await;

    let mut tx = scenario.store.tenant(&scenario.tenant).await.unwrap();
    let lead = records::list(&mut tx, "Lead", "", 1).await.unwrap().remove(0).record_id;
    drop(tx);
    record(&scenario, PREDICT, &scenario.predict(&lead, true).await, "succeeded").await;
    scenario.inject(&json!({ "kind": "service_unavailable", "match": { "path": "prediction-complete" } })).await;
    let id = scenario.predict(&lead, true).await;
    scenario.until(&id, "waited to call back", |operation| operation.code.is_some()).await;
    scenario.cancel(PREDICT, &id).await;
    record(&scenario, PREDICT, &id, "succeeded_after_late_cancel").await;
    scenario.clear_faults().await;
    let id = cancelled_before_its_first_step(&mut scenario, PREDICT, async |scenario| scenario.predict(&lead, true).await).await;
    record(&scenario, PREDICT, &id, "cancelled").await;
    scenario.consent(ConsentGrant { allow_write_back: false, ..ConsentGrant::ALL }).await;
    record(&scenario, PREDICT, &scenario.predict(&lead, true).await, "failed").await;
    scenario.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "writes tests/histories anew: make histories"]
async fn the_courses_of_a_drill() {
    let scenario = Scenario::onboarded(100).await;
    record(&scenario, DRILL, &scenario.drill(DrillWait::Nowhere).await, "succeeded").await;
    let courses = [
        (DrillWait::BeforePivot, Verb::Retry, "succeeded_after_retry"),
        (DrillWait::BeforePivot, Verb::Abandon, "failed_when_abandoned"),
        (DrillWait::AfterPivot, Verb::Retry, "succeeded_after_retry_past_the_pivot"),
        (DrillWait::AfterPivot, Verb::Skip, "succeeded_after_skip"),
        (DrillWait::Undo, Verb::Retry, "failed_after_retry_of_the_undo"),
        (DrillWait::Undo, Verb::Skip, "failed_after_skip_of_the_undo"),
    ];
    for (wait_at, verb, course) in courses {
        let id = scenario.drill(wait_at).await;
        scenario.parked(&id, Code::DrillWaits).await;
        scenario.decide(DRILL, &id, verb, json!({ "reason": "a history is recorded" })).await.unwrap();
        record(&scenario, DRILL, &id, course).await;
    }
    let id = scenario.drill(DrillWait::BeforePivot).await;
    scenario.parked(&id, Code::DrillWaits).await;
    scenario.cancel(DRILL, &id).await;
    record(&scenario, DRILL, &id, "cancelled").await;
    scenario.end().await;
}

/// Cancels a run as soon as it is at this step.
async fn cancel_at(scenario: &Scenario, kind: OperationKind, id: &OperationId, step: &str) {
    scenario.until(id, "reached its step", |operation| operation.step.as_deref() == Some(step)).await;
    scenario.cancel(kind, id).await;
}

/// Starts and cancels a run while no worker is there: sagas whose steps are too quick to be cancelled in mid-course.
async fn cancelled_before_its_first_step(
    scenario: &mut Scenario,
    kind: OperationKind,
    start: impl AsyncFnOnce(&Scenario) -> OperationId,
) -> OperationId {
    scenario.stop_worker().await;
    let id = start(scenario).await;
    scenario.cancel(kind, &id).await;
    scenario.start_worker();
    id
}

/// Waits for the run's end, which is the one that the scenario is named after, and writes its history down.
async fn record(scenario: &Scenario, kind: OperationKind, id: &OperationId, course: &str) {
    let ended = scenario.ended(id).await;
    let state = ended.state.as_str();
    assert!(course.starts_with(state), "{course} has {state}: {ended:?}");
    let (status, _) = scenario.status(kind, id).await;
    let statuses = BTreeSet::from(["Completed", "Failed", "Canceled"]);
    assert!(statuses.contains(status.as_str()), "{course} is {status}");
    let handle = scenario.temporal.get_workflow_handle::<UntypedWorkflow>(scenario.reference(kind, id).workflow_id());
    let events = handle.fetch_history(WorkflowFetchHistoryOptions::default()).try_collect().await.expect("the run has a history");
    let mut history = History { events };
    // A golden history outlives the keys of the suite that recorded it.
    let converter = data_converter(&scenario.keyring);
    decode_payloads(&mut history, converter.codec(), &SerializationContextData::None).await.expect("the keyring opens it");
    golden::write(kind, course, history);
}
