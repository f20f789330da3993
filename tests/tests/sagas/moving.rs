//! A run ends on the build of the workers that it began on, unless an operator moves it while it waits.

use leadline_domain::{Code, OperationId, OperationKind, OperationState, Verb};
use leadline_store::{PageRequest, audit};
use leadline_tests::{scenario::Scenario, versions::BuildApi};
use leadline_worker::deployment::{self, OpenRuns, Stand};
use leadline_workflows::Limits;
use serde_json::{Value as Json, json};
use temporalio_sdk::{WorkerOptions, WorkflowRegistrationError};

use crate::{parking::refuse, replaying::UncheckedPromotion};

const EXPORT: OperationKind = OperationKind::ExportDataset;
const PROMOTE: OperationKind = OperationKind::PromoteModel;

/// A build whose promotions check nothing, and which knows no other saga.
fn unchecked(options: &mut WorkerOptions, _: Limits) -> Result<(), WorkflowRegistrationError> {
    options.register_workflow::<UncheckedPromotion>().map(drop)
}

async fn move_to(api: &BuildApi, id: &OperationId, build: &str) -> (u16, Json) {
    let answer =
        api.caller.post(&format!("/v1/operations/{id}:move"), &json!({ "buildId": build, "reason": "old workers go" })).await;
    (answer.status.as_u16(), answer.body)
}

async fn refused(api: &BuildApi, id: &OperationId, build: &str, code: &str) -> String {
    let (_, body) = move_to(api, id, build).await;
    assert_eq!(body["code"], code, "{body}");
    body["detail"].as_str().expect("a problem has its detail").to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_parked_run_is_moved_to_the_build_that_replays_it_and_ends_there() {
    let mut scenario = Scenario::onboarded(1000).await;
    scenario.stop_worker().await;
    let blue = scenario.start_build("blue", None).await;
    scenario.promote_build(&blue.version).await;
    scenario.steps.faults.add(refuse("commit_manifest", Code::StorageDenied, 1));
    let waiting = scenario.export("Lead").await;
    scenario.parked(&waiting, Code::StorageDenied).await;

    let green = scenario.start_build("green", None).await;
    scenario.promote_build(&green.version).await;
    let new = scenario.export("Lead").await;
    assert_eq!(scenario.ended(&new).await.state, OperationState::Succeeded);
    assert_eq!(scenario.builds_of(EXPORT, &new).await, ["green"], "a new run begins on the build that was promoted");
    let builds = deployment::builds(&scenario.temporal, green.version.deployment()).await.unwrap();
    let stands: Vec<_> = builds.iter().map(|build| (build.version.build_id(), build.stand)).collect();
    assert_eq!(stands, [("green", Stand::Current), ("blue", Stand::Draining)]);

    let api = scenario.start_api(Some(green.version.clone())).await;
    refused(&api, &OperationId::random(), "green", "OPERATION_NOT_FOUND").await;
    refused(&api, &new, "green", "OPERATION_ENDED").await;
    let other = refused(&api, &waiting, "blue", "BUILD_MISMATCH").await;
    assert!(other.contains("green") && other.contains("blue"), "{other}");
    refused(&api, &waiting, "", "INVALID_ARGUMENT").await;
    let of_none = scenario.start_api(None).await;
    refused(&of_none, &waiting, "green", "BUILD_MISMATCH").await;
    of_none.stop().await;
    assert_eq!(scenario.builds_of(EXPORT, &waiting).await, ["blue"], "what is refused changes nothing");

    // The workers that it began on are gone for good.
    let blue = blue.stop().await;
    let (status, moved) = move_to(&api, &waiting, "green").await;
    assert_eq!((status, &moved["state"]), (202, &json!("PARKED")), "it stays parked: {moved}");
    let run = scenario.run_of(EXPORT, &waiting).await;
    let (pinned, _) = deployment::pinned_to(&scenario.temporal, &run).await.unwrap();
    assert_eq!(pinned.as_ref(), Some(&green.version));
    scenario.decide(EXPORT, &waiting, Verb::Retry, json!({})).await.unwrap();
    assert_eq!(scenario.ended(&waiting).await.state, OperationState::Succeeded);
    assert_eq!(scenario.builds_of(EXPORT, &waiting).await, ["blue", "green"]);
    let mut tx = scenario.store.tenant(&scenario.tenant).await.unwrap();
    let entries = audit::list(&mut tx, Some(&waiting), &PageRequest::default()).await.unwrap().items;
    let entry = entries.iter().find(|entry| entry.action == "operation.move").expect("who moved it is written down");
    assert_eq!(
        (&entry.detail["from"], &entry.detail["to"], &entry.detail["reason"]),
        (&json!("blue"), &json!("green"), &json!("old workers go"))
    );
    drop(tx);
    let left = deployment::open_runs(&scenario.temporal, &blue).await.unwrap();
    assert_eq!(left, OpenRuns { all: 0, parked: 0 });
    api.stop().await;
    green.stop().await;
    scenario.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_that_does_not_replay_stays_where_it_is_and_so_does_one_without_workers_to_go_to() {
    let mut scenario = Scenario::onboarded(1).await;
    scenario.stop_worker().await;
    let changed = scenario.start_build("changed", Some(unchecked)).await;
    scenario.promote_build(&changed.version).await;
    scenario.steps.faults.add(refuse("activate_model", Code::StorageDenied, 1));
    let other = scenario.promote(&OperationId::random().model()).await;
    scenario.parked(&other, Code::StorageDenied).await;

    let today = scenario.start_build("today", None).await;
    let api = scenario.start_api(Some(today.version.clone())).await;
    let why = refused(&api, &other, "today", "REPLAY_FAILED").await;
    let workflow = scenario.reference(PROMOTE, &other).workflow_id();
    assert!(why.contains("promote_model") && why.contains(&workflow) && why.contains("at event "), "{why}");
    let run = scenario.run_of(PROMOTE, &other).await;
    let (pinned, _) = deployment::pinned_to(&scenario.temporal, &run).await.unwrap();
    assert_eq!(pinned.as_ref(), Some(&changed.version), "it stays where it is");

    // Today's own, parked before its pivot: it would replay on every later build of the same sagas.
    scenario.promote_build(&today.version).await;
    scenario.steps.faults.add(refuse("check_promotion", Code::StorageDenied, 1));
    let own = scenario.promote(&OperationId::random().model()).await;
    scenario.parked(&own, Code::StorageDenied).await;
    let unknown = scenario.start_api(Some(scenario.version("never-started"))).await;
    refused(&unknown, &own, "never-started", "BUILD_UNKNOWN").await;
    unknown.stop().await;
    let partial = scenario.version("partial");
    scenario.announce_build(&partial).await;
    let without = scenario.start_api(Some(partial)).await;
    refused(&without, &own, "partial", "BUILD_WITHOUT_WORKERS").await;
    without.stop().await;

    let moves =
        audit::list(&mut scenario.store.tenant(&scenario.tenant).await.unwrap(), Some(&own), &PageRequest::default()).await;
    assert!(moves.unwrap().items.iter().all(|entry| entry.action != "operation.move"), "nothing was moved");
    for (id, build) in [(&other, changed), (&own, today)] {
        scenario.cancel(PROMOTE, id).await;
        assert_eq!(scenario.ended(id).await.state, OperationState::Cancelled, "its own build still ends it");
        build.stop().await;
    }
    api.stop().await;
    scenario.end().await;
}
