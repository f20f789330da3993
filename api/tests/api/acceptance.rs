//! 202 needs neither a worker nor Temporal, and a repeated key is the same operation.

use futures::future::join_all;
use leadline_domain::{Code, ConsentGrant, OperationState};
use leadline_store::{
    consents,
    operations::{self, Closing},
};
use serde_json::json;

use crate::world::World;

#[tokio::test(flavor = "multi_thread")]
async fn ten_posts_at_once_with_one_key_are_one_operation() {
    let world = World::new().await;
    let (tenant, caller) = world.tenant("acme", Some(ConsentGrant::ALL)).await;
    let path = format!("/v1/tenants/{tenant}/exports");
    let body = json!({"object": "Lead"});
    let answers = join_all((0..10).map(|_| caller.post_once(&path, "order-7", &body))).await;
    let ids: Vec<_> = answers
        .into_iter()
        .map(|answer| {
            assert_eq!(answer.status, 202, "{answer:?}");
            let id = answer.body["operationId"].as_str().unwrap().to_owned();
            assert_eq!(answer.headers["location"], format!("/v1/operations/{id}"));
            assert_eq!(answer.body["state"], "ACCEPTED");
            id
        })
        .collect();
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    assert_eq!(world.count("SELECT count(*) FROM operations WHERE kind = 'export_dataset'").await, 1);
    assert_eq!(world.count("SELECT count(*) FROM datasets").await, 1);

    let reused = caller.post_once(&path, "order-7", &json!({"object": "Account"})).await;
    assert_eq!(reused.problem(), (422, "IDEMPOTENCY_KEY_REUSED"));
    let other = caller.post_once(&path, "order-8", &body).await.expect(202);
    assert_ne!(other["operationId"], ids[0].as_str());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_key_later_answers_with_the_ended_operation() {
    let world = World::new().await;
    let (tenant, caller) = world.tenant("acme", Some(ConsentGrant::ALL)).await;
    let path = format!("/v1/tenants/{tenant}/exports");
    let first = caller.post_once(&path, "order-7", &json!({"object": "Lead"})).await.expect(202);
    let id = first["operationId"].as_str().unwrap().parse().unwrap();

    let mut tx = world.store.tenant(&tenant).await.unwrap();
    let closing = Closing {
        state: OperationState::Failed,
        result: None,
        code: Some(Code::BulkJobFailed),
        message: Some("the org gave the job up".into()),
    };
    operations::close(&mut tx, &id, &closing).await.unwrap();
    // What has been withdrawn since does not change what the key stands for.
    consents::record(&mut tx, ConsentGrant::default(), "test", "").await.unwrap();
    tx.commit().await.unwrap();

    let again = caller.post_once(&path, "order-7", &json!({"fields": [], "object": "Lead"})).await.expect(202);
    assert_eq!(again["operationId"], first["operationId"]);
    assert_eq!((again["state"].as_str(), again["error"]["code"].as_str()), (Some("FAILED"), Some("BULK_JOB_FAILED")));
    assert!(again["endTime"].as_str().unwrap().ends_with('Z'), "{again}");
}

#[tokio::test(flavor = "multi_thread")]
async fn consent_is_asked_for_before_anything_is_accepted() {
    let world = World::new().await;
    let (tenant, caller) = world.tenant("acme", None).await;
    let exports = format!("/v1/tenants/{tenant}/exports");
    let body = json!({"object": "Lead"});
    assert_eq!(caller.post(&exports, &body).await.problem(), (403, "CONSENT_MISSING"));

    let consent = format!("/v1/tenants/{tenant}/consent");
    assert_eq!(caller.get(&consent).await.problem(), (404, "NOT_FOUND"));
    let given = json!({"allowExport": true, "decidedBy": "Kim Lee", "note": "contract 12"});
    let first = caller.post(&consent, &given).await.expect(200);
    assert_eq!((first["version"].as_str(), first["allowExport"].as_bool()), (Some("1"), Some(true)));
    assert!(first["recordedBy"].as_str().unwrap().ends_with(": Kim Lee"), "{first}");
    caller.post(&exports, &body).await.expect(202);
    let training = json!({"preset": "LEAD_CONVERSION"});
    assert_eq!(caller.post(&format!("/v1/tenants/{tenant}/training-runs"), &training).await.problem(), (403, "CONSENT_MISSING"));

    assert_eq!(caller.post(&consent, &json!({"note": "nothing"})).await.problem(), (400, "INVALID_ARGUMENT"));
    let stale = json!({"allowExport": false, "expectedVersion": "0"});
    assert_eq!(caller.post(&consent, &stale).await.problem(), (409, "CONSENT_CHANGED"));
    let withdrawn = json!({"allowExport": false, "expectedVersion": "1"});
    caller.post(&consent, &withdrawn).await.expect(200);
    assert_eq!(caller.post(&consent, &withdrawn).await.problem(), (409, "CONSENT_CHANGED"), "a repeated call changes nothing");
    assert_eq!(caller.post(&exports, &body).await.problem(), (403, "CONSENT_WITHDRAWN"));
    let earlier = caller.get(&format!("{consent}?version=1")).await.expect(200);
    assert_eq!(earlier["note"], "contract 12");
    assert_eq!(caller.get(&consent).await.expect(200)["version"], "2");
    assert_eq!(world.count("SELECT count(*) FROM operations WHERE kind = 'export_dataset'").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn connecting_an_org_is_for_operators_and_keeps_its_secrets_sealed() {
    let world = World::new().await;
    let (_, caller) = world.tenant("acme", None).await;
    let pem = "-----BEGIN PRIVATE KEY-----\nc2VjcmV0LW1hdGVyaWFs\n-----END PRIVATE KEY-----\n";
    let body = json!({
        "name": "globex", "displayName": "Globex",
        "salesforce": {"loginUrl": "http://127.0.0.1:1", "clientId": "3MVG9", "username": "u@example.org", "privateKeyPem": pem},
        "callbackKey": "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=",
    });
    assert_eq!(caller.post("/v1/tenants", &body).await.problem(), (403, "FORBIDDEN"));
    assert_eq!(caller.get("/v1/tenants").await.problem(), (403, "FORBIDDEN"));

    let operation = world.operator.post_once("/v1/tenants", "globex", &body).await.expect(202);
    let again = world.operator.post_once("/v1/tenants", "globex", &body).await.expect(202);
    assert_eq!(operation["operationId"], again["operationId"]);
    assert_eq!(operation["kind"], "ONBOARD_TENANT");
    let tenant = operation["tenantId"].as_str().unwrap();
    let status = world.operator.get(&format!("/v1/tenants/{tenant}/status")).await.expect(200);
    assert_eq!((status["state"].as_str(), status["name"].as_str()), (Some("ONBOARDING"), Some("globex")));
    let leaked = "SELECT count(*) FROM secrets WHERE encode(sealed, 'escape') LIKE '%PRIVATE KEY%'";
    assert_eq!((world.count("SELECT count(*) FROM secrets").await, world.count(leaked).await), (2, 0));
    let leaked = "SELECT count(*) FROM operations WHERE params::text LIKE '%KEY%' OR params::text LIKE '%3MVG9%'";
    assert_eq!(world.count(leaked).await, 0);

    assert_eq!(world.operator.post("/v1/tenants", &body).await.problem(), (409, "TENANT_EXISTS"));
    let exports = format!("/v1/tenants/{tenant}/exports");
    assert_eq!(world.operator.post(&exports, &json!({"object": "Lead"})).await.problem(), (409, "TENANT_NOT_READY"));
    let found = world.operator.get("/v1/tenants?name=globex").await.expect(200);
    assert_eq!(found["tenants"][0]["tenantId"], tenant);
    assert_eq!(world.operator.get("/v1/tenants").await.expect(200)["tenants"].as_array().unwrap().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_is_written_down_while_temporal_is_away() {
    let world = World::new().await;
    let (tenant, caller) = world.tenant("acme", Some(ConsentGrant::ALL)).await;
    let export = caller.post(&format!("/v1/tenants/{tenant}/exports"), &json!({"object": "Lead"})).await.expect(202);
    let id = export["operationId"].as_str().unwrap();
    let path = format!("/v1/operations/{id}:cancel");
    let cancelled = caller.post(&path, &json!({"reason": "not needed"})).await.expect(202);
    assert!(cancelled["cancelRequestTime"].is_string(), "{cancelled}");
    let audit = caller.get(&format!("/v1/operations/{id}/audit")).await.expect(200);
    let entry = &audit["entries"][0];
    assert_eq!((&entry["action"], &entry["detail"]["reason"]), (&json!("operation.cancel"), &json!("not needed")), "{audit}");
    assert!(entry["actor"].as_str().is_some_and(|actor| actor.starts_with("lk_")), "{audit}");
    let running = caller.post(&format!("/v1/tenants/{tenant}/exports"), &json!({"object": "Account"})).await.expect(202);
    let running = running["operationId"].as_str().unwrap();
    let mut tx = world.store.tenant(&tenant).await.unwrap();
    operations::record_start(&mut tx, &running.parse().unwrap(), "a run").await.unwrap();
    tx.commit().await.unwrap();
    caller.post(&format!("/v1/operations/{running}:cancel"), &json!({})).await.expect(202);
    let waiting = "SELECT count(*) FROM operations WHERE cancel_requested_at IS NOT NULL AND cancel_delivered_at IS NULL";
    assert_eq!(world.count(waiting).await, 2, "the sweeper delivers both");

    let mut tx = world.store.tenant(&tenant).await.unwrap();
    let closing = Closing { state: OperationState::Cancelled, result: None, code: Some(Code::Cancelled), message: None };
    operations::close(&mut tx, &id.parse().unwrap(), &closing).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(caller.post(&path, &json!({})).await.problem(), (409, "OPERATION_ENDED"));
}
