//! Starts sagas of all kinds on a stack of its own while parts of it are killed at random, and checks what is left; see
//! [`leadline_tests::chaos`]. Ends with 1 when something does not hold.

use std::{process::ExitCode, time::Duration};

use clap::Parser;
use leadline_tests::chaos::{Plan, run};

/// Kill parts of a stack at random while sagas of all kinds run on it, and check that nothing is lost or done twice
#[derive(Debug, Parser)]
#[command(name = "chaos")]
struct Arguments {
    /// Sagas to start, with the tenants' onboardings and first models
    #[arg(long, default_value_t = Plan::default().sagas)]
    sagas: usize,
    /// Tenants, each with an org of its own
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u8).range(1..=32))]
    tenants: u8,
    /// What is started and killed, in which order and after which pauses
    #[arg(long, default_value_t = Plan::default().seed)]
    seed: u64,
    /// Sagas under way at a time
    #[arg(long, default_value_t = Plan::default().in_flight)]
    in_flight: usize,
    /// Seconds that a saga may take before it counts as lost
    #[arg(long, default_value_t = Plan::default().patience.as_secs())]
    patience: u64,
}

#[tokio::main]
async fn main() -> ExitCode {
    let Arguments { sagas, tenants, seed, in_flight, patience } = Arguments::parse();
    let plan =
        Plan { sagas, tenants: tenants.into(), seed, in_flight, patience: Duration::from_secs(patience), ..Plan::default() };
    let report = run(plan, |line| eprintln!("chaos: {line}")).await;
    print!("{report}");
    if report.violations.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
