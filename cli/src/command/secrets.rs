//! `leadline secrets`: the keys that encrypt tenants' credentials, which lie outside the database.

use clap::Subcommand;
use leadline_secrets::Keyring;
use leadline_store::{Store, sealed_secrets};
use serde_json::json;

use super::Context;
use crate::{
    error::{CliError, Result},
    output,
    settings::{DatabaseArgs, KeyringArgs},
};

#[derive(Debug, Subcommand)]
pub enum Secrets {
    /// Make a new key-encryption key and rewrap every secret under it. A process that loaded the key file earlier cannot open
    /// what is rewrapped until it restarts: where api and worker must not pause, go by --prepare and --resume
    Rotate {
        #[command(flatten)]
        keyring: KeyringArgs,
        #[command(flatten)]
        database: DatabaseArgs,
        /// Only make the new key. Restart every api and worker, so that all hold it, then finish with --resume
        #[arg(long, conflicts_with_all = ["resume", "remove_old"])]
        prepare: bool,
        /// Finish a rotation that was prepared or interrupted: make no new key
        #[arg(long)]
        resume: bool,
        /// Remove earlier keys once they wrap nothing (processes that still hold the old file keep reading until they restart)
        #[arg(long)]
        remove_old: bool,
    },
}

/// Secrets in one transaction: small, so that a rotation never holds up an onboarding for long.
const BATCH: u32 = 100;

impl Secrets {
    pub async fn run(self, context: &Context) -> Result<()> {
        let Self::Rotate { keyring: args, database, prepare, resume, remove_old } = self;
        let store = database.connect(&context.target).await?;
        let path = args.path(&context.target)?;
        let mut keyring = args.load(&context.target)?;
        if !resume {
            keyring.add_key().map_err(failed)?;
            // On disk before any secret depends on it: a crash in between costs an unused key, never a secret.
            keyring.save(&path).map_err(failed)?;
        }
        let rewrapped = if prepare { 0 } else { rewrap_all(&store, &keyring).await? };
        let removed = if remove_old { remove_unused(&store, &mut keyring).await? } else { Vec::new() };
        if !removed.is_empty() {
            keyring.save(&path).map_err(failed)?;
        }
        let current = keyring.current_key_id();
        if context.output.json {
            output::json(&json!({"currentKeyId": current, "rewrapped": rewrapped, "removedKeyIds": removed}));
        } else {
            println!("{rewrapped} secrets rewrapped under key {current}; {} earlier keys removed", removed.len());
        }
        Ok(())
    }
}

async fn rewrap_all(store: &Store, keyring: &Keyring) -> Result<usize> {
    let mut rewrapped = 0;
    loop {
        let mut tx = store.operator().await?;
        let batch = sealed_secrets::to_rewrap(&mut tx, keyring.current_key_id(), BATCH).await?;
        if batch.is_empty() {
            return Ok(rewrapped);
        }
        rewrapped += batch.len();
        for mut secret in batch {
            secret.sealed = keyring.rewrap(&secret.tenant, secret.purpose, &secret.sealed).map_err(failed)?;
            sealed_secrets::replace(&mut tx, &secret).await?;
        }
        tx.commit().await?;
    }
}

async fn remove_unused(store: &Store, keyring: &mut Keyring) -> Result<Vec<String>> {
    let in_use = sealed_secrets::count_by_key(&mut store.operator().await?).await?;
    let unused: Vec<String> = keyring
        .key_ids()
        .filter(|id| *id != keyring.current_key_id() && !in_use.iter().any(|(used, count)| used == id && *count > 0))
        .map(str::to_owned)
        .collect();
    for id in &unused {
        keyring.remove_key(id).map_err(failed)?;
    }
    Ok(unused)
}

fn failed(error: leadline_secrets::SecretsError) -> CliError {
    CliError::part("keyring", &error)
}
