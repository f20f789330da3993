//! One request, one operation: whatever is repeated, and whatever is down.

use futures::future::join_all;
use leadline_tests::{api::Api, dev_stack::DevStack};
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn ten_equal_posts_without_a_worker_are_one_operation_that_runs_once_a_worker_starts() {
    let stack = DevStack::start(&["--records", "2000"], &[]).await;
    let api = Api::operator(&stack);
    let tenant = api.onboard(&stack, "acme").await;
    let exports = format!("/v1/tenants/{tenant}/exports");

    stack.pause("worker");
    let body = json!({ "object": "Lead" });
    let answers = join_all((0..10).map(|_| api.post_once(&exports, "the-same-key", &body))).await;
    let ids: Vec<String> = answers
        .into_iter()
        .map(|answer| answer.expect(202)["operationId"].as_str().expect("an operation has an id").to_owned())
        .collect();
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");

    let other = api.post_once(&exports, "the-same-key", &json!({ "object": "Account" })).await;
    assert_eq!((other.status.as_u16(), other.code()), (422, "IDEMPOTENCY_KEY_REUSED"));
    assert_eq!(other.content_type, "application/problem+json");

    stack.resume("worker");
    let ended = api.ended(&ids[0]).await;
    assert_eq!(ended["state"], "SUCCEEDED", "{ended}");
    let repeated = api.post_once(&exports, "the-same-key", &body).await.expect(202);
    assert_eq!(repeated["operationId"], ids[0].as_str());
    assert_eq!(repeated["state"], "SUCCEEDED");
    let listed = api.get(&format!("{exports}?pageSize=100")).await.expect(200);
    assert_eq!(listed["exports"].as_array().map(Vec::len), Some(1));
}
