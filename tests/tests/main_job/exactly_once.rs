//! One request, one operation: whatever is repeated, and whatever is down.

use futures::future::join_all;
use leadline_tests::{api::Api, dev_stack::DevStack, scenario::until};
use serde_json::json;
use sqlx::{Connection as _, PgConnection};

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

/// What Temporal keeps of a run ends with its retention; what a key means does not.
#[tokio::test(flavor = "multi_thread")]
async fn the_same_key_a_day_later_is_the_same_operation_without_a_run() {
    let stack = DevStack::start(&["--records", "2000"], &[]).await;
    let api = Api::operator(&stack);
    let tenant = api.onboard(&stack, "acme").await;
    let exports = format!("/v1/tenants/{tenant}/exports");
    let body = json!({ "object": "Lead" });
    let first = api.post_once(&exports, "yesterday's key", &body).await.expect(202);
    let id = first["operationId"].as_str().expect("an operation has an id");
    let ended = api.ended(id).await;
    assert_eq!(ended["state"], "SUCCEEDED", "{ended}");

    let mut owner = PgConnection::connect(&stack.endpoint("/database/owner")).await.expect("the database lets its owner in");
    for age in [
        "UPDATE operations SET created_at = created_at - interval '25 hours', started_at = started_at - interval '25 hours',
         ended_at = ended_at - interval '25 hours' WHERE operation_id = $1",
        "UPDATE idempotency_keys SET created_at = created_at - interval '25 hours' WHERE operation_id = $1",
    ] {
        let aged = sqlx::query(age).bind(id).execute(&mut owner).await.expect("the owner changes times");
        assert_eq!(aged.rows_affected(), 1, "{age}");
    }
    let workflow = ended["workflowId"].as_str().expect("a workflow id");
    stack.temporal(&["workflow", "delete", "--workflow-id", workflow]);
    let query = format!("WorkflowId = '{workflow}'");
    let is_unknown = || stack.temporal(&["workflow", "count", "--query", &query]).contains("Total: 0");
    until("Temporal deletes the run", async || is_unknown()).await;

    let repeated = api.post_once(&exports, "yesterday's key", &body).await.expect(202);
    assert_eq!((repeated["operationId"].as_str(), &repeated["state"]), (Some(id), &json!("SUCCEEDED")), "{repeated}");
    let other = api.post_once(&exports, "yesterday's key", &json!({ "object": "Account" })).await;
    assert_eq!((other.status.as_u16(), other.code()), (422, "IDEMPOTENCY_KEY_REUSED"));
    assert!(is_unknown(), "no run was started anew");
    let listed = api.get(&format!("{exports}?pageSize=100")).await.expect(200);
    assert_eq!(listed["exports"].as_array().map(Vec::len), Some(1));
}
