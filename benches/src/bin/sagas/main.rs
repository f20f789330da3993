//! The saga core beside Temporal's Go SDK: throughput, latency, processor time and history of one saga of six activities.
//!
//! `make bench`, or `cargo run --release --workspace --bin sagas [-- --sagas N --in-flight N --rounds N --untuned]`. It starts its own Temporal server
//! (in memory) and its own PostgreSQL (without fsync), and for each contender in each round a worker process, which is alone then. The
//! contenders take turns, so that whatever else the machine does hits all of them.

mod contenders;
mod drive;
mod ground;
mod histories;
mod noops;
mod processes;
mod report;

use std::path::Path;

use anyhow::Result;
use clap::Parser;

use contenders::{Contender, RunningWorker, Tuning};
use drive::Driver;
use ground::Ground;
use histories::Recorded;
use processes::Cpu;
use report::Measured;

/// Sagas that a fresh worker runs before it is measured.
const WARM_UP: usize = 40;
/// Sagas that run one after the other, for their latency without a queue.
const ALONE: usize = 10;

#[derive(Parser)]
struct Args {
    /// Sagas of each contender in each round
    #[arg(long, default_value_t = 200)]
    sagas: usize,
    /// Sagas at a time
    #[arg(long, default_value_t = 50)]
    in_flight: usize,
    #[arg(long, default_value_t = 10)]
    rounds: usize,
    /// Run all workers with fixed numbers of pollers and slots
    #[arg(long)]
    untuned: bool,
    /// Run as one of the bench's own workers
    #[arg(long, hide = true)]
    worker: bool,
}

#[tokio::main]
async fn main() -> Result<()> {
    let args = Args::parse();
    if args.worker {
        return contenders::work().await;
    }
    leadline_salesforce::tls::install_default_provider();
    let ground = Ground::lay().await?;
    let go = contenders::build_go(ground.files.path())?;
    let driver = Driver::new(&ground).await?;
    let mut measured = Contender::ALL.map(Measured::of);
    for round in 0..args.rounds {
        for turn in 0..measured.len() {
            let one = &mut measured[(round + turn) % Contender::ALL.len()];
            eprintln!("round {} of {}: {}", round + 1, args.rounds, one.contender.name());
            take_turn(&ground, &driver, &go, &args, round, one).await?;
        }
    }
    report::print(&measured);
    Ok(())
}

async fn take_turn(ground: &Ground, driver: &Driver, go: &Path, args: &Args, round: usize, into: &mut Measured) -> Result<()> {
    let contender = into.contender;
    let queue = format!("{contender:?}-{round}-sagas");
    let tuning = if args.untuned { Tuning::Off } else { Tuning::On };
    let warm_up = driver.drills(contender, WARM_UP).await?;
    let together = driver.drills(contender, args.sagas).await?;
    let alone = driver.drills(contender, ALONE).await?;
    let worker = RunningWorker::start(ground, go, contender, tuning, &queue)?;
    driver.run(contender, &queue, &warm_up, args.in_flight).await?;

    let before = Cpu::of(worker.process(), ground.server, ground.postmaster)?;
    let driven = driver.run(contender, &queue, &together, args.in_flight).await?;
    into.cpu.add(Cpu::of(worker.process(), ground.server, ground.postmaster)?.since(before));
    into.add_together(driven);

    let driven = driver.run(contender, &queue, &alone, 1).await?;
    into.add_alone(driven);
    for operation in &alone {
        into.histories.push(Recorded::of(driver.client(contender), operation).await?);
    }
    Ok(())
}
