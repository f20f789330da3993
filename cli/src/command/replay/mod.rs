//! `leadline replay`: whether the runs that are under way can go on with this build.

mod files;
mod report;
mod server;

use std::{path::PathBuf, time::Duration};

use clap::Args;
use futures::{Stream, StreamExt as _};
use leadline_secrets::Keyring;
use leadline_worker::{
    DataConverter, data_converter,
    replay::{InvalidHistory, RecordedRun, Replayer, RunName, TIME_LIMIT},
};

use super::Context;
use crate::{
    error::{CliError, Result},
    settings::{self, KeyringArgs},
};

use report::Report;
use server::Server;

/// Check that recorded runs replay on this build, before it is deployed
///
/// Takes the histories of a live server, or files, and replays each against the sagas of this binary. Without paths, query or workflow
/// id it takes every saga that runs now. Temporal is found by the standard TEMPORAL_* environment and profile file, TLS and API key
/// included; nothing else needs to run, and nothing is changed. Exit code 0 when every history replays, 8 when one does not.
#[derive(Debug, Args)]
pub struct Replay {
    /// Files as `temporal workflow show --output json` writes them, and directories of such files
    #[arg(value_name = "PATH", conflicts_with_all = ["query", "workflow_id"])]
    paths: Vec<PathBuf>,
    /// Take the runs that this visibility query finds, such as `LeadlineTenant = "tn_…"`
    #[arg(long, conflicts_with = "workflow_id", value_name = "QUERY")]
    query: Option<String>,
    /// Take one workflow's run, the latest when no --run-id is given
    #[arg(long, value_name = "ID")]
    workflow_id: Option<String>,
    /// Take this run of the workflow
    #[arg(long, requires = "workflow_id", value_name = "ID")]
    run_id: Option<String>,
    /// Take this many histories at most
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// Seconds that one history may take
    #[arg(long, default_value_t = Seconds(TIME_LIMIT), value_parser = Seconds::parse, value_name = "SECONDS")]
    time_limit: Seconds,
    #[command(flatten)]
    keyring: KeyringArgs,
}

/// A duration, shown as it is given.
#[derive(Debug, Clone, Copy)]
struct Seconds(Duration);

impl Seconds {
    fn parse(text: &str) -> Result<Self, String> {
        settings::seconds(text).map(Self)
    }
}

impl std::fmt::Display for Seconds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0.as_secs_f64())
    }
}

/// One history, as it was found.
struct Found {
    /// What the run is called, as far as it is known.
    run: RunName,
    /// Where it lies, if in a file.
    file: Option<PathBuf>,
    history: History,
}

enum History {
    Whole(Box<RecordedRun>),
    Invalid(InvalidHistory),
    /// It was listed, and was gone when it was asked for.
    Vanished,
}

impl Replay {
    pub async fn run(self, context: &Context) -> Result<()> {
        let limit = self.limit.unwrap_or(usize::MAX);
        let keyring = self.keyring(context)?;
        if !self.paths.is_empty() {
            let files = files::below(&self.paths)?;
            let report = Report::new(context.output.json, files.len().min(limit));
            let histories = files.into_iter().take(limit).map(files::read);
            return self.replay(keyring, futures::stream::iter(histories), report).await;
        }
        let server = Server::connect(&context.target).await?;
        let runs = match &self.workflow_id {
            Some(workflow_id) => vec![server.one(workflow_id, self.run_id.as_deref()).await?],
            None => server.list(self.query.as_deref(), self.limit).await?,
        };
        let report = Report::new(context.output.json, runs.len());
        self.replay(keyring, server.fetch(runs), report).await
    }

    /// Histories that are not encrypted need none.
    fn keyring(&self, context: &Context) -> Result<Option<Keyring>> {
        let named = self.keyring.is_named() || context.target.dev_file().is_some();
        named.then(|| self.keyring.load(&context.target)).transpose()
    }

    /// Replays one history after the other.
    async fn replay(
        &self,
        keyring: Option<Keyring>,
        histories: impl Stream<Item = Result<Found>>,
        mut report: Report,
    ) -> Result<()> {
        let converter = keyring.as_ref().map_or_else(DataConverter::default, data_converter);
        let replayer = Replayer::new().time_limit(self.time_limit.0).data_converter(converter);
        let mut histories = std::pin::pin!(histories);
        while let Some(found) = histories.next().await {
            let found = found?;
            if keyring.is_none() && matches!(&found.history, History::Whole(run) if run.is_encrypted()) {
                return Err(CliError::environment(
                    format!("the history of {} is encrypted, and no keyring was named", found.run),
                    "give the workers' key file with --keyring (LEADLINE_KEYRING), or its content in LEADLINE_KEYRING_JSON",
                ));
            }
            let replayed = match &found.history {
                History::Whole(run) => Some(replayer.replay(run).await),
                History::Invalid(_) | History::Vanished => None,
            };
            report.add(&found, replayed);
        }
        match report.close() {
            (0, _) => Ok(()),
            (failed, of) => Err(CliError::NotReplayed { failed, of }),
        }
    }
}
