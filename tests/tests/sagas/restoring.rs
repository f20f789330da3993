//! What a restore of an older state has taken from PostgreSQL is written down again from what Temporal remembers.

use leadline_domain::{Code, OperationId, OperationState, operation::DrillWait};
use leadline_store::operations::Operation;
use leadline_tests::scenario::Scenario;
use serde_json::{Value as Json, json};
use sqlx::{Connection as _, PgConnection};

use crate::verbs::{Said, until_listed};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lost_operations_are_written_down_again_as_they_ended_or_as_lost() {
    let scenario = Scenario::onboarded(300).await;
    let exported = scenario.export("Lead").await;
    scenario.inject(&json!({ "kind": "failed_bulk_job" })).await;
    let failed = scenario.export("Lead").await;
    let waits = scenario.drill(DrillWait::BeforePivot).await;
    let (exported, failed) = (scenario.ended(&exported).await, scenario.ended(&failed).await);
    let parked = scenario.parked(&waits, Code::DrillWaits).await;
    // A run ends a moment after its operation.
    for ended in [&exported, &failed] {
        scenario.status(ended.kind, &ended.id).await;
    }
    let of_tenant = format!("LeadlineTenant = \"{}\"", scenario.tenant);
    until_listed(&scenario, &of_tenant, 4).await;
    until_listed(&scenario, &format!("{of_tenant} AND ExecutionStatus = 'Running'"), 1).await;
    lose(&scenario, &[&exported.id, &failed.id, &parked.id]).await;

    let found = restore(&scenario, &["--dry-run"]);
    assert_eq!(found["dryRun"], true, "{found}");
    assert!(has(&found["ended"], &exported.id) && has(&found["ended"], &failed.id) && has(&found["lost"], &waits), "{found}");
    let written = restore(&scenario, &[]);
    assert_eq!((&written["ended"], &written["lost"]), (&found["ended"], &found["lost"]), "the dry run wrote nothing");
    for before in [&exported, &failed] {
        assert_eq!(told(&scenario.operation(&before.id).await), told(before));
    }
    let lost = scenario.operation(&waits).await;
    assert_eq!((lost.state, lost.code), (OperationState::Failed, Some(Code::OperationLost)), "{lost:?}");
    assert_eq!(lost.params, parked.params);
    let again = restore(&scenario, &[]);
    assert_eq!((&again["ended"], &again["lost"]), (&json!([]), &json!([])), "nothing is written twice");
    scenario.end().await;
}

/// What a caller is told of an operation.
fn told(operation: &Operation) -> Json {
    json!([
        operation.tenant,
        operation.kind,
        operation.state,
        operation.params,
        operation.result,
        operation.code,
        operation.message,
        operation.workflow_id,
        operation.run_id,
    ])
}

fn has(list: &Json, id: &OperationId) -> bool {
    list.as_array().is_some_and(|list| list.iter().any(|listed| listed == id.as_str()))
}

async fn lose(scenario: &Scenario, ids: &[&OperationId]) {
    let mut owner = PgConnection::connect(&scenario.ground.owner_url).await.unwrap();
    for id in ids {
        let gone = sqlx::query("DELETE FROM operations WHERE operation_id = $1").bind(id.as_str()).execute(&mut owner).await;
        assert_eq!(gone.unwrap().rows_affected(), 1);
    }
}

fn restore(scenario: &Scenario, options: &[&str]) -> Json {
    let stores = &scenario.ground.store_config;
    let named = ["--database-tenant-url", &stores.tenant_url, "--database-operator-url", &stores.operator_url];
    let said = Said::by(scenario, &[&["restore-operations", "--json"], &named[..], options].concat());
    assert_eq!(said.code, 0, "{said:?}");
    serde_json::from_str(&said.out).unwrap_or_else(|_| panic!("a document: {said:?}"))
}
