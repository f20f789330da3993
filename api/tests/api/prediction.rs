//! Synchronous and asynchronous predictions with a model that was really trained, over records that really lie there.

use std::sync::LazyLock;

use bytes::Bytes;
use chrono::DateTime;
use futures::future::join_all;
use leadline_domain::{
    ConsentGrant, ModelId, ModelState, OperationId, TenantId,
    value::{Field, FieldType, ObjectSchema, Value},
};
use leadline_learning::{Artifact, Budget, FrameBuilder, PredictionDefinition, Record, TrainingOptions, silent, train};
use leadline_store::{
    consents,
    models::{self, NewModel, StagedArtifact},
    object_schemas,
    records::{self, RecordVersion},
};
use serde_json::{Value as Json, json};

use crate::world::{Caller, World};

const RECORD: &str = "00Q000000000007AAA";

fn schema() -> ObjectSchema {
    let field =
        |name: &str, label: &str, field_type| Field { name: name.into(), label: label.into(), field_type, nullable: true };
    ObjectSchema {
        object: "Lead".into(),
        fields: vec![
            field("Id", "Lead ID", FieldType::Reference),
            field("Rating", "Rating", FieldType::Picklist),
            field("NumberOfEmployees", "Employees", FieldType::Number),
            field("Description", "Description", FieldType::Text),
            field("IsConverted", "Converted", FieldType::Boolean),
        ],
    }
}

fn definition() -> PredictionDefinition {
    let mut definition = PredictionDefinition::lead_conversion();
    definition.excluded_fields = vec!["Description".into()];
    definition
}

/// Hot leads of large companies convert more often: a linear congruential generator draws 3,000 of them (Knuth's MMIX).
fn rows() -> Vec<[Value; 5]> {
    let mut state = 7_u64;
    let mut draw = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as f64 / f64::from(1_u32 << 31)
    };
    let row = |i: usize| {
        let (hot, employees) = (draw() < 0.5, (draw() * 500.0).round());
        let chance = if hot { 0.25 } else { 0.1 } + employees / 1000.0;
        let rating = if hot { "Hot" } else { "Cold" };
        let converted = draw() < chance;
        let text = |text: String| Value::Text(text);
        [text(format!("00Q{i:012}AAA")), text(rating.into()), Value::Number(employees), Value::Null, Value::Boolean(converted)]
    };
    (0..3_000).map(row).collect()
}

static MODEL: LazyLock<Artifact> = LazyLock::new(|| {
    let mut frame = FrameBuilder::new(&schema(), "Id").unwrap();
    rows().iter().for_each(|row| frame.push(row).unwrap());
    let options = TrainingOptions { budget: Budget { tree_rows: 3_000_000 }, ..Default::default() };
    train(&frame.finish().unwrap(), &definition(), &options, None, &silent).unwrap().artifact
});

/// Registers the model under a new id, with another threshold to tell it from others, and puts it into production.
async fn promote(world: &World, tenant: &TenantId, threshold: f64) -> ModelId {
    let artifact = Artifact { threshold, ..MODEL.clone() };
    let operation = OperationId::random();
    let id = operation.model();
    let bytes = Bytes::from(artifact.to_bytes());
    let stored = world.lake.put_artifact(tenant, &id, 1, "model.json", bytes).await.unwrap();
    let mut tx = world.store.tenant(tenant).await.unwrap();
    let new = NewModel {
        id: id.clone(),
        operation,
        definition_name: "lead_conversion".into(),
        object: "Lead".into(),
        definition: serde_json::to_value(definition()).unwrap(),
        training: json!({}),
        dataset: None,
        consent_version: 1,
    };
    models::create_draft(&mut tx, &new).await.unwrap();
    models::transition(&mut tx, &id, ModelState::Training).await.unwrap();
    let staged = StagedArtifact {
        schema_hash: artifact.schema_hash.clone(),
        artifact_key: stored.key,
        artifact_digest: stored.sha256,
        card_key: "card".into(),
        card: json!({}),
        gates: json!({"gates": [{"code": "enough_positives", "passed": true, "detail": "900"}]}),
    };
    models::stage_artifact(&mut tx, &id, &staged).await.unwrap();
    models::transition(&mut tx, &id, ModelState::Validated).await.unwrap();
    models::transition(&mut tx, &id, ModelState::Staged).await.unwrap();
    models::activate(&mut tx, &id).await.unwrap();
    tx.commit().await.unwrap();
    id
}

