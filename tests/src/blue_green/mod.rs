//! A deployment of other code under load, by the steps of docs/operations.md: workers of two builds beside each other, the switch in
//! mid-load, the old ones stopped once their runs have ended.
//!
//! The new build's drills leave a step out, so that a run that got from one build to the other would fail at once: that none does
//! is what is shown. Some drills wait for an operator across the switch.

pub mod changed;
pub mod processes;
mod report;

use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use leadline_worker::{
    DataConverter, WorkerConfig,
    replay::{self, RecordedRun},
};
use serde_json::{Value as Json, json};
use temporalio_client::Client;
use tokio::task::JoinSet;

use crate::{api::Api, dev_stack::DevStack, scenario::connection};
use processes::{Worker, verb};
pub use report::Report;

const BLUE: &str = "blue";
const GREEN: &str = "green";
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// How the deployment is tried.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// Starts a second.
    pub rate: u32,
    pub load: Duration,
    /// Drills that wait for an operator across the switch.
    pub waiting: usize,
    /// Without builds, any worker takes any run over: the check has to see what comes of it.
    pub pinned: bool,
    /// How long everything may take to end once nothing more is started.
    pub patience: Duration,
}

impl Default for Plan {
    fn default() -> Self {
        Self { rate: 10, load: Duration::from_secs(120), waiting: 10, pinned: true, patience: Duration::from_secs(180) }
    }
}

/// When the new build was put into production: runs that begin meanwhile may belong to either.
#[derive(Debug, Clone, Copy)]
pub struct Switch {
    pub began: DateTime<Utc>,
    pub ended: DateTime<Utc>,
}

/// # Panics
/// When the stack does not come up. What the deployment did wrong stands in the report.
pub async fn run(plan: Plan, say: impl Fn(&str)) -> Report {
    let stack = DevStack::start(&["--records", "10"], &[("LEADLINE_SWEEP_INTERVAL", "1")]).await;
    let api = Api::operator(&stack);
    let tenant = api.onboard(&stack, "acme").await;
    let drills = format!("/v1/tenants/{tenant}/drills");
    let build = |id: &'static str| plan.pinned.then_some(id);
    let mut report = Report::default();

    let blue = Worker::of_product(&stack, build(BLUE));
    if !promote(&stack, plan, BLUE, &mut report).await {
        return report.close(0, plan.pinned);
    }
    let mut waiting = Vec::new();
    for _ in 0..plan.waiting {
        waiting.push(api.start(&drills, &json!({ "waitAt": "BEFORE_PIVOT" })).await);
    }
    for id in &waiting {
        api.until(id, "parked", |operation| operation["state"] == "PARKED").await;
    }
    say(&format!("{} drills wait on {BLUE}; {} starts a second for {} s", waiting.len(), plan.rate, plan.load.as_secs()));

    let load = tokio::spawn(starts(api.clone(), drills, plan));
    tokio::time::sleep(plan.load / 2).await;
    let green = Worker::of_changed(&stack, build(GREEN));
    let began = Utc::now();
    if !promote(&stack, plan, GREEN, &mut report).await {
        // The runbook ends here: with the old worker gone, nobody would carry its runs on.
        return report.close(waiting.len(), plan.pinned);
    }
    let switch = Switch { began, ended: Utc::now() };
    say(&format!("{GREEN} takes new runs"));
    for id in &waiting {
        api.post(&format!("/v1/operations/{id}:retry"), &json!({ "reason": "the deployment" })).await.expect(202);
    }
    let drained = Instant::now();
    if plan.pinned {
        let said = verb(&stack, &["deployment", "wait-drained", BLUE, "--timeout", "300"]).await;
        report.expect(said.code == 0, || format!("{BLUE} does not drain: {said:?}"));
        report.drained_within = Some(drained.elapsed());
    }
    let status = tokio::task::spawn_blocking(move || blue.stop()).await.expect("a thread for it");
    report.expect(status.success(), || format!("the worker of {BLUE} ended with {status}"));
    say(&format!("the worker of {BLUE} has stopped"));

    let (started, refused) = load.await.expect("the load ends");
    report.violations.extend(refused);
    let operations = [started, waiting].concat();
    let ended = ended(&api, &operations, plan.patience).await;
    let client = client(&stack).await;
    for operation in &ended {
        let run = history(&client, operation).await;
        report.add(operation, run.as_ref(), plan.pinned.then_some(switch));
    }
    if plan.pinned {
        replay_both(&stack, &mut report).await;
    }
    drop(green);
    report.close(operations.len(), plan.pinned)
}

