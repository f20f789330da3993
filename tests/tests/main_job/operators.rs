//! What operators do to runs with Temporal's own tools: decide about a parked one, terminate, reset.

use leadline_tests::{
    api::Api,
    blue_green::processes::Worker,
    dev_stack::DevStack,
    org::{self, Controls},
};
use serde_json::{Value as Json, json};
use sqlx::{Connection as _, PgConnection};

const QUICK: [(&str, &str); 4] = [
    ("LEADLINE_PAGE_ROWS", "200"),
    ("LEADLINE_SWEEP_INTERVAL", "1"),
    ("LEADLINE_RECONCILE_AFTER", "1"),
    ("LEADLINE_STUCK_AFTER", "1"),
];

fn text<'a>(json: &'a Json, name: &str) -> &'a str {
    json[name].as_str().unwrap_or_else(|| panic!("{json} has no {name}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_parked_export_is_mended_from_temporals_own_update_form_and_a_terminated_one_is_unwound() {
    let stack = DevStack::start(&["--records", "6000"], &QUICK).await;
    let api = Api::operator(&stack);
    let tenant = api.onboard(&stack, "acme").await;
    let before = stack.objects(&tenant).await;
    let controls = Controls::of(&stack);
    let exports = format!("/v1/tenants/{tenant}/exports");

    controls.inject(&json!({ "kind": "revoked_user" })).await;
    let export = api.start(&exports, &json!({ "object": "Lead" })).await;
    let parked = api.until(&export, "parked", |operation| operation["state"] == "PARKED").await;
    assert_eq!(parked["error"]["code"], "SALESFORCE_AUTH_REFUSED", "{parked}");
    let workflow = text(&parked, "workflowId");
    stack.until_listed("LeadlineState = 'parked' AND LeadlineReason = 'SALESFORCE_AUTH_REFUSED'", workflow);
    controls.clear().await;
    stack.temporal(&["workflow", "update", "execute", "--workflow-id", workflow, "--name", "retry", "--input", "{}"]);
    let ended = api.ended(&export).await;
    assert_eq!(ended["state"], "SUCCEEDED", "{ended}");

    a_decision_that_the_run_refuses_is_withdrawn(&stack, &api, &tenant).await;

    let with_one = stack.objects(&tenant).await;
    assert!(with_one.len() > before.len());
    controls.inject(&json!({ "kind": "latency", "delay_ms": 300, "match": { "path": "/results" }, "count": null })).await;
    let export = api.start(&exports, &json!({ "object": "Lead" })).await;
    let running = api.until(&export, "committed a page", |operation| {
        let progress = &operation["progress"];
        operation["step"] == "extract_pages"
            && progress["unit"] == "rows"
            && progress["done"].as_str().is_some_and(|rows| rows != "0")
    });
    let running = running.await;
    stack.temporal(&["workflow", "terminate", "--workflow-id", text(&running, "workflowId"), "--reason", "the test"]);
    let ended = api.ended(&export).await;
    assert_eq!((text(&ended, "state"), &ended["error"]["code"]), ("FAILED", &json!("OPERATION_TERMINATED")), "{ended}");
    assert_eq!(stack.objects(&tenant).await, with_one, "nothing of the terminated export is left");
    let org = org::client(&stack).await;
    let jobs = org.list_query_jobs().await.expect("the org lists its jobs");
    assert_eq!(jobs, Vec::new(), "nor its job");
}

/// The row speaks of another parking than the run, as it does for a moment when the run has parked anew.
async fn a_decision_that_the_run_refuses_is_withdrawn(stack: &DevStack, api: &Api, tenant: &str) {
    let drill = api.start(&format!("/v1/tenants/{tenant}/drills"), &json!({})).await;
    api.until(&drill, "parked", |operation| operation["state"] == "PARKED").await;
    let mut owner = PgConnection::connect(&stack.endpoint("/database/owner")).await.expect("the database lets its owner in");
    let other = sqlx::query("UPDATE operations SET park = park + $2 WHERE operation_id = $1").bind(&drill);
    other.bind(1_i64).execute(&mut owner).await.unwrap();
    api.post(&format!("/v1/operations/{drill}:retry"), &json!({})).await.expect(202);
    let refused = async || {
        let audit = api.get(&format!("/v1/operations/{drill}/audit")).await.expect(200);
        audit.to_string().contains("operation.decision_refused")
    };
    while !refused().await {
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    let parked = api.operation(&drill).await;
    assert_eq!((&parked["state"], &parked["parking"]["decided"]), (&json!("PARKED"), &json!("OPERATION_VERB_UNSPECIFIED")));
    let back = sqlx::query("UPDATE operations SET park = park - $2 WHERE operation_id = $1").bind(&drill);
    back.bind(1_i64).execute(&mut owner).await.unwrap();
    api.post(&format!("/v1/operations/{drill}:retry"), &json!({})).await.expect(202);
    assert_eq!(api.ended(&drill).await["state"], "SUCCEEDED");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_training_run_that_is_reset_makes_the_same_model_once_and_takes_nothing_back() {
    let stack = DevStack::start(&["--records", "6000"], &QUICK).await;
    let api = Api::operator(&stack);
    let tenant = api.onboard(&stack, "acme").await;
    let runs = format!("/v1/tenants/{tenant}/training-runs");
    let trained = api.succeed(&runs, &json!({ "preset": "LEAD_CONVERSION" })).await;
    let (workflow, whole) = (text(&trained, "workflowId"), text(&trained, "runId"));
    let digest = trained["result"]["artifact_digest"].clone();
    let model = text(&trained["result"], "model").to_owned();
    let objects = stack.objects(&tenant).await;
    let org = org::client(&stack).await;
    let calls = async || org.limits().await.unwrap().daily_api_requests().unwrap().remaining;
    let left = calls().await;

    // Ended: to its first workflow task, and to one in the middle.
    let tasks = stack.workflow_tasks(workflow);
    for task in [tasks[0], tasks[tasks.len() / 2]] {
        stack.reset(workflow, whole, task);
        stack.until_listed(&format!("WorkflowId = '{workflow}' AND ExecutionStatus = 'Completed'"), workflow);
        let again = api.operation(text(&trained, "operationId")).await;
        assert_eq!(again, trained, "a run that ended stays as it ended");
    }
    assert_eq!(stack.objects(&tenant).await, objects, "one artifact, one data set");
    // Each look at the limits is a call itself.
    assert_eq!(left - calls().await, 1, "no call to the org is repeated");

    // Ended, its model in production, and reset and cancelled before it comes to its pivot again: the ledger has the pivot, so that the
    // cancel is late, and nothing is taken back.
    api.succeed(&format!("/v1/tenants/{tenant}/models/{model}:promote"), &json!({})).await;
    stack.pause("worker");
    // So early that the cancel comes before the pivot: at the pivot itself the ledger would say that it has happened.
    stack.reset(workflow, whole, tasks[2]);
    stack.temporal(&["workflow", "cancel", "--workflow-id", workflow]);
    stack.resume("worker");
    stack.until_latest_run(workflow, "WORKFLOW_EXECUTION_STATUS_COMPLETED");
    let shown = api.get(&format!("/v1/tenants/{tenant}/models/{model}")).await.expect(200);
    assert_eq!(shown["state"], "PRODUCTION", "{shown}");
    assert_eq!(stack.objects(&tenant).await, objects);

    // Running: from its first workflow task on.
    let run = api.start(&runs, &json!({ "preset": "LEAD_CONVERSION", "datasetId": trained["result"]["dataset"] })).await;
    let running = api.until(&run, "was fitting", |operation| operation["step"] == "fit_model").await;
    let workflow = text(&running, "workflowId");
    stack.reset(workflow, text(&running, "runId"), stack.workflow_tasks(workflow)[0]);
    let ended = api.ended(&run).await;
    assert_eq!((text(&ended, "state"), &ended["result"]["artifact_digest"]), ("SUCCEEDED", &digest), "{ended}");
    assert_ne!(ended["runId"], running["runId"], "the row follows the run that carries it on");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_a_worker_cannot_replay_is_shown_as_stuck_with_event_and_reason_and_ends_on_one_that_can() {
    let stack = DevStack::start(&["--records", "1000"], &QUICK).await;
    let api = Api::operator(&stack);
    let tenant = api.onboard(&stack, "acme").await;
    let drill = api.start(&format!("/v1/tenants/{tenant}/drills"), &json!({})).await;
    api.until(&drill, "parked", |operation| operation["state"] == "PARKED").await;
    stack.take_down("worker");
    let changed = Worker::of_changed(&stack, None);
    api.post(&format!("/v1/operations/{drill}:retry"), &json!({})).await.expect(202);
    let stuck = api.until(&drill, "stuck at an event", |operation| operation["stuck"]["eventId"].is_string()).await;
    let why = text(&stuck["stuck"], "message");
    assert!(why.contains("TMPRL1100") && why.contains("rehearse_drill"), "{stuck}");

    drop(changed);
    stack.bring_back();
    let ended = api.ended(&drill).await;
    assert_eq!((&ended["state"], &ended["stuck"]), (&json!("SUCCEEDED"), &Json::Null), "{ended}");
}
