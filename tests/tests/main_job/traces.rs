//! What an operator sees from outside: one trace of a request and all that came of it, and what the worker counts.

use std::time::{Duration, Instant};

use leadline_tests::{
    api::Api,
    collector::{Collector, Span},
    dev_stack::DevStack,
    scenario::until,
    tools,
};
use serde_json::json;

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CALLER: &str = "00f067aa0ba902b7";
const SENT_WITHIN: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread")]
async fn one_trace_holds_the_callers_request_the_saga_and_every_step() {
    let collector = Collector::start().await;
    let settings =
        [("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url.as_str()), ("OTEL_BSP_SCHEDULE_DELAY", "200"), ("RUST_LOG", "error")];
    let stack = DevStack::start(&["--records", "2000"], &settings).await;
    let api = Api::operator(&stack);
    let tenant = api.onboard(&stack, "acme").await;

    let started = tools::http()
        .post(format!("{}/v1/tenants/{tenant}/exports", stack.endpoint("/api_url")))
        .bearer_auth(stack.operator_key())
        .header("traceparent", format!("00-{TRACE}-{CALLER}-01"))
        .json(&json!({ "object": "Lead" }))
        .send()
        .await
        .expect("the API answers");
    assert_eq!(started.status(), 202);
    let operation: serde_json::Value = started.json().await.expect("the answer is JSON");
    let ended = api.ended(operation["operationId"].as_str().expect("an id")).await;
    assert_eq!(ended["state"], "SUCCEEDED", "{ended}");

    let spans = until_sent(&collector, "export_dataset").await;
    let named = |name: &str| spans.iter().find(|span| span.name == name).unwrap_or_else(|| panic!("no {name} in {spans:#?}"));
    let (request, start, saga) = (named("StartExport"), named("start"), named("export_dataset"));
    assert_eq!((request.parent.as_str(), start.parent.as_str()), (CALLER, request.id.as_str()));
    assert_eq!(saga.parent, start.id);
    assert!(request.service.contains("leadline-api") && saga.service.contains("leadline-worker"), "{spans:#?}");
    let steps: Vec<&Span> = spans.iter().filter(|span| span.parent == saga.id).collect();
    for step in ["begin_operation", "reserve_api_budget", "start_bulk_job", "extract_pages", "commit_manifest", "close_operation"]
    {
        assert!(steps.iter().any(|span| span.name == step), "{step} is not below its saga: {spans:#?}");
    }
    assert!(steps.iter().all(|step| step.nanos <= saga.nanos), "{spans:#?}");

    let page = worker_metrics(&stack).await;
    for shown in [
        "leadline_step_attempts_total{step=\"extract_pages\",code=\"OK\"} 1",
        "leadline_step_duration_seconds_count{step=\"commit_manifest\"} 1",
        "temporal_worker_task_slots_available{",
        "temporal_request_latency_seconds_bucket{",
        "process_resident_memory_bytes ",
    ] {
        assert!(page.contains(shown), "{shown} is not on the page:\n{page}");
    }
}

/// Runs that wait to begin would otherwise take the slots of those that have begun, which wait in a queue that is not fair.
#[tokio::test(flavor = "multi_thread")]
async fn of_the_polls_for_workflow_tasks_one_in_five_is_for_runs_that_begin() {
    let stack = DevStack::start(&["--records", "10"], &[("LEADLINE_WORKFLOW_SLOTS", "50")]).await;
    until("two polls wait for runs that begin, and eight for others", async || {
        let page = worker_metrics(&stack).await;
        (open_polls(&page, "workflow_task"), open_polls(&page, "sticky_workflow_task")) == (Some(2), Some(8))
    })
    .await;
}

fn open_polls(page: &str, kind: &str) -> Option<u32> {
    let kind = format!("poller_type=\"{kind}\"");
    let polls = page.lines().filter(|line| line.starts_with("temporal_num_pollers{") && line.contains(&kind));
    polls.filter_map(|line| line.rsplit(' ').next()?.parse().ok()).max()
}

/// The trace's spans once the last of them has come in.
async fn until_sent(collector: &Collector, last: &str) -> Vec<Span> {
    let began = Instant::now();
    loop {
        let spans = collector.trace(TRACE);
        if spans.iter().any(|span| span.name == last) && spans.iter().any(|span| span.name == "close_operation") {
            return spans;
        }
        assert!(began.elapsed() < SENT_WITHIN, "no {last} within {SENT_WITHIN:?}: {spans:#?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn worker_metrics(stack: &DevStack) -> String {
    let page = tools::http().get(format!("{}/metrics", stack.endpoint("/worker_url"))).send().await.expect("the worker answers");
    page.text().await.expect("the page is text")
}
