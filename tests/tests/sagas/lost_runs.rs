//! A run that takes the place of a lost one is younger than its operation, and must not stop before it has told what was done.

use std::time::Duration;

use leadline_activities::faults::{Fault, FaultKind};
use leadline_domain::{Code, OperationKind, OperationState};
use leadline_store::operations::{self, Operation};
use leadline_tests::scenario::Scenario;
use temporalio_client::WorkflowIdReusePolicy;

use crate::{
    exporting::{assert_complete, lead_ids},
    parking::refuse,
};

const EXPORT: OperationKind = OperationKind::ExportDataset;
const PATIENCE: Duration = Duration::from_secs(2);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_step_that_is_done_and_cannot_say_so_for_long_undoes_nothing() {
    let mut scenario = Scenario::onboarded(1500).await;
    let org = scenario.org().await;
    let ids = lead_ids(&org).await;
    scenario.stop_worker().await;
    (scenario.limits.light_attempt, scenario.limits.light_patience) = (PATIENCE, PATIENCE);
    scenario.start_worker();
    let hold = Fault { activity: "extract_pages".to_owned(), kind: FaultKind::Hold, times: 1 };
    scenario.steps.faults.set(vec![hold]);
    let accepted = scenario.accept_export("Lead").await;
    let id = scenario.begin(accepted.clone()).await;
    scenario.until(&id, "extracted", |operation| operation.step.as_deref() == Some("extract_pages")).await;

    scenario.terminate(EXPORT, &id).await;
    scenario.steps.faults.set(vec![refuse("reserve_api_budget", Code::DatabaseUnavailable, u32::MAX)]);
    let mut tx = scenario.store.tenant(&scenario.tenant).await.unwrap();
    operations::found_lost(&mut tx, &id).await.unwrap().expect("it has not ended");
    tx.commit().await.unwrap();
    scenario.start(&accepted, WorkflowIdReusePolicy::AllowDuplicate).await.expect("another run may follow");
    tokio::time::sleep(3 * PATIENCE).await;
    assert!(scenario.steps.faults.met() > 1, "it was tried");
    let waits = scenario.operation(&id).await;
    assert_eq!((waits.state, waits.code), (OperationState::Running, None), "{waits:?}");

    scenario.steps.faults.set(Vec::new());
    let ended = scenario.ended(&id).await;
    assert_eq!(ended.state, OperationState::Succeeded, "{ended:?}");
    assert_complete(&scenario, &org, &id, &ids).await;
    scenario.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_that_is_terminated_while_its_undo_waits_for_a_quota_ends_with_what_it_was_undone_for() {
    let scenario = Scenario::onboarded(1000).await;
    let faults = [("commit_manifest", Code::StorageConflict), ("abort_bulk_job", Code::SalesforceLimitExceeded)];
    scenario.steps.faults.set(faults.map(|(activity, code)| refuse(activity, code, 1)).into());
    let accepted = scenario.accept_export("Lead").await;
    let id = scenario.begin(accepted.clone()).await;
    let waits = |operation: &Operation| operation.message.as_ref().is_some_and(|said| said.contains("SALESFORCE_LIMIT_EXCEEDED"));
    let waiting = scenario.until(&id, "waits in its undo", waits).await;
    assert_eq!((waiting.state, waiting.code), (OperationState::Compensating, Some(Code::StorageConflict)), "{waiting:?}");

    scenario.terminate(EXPORT, &id).await;
    let mut tx = scenario.store.tenant(&scenario.tenant).await.unwrap();
    operations::found_terminated(&mut tx, &id, "terminated by the test").await.unwrap().expect("it has not ended");
    tx.commit().await.unwrap();
    scenario.start(&accepted, WorkflowIdReusePolicy::AllowDuplicate).await.expect("another run may follow");
    scenario.failed(&id, Code::StorageConflict).await;
    scenario.end().await;
}
