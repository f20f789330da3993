//! `leadline demo`: the main job, end to end: connect an org, check consent, export, train, promote, predict, write back.

mod journal;
mod steps;

use std::path::Path;

use clap::Args;
use tokio_util::sync::CancellationToken;

use crate::{
    client::{Client, TargetArgs},
    command::{
        Context, dev,
        train::{DefinitionArgs, Preset},
    },
    dev::{
        parts::OrgData,
        ports::WhenTaken,
        stack::{Stack, StackArgs},
        state::{DEFAULT_NAME, DevFile, StateDir},
    },
    error::{CliError, Result},
    shutdown,
};

use journal::Journal;
use steps::Model;

/// Show the main job end to end, on the running dev stack or on one of its own
///
/// Without --load, the simulated org holds generated records and the demo learns which leads convert. With --load it learns from
/// your file; then say what is to be predicted with --object, --label and --positive. Such an org has a state directory of its own.
#[derive(Debug, Args)]
pub struct Demo {
    #[command(flatten)]
    stack: StackArgs,
    #[command(flatten)]
    definition: DefinitionArgs,
    /// Leave the stack running at the end, until Ctrl-C, so that the links can be opened
    #[arg(long)]
    keep_running: bool,
}

/// The tenant that the demo makes, where nobody has connected the org yet: that can be done once.
const TENANT: &str = "demo";

impl Demo {
    pub async fn run(mut self, context: &Context) -> Result<()> {
        if context.output.json {
            return Err(CliError::environment(
                "a demo is for people and has no JSON",
                "use the verbs that it shows, with --json",
            ));
        }
        if self.definition.preset.is_none() && self.definition.object.is_empty() {
            self.definition.preset = Some(Preset::LeadConversion);
        }
        self.definition.check()?;
        let stop = shutdown::token()?;
        let state_dir = context.target.state_dir.clone().unwrap_or_else(|| state_dir_of(&self.stack));
        let state = StateDir::create(&state_dir)?;
        let (file, own) = match running(&state, &self.stack)? {
            Some(file) => (file, None),
            None => {
                println!("Starting the dev stack (state in {})", state_dir.display());
                let started = dev::start(&self.stack, state.clone(), WhenTaken::PickAnother, &stop).await?;
                let Some(stack) = started else { return Err(CliError::Interrupted) };
                (stack.file.clone(), Some(stack))
            }
        };
        dev::print_urls(&file, &state.join("logs"));
        let shown = tokio::select! {
            shown = self.show(&file, &state_dir) => shown,
            () = stop.cancelled() => Err(CliError::Interrupted),
        };
        if let Some(stack) = own {
            self.close(stack, &state_dir, shown.is_ok(), &stop).await;
        }
        shown
    }

    async fn show(&self, file: &DevFile, state_dir: &Path) -> Result<()> {
        let target = TargetArgs { url: None, key: None, state_dir: file.operator_key_file.parent().map(Path::to_owned) };
        let client = Client::new(&target)?;
        let mut journal = Journal::new(file.temporal_ui_url.clone());
        let told = steps::tell(&client, file, &self.definition, &mut journal).await;
        journal.print_summary();
        if let Ok(Model { tenant, id }) = &told {
            println!("\nWhile the stack runs, the whole model card, with plots:");
            println!("  {} model card {tenant} {id} --state-dir {}", this_program(), state_dir.display());
        }
        told.map(drop)
    }

    async fn close(&self, stack: Stack, state_dir: &Path, succeeded: bool, stop: &CancellationToken) {
        if self.keep_running && succeeded {
            println!("\nThe stack goes on running. Ctrl-C stops it.");
            stop.cancelled().await;
        }
        stack.stop().await;
        println!(
            "\nThe stack has stopped. `{} dev --state-dir {}` brings it back, with every link above.",
            this_program(),
            state_dir.display()
        );
    }
}

/// This program as it was called, to be called so again.
fn this_program() -> String {
    std::env::args().next().unwrap_or_else(|| "leadline".to_owned())
}

/// A stack that runs on this directory already, unless it holds another org than the one asked for.
fn running(state: &StateDir, asked: &StackArgs) -> Result<Option<DevFile>> {
    if !state.is_in_use() {
        return Ok(None);
    }
    let file: DevFile = state.read(DevFile::NAME).ok_or_else(|| {
        CliError::environment("the dev stack of this directory is still starting", "try again once it shows its table")
    })?;
    OrgData::asked(&asked.loads, asked.records)?.settle(Some(file.org.clone()))?;
    Ok(Some(file))
}

/// An org of loaded files has state of its own, below the usual directory: its records are not those of the generated org.
fn state_dir_of(stack: &StackArgs) -> std::path::PathBuf {
    let base = Path::new(DEFAULT_NAME);
    if stack.loads.is_empty() {
        return base.to_owned();
    }
    let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
    let names: Vec<String> = stack
        .loads
        .iter()
        .map(|load| {
            let (object, file) = load.split_once('=').unwrap_or((load, ""));
            let file = Path::new(file).file_name().and_then(|name| name.to_str()).unwrap_or_default();
            format!("{object}-{}", file.split('.').next().unwrap_or_default()).chars().map(plain).collect()
        })
        .collect();
    base.join("loaded").join(names.join("-"))
}
