//! What a crash, a cancel and an attempt that wakes up too late leave behind: the same as if they had not happened.

use leadline_tests::{
    api::Api,
    dev_stack::DevStack,
    org::{self, Controls},
};
use serde_json::{Value as Json, json};

/// Small pages, so that a small org is exported in many.
const PAGE_ROWS: &str = "200";

#[tokio::test(flavor = "multi_thread")]
async fn an_export_whose_worker_is_killed_goes_on_after_its_last_committed_page() {
    let stack = DevStack::start(&["--records", "6000"], &[("LEADLINE_PAGE_ROWS", PAGE_ROWS)]).await;
    let api = Api::operator(&stack);
    let tenant = api.onboard(&stack, "acme").await;
    let controls = Controls::of(&stack);
    controls.inject(&json!({ "kind": "latency", "delay_ms": 300, "match": { "path": "/results" }, "count": null })).await;

    let export = api.start(&format!("/v1/tenants/{tenant}/exports"), &json!({ "object": "Lead" })).await;
    api.until(&export, "committed a few pages", |operation| rows_done(operation) >= 600).await;
    stack.kill("worker");
    let committed = rows_done(&api.operation(&export).await);

    let ended = api.ended(&export).await;
    assert_eq!(ended["state"], "SUCCEEDED", "{ended}");
    let org = org::client(&stack).await;
    let leads = org.count("SELECT COUNT() FROM Lead").await.expect("the org counts its records");
    assert_eq!(ended["result"]["rows"].as_f64(), Some(leads as f64));
    assert!(committed >= 600 && committed < i64::try_from(leads).expect("a count fits"), "killed in mid-export, at {committed}");

    let page_rows: u64 = PAGE_ROWS.parse().expect("a number");
    let needed = leads.div_ceil(page_rows);
    let read = controls.read("faults").await[0]["fired"].as_u64().expect("the delay counts the pages that it met");
    assert!(read <= needed + 1, "{read} pages were read where {needed} exist: only the page under way is read again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_from_temporal_in_mid_export_aborts_the_job_and_leaves_no_object() {
    let stack = DevStack::start(&["--records", "6000"], &[("LEADLINE_PAGE_ROWS", PAGE_ROWS)]).await;
    let api = Api::operator(&stack);
    let tenant = api.onboard(&stack, "acme").await;
    let before = stack.objects(&tenant).await;
    let controls = Controls::of(&stack);
    controls.inject(&json!({ "kind": "latency", "delay_ms": 300, "match": { "path": "/results" }, "count": null })).await;

    let export = api.start(&format!("/v1/tenants/{tenant}/exports"), &json!({ "object": "Lead" })).await;
    let running = api.until(&export, "committed a page", |operation| rows_done(operation) > 0).await;
    stack.temporal(&["workflow", "cancel", "--workflow-id", running["workflowId"].as_str().expect("a workflow id")]);

    let ended = api.ended(&export).await;
    assert_eq!(ended["state"], "CANCELLED", "{ended}");
    assert_eq!(stack.objects(&tenant).await, before);
    let org = org::client(&stack).await;
    let jobs = org.list_query_jobs().await.expect("the org lists its jobs");
    assert!(jobs.iter().all(|job| job.state.has_ended()), "{jobs:?}");
    let exports = api.get(&format!("/v1/tenants/{tenant}/exports")).await.expect(200);
    assert!(exports["exports"].as_array().is_none_or(Vec::is_empty), "{exports}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_training_run_whose_worker_is_killed_makes_one_artifact() {
    let stack = DevStack::start(&["--records", "20000"], &[]).await;
    let api = Api::operator(&stack);
    let tenant = api.onboard(&stack, "acme").await;
    let exported = api.succeed(&format!("/v1/tenants/{tenant}/exports"), &json!({ "object": "Lead" })).await;
    let request = json!({ "preset": "LEAD_CONVERSION", "datasetId": exported["result"]["dataset"] });
    let runs = format!("/v1/tenants/{tenant}/training-runs");

    let run = api.start(&runs, &request).await;
    api.until(&run, "was fitting", |operation| operation["step"] == "fit_model").await;
    stack.kill("worker");
    let killed = api.ended(&run).await;
    assert_eq!(killed["state"], "SUCCEEDED", "{killed}");
    let artifacts = stack.objects(&tenant).await.into_iter().filter(|key| key.contains("artifact")).count();

    let undisturbed = api.succeed(&runs, &request).await;
    assert_eq!(
        killed["result"]["artifact_digest"], undisturbed["result"]["artifact_digest"],
        "the same data makes the same model"
    );
    let of_both = stack.objects(&tenant).await.into_iter().filter(|key| key.contains("artifact")).count();
    assert_eq!(of_both, 2 * artifacts, "the killed run left nothing more than the other");
}

fn rows_done(operation: &Json) -> i64 {
    let done = &operation["progress"]["done"];
    done.as_str().and_then(|text| text.parse().ok()).or_else(|| done.as_i64()).unwrap_or(0)
}
