//! Training runs and promotions, up to their acceptance.

use leadline_domain::{ConsentGrant, OperationId};
use leadline_store::datasets::{self, Manifest, NewDataset};
use serde_json::json;

use crate::world::World;

#[tokio::test(flavor = "multi_thread")]
async fn a_training_run_is_a_draft_that_cannot_be_promoted_yet() {
    let world = World::new().await;
    let (tenant, caller) = world.tenant("acme", Some(ConsentGrant::ALL)).await;
    let runs = format!("/v1/tenants/{tenant}/training-runs");
    let body = json!({"preset": "LEAD_CONVERSION", "definition": {"excludeFields": ["Secret__c"]}, "seed": "9"});
    let operation = caller.post(&runs, &body).await.expect(202);
    let listed = caller.get(&runs).await.expect(200);
    let run = &listed["trainingRuns"][0];
    assert_eq!(run["operationId"], operation["operationId"]);
    assert_eq!((&run["state"], &run["consentVersion"]), (&json!("DRAFT"), &json!("1")));
    assert_eq!(run["definition"]["excludeFields"], json!(["Secret__c"]));
    assert_eq!(run["definition"]["labelField"], "IsConverted");

    let model = run["modelId"].as_str().unwrap();
    assert_eq!(caller.get(&format!("{runs}/{model}")).await.expect(200), *run);
    let promotion = caller.post(&format!("/v1/tenants/{tenant}/models/{model}:promote"), &json!({})).await;
    assert_eq!(promotion.problem(), (409, "MODEL_STATE_FORBIDS"));
    let missing = OperationId::random().model();
    let promotion = caller.post(&format!("/v1/tenants/{tenant}/models/{missing}:promote"), &json!({})).await;
    assert_eq!(promotion.problem(), (404, "MODEL_NOT_FOUND"));
    assert_eq!(caller.get(&format!("{runs}/{missing}")).await.problem(), (404, "TRAINING_RUN_NOT_FOUND"));
    assert_eq!(world.count("SELECT count(*) FROM operations WHERE kind = 'promote_model'").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_named_data_set_must_be_complete_and_have_the_definitions_fields() {
    let world = World::new().await;
    let (tenant, caller) = world.tenant("acme", Some(ConsentGrant::ALL)).await;
    let runs = format!("/v1/tenants/{tenant}/training-runs");
    let operation = OperationId::random();
    let id = operation.dataset();
    let body = json!({"preset": "LEAD_CONVERSION", "datasetId": id});
    assert_eq!(caller.post(&runs, &body).await.problem(), (404, "DATASET_NOT_FOUND"));

    let mut tx = world.store.tenant(&tenant).await.unwrap();
    let new = NewDataset { id: id.clone(), operation, object: "Lead".into(), consent_version: 1 };
    datasets::begin(&mut tx, &new).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(caller.post(&runs, &body).await.problem(), (404, "DATASET_NOT_FOUND"), "it is still being staged");

    let mut tx = world.store.tenant(&tenant).await.unwrap();
    let manifest = Manifest {
        schema: serde_json::from_value(json!({"object": "Lead", "fields": [
            {"name": "Id", "label": "Id", "field_type": "reference", "nullable": false}]}))
        .unwrap(),
        content_address: "c".into(),
        row_count: 1,
        byte_count: 1,
        manifest_key: "k".into(),
    };
    datasets::commit(&mut tx, &id, &manifest).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(caller.post(&runs, &body).await.problem(), (422, "FIELD_NOT_FOUND"), "it has no label");
    let other = json!({"preset": "OPPORTUNITY_WIN", "datasetId": id});
    assert_eq!(caller.post(&runs, &other).await.problem(), (400, "INVALID_ARGUMENT"));
    let export = caller.get(&format!("/v1/tenants/{tenant}/exports/{id}")).await.expect(200);
    assert_eq!((&export["committed"], &export["rowCount"]), (&json!(true), &json!("1")));
    assert_eq!(world.count("SELECT count(*) FROM models").await, 0);
}
