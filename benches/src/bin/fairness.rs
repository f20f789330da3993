//! How long a tenant's single run takes beside another tenant's burst, and how long when the machine has nothing else to do.
//!
//! `cargo run --release --workspace --bin fairness [runs of the burst]`, with `LEADLINE_BIN` set. The runs are drills that do not
//! wait: six light steps each, so that it is the queues that are measured.

use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use comfy_table::Table;
use futures::{StreamExt as _, stream};
use leadline_tests::{api::Api, dev_stack::DevStack, orgs::Org, scenario::until};
use serde_json::json;

const BURST: usize = 1_000;
const SINGLE_RUNS: usize = 7;
const STARTS_AT_ONCE: usize = 64;
const RECORDS: u64 = 100;
const WORKER: &str = "worker";
/// Of the single run, beside the burst and alone.
const LONGER_AT_MOST: f64 = 3.0;
const LOOK_AGAIN: Duration = Duration::from_millis(20);
const TOO_FEW: &str = "the burst was over before the single runs were: ask for more runs";
const RATES: [(&str, &str); 2] = [("LEADLINE_RATE_PER_SECOND", "5000"), ("LEADLINE_RATE_BURST", "5000")];

#[tokio::main]
async fn main() -> Result<()> {
    let burst = std::env::args().nth(1).map_or(Ok(BURST), |text| text.parse())?;
    let stack = DevStack::start(&["--records", &RECORDS.to_string()], &RATES).await;
    let api = Api::operator(&stack);
    let other = Org::start(RECORDS);
    other.ready().await;
    let busy = api.onboard(&stack, "busy").await;
    let quiet = api.succeed("/v1/tenants", &other.connection("quiet")).await;
    let quiet = quiet["tenantId"].as_str().unwrap_or_default().to_owned();

    single(&api, &quiet).await;
    let alone = runs(&api, &quiet).await;
    eprintln!("starting {burst} runs of another tenant");
    let arrived = start_all(&api, &busy, burst).await;
    let arriving = runs(&api, &quiet).await;
    ensure!(unfinished(&api, &arrived).await? > 0, TOO_FEW);
    for id in &arrived {
        let ended = api.ended(id).await;
        ensure!(ended["state"] == "SUCCEEDED", "a run of the burst has failed: {ended}");
    }
    eprintln!("starting {burst} more, which wait in the queue, since the worker was killed");
    stack.take_down(WORKER);
    let waiting = start_all(&api, &busy, burst).await;
    until("all of them get to Temporal", async || open_runs(&stack) >= burst).await;
    stack.bring_back();
    let queued = runs(&api, &quiet).await;
    let open = unfinished(&api, &waiting).await?;
    ensure!(open > 0, TOO_FEW);

    println!("{}", table(&alone, &arriving, &queued));
    println!("{burst} runs in each burst, {open} of the second still open afterwards");
    let ratio = arriving.ratio(&alone).max(queued.ratio(&alone));
    ensure!(ratio <= LONGER_AT_MOST, "more than {LONGER_AT_MOST} times as long");
    Ok(())
}

fn table(alone: &Times, arriving: &Times, queued: &Times) -> Table {
    let mut table = Table::new();
    table.set_header(["a tenant's single run", "median, ms", "longest, ms", "times as long"]);
    for (when, beside) in [
        ("alone", alone),
        ("while another tenant's burst arrives", arriving),
        ("when a worker comes back to all of a burst", queued),
    ] {
        let ms = |time: Duration| time.as_millis().to_string();
        table.add_row([when.to_owned(), ms(beside.median), ms(beside.longest), format!("{:.2}", beside.ratio(alone))]);
    }
    table
}

struct Times {
    median: Duration,
    longest: Duration,
}

impl Times {
    fn ratio(&self, alone: &Self) -> f64 {
        self.median.as_secs_f64() / alone.median.as_secs_f64()
    }
}

/// Of single runs, one after the other.
async fn runs(api: &Api, tenant: &str) -> Times {
    let mut times = Vec::new();
    for _ in 0..SINGLE_RUNS {
        let took = single(api, tenant).await;
        eprintln!("  {} ms", took.as_millis());
        times.push(took);
    }
    times.sort();
    Times { median: times[SINGLE_RUNS / 2], longest: times[SINGLE_RUNS - 1] }
}

async fn start_all(api: &Api, tenant: &str, burst: usize) -> Vec<String> {
    stream::iter(0..burst).map(|_| start(api, tenant)).buffer_unordered(STARTS_AT_ONCE).collect().await
}

/// How many of them go on. None fails.
async fn unfinished(api: &Api, operations: &[String]) -> Result<usize> {
    let mut asked = stream::iter(operations).map(|id| api.operation(id)).buffer_unordered(STARTS_AT_ONCE);
    let mut open = 0;
    while let Some(operation) = asked.next().await {
        match operation["state"].as_str() {
            Some("SUCCEEDED") => {}
            Some("ACCEPTED" | "RUNNING") => open += 1,
            _ => bail!("an operation of the burst does not go on by itself: {operation}"),
        }
    }
    Ok(open)
}

/// Runs that Temporal has been told of and that have not ended.
fn open_runs(stack: &DevStack) -> usize {
    let counted = stack.temporal(&["workflow", "count", "--query", "ExecutionStatus = 'Running'"]);
    counted.trim().strip_prefix("Total: ").and_then(|count| count.parse().ok()).expect("the server counts")
}

/// From the start to the end of one run.
async fn single(api: &Api, tenant: &str) -> Duration {
    let began = Instant::now();
    let id = start(api, tenant).await;
    while api.operation(&id).await["state"] != "SUCCEEDED" {
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    began.elapsed()
}

async fn start(api: &Api, tenant: &str) -> String {
    api.start(&format!("/v1/tenants/{tenant}/drills"), &json!({ "waitAt": "NOWHERE" })).await
}
