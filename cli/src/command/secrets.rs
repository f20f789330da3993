//! `leadline secrets`: the keys that encrypt tenants' credentials, which lie outside the database.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
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
    /// Make the file with the first key-encryption key, before anything else is set up; it overwrites nothing
    Init {
        /// The new file, mode 0600
        #[arg(long, env = KeyringArgs::FILE, value_name = "FILE")]
        keyring: PathBuf,
    },
    /// Make a new key-encryption key in the key file and rewrap every secret under it; running processes follow by themselves
    ///
    /// Keys that lie in LEADLINE_KEYRING_JSON take three steps: `rotate --print-new`; give every process the new content; then
    /// `rotate --resume` with the new content too.
    Rotate(Rotate),
}

#[derive(Debug, Args)]
pub struct Rotate {
    #[command(flatten)]
    keyring: KeyringArgs,
    #[command(flatten)]
    database: DatabaseArgs,
    /// Print the keyring with a new key, which then is secret too; write and rewrap nothing
    #[arg(long, conflicts_with_all = ["resume", "remove_old"])]
    print_new: bool,
    /// Make no new key: finish a rotation that was interrupted, or that began with --print-new
    #[arg(long)]
    resume: bool,
    /// Remove earlier keys that wrap nothing any more from the key file; not before every process has followed. What is left
    /// of them opens the histories that they have encrypted, and no secret
    #[arg(long)]
    remove_old: bool,
}

/// Secrets in one transaction: small, so that a rotation never holds up an onboarding for long.
const BATCH: u32 = 100;

impl Secrets {
    pub async fn run(self, context: &Context) -> Result<()> {
        match self {
            Self::Init { keyring } => init(context, &keyring),
            Self::Rotate(rotate) => rotate.run(context).await,
        }
    }
}

fn init(context: &Context, file: &Path) -> Result<()> {
    let keyring = Keyring::create(file).map_err(failed)?;
    let current = keyring.current_key_id();
    if context.output.json {
        output::json(&json!({"file": file, "currentKeyId": current}));
    } else {
        println!("{} holds key {current}: keep a copy, since without it no tenant's credentials can be read", file.display());
    }
    Ok(())
}

impl Rotate {
    async fn run(self, context: &Context) -> Result<()> {
        let file = self.keyring.file(&context.target)?;
        let mut keyring = self.keyring.load(&context.target)?;
        if self.print_new {
            keyring.add_key().map_err(failed)?;
            println!("{}", *keyring.to_json());
            return Ok(());
        }
        self.check(file.as_deref())?;
        let store = self.database.connect(&context.target).await?;
        if let (false, Some(file)) = (self.resume, &file) {
            keyring.add_key().map_err(failed)?;
            // On disk before any secret depends on it: a crash in between costs an unused key, never a secret.
            keyring.save(file).map_err(failed)?;
        }
        let rewrapped = rewrap_all(&store, &keyring).await?;
        let removed = match &file {
            Some(file) if self.remove_old => remove_unused(&store, &mut keyring, file).await?,
            _ => Vec::new(),
        };
        let current = keyring.current_key_id();
        if context.output.json {
            output::json(&json!({"currentKeyId": current, "rewrapped": rewrapped, "removedKeyIds": removed}));
        } else {
            println!("{rewrapped} secrets rewrapped under key {current}; {} earlier keys removed", removed.len());
        }
        Ok(())
    }

    /// A keyring without a file cannot be written: a new key in it would be lost with this process, and every secret with it.
    fn check(&self, file: Option<&Path>) -> Result<()> {
        match file {
            None if !self.resume => Err(CliError::environment(
                "the keys lie in the environment, where nothing can be written",
                "take `--print-new`, give every process the new content, then `--resume`",
            )),
            None if self.remove_old => Err(CliError::environment(
                "the keys lie in the environment, where nothing can be removed",
                "leave --remove-old out; once no run that Temporal keeps is older than the rotation, take the earlier keys out of LEADLINE_KEYRING_JSON yourself",
            )),
            _ => Ok(()),
        }
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

async fn remove_unused(store: &Store, keyring: &mut Keyring, file: &Path) -> Result<Vec<String>> {
    let in_use = sealed_secrets::count_by_key(&mut store.operator().await?).await?;
    let unused: Vec<String> = keyring
        .key_ids()
        .filter(|id| *id != keyring.current_key_id() && !in_use.iter().any(|(used, count)| used == id && *count > 0))
        .map(str::to_owned)
        .collect();
    for id in &unused {
        keyring.remove_key(id).map_err(failed)?;
    }
    if !unused.is_empty() {
        keyring.save(file).map_err(failed)?;
    }
    Ok(unused)
}

fn failed(error: leadline_secrets::SecretsError) -> CliError {
    CliError::part("keyring", &error)
}
