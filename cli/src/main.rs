//! `leadline`: the one binary. Every verb is in `command`, the dev stack in `dev`, the show of it all in `demo`.

mod client;
mod command;
mod demo;
mod dev;
mod error;
mod follow;
mod output;
mod part_health;
mod settings;
mod shutdown;
mod telemetry;
mod temporal;

use std::{process::ExitCode, time::Duration};

use clap::Parser;
use tokio::runtime::Runtime;

use command::Cli;
use error::{CliError, Result};

/// A blocking call that is still under way must not hold up the end of the process for longer.
const LAST_CALLS: Duration = Duration::from_secs(2);

fn main() -> ExitCode {
    let cli = Cli::parse();
    if rustls::crypto::ring::default_provider().install_default().is_err() {
        unreachable!("nothing has chosen a TLS provider before main");
    }
    match run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("leadline: {error}");
            if let Some(code) = error.code() {
                eprintln!("what to do: leadline explain {code}");
            }
            error.exit_code()
        }
    }
}

/// Spans are sent by a thread of their own, from before the first to after the last asynchronous call.
fn run(cli: Cli) -> Result<()> {
    let traces = cli.start_telemetry()?;
    let runtime = Runtime::new()
        .map_err(|error| CliError::environment(format!("cannot start threads: {error}"), "raise the limit of processes"))?;
    let ended = runtime.block_on(cli.run());
    runtime.shutdown_timeout(LAST_CALLS);
    if let Some(traces) = traces {
        traces.stop();
    }
    ended
}
