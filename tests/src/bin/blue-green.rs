//! Deploys a build with another saga under load, and checks that no run gets from one build to the other; see
//! [`leadline_tests::blue_green`]. Ends with 1 when something does not hold.

use std::{process::ExitCode, time::Duration};

use clap::{Parser, Subcommand};
use leadline_tests::blue_green::{Plan, changed, run};

/// Put a build with another saga into production while sagas are started, and check that each run ends on the build that it began on
#[derive(Debug, Parser)]
#[command(name = "blue-green")]
struct Arguments {
    /// Starts a second
    #[arg(long, default_value_t = Plan::default().rate, value_parser = clap::value_parser!(u32).range(1..))]
    rate: u32,
    /// How long
    #[arg(long, default_value_t = Plan::default().load.as_secs())]
    seconds: u64,
    /// Drills that wait for an operator across the switch
    #[arg(long, default_value_t = Plan::default().waiting)]
    waiting: usize,
    /// Give the workers no build, to see the check fail
    #[arg(long)]
    unpinned: bool,
    #[command(subcommand)]
    part: Option<Part>,
}

#[derive(Debug, Subcommand)]
enum Part {
    /// A worker of the build that is deployed
    #[command(hide = true)]
    ChangedWorker,
}

#[tokio::main]
async fn main() -> ExitCode {
    let Arguments { rate, seconds, waiting, unpinned, part } = Arguments::parse();
    if let Some(Part::ChangedWorker) = part {
        changed::work().await;
        return ExitCode::SUCCESS;
    }
    let plan = Plan { rate, load: Duration::from_secs(seconds), waiting, pinned: !unpinned, ..Plan::default() };
    let report = run(plan, |line| eprintln!("blue-green: {line}")).await;
    print!("{report}");
    if report.violations.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
