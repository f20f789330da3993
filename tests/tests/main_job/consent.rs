//! Consent is looked at again where it matters, not only where the request was accepted.

use leadline_tests::{api::Api, dev_stack::DevStack, org::Controls};
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn consent_withdrawn_between_export_and_training_ends_the_run_and_trains_nothing() {
    let stack = DevStack::start(&["--records", "2000"], &[]).await;
    let api = Api::operator(&stack);
    let tenant = api.onboard(&stack, "acme").await;

    let org = Controls::of(&stack);
    org.inject(&json!({ "kind": "slow_bulk_job", "delay_ms": 4000 })).await;
    let run = api.start(&format!("/v1/tenants/{tenant}/training-runs"), &json!({ "preset": "LEAD_CONVERSION" })).await;
    api.until(&run, "reached the extraction", |operation| operation["step"] == "extract_pages").await;
    api.post(&format!("/v1/tenants/{tenant}/consent"), &json!({ "allowTraining": false, "decidedBy": "the test suite" }))
        .await
        .expect(200);

    let ended = api.ended(&run).await;
    assert_eq!(ended["state"], "FAILED", "{ended}");
    assert_eq!(ended["error"]["code"], "CONSENT_WITHDRAWN", "{ended}");
    let runs = api.get(&format!("/v1/tenants/{tenant}/training-runs")).await.expect(200);
    assert_eq!(runs["trainingRuns"][0]["state"], "REJECTED", "{runs}");
    let refused = api.post(&format!("/v1/tenants/{tenant}/training-runs"), &json!({ "preset": "LEAD_CONVERSION" })).await;
    assert_eq!((refused.status.as_u16(), refused.code()), (403, "CONSENT_WITHDRAWN"));
    assert!(stack.objects(&tenant).await.iter().all(|key| !key.contains("artifacts")));
}
