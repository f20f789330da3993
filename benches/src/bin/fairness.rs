//! How long a tenant's single run takes beside another tenant's burst, and how long when the machine has nothing else to do.
//!
//! `cargo run --release --workspace --bin fairness [runs of the burst]`, with `LEADLINE_BIN` set. The runs are drills that do not
//! wait: seven light steps each, so that it is the queues that are measured.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use comfy_table::Table;
use futures::{StreamExt as _, stream};
use leadline_tests::{api::Api, dev_stack::DevStack, orgs::Org};
use serde_json::json;

const BURST: usize = 1_000;
const SINGLE_RUNS: usize = 7;
const STARTS_AT_ONCE: usize = 64;
const RECORDS: u64 = 100;
/// Of the single run, beside the burst and alone.
const LONGER_AT_MOST: f64 = 3.0;
const LOOK_AGAIN: Duration = Duration::from_millis(10);
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
    let started: Vec<String> =
        stream::iter(0..burst).map(|_| start(&api, &busy)).buffer_unordered(STARTS_AT_ONCE).collect().await;
    let beside = runs(&api, &quiet).await;
    let mut open = 0;
    for id in &started {
        let state = api.operation(id).await["state"].clone();
        open += usize::from(state != "SUCCEEDED");
    }
    ensure!(open > 0, "the burst was over before the single runs were: ask for more runs");

    let ratio = beside.as_secs_f64() / alone.as_secs_f64();
    let mut table = Table::new();
    table.set_header(["a tenant's single run", "median, ms"]);
    table.add_row(["alone".to_owned(), format!("{:.0}", alone.as_secs_f64() * 1e3)]);
    table.add_row([format!("beside {burst} runs of another tenant"), format!("{:.0}", beside.as_secs_f64() * 1e3)]);
    println!("{table}");
    println!("{ratio:.2} times as long; {open} runs of the burst were still open afterwards");
    ensure!(ratio <= LONGER_AT_MOST, "more than {LONGER_AT_MOST} times as long");
    Ok(())
}

/// The median of single runs, one after the other.
async fn runs(api: &Api, tenant: &str) -> Duration {
    let mut times = Vec::new();
    for _ in 0..SINGLE_RUNS {
        let took = single(api, tenant).await;
        eprintln!("  {} ms", took.as_millis());
        times.push(took);
    }
    times.sort();
    times[SINGLE_RUNS / 2]
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
