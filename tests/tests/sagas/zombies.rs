//! Two attempts at one step at a time: the server has given the first one up, and it goes on all the same.

use std::time::Duration;

use leadline_domain::{Code, OperationId, OperationKind, OperationState};
use leadline_store::ledger::{self, StepState};
use leadline_tests::scenario::{Scenario, until};
use serde_json::{Value as Json, json};

use crate::exporting::{assert_clean, assert_complete, lead_ids};

const STEP: &str = "start_bulk_job";
const WITHIN: Duration = Duration::from_secs(60);

/// One attempt may take 10 s: one that is held for longer has been given up before it goes on.
const PAST_ITS_TIMEOUT: u64 = 13_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_attempt_whose_step_another_finishes_meanwhile_answers_with_its_result() {
    let scenario = with_stubborn_attempts(1500).await;
    let org = scenario.org().await;
    let ids = lead_ids(&org).await;
    scenario.inject(&held("/describe", "GET", 1, PAST_ITS_TIMEOUT)).await;
    scenario.inject(&held("/describe", "GET", 2, 8_000)).await;
    let id = scenario.export("Lead").await;
    until("the first attempt finishes the step", async || state(&scenario, &id).await == Some(StepState::Done)).await;
    assert_eq!(scenario.operation(&id).await.step.as_deref(), Some(STEP), "the saga waits for the second attempt");
    let ended = scenario.ended(&id).await;
    assert_eq!(ended.state, OperationState::Succeeded, "{ended:?}");
    assert_complete(&scenario, &org, &id, &ids).await;
    scenario.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_that_is_created_after_the_undo_looked_for_it_is_removed_by_its_own_attempt() {
    let mut scenario = with_stubborn_attempts(1000).await;
    let org = scenario.org().await;
    scenario.inject(&held("/jobs/query", "POST", 1, PAST_ITS_TIMEOUT)).await;
    // Never fires: it counts the jobs that come into being.
    let creations = "entity_not_supported";
    scenario.inject(&json!({ "kind": creations, "nth": 1000 })).await;
    let id = scenario.export("Lead").await;
    until("the job is asked for", async || scenario.seen_by_fault("latency").await == 1).await;
    scenario.ground.end_fence(&id, STEP).await;
    scenario.cancel(OperationKind::ExportDataset, &id).await;
    let ended = scenario.ended(&id).await;
    assert_eq!((ended.state, ended.code), (OperationState::Cancelled, Some(Code::Cancelled)), "{ended:?}");
    until("the job comes into being", async || scenario.seen_by_fault(creations).await == 1).await;
    scenario.stop_worker().await;
    assert_clean(&scenario, &org, &id).await;
    assert_eq!(scenario.operation(&id).await, ended);
    scenario.end().await;
}

/// A scenario whose attempts are not dropped when the server gives them up.
async fn with_stubborn_attempts(records: u64) -> Scenario {
    let mut scenario = Scenario::onboarded(records).await;
    scenario.stop_worker().await;
    scenario.steps.cancel_grace = WITHIN;
    scenario.start_worker();
    scenario
}

/// The request of this number is held for so long before it takes effect.
fn held(path: &str, method: &str, nth: u32, delay_ms: u64) -> Json {
    json!({ "kind": "latency", "delay_ms": delay_ms, "match": { "path": path, "method": method }, "nth": nth })
}

async fn state(scenario: &Scenario, id: &OperationId) -> Option<StepState> {
    let mut tx = scenario.store.tenant(&scenario.tenant).await.unwrap();
    let steps = ledger::steps(&mut tx, id).await.unwrap();
    steps.iter().find(|row| row.step == STEP).map(|row| row.state)
}
