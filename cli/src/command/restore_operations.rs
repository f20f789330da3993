//! `leadline restore-operations`: what PostgreSQL has lost in a restore, and Temporal still remembers.

use clap::Args;
use leadline_worker::{
    data_converter,
    replay::ServerError,
    restoring::{self, RestoreError, Restored},
};
use serde_json::json;

use super::Context;
use crate::{
    error::{CliError, Result},
    output,
    settings::{DatabaseArgs, KeyringArgs},
    temporal,
};

/// Write down again the operations that PostgreSQL has lost and Temporal remembers
///
/// For the moment after PostgreSQL was restored from a backup, while API and workers are stopped and Temporal still has its data: an
/// operation that was accepted after the backup is found by its run and written down as it ended, or as OPERATION_LOST where it had
/// not. May be repeated. Temporal is found by the standard TEMPORAL_* environment and profile file, TLS and API key included.
#[derive(Debug, Args)]
pub struct RestoreOperations {
    /// Say what would be written, and write nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    database: DatabaseArgs,
    #[command(flatten)]
    keyring: KeyringArgs,
}

impl RestoreOperations {
    pub async fn run(self, context: &Context) -> Result<()> {
        let store = self.database.connect(&context.target).await?;
        let converter = data_converter(&self.keyring.load(&context.target)?);
        let (client, address) = temporal::connect(&context.target).await?;
        let restored = restoring::restore(&client, &store, &converter, self.dry_run).await.map_err(|error| match error {
            RestoreError::Temporal(ServerError::Unavailable { reason }) => CliError::TemporalUnreachable { address, reason },
            RestoreError::Temporal(error) => CliError::part("Temporal", &error),
            RestoreError::Store(error) => error.into(),
        })?;
        if context.output.json {
            output::json(&json!({
                "remembered": restored.remembered,
                "ended": restored.ended,
                "lost": restored.lost,
                "unreadable": restored.unreadable,
                "dryRun": self.dry_run,
            }));
            return unread(&restored);
        }
        let written = if self.dry_run { "to be written" } else { "written" };
        for (ids, how) in [(&restored.ended, "as it ended"), (&restored.lost, "as lost")] {
            for id in ids {
                println!("{id} {written} {how}");
            }
        }
        for why in &restored.unreadable {
            eprintln!("cannot be read: {why}");
        }
        println!(
            "{} operations in Temporal; {} {written} as they ended, {} as lost, {} unreadable",
            restored.remembered,
            restored.ended.len(),
            restored.lost.len(),
            restored.unreadable.len()
        );
        unread(&restored)
    }
}

fn unread(restored: &Restored) -> Result<()> {
    match restored.unreadable.len() {
        0 => Ok(()),
        some => Err(CliError::environment(
            format!("{some} histories cannot be read: what they tell is not written down"),
            "check that the keyring is the one that they were written with, and repeat the command",
        )),
    }
}