/// The verb that guards a deployment, on the runs of this one: those of the product's own build replay, those of the changed one do
/// not.
async fn replay_both(stack: &DevStack, report: &mut Report) {
    let query = |build: &str| format!("BuildIds = 'pinned:leadline:{build}' AND WorkflowType = 'run_drill'");
    let began = Instant::now();
    let own = verb(stack, &["replay", "--query", &query(BLUE)]).await;
    report.replayed = own.out.lines().last().map(str::to_owned);
    report.replayed_within = Some(began.elapsed());
    let all = own.out.starts_with(&format!("{} replayed, 0 failed", output_count(report.on(BLUE))));
    report.expect(own.code == 0 && all, || format!("the runs of {BLUE} do not all replay: {own:?}"));
    let other = verb(stack, &["replay", "--query", &query(GREEN), "--limit", "100"]).await;
    report.not_replayed = other.out.lines().next().map(str::to_owned);
    let named = other.out.lines().next().is_some_and(|line| line.starts_with("run_drill ") && line.contains(" at event "));
    report.expect(other.code == 8 && named, || format!("that the runs of {GREEN} do not replay is not said: {other:?}"));
}

/// A count as the verb writes it.
fn output_count(n: usize) -> String {
    if n < 1_000 { n.to_string() } else { format!("{},{:03}", n / 1_000, n % 1_000) }
}

/// Whether the build takes new runs now.
async fn promote(stack: &DevStack, plan: Plan, build_id: &str, report: &mut Report) -> bool {
    if !plan.pinned {
        return true;
    }
    let said = verb(stack, &["deployment", "promote", build_id, "--wait", "60"]).await;
    report.expect(said.code == 0, || format!("{build_id} is not promoted: {said:?}"));
    said.code == 0
}

/// Starts drills at the plan's pace, whether those before have been answered or not; answers the ids, and what was refused.
async fn starts(api: Api, drills: String, plan: Plan) -> (Vec<String>, Vec<String>) {
    let mut pace = tokio::time::interval(Duration::from_secs(1) / plan.rate);
    let mut answers = JoinSet::new();
    let began = Instant::now();
    while began.elapsed() < plan.load {
        pace.tick().await;
        let (api, drills) = (api.clone(), drills.clone());
        answers.spawn(async move { api.post(&drills, &json!({ "waitAt": "NOWHERE" })).await });
    }
    let (mut started, mut refused) = (Vec::new(), Vec::new());
    for answer in answers.join_all().await {
        match answer.body["operationId"].as_str() {
            Some(id) if answer.status == 202 => started.push(id.to_owned()),
            _ => refused.push(format!("a start was answered with {}: {}", answer.status, answer.body)),
        }
    }
    (started, refused)
}

/// The operations as they stand once all have ended, or nobody waits any longer.
async fn ended(api: &Api, operations: &[String], patience: Duration) -> Vec<Json> {
    let began = Instant::now();
    let mut seen = Vec::new();
    for id in operations {
        let mut operation = api.operation(id).await;
        while operation["endTime"].is_null() && began.elapsed() < patience {
            tokio::time::sleep(LOOK_AGAIN).await;
            operation = api.operation(id).await;
        }
        seen.push(operation);
    }
    seen
}

async fn client(stack: &DevStack) -> Client {
    let config = WorkerConfig::new(connection(&stack.endpoint("/temporal_address")), "default", DataConverter::default());
    leadline_worker::connect(&config).await.expect("the server answers")
}

async fn history(client: &Client, operation: &Json) -> Option<RecordedRun> {
    let workflow_id = operation["workflowId"].as_str()?;
    let run = replay::latest(client, workflow_id).await.expect("the server describes")?;
    replay::fetch(client, run).await.expect("the server has its history")
}
