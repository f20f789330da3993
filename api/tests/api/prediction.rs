//! Synchronous and asynchronous predictions with a model that was really trained, over records that really lie there.

use std::time::Duration;

use chrono::Utc;
use futures::future::join_all;
use leadline_domain::{ConsentGrant, OperationId, value::Value};
use leadline_learning::Record;
use leadline_store::{consents, object_schemas, records::Snapshot};
use serde_json::{Value as Json, json};

use crate::{
    model::{MODEL, RECORD, promote, ready, schema},
    world::World,
};

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
async fn a_field_that_the_org_has_lost_since_training_is_an_error_and_no_silent_null() {
    let world = World::new().await;
    let (tenant, caller, _) = ready(&world).await;
    let path = format!("/v1/tenants/{tenant}/predict");
    let exported = async |fields: &[&str]| {
        let mut now = schema();
        now.fields.retain(|field| fields.contains(&field.name.as_str()));
        let mut tx = world.store.tenant(&tenant).await.unwrap();
        let dataset = OperationId::random().dataset();
        let export = Snapshot { object: "Lead", dataset: &dataset, taken_at: Utc::now(), fields: None };
        assert!(object_schemas::register(&mut tx, &now, &export).await.unwrap());
        tx.commit().await.unwrap();
    };

    exported(&["Id", "Rating", "Description", "IsConverted"]).await;
    let refused = caller.post(&path, &json!({"recordId": RECORD})).await;
    assert_eq!(refused.problem(), (422, "SCHEMA_MISMATCH"));
    caller.post(&path, &json!({"fields": {"Rating": "Hot", "NumberOfEmployees": 450}})).await.expect(200);

    exported(&["Id", "Rating", "NumberOfEmployees"]).await;
    caller.post(&path, &json!({"recordId": RECORD})).await.expect(200);
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
async fn fields_that_were_never_scored_are_deleted_once_their_time_is_over() {
    let world = World::with(|config| {
        config.claim_lifetime = Duration::ZERO;
        config.sweep.interval = Duration::from_millis(20);
    })
    .await;
    let (tenant, caller, _) = ready(&world).await;
    let body = json!({"recordId": RECORD, "fields": {"NumberOfEmployees": 12}});
    caller.post(&format!("/v1/tenants/{tenant}/predict:async"), &body).await.expect(202);
    let deleted = async {
        while world.count("SELECT count(*) FROM claims").await > 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), deleted).await.expect("the sweep deletes the expired fields");
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
    assert_eq!((&read["state"], &read["operationId"]), (&json!("ACCEPTED"), &ids[0]));
    assert!(read["prediction"].is_null(), "{read}");
    assert_eq!(world.operator.get("/v1/predictions/lead:7").await.problem(), (400, "INVALID_ARGUMENT"));
    let by_operator = world.operator.get(&format!("/v1/predictions/lead%3A7?tenantId={tenant}")).await.expect(200);
    assert_eq!(by_operator["operationId"], ids[0]);
    assert_eq!(caller.get("/v1/predictions/lead:8").await.problem(), (404, "PREDICTION_NOT_FOUND"));
    assert_eq!(caller.post(&path, &json!({"requestId": "a/b", "recordId": RECORD})).await.problem(), (400, "INVALID_ARGUMENT"));
    assert_eq!(caller.post(&path, &json!({"requestId": "nobody"})).await.problem(), (400, "INVALID_ARGUMENT"));
    assert_eq!(caller.get("/v1/predictions/nobody").await.problem(), (404, "PREDICTION_NOT_FOUND"), "nothing was accepted");

    let unnamed = json!({"recordId": RECORD});
    let first = caller.post_once(&path, "k", &unnamed).await.expect(202);
    let again = caller.post_once(&path, "k", &unnamed).await.expect(202);
    assert_eq!(first["operationId"], again["operationId"], "a made-up request id does not defeat the key");
}
