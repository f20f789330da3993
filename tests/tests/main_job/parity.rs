//! Training reads Parquet and serving reads PostgreSQL, and the same record scores the same on both paths.

use futures::StreamExt;
use leadline_lake::{Dataset, Prefix};
use leadline_learning::{Artifact, Record};
use leadline_tests::{api::Api, dev_stack::DevStack};
use serde_json::{Value as Json, json};

const RECORDS: usize = 1000;

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_records_score_the_same_from_the_data_set_and_from_current_state() {
    let stack = DevStack::start(&["--records", "12000"], &[]).await;
    let api = Api::operator(&stack);
    let tenant = api.onboard(&stack, "acme").await;
    let request = json!({ "preset": "LEAD_CONVERSION" });
    let trained = api.succeed(&format!("/v1/tenants/{tenant}/training-runs"), &request).await;
    let model = trained["result"]["model"].as_str().expect("the run names its model").to_owned();
    api.succeed(&format!("/v1/tenants/{tenant}/models/{model}:promote"), &json!({})).await;

    let artifact = artifact(&stack, &api, &tenant, &model).await;
    let dataset = trained["result"]["dataset"].as_str().expect("the run names its data set").parse().expect("an id");
    let dataset = Dataset::open(&stack.lake(), &tenant.parse().expect("an id"), &dataset).await.expect("a committed data set");
    let schema = dataset.manifest().schema.clone();
    let id = schema.position("Id").expect("every object has an id");
    let mut batches = dataset.rows(RECORDS);
    let rows = batches.next().await.expect("the data set has rows").expect("the data set can be read");

    let mut compared = 0;
    for row in rows.into_iter().take(RECORDS) {
        let leadline_domain::value::Value::Text(record_id) = row[id].clone() else { panic!("a record without an id") };
        let record: Record = schema.fields.iter().map(|field| field.name.clone()).zip(row).collect();
        let by_training = artifact.score(&record).expect("the record can be scored").probability;
        let answer = api.post(&format!("/v1/tenants/{tenant}/predict"), &json!({ "recordId": record_id })).await.expect(200);
        let by_serving = answer["probability"].as_f64().expect("a probability");
        assert_eq!(by_training.to_bits(), by_serving.to_bits(), "{record_id}: {by_training} against {by_serving}");
        compared += 1;
    }
    assert_eq!(compared, RECORDS);
}

async fn artifact(stack: &DevStack, api: &Api, tenant: &str, model: &str) -> Artifact {
    let registered: Json = api.get(&format!("/v1/tenants/{tenant}/models/{model}")).await.expect(200);
    let digest = registered["artifactDigest"].as_str().expect("a registered model has an artifact");
    let keys = stack.objects(tenant).await;
    let key = keys.iter().find(|key| key.contains(digest)).expect("the artifact lies in the lake under its digest");
    let key = Prefix::tenant(&tenant.parse().expect("an id")).parse(key).expect("a key of the tenant");
    let bytes = stack.lake().get(&key).await.expect("the artifact can be read");
    Artifact::from_bytes(&bytes).expect("the artifact is one")
}
