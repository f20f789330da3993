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
    /// Make a new key-encryption key and rewrap every secret under it; running processes follow by themselves
    Rotate {
        #[command(flatten)]
        keyring: KeyringArgs,
        #[command(flatten)]
        database: DatabaseArgs,
        /// Finish a rotation that was interrupted: make no new key
        #[arg(long)]
        resume: bool,
        /// Remove earlier keys that wrap nothing any more; not before every process has followed
        #[arg(long)]
        remove_old: bool,
    },
}

/// Secrets in one transaction: small, so that a rotation never holds up an onboarding for long.
const BATCH: u32 = 100;

impl Secrets {
    pub async fn run(self, context: &Context) -> Result<()> {
        let Self::Rotate { keyring: args, database, resume, remove_old } = self;
        let store = database.connect(&context.target).await?;
        let path = args.path(&context.target)?;
        let mut keyring = args.load(&context.target)?;
        if !resume {
            keyring.add_key().map_err(failed)?;
            // On disk before any secret depends on it: a crash in between costs an unused key, never a secret.
            keyring.save(&path).map_err(failed)?;
        }
        let rewrapped = rewrap_all(&store, &keyring).await?;
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
