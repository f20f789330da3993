//! From an org that leadline has never seen to a score in one of its records.

use leadline_tests::{
    api::Api,
    dev_stack::DevStack,
    org::{self, Controls},
};
use serde_json::{Value as Json, json};

#[tokio::test(flavor = "multi_thread")]
async fn an_org_is_connected_exported_learnt_from_and_gets_a_score_with_reasons_written_back() {
    let stack = DevStack::start(&["--records", "12000"], &[]).await;
    let api = Api::operator(&stack);
    let org = org::client(&stack).await;

    let tenant = api.onboard(&stack, "acme").await;
    let status = api.get(&format!("/v1/tenants/{tenant}/status")).await.expect(200);
    assert_eq!(status["state"], "ACTIVE");
    assert_eq!(status["orgId"], org.org_id().to_string());
    let again = api.post("/v1/tenants", &org::connection(&stack, "acme")).await;
    assert_eq!((again.status.as_u16(), again.code()), (409, "TENANT_EXISTS"));

    let exported = api.succeed(&format!("/v1/tenants/{tenant}/exports"), &json!({ "object": "Lead" })).await;
    let dataset = text(&exported["result"], "dataset");
    let export = api.get(&format!("/v1/tenants/{tenant}/exports/{dataset}")).await.expect(200);
    assert_eq!(export["committed"], true);
    let leads = org.count("SELECT COUNT() FROM Lead").await.expect("the org counts its records");
    assert_eq!(export["rowCount"], leads.to_string());

    let trained = api
        .succeed(&format!("/v1/tenants/{tenant}/training-runs"), &json!({ "preset": "LEAD_CONVERSION", "datasetId": dataset }))
        .await;
    let model_id = text(&trained["result"], "model");
    let model = api.get(&format!("/v1/tenants/{tenant}/models/{model_id}")).await.expect(200);
    assert_eq!(model["state"], "STAGED");
    let gates = model["gates"].as_array().expect("gates are listed");
    assert!(!gates.is_empty() && gates.iter().all(|gate| gate["passed"] == true), "{gates:?}");

    let promote = format!("/v1/tenants/{tenant}/models/{model_id}:promote");
    api.succeed(&promote, &json!({ "reason": "the suite says so" })).await;
    let refused = api.post(&promote, &json!({})).await;
    assert_eq!((refused.status.as_u16(), refused.code()), (409, "MODEL_STATE_FORBIDS"));

    let record = org::open_lead(&org).await;
    let now = api.post(&format!("/v1/tenants/{tenant}/predict"), &json!({ "recordId": record })).await.expect(200);
    let probability = now["probability"].as_f64().expect("a probability");
    assert!((0.0..=1.0).contains(&probability));
    assert_eq!(now["modelId"], model_id.as_str());
    assert!(!now["reasons"].as_array().expect("reasons").is_empty());

    let request = json!({ "requestId": "first", "recordId": record });
    api.succeed(&format!("/v1/tenants/{tenant}/predict:async"), &request).await;
    let kept = api.get(&format!("/v1/predictions/first?tenantId={tenant}")).await.expect(200);
    assert_eq!(kept["state"], "COMPLETED");
    assert_eq!(kept["prediction"]["probability"], now["probability"]);
    let fields = ["Id", "Leadline_Score__c", "Leadline_Reasons__c", "Leadline_Model__c"];
    let written = org.retrieve("Lead", &record, &fields).await.expect("the org shows the record");
    assert_eq!(written.fields["Leadline_Score__c"].as_f64(), now["score"].as_f64());
    assert_eq!(written.fields["Leadline_Model__c"], model_id.as_str());
    assert!(written.fields["Leadline_Reasons__c"].as_str().is_some_and(|reasons| !reasons.is_empty()));

    let callbacks = Controls::of(&stack).read("callbacks").await.to_string();
    assert!(callbacks.contains("prediction-complete") && callbacks.contains("model-ready"), "{callbacks}");
}

fn text(json: &Json, name: &str) -> String {
    json[name].as_str().unwrap_or_else(|| panic!("{json} has no {name}")).to_owned()
}
