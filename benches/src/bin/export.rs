//! An export beside simple-salesforce's own download of the same rows, one after the other from the same simulated org.
//!
//! `make bench`, or with `LEADLINE_BIN` set: `cargo run --release -p leadline-benches --bin export [records of the org]`. Two of five
//! generated records are leads. leadline reads typed rows into Parquet in the object store and brings the current state in
//! PostgreSQL up to them; simple-salesforce writes the pages into files as they come. Both poll their job every 5 seconds.

use std::{
    fs,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use comfy_table::Table;
use leadline_tests::{api::Api, dev_stack::DevStack, org, tools};
use serde_json::{Value as Json, json};

const OBJECT: &str = "Lead";
const COLUMNS: usize = 20;
const PAGE_ROWS: u32 = 50_000;
const RECORDS: &str = "2500000";
const LOOK_AGAIN: Duration = Duration::from_millis(100);
const MEMORY_LIMIT_MB: u64 = 400;

/// What one side did.
struct Run {
    rows: u64,
    seconds: f64,
    peak_mb: u64,
}

#[tokio::main]
async fn main() -> Result<()> {
    let records = std::env::args().nth(1).unwrap_or_else(|| RECORDS.to_owned());
    let page_rows = PAGE_ROWS.to_string();
    eprintln!("starting a stack whose org has {records} records");
    let stack = DevStack::start(&["--records", &records], &[("LEADLINE_PAGE_ROWS", &page_rows)]).await;
    let fields = fields(&stack).await?;
    eprintln!("exporting {COLUMNS} columns of {OBJECT}");
    let (committed, applied) = export(&stack, &fields).await?;
    eprintln!("downloading the same by simple-salesforce");
    let peer = download(&stack, &fields)?;
    ensure!(peer.rows == committed.rows, "leadline has {} rows, simple-salesforce {}", committed.rows, peer.rows);

    let mut table = Table::new();
    table.set_header(["", "rows", "seconds", "rows/s", "peak memory, MB"]);
    for (name, run) in [
        ("leadline, to the committed data set", &committed),
        ("leadline, with current state", &applied),
        ("simple-salesforce, to files", &peer),
    ] {
        let speed = run.rows as f64 / run.seconds;
        table.add_row([
            name.to_owned(),
            run.rows.to_string(),
            format!("{:.1}", run.seconds),
            format!("{speed:.0}"),
            run.peak_mb.to_string(),
        ]);
    }
    println!("{table}");
    if applied.peak_mb > MEMORY_LIMIT_MB {
        bail!("the worker used {} MB; at most {MEMORY_LIMIT_MB} MB are wanted", applied.peak_mb);
    }
    Ok(())
}

async fn fields(stack: &DevStack) -> Result<Vec<String>> {
    let described = org::client(stack).await.describe(OBJECT).await?;
    let (schema, _) = described.to_schema();
    let needed = ["Id", "SystemModstamp"];
    let others = schema.fields.into_iter().map(|field| field.name).filter(|name| !needed.contains(&name.as_str()));
    let fields: Vec<String> = needed.into_iter().map(str::to_owned).chain(others).take(COLUMNS).collect();
    ensure!(fields.len() == COLUMNS, "{OBJECT} has {} fields that can be exported", fields.len());
    Ok(fields)
}

/// The run up to the committed manifest, and up to its end.
async fn export(stack: &DevStack, fields: &[String]) -> Result<(Run, Run)> {
    let api = Api::operator(stack);
    let tenant = api.onboard(stack, "bench").await;
    let worker = stack.process_of("worker").context("no worker runs")?;
    let begun = Instant::now();
    let id = api.start(&format!("/v1/tenants/{tenant}/exports"), &json!({ "object": OBJECT, "fields": fields })).await;
    let mut committed = None;
    loop {
        let operation = api.operation(&id).await;
        if committed.is_none() && after_manifest(&operation) {
            committed = Some(begun.elapsed());
        }
        match operation["state"].as_str() {
            Some("SUCCEEDED") => {
                let rows = operation["result"]["rows"].as_u64().context("the result has no row count")?;
                let run = |took: Duration| -> Result<Run> {
                    Ok(Run { rows, seconds: took.as_secs_f64(), peak_mb: peak_mb(worker.as_raw())? })
                };
                let whole = begun.elapsed();
                return Ok((run(committed.unwrap_or(whole))?, run(whole)?));
            }
            Some("FAILED" | "CANCELLED") => bail!("the export ended with {operation}"),
            _ => tokio::time::sleep(LOOK_AGAIN).await,
        }
    }
}

fn after_manifest(operation: &Json) -> bool {
    let steps = ["reserve_api_budget", "start_bulk_job", "extract_pages", "commit_manifest", "begin_operation"];
    operation["step"].as_str().is_some_and(|step| !step.is_empty() && !steps.contains(&step))
}

fn peak_mb(process: i32) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("the kernel names no peak")?;
    let kib: u64 = line.trim().trim_end_matches(" kB").trim().parse()?;
    Ok(kib / 1024)
}

fn download(stack: &DevStack, fields: &[String]) -> Result<Run> {
    let simulator = |name: &str| stack.endpoint(&format!("/simulator/{name}"));
    let into = stack.state_dir().join("downloaded");
    fs::create_dir(&into)?;
    let setting = json!({
        "stateDir": simulator("state_dir"), "object": OBJECT, "fields": fields, "pageRows": PAGE_ROWS, "into": into,
    });
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/bin/export_download.py");
    let output = Command::new(tools::client("python/bin/python"))
        .arg(script)
        .arg(setting.to_string())
        .env("REQUESTS_CA_BUNDLE", Path::new(&simulator("state_dir")).join("sim-ca.pem"))
        .env("HTTPS_PROXY", simulator("proxy"))
        .env_remove("NO_PROXY")
        .env_remove("no_proxy")
        .output()
        .context("start Python")?;
    ensure!(output.status.success(), "simple-salesforce: {}", String::from_utf8_lossy(&output.stderr));
    let told: Json = serde_json::from_slice(&output.stdout)?;
    let number = |name: &str| told[name].as_f64().with_context(|| format!("simple-salesforce told no {name}"));
    Ok(Run { rows: number("rows")? as u64, seconds: number("seconds")?, peak_mb: (number("peak")? / (1024.0 * 1024.0)) as u64 })
}
