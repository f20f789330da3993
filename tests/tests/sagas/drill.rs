//! A drill waits for an operator where it was told to, and touches nothing but its own row.

use leadline_activities::faults::{Fault, FaultKind};
use leadline_domain::{Code, Failure, OperationKind, OperationState, Verb, operation::DrillWait};
use leadline_store::drills;
use leadline_tests::scenario::Scenario;
use serde_json::json;

const DRILL: OperationKind = OperationKind::RunDrill;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drill_waits_where_it_is_told_to_until_an_operator_has_decided() {
    let scenario = Scenario::onboarded(100).await;
    let drills = [
        (DrillWait::BeforePivot, "rehearse_drill", Verb::Abandon, OperationState::Failed),
        (DrillWait::AfterPivot, "debrief_drill", Verb::Skip, OperationState::Succeeded),
        (DrillWait::Undo, "prepare_drill", Verb::Retry, OperationState::Failed),
    ];
    for (wait_at, step, verb, end) in drills {
        let id = scenario.drill(wait_at).await;
        let parked = scenario.parked(&id, Code::DrillWaits).await;
        assert_eq!(parked.step.as_deref(), Some(step));
        assert!(parked.parking.unwrap().verbs.contains(&verb), "{wait_at:?}");
        scenario.decide(DRILL, &id, verb, json!({ "reason": "practice" })).await.unwrap();
        assert_eq!(scenario.ended(&id).await.state, end, "{wait_at:?}");
        let mut tx = scenario.store.tenant(&scenario.tenant).await.unwrap();
        assert_eq!(drills::exists(&mut tx, &id).await.unwrap(), end == OperationState::Succeeded, "{wait_at:?}");
    }
    scenario.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_attempt_that_the_server_repeats_is_not_taken_for_an_operators_answer() {
    let scenario = Scenario::onboarded(100).await;
    let kind = FaultKind::LoseAnswer(Failure::new(Code::DatabaseUnavailable, "a fault of the test"));
    // What the body says is lost with its answer: it is repeated, as after a crash.
    scenario.steps.faults.add(Fault { activity: "rehearse_drill".to_owned(), kind, times: 1 });
    let id = scenario.drill(DrillWait::BeforePivot).await;
    scenario.parked(&id, Code::DrillWaits).await;
    scenario.decide(DRILL, &id, Verb::Retry, json!({})).await.unwrap();
    assert_eq!(scenario.ended(&id).await.state, OperationState::Succeeded);
    scenario.end().await;
}
