//! `leadline guard`: runs a program that knows nothing of its supervisor, and ends it when the supervisor is gone.
//!
//! Temporal's server does not watch its standard input, so nothing would stop it after a SIGKILL of `leadline dev`.

use std::{ffi::OsString, process::Stdio, time::Duration};

use clap::Args;
use nix::sys::signal::Signal;
use tokio::process::Command;

use crate::{
    dev::child::signal,
    error::{CliError, Result},
    shutdown,
};

/// Run a program until its supervisor stops
#[derive(Debug, Args)]
pub struct Guard {
    /// The program and its arguments
    #[arg(required = true, last = true, value_name = "PROGRAM")]
    program: Vec<OsString>,
}

const STOP_WITHIN: Duration = Duration::from_secs(5);

impl Guard {
    pub async fn run(self) -> Result<()> {
        let stop = shutdown::token()?;
        let [program, arguments @ ..] = self.program.as_slice() else { return Ok(()) };
        let name = program.to_string_lossy();
        let mut child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| CliError::environment(format!("cannot start {name}: {error}"), "check the path"))?;
        tokio::select! {
            status = child.wait() => match status {
                Ok(status) => Err(CliError::environment(format!("{name} ended ({status})"), "see the lines above")),
                Err(error) => Err(CliError::part("guard", &error)),
            },
            () = stop.cancelled() => {
                signal(&child, Signal::SIGTERM);
                if tokio::time::timeout(STOP_WITHIN, child.wait()).await.is_err() {
                    child.kill().await.map_err(|error| CliError::part("guard", &error))?;
                }
                Ok(())
            }
        }
    }
}
