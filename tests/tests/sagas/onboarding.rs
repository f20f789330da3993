//! A tenant is whole or not there.

use bytes::Bytes;
use leadline_domain::{Code, OperationKind, OperationState, Verb};
use leadline_lake::Prefix;
use leadline_secrets::Purpose;
use leadline_store::{sealed_secrets, tenants};
use leadline_tests::scenario::Scenario;
use serde_json::json;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_onboarded_tenant_has_its_org_its_key_and_its_place_in_the_lake() {
    let scenario = Scenario::new(500).await;
    let accepted = scenario.accept_onboarding("whole").await;
    let id = scenario.begin(accepted.clone()).await;
    let ended = scenario.ended(&id).await;
    assert_eq!(ended.state, OperationState::Succeeded, "{ended:?}");
    let mut tx = scenario.store.tenant(&scenario.tenant).await.unwrap();
    let tenant = tenants::active(&mut tx, &scenario.tenant).await.unwrap();
    assert_eq!(tenant.org_id.as_deref(), Some(scenario.simulator.connected_app.org_id.as_str()));
    assert_eq!(tenant.lake_prefix.as_deref(), Some(format!("{}/", scenario.tenant).as_str()));
    sealed_secrets::get(&mut tx, Purpose::TenantDataKey).await.unwrap();
    drop(tx);
    let (status, shown) = scenario.status(OperationKind::OnboardTenant, &id).await;
    assert_eq!((status.as_str(), shown), ("Completed", json!(["succeeded", null, scenario.tenant])));

    // Temporal may forget a run; the operation does not.
    scenario.begin(accepted).await;
    scenario.status(OperationKind::OnboardTenant, &id).await;
    let again = scenario.operation(&id).await;
    assert_eq!((again.ended_at, again.result), (ended.ended_at, ended.result));
    scenario.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_org_that_refuses_the_user_leaves_no_tenant() {
    let scenario = Scenario::new(500).await;
    scenario.inject(&json!({ "kind": "revoked_user" })).await;
    let id = scenario.onboard("refused").await;
    scenario.parked(&id, Code::SalesforceAuthRefused).await;
    let reason = json!({ "reason": "another key is needed" });
    scenario.decide(OperationKind::OnboardTenant, &id, Verb::Abandon, reason).await.unwrap();
    scenario.failed(&id, Code::OperationAbandoned).await;
    assert_no_tenant(&scenario).await;
    let (status, shown) = scenario.status(OperationKind::OnboardTenant, &id).await;
    assert_eq!((status.as_str(), shown), ("Failed", json!(["failed", "OPERATION_ABANDONED", scenario.tenant])));
    scenario.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_step_that_fails_late_takes_the_earlier_ones_with_it() {
    let scenario = Scenario::new(500).await;
    let marker = Prefix::tenant(&scenario.tenant).key("tenant.json").unwrap();
    scenario.ground.lake.put(&marker, Bytes::from_static(b"somebody else's")).await.unwrap();
    let id = scenario.onboard("late").await;
    scenario.failed(&id, Code::StorageConflict).await;
    assert_no_tenant(&scenario).await;
    scenario.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancel_while_the_org_is_slow_leaves_no_tenant() {
    let scenario = Scenario::new(500).await;
    scenario.inject(&json!({ "kind": "latency", "delay_ms": 1500, "match": { "path": "/describe" } })).await;
    let id = scenario.onboard("cancelled").await;
    scenario.until(&id, "reached its first step", |operation| operation.step.as_deref() == Some("verify_org")).await;
    scenario.cancel(OperationKind::OnboardTenant, &id).await;
    let ended = scenario.ended(&id).await;
    assert_eq!((ended.state, ended.code), (OperationState::Cancelled, Some(Code::Cancelled)), "{ended:?}");
    assert_no_tenant(&scenario).await;
    let (status, shown) = scenario.status(OperationKind::OnboardTenant, &id).await;
    assert_eq!((status.as_str(), shown), ("Canceled", json!(["cancelled", "CANCELLED", scenario.tenant])));
    scenario.end().await;
}

async fn assert_no_tenant(scenario: &Scenario) {
    let mut tx = scenario.store.tenant(&scenario.tenant).await.unwrap();
    let found = tenants::get(&mut tx, &scenario.tenant).await;
    assert_eq!(found.unwrap_err().code(), Some(Code::TenantNotFound));
    assert!(sealed_secrets::get(&mut tx, Purpose::SalesforcePrivateKey).await.is_err());
    assert!(sealed_secrets::get(&mut tx, Purpose::TenantDataKey).await.is_err());
    assert_eq!(scenario.objects().await, Vec::<String>::new());
}