/// A tenant with one record in current state and a model in production.
async fn ready(world: &World) -> (TenantId, Caller, ModelId) {
    let (tenant, caller) = world.tenant("acme", Some(ConsentGrant::ALL)).await;
    let mut tx = world.store.tenant(&tenant).await.unwrap();
    let dataset = OperationId::random().dataset();
    object_schemas::upsert(&mut tx, &schema(), &dataset).await.unwrap();
    let version = RecordVersion {
        record_id: RECORD.into(),
        modified_at: DateTime::UNIX_EPOCH,
        fields: json!({"Id": RECORD, "Rating": "Hot", "NumberOfEmployees": 450.0, "Description": null, "IsConverted": false}),
    };
    records::upsert_batch(&mut tx, "Lead", &[version], &dataset).await.unwrap();
    tx.commit().await.unwrap();
    let model = promote(world, &tenant, 0.5).await;
    (tenant, caller, model)
}

fn score_of(values: &[(&str, Value)]) -> f64 {
    let record: Record = values.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
    MODEL.score(&record).unwrap().probability
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_has_the_models_own_score_with_reasons_wherever_the_values_come_from() {
    let world = World::new().await;
    let (tenant, caller, model) = ready(&world).await;
    let path = format!("/v1/tenants/{tenant}/predict");
    let hot_and_large = score_of(&[("Rating", Value::Text("Hot".into())), ("NumberOfEmployees", Value::Number(450.0))]);

    let by_record = caller.post(&path, &json!({"recordId": RECORD})).await.expect(200);
    assert_eq!(by_record["probability"], hot_and_large);
    assert_eq!(by_record["score"], (hot_and_large * 100.0).round() as i64);
    assert_eq!(by_record["modelId"], model.as_str());
    assert_eq!(
        (&by_record["answeredBy"], &by_record["definition"]),
        (&json!("MODEL_FROM_CURRENT_STATE"), &json!("lead_conversion"))
    );
    let reasons = by_record["reasons"].as_array().unwrap();
    let employees = reasons.iter().find(|r| r["field"] == "NumberOfEmployees").expect("the reason that the data was made with");
    assert_eq!((&employees["label"], &employees["value"]), (&json!("Employees"), &json!("450")));
    assert!(employees["contribution"].as_f64().unwrap() > 0.0, "{employees}");

    let fields = json!({"fields": {"Rating": "Hot", "NumberOfEmployees": 450}});
    let by_fields = caller.post(&path, &fields).await.expect(200);
    assert_eq!((&by_fields["probability"], &by_fields["answeredBy"]), (&by_record["probability"], &json!("MODEL_FROM_REQUEST")));
    let both = json!({"recordId": RECORD, "fields": {"NumberOfEmployees": 3}, "definition": "lead_conversion"});
    let both = caller.post(&path, &both).await.expect(200);
    let small = score_of(&[("Rating", Value::Text("Hot".into())), ("NumberOfEmployees", Value::Number(3.0))]);
    assert_eq!((&both["probability"], &both["answeredBy"]), (&json!(small), &json!("MODEL_FROM_BOTH")));
    assert!(small < hot_and_large);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_reason_not_to_answer_has_its_own_code() {
    let world = World::new().await;
    let (tenant, caller, _) = ready(&world).await;
    let path = format!("/v1/tenants/{tenant}/predict");
    let ask = |body: Json| {
        let (caller, path) = (caller.clone(), path.clone());
        async move {
            let answer = caller.post(&path, &body).await;
            let (status, code) = answer.problem();
            (status, code.to_owned())
        }
    };
    assert_eq!(ask(json!({"recordId": "00Q000000000999AAA"})).await, (404, "RECORD_NOT_FOUND".into()));
    assert_eq!(ask(json!({"fields": {"Rating": "Hot", "Colour": "red"}})).await, (422, "UNKNOWN_FIELD".into()));
    assert_eq!(ask(json!({"fields": {"NumberOfEmployees": "many"}})).await, (422, "FIELD_TYPE_MISMATCH".into()));
    assert_eq!(ask(json!({"fields": {"Rating": "Hot", "Description": 7}})).await, (422, "FIELD_TYPE_MISMATCH".into()));
    assert_eq!(ask(json!({"recordId": RECORD, "definition": "opportunity_win"})).await, (409, "NO_ACTIVE_MODEL".into()));
    assert_eq!(ask(json!({})).await, (400, "INVALID_ARGUMENT".into()));

    let mut tx = world.store.tenant(&tenant).await.unwrap();
    let withdrawn = ConsentGrant { allow_training: false, ..ConsentGrant::ALL };
    consents::record(&mut tx, withdrawn, "test", "").await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(ask(json!({"recordId": RECORD})).await, (403, "CONSENT_WITHDRAWN".into()));
    let asynchronous = caller.post(&format!("{path}:async"), &json!({"recordId": RECORD})).await;
    assert_eq!(asynchronous.problem(), (403, "CONSENT_WITHDRAWN"));
    let (other, without_model) = world.tenant("globex", Some(ConsentGrant::ALL)).await;
    let none = without_model.post(&format!("/v1/tenants/{other}/predict"), &json!({"recordId": RECORD})).await;
    assert_eq!(none.problem(), (409, "NO_ACTIVE_MODEL"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_promotion_is_seen_by_the_next_prediction() {
    let world = World::new().await;
    let (tenant, caller, first) = ready(&world).await;
    let path = format!("/v1/tenants/{tenant}/predict");
    let body = json!({"recordId": RECORD});
    let before = caller.post(&path, &body).await.expect(200);
    let second = promote(&world, &tenant, 0.01).await;
    let after = caller.post(&path, &body).await.expect(200);
    assert_eq!((&before["modelId"], &after["modelId"]), (&json!(first), &json!(second)));
    assert_eq!(after["positive"], true, "the new model's threshold counts: {after}");

    let status = caller.get(&format!("/v1/tenants/{tenant}/status")).await.expect(200);
    assert_eq!(status["activeModels"], json!([{"definition": "lead_conversion", "modelId": second}]));
    let listed = caller.get(&format!("/v1/tenants/{tenant}/models?state=ARCHIVED")).await.expect(200);
    assert_eq!(listed["models"][0]["modelId"], first.as_str());
    let model = caller.get(&format!("/v1/tenants/{tenant}/models/{second}")).await.expect(200);
    assert_eq!((&model["state"], &model["gates"][0]["code"]), (&json!("PRODUCTION"), &json!("enough_positives")));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_asynchronous_prediction_is_accepted_once_for_each_request_id() {
    let world = World::new().await;
    let (tenant, caller, _) = ready(&world).await;
    let path = format!("/v1/tenants/{tenant}/predict:async");
    let body = json!({"requestId": "lead:7", "recordId": RECORD, "fields": {"NumberOfEmployees": 12}});
    let answers = join_all((0..5).map(|_| caller.post(&path, &body))).await;
    let ids: Vec<_> = answers.into_iter().map(|answer| answer.expect(202)["operationId"].clone()).collect();
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    assert_eq!(world.count("SELECT count(*) FROM operations WHERE kind = 'predict_async'").await, 1);
    let held = "SELECT count(*) FROM operations WHERE params::text LIKE '%NumberOfEmployees%'";
    assert_eq!((world.count("SELECT count(*) FROM claims").await, world.count(held).await), (1, 0), "fields are claim-checked");

    let other = json!({"requestId": "lead:7", "recordId": RECORD});
    assert_eq!(caller.post(&path, &other).await.problem(), (409, "REQUEST_ID_TAKEN"));
    let read = caller.get("/v1/predictions/lead:7").await.expect(200);
    assert_eq!((&read["state"], &read["operationId"]), (&json!("PREDICTION_ACCEPTED"), &ids[0]));
    assert!(read["prediction"].is_null(), "{read}");
    assert_eq!(world.operator.get("/v1/predictions/lead:7").await.problem(), (400, "INVALID_ARGUMENT"));
    let by_operator = world.operator.get(&format!("/v1/predictions/lead%3A7?tenantId={tenant}")).await.expect(200);
    assert_eq!(by_operator["operationId"], ids[0]);
    assert_eq!(caller.get("/v1/predictions/lead:8").await.problem(), (404, "PREDICTION_NOT_FOUND"));
    assert_eq!(caller.post(&path, &json!({"requestId": "a/b", "recordId": RECORD})).await.problem(), (400, "INVALID_ARGUMENT"));

    let unnamed = json!({"recordId": RECORD});
    let first = caller.post_once(&path, "k", &unnamed).await.expect(202);
    let again = caller.post_once(&path, "k", &unnamed).await.expect(202);
    assert_eq!(first["operationId"], again["operationId"], "a made-up request id does not defeat the key");
}
