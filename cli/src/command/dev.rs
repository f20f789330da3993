//! `leadline dev`: the whole stack on this machine until Ctrl-C.

use std::{io::Write as _, path::Path};

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use tokio_util::sync::CancellationToken;

use super::Context;
use crate::{
    dev::{
        ports::WhenTaken,
        stack::{Stack, StackArgs},
        state::{DEFAULT_NAME, DevFile, StateDir},
    },
    error::Result,
    output, shutdown,
};

/// Run everything on this machine: Temporal, PostgreSQL, S3, a Salesforce simulator, API and worker
///
/// State lies under .leadline/ (--state-dir), logs under .leadline/logs/. Every part is restarted when it dies. Ctrl-C,
/// SIGTERM or SIGHUP stops all of them in order; a SIGKILL of this process stops them too.
#[derive(Debug, Args)]
pub struct Dev {
    #[command(flatten)]
    stack: StackArgs,
}

impl Dev {
    pub async fn run(self, context: &Context) -> Result<()> {
        let stop = shutdown::token()?;
        let state = StateDir::create(context.target.state_dir.as_deref().unwrap_or(Path::new(DEFAULT_NAME)))?;
        let logs = state.join("logs");
        let Some(stack) = start(&self.stack, state, WhenTaken::Refuse, &stop).await? else { return Ok(()) };
        if context.output.json {
            output::json(&serde_json::to_value(&stack.file).expect("dev.json is a plain structure"));
        } else {
            print_urls(&stack.file, &logs);
            println!("\nCtrl-C stops everything.");
        }
        stop.cancelled().await;
        // After a hang-up there is nobody to tell, and that must not keep the parts from being stopped.
        let _ = writeln!(std::io::stderr(), "stopping");
        stack.stop().await;
        Ok(())
    }
}

/// Starts a stack, saying what it waits for.
pub async fn start(args: &StackArgs, state: StateDir, when_taken: WhenTaken, stop: &CancellationToken) -> Result<Option<Stack>> {
    let bar = ProgressBar::new_spinner();
    bar.set_style(ProgressStyle::with_template("{spinner} starting {msg} {elapsed}").expect("the template is a literal"));
    bar.enable_steady_tick(std::time::Duration::from_millis(120));
    let started = Stack::start(args, state, when_taken, stop, |part| bar.set_message(part.to_owned())).await;
    bar.finish_and_clear();
    started
}

/// The one table of URLs.
pub fn print_urls(file: &DevFile, logs: &Path) {
    let mut table = output::table(["part", "where"]);
    for (part, place) in [
        ("API (REST and gRPC)", file.api_url.to_string()),
        ("OpenAPI document", format!("{}openapi.json", file.api_url)),
        ("Temporal UI", file.temporal_ui_url.to_string()),
        ("Temporal (gRPC)", file.temporal_address.clone()),
        ("Salesforce simulator", format!("{}__simulator/", file.simulator.http)),
        ("  over HTTPS", file.simulator.https.to_string()),
        ("  HTTP CONNECT proxy", file.simulator.proxy.to_string()),
        ("S3", file.object_store.endpoint.to_string()),
        ("PostgreSQL", without_password(file)),
        ("worker health, metrics", format!("{}health/ready", file.worker_url)),
        ("operator's API key", format!("in {}", file.operator_key_file.display())),
        ("logs", format!("{}/", logs.display())),
    ] {
        table.add_row([part.to_owned(), place]);
    }
    output::print(&table);
}

fn without_password(file: &DevFile) -> String {
    let mut url = file.database.owner.clone();
    // A URL without a host cannot have a password either.
    let _ = url.set_password(None);
    url.to_string()
}
