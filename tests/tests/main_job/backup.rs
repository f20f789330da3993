//! A machine is lost; what was acknowledged before its last backup is there on the next one, and goes on.

use leadline_tests::{
    api::Api,
    backup::Backup,
    dev_stack::DevStack,
    org::{self, Controls},
};
use serde_json::{Value as Json, json};

const QUICK: [(&str, &str); 3] =
    [("LEADLINE_PAGE_ROWS", "200"), ("LEADLINE_SWEEP_INTERVAL", "1"), ("LEADLINE_RECONCILE_AFTER", "1")];

#[tokio::test(flavor = "multi_thread")]
async fn every_operation_that_was_acknowledged_before_the_backup_is_found_again_and_ends() {
    let stack = DevStack::start(&["--records", "6000"], &QUICK).await;
    let api = Api::operator(&stack);
    let tenant = api.onboard(&stack, "acme").await;
    let below = |rest: &str| format!("/v1/tenants/{tenant}/{rest}");
    let trained = api.succeed(&below("training-runs"), &json!({ "preset": "LEAD_CONVERSION" })).await;
    let model = trained["result"]["model"].as_str().expect("a training run names its model").to_owned();
    let promoted = api.succeed(&below(&format!("models/{model}:promote")), &json!({})).await;

    let parked = api.start(&below("drills"), &json!({})).await;
    let waiting_run = api.until(&parked, "parked", |operation| operation["state"] == "PARKED").await;
    let controls = Controls::of(&stack);
    controls.inject(&json!({ "kind": "latency", "delay_ms": 400, "match": { "path": "/results" }, "count": null })).await;
    let read = |operation: &Json| operation["progress"]["done"].as_str().and_then(|rows| rows.parse::<u64>().ok());
    let mut exports = Vec::new();
    for _ in 0..2 {
        let export = api.start(&below("exports"), &json!({ "object": "Lead" })).await;
        api.until(&export, "read a page", |operation| operation["step"] == "extract_pages" && read(operation) > Some(0)).await;
        exports.push(export);
    }
    // Nobody is there to hear of these two.
    stack.take_down("worker");
    let waiting = api.start(&below("drills"), &json!({ "waitAt": "NOWHERE" })).await;
    let cancelled = exports.pop().expect("two were started");
    api.post(&format!("/v1/operations/{cancelled}:cancel"), &json!({})).await.expect(202);
    let half_way = exports.pop().expect("two were started");

    let backup = Backup::take(&stack);
    let open = api.operation(&half_way).await;
    assert_eq!((&open["state"], &open["step"]), (&json!("RUNNING"), &json!("extract_pages")), "{open}");
    let late = api.post_once(&below("drills"), "late", &json!({ "waitAt": "NOWHERE" })).await.expect(202);
    let lost = stack.lose().await;

    let stack = DevStack::start_in(backup.restore(&lost).await, &["--records", "6000"], &QUICK).await;
    drop(lost);
    let api = Api::operator(&stack);
    Controls::of(&stack).clear().await;
    for known in [&trained, &promoted] {
        let id = known["operationId"].as_str().expect("an operation has an id");
        assert_eq!(&api.operation(id).await, known, "what had ended stays as it ended");
    }
    let ended = api.ended(&half_way).await;
    assert_eq!(ended["state"], "SUCCEEDED", "{ended}");
    assert_eq!(api.ended(&waiting).await["state"], "SUCCEEDED");
    let undone = api.ended(&cancelled).await;
    assert_eq!(undone["state"], "CANCELLED", "a cancel that nobody had heard of: {undone}");
    let again = api.until(&parked, "parked in another run", |operation| {
        operation["state"] == "PARKED" && operation["runId"] != waiting_run["runId"]
    });
    again.await;
    let audit = api.get(&format!("/v1/operations/{parked}/audit")).await.expect(200);
    assert!(audit.to_string().contains("operation.found_lost"), "{audit}");
    api.post(&format!("/v1/operations/{parked}:retry"), &json!({})).await.expect(202);
    assert_eq!(api.ended(&parked).await["state"], "SUCCEEDED");

    let org = org::client(&stack).await;
    let leads = org.count("SELECT COUNT() FROM Lead").await.expect("the org counts its records");
    assert_eq!(ended["result"]["rows"].as_f64(), Some(leads as f64), "every row, over both machines");
    assert_eq!(org.list_query_jobs().await.expect("the org lists its jobs"), Vec::new());
    let record = org::open_lead(&org).await;
    let scored = api.post(&below("predict"), &json!({ "recordId": record })).await.expect(200);
    assert_eq!(scored["modelId"], json!(model), "{scored}");

    // Accepted after the backup: it is gone, and its caller, who has its key, can send it again.
    let late_id = late["operationId"].as_str().expect("an operation has an id");
    assert_eq!(api.get(&format!("/v1/operations/{late_id}")).await.code(), "OPERATION_NOT_FOUND");
    let sent_again = api.post_once(&below("drills"), "late", &json!({ "waitAt": "NOWHERE" })).await.expect(202);
    assert_eq!(api.ended(sent_again["operationId"].as_str().expect("an id")).await["state"], "SUCCEEDED");
}
