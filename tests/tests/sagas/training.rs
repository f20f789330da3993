//! A training run makes one registered model, or none.

use leadline_domain::{Code, ConsentGrant, ModelState, OperationKind, OperationState, parking::Verb};
use leadline_store::{
    datasets::{self, DatasetState},
    models,
};
use leadline_tests::scenario::{Scenario, until};
use serde_json::json;

use crate::parking::refuse;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_without_a_data_set_exports_trains_and_shows_both_at_once() {
    let scenario = Scenario::onboarded(6000).await;
    let id = scenario.train().await;
    let ended = scenario.ended(&id).await;
    assert_eq!(ended.state, OperationState::Succeeded, "{ended:?}");
    let mut tx = scenario.store.tenant(&scenario.tenant).await.unwrap();
    let model = models::get(&mut tx, &id.model()).await.unwrap();
    assert_eq!((model.state, model.dataset.as_ref()), (ModelState::Staged, Some(&id.dataset())));
    assert!(model.artifact_digest.is_some() && model.card.is_some());
    assert_eq!(datasets::get(&mut tx, &id.dataset()).await.unwrap().state, DatasetState::Committed);
    drop(tx);

    let promotion = scenario.promote(&id.model()).await;
    let ended = scenario.ended(&promotion).await;
    assert_eq!(ended.state, OperationState::Succeeded, "{ended:?}");
    let callbacks = scenario.callbacks().await;
    assert!(callbacks.to_string().contains(id.model().as_str()), "{callbacks}");
    scenario.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reset_run_that_would_undo_a_model_in_production_parks_and_takes_nothing_back() {
    let kind = OperationKind::TrainModel;
    let scenario = Scenario::onboarded(6000).await;
    let id = scenario.train().await;
    let trained = scenario.ended(&id).await;
    let promotion = scenario.promote(&id.model()).await;
    assert_eq!(scenario.ended(&promotion).await.state, OperationState::Succeeded);
    let objects = scenario.objects().await;

    // Reset to where it has begun, the run is answered from the ledger up to the step before the pivot, which makes it give up.
    scenario.steps.faults.set(vec![refuse("evaluate_gates", Code::GateRefused, 1)]);
    let tasks = scenario.completed_tasks(kind, &id).await;
    scenario.reset(kind, &id, tasks[2]).await;
    let parked = json!(["parked", "PIVOT_PASSED"]);
    until("it parks", async || scenario.shown(kind, &id).await == parked).await;
    // Each of its undos parks: of fit_model, the manifest, the parts, the job, the budget and the acceptance.
    for undo in 1..=6 {
        let skip = async || scenario.decide(kind, &id, Verb::Skip, json!({ "reason": "the model is in use" })).await.is_ok();
        until(&format!("undo {undo} parks and is skipped"), skip).await;
    }
    assert_eq!(scenario.status(kind, &id).await.0, "Failed");

    let mut tx = scenario.store.tenant(&scenario.tenant).await.unwrap();
    assert_eq!(models::get(&mut tx, &id.model()).await.unwrap().state, ModelState::Production);
    drop(tx);
    assert_eq!(scenario.objects().await, objects);
    assert_eq!(scenario.operation(&id).await, trained, "the row of an operation that ended stays as it is");
    scenario.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn consent_that_is_withdrawn_during_the_export_trains_nothing_and_keeps_nothing() {
    let scenario = Scenario::onboarded(1500).await;
    let org = scenario.org().await;
    scenario.inject(&json!({ "kind": "slow_bulk_job", "delay_ms": 1500 })).await;
    let id = scenario.train().await;
    scenario.until(&id, "began to extract", |operation| operation.step.as_deref() == Some("extract_pages")).await;
    scenario.consent(ConsentGrant { allow_training: false, ..ConsentGrant::ALL }).await;
    scenario.failed(&id, Code::ConsentWithdrawn).await;
    let mut tx = scenario.store.tenant(&scenario.tenant).await.unwrap();
    let model = models::get(&mut tx, &id.model()).await.unwrap();
    assert_eq!((model.state, model.code), (ModelState::Rejected, Some(Code::ConsentWithdrawn)));
    assert!(datasets::find(&mut tx, &id.dataset()).await.unwrap().is_none());
    drop(tx);
    assert_eq!(scenario.objects().await, Vec::<String>::new());
    assert_eq!(org.list_query_jobs().await.unwrap(), Vec::new());
    scenario.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_model_that_its_gates_refuse_keeps_its_card_and_no_artifact() {
    // Far too few leads for a model that could be told from luck.
    let scenario = Scenario::onboarded(1200).await;
    let id = scenario.train().await;
    scenario.failed(&id, Code::GateRefused).await;
    let mut tx = scenario.store.tenant(&scenario.tenant).await.unwrap();
    let model = models::get(&mut tx, &id.model()).await.unwrap();
    assert_eq!((model.state, model.code), (ModelState::Rejected, Some(Code::GateRefused)));
    assert!(model.card.is_some() && model.gates.is_some() && model.artifact_key.is_none());
    drop(tx);
    assert_eq!(scenario.objects().await, Vec::<String>::new());
    scenario.end().await;
}
