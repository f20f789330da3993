//! Why a private cluster does not start. Every message says what to do.

use std::path::{Path, PathBuf};

#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    #[error(
        "PostgreSQL's programs were not found ({looked}): install PostgreSQL 15 or later, on Debian with `apt-get install postgresql`"
    )]
    ProgramsMissing { looked: String },
    #[error("PostgreSQL {found} was found in {}, and 15 or later is needed: install a newer one", bin.display())]
    TooOld { found: u32, bin: PathBuf },
    #[error(
        "PostgreSQL refuses to run as root, and there is neither a user postgres nor a user nobody: run leadline as another user"
    )]
    NoAccount,
    #[error("another leadline runs the cluster in {}: stop it first, or use another state directory", directory.display())]
    InUse { directory: PathBuf },
    #[error("port {port} on 127.0.0.1 is taken: stop what listens there, or choose another port")]
    PortTaken { port: u16 },
    #[error("no port on 127.0.0.1 could be opened: {0}")]
    NoPort(std::io::Error),
    #[error("the cluster in {} is broken, {problem}: move the directory away to start with an empty one", directory.display())]
    Broken { directory: PathBuf, problem: String },
    #[error("initdb failed in {}: {reason}", directory.display())]
    InitialisationFailed { directory: PathBuf, reason: String },
    #[error("PostgreSQL did not start: {reason} (log: {})", log_file.display())]
    StartFailed { reason: String, log_file: PathBuf },
    #[error("PostgreSQL was not ready within {seconds} s (log: {})", log_file.display())]
    StartTimedOut { log_file: PathBuf, seconds: u64 },
    #[error("PostgreSQL in {} did not stop in time: see what it waits for, or kill it", directory.display())]
    StopTimedOut { directory: PathBuf },
    #[error("an earlier PostgreSQL still runs in {} and could not be stopped: {reason}", directory.display())]
    LeftBehind { directory: PathBuf, reason: String },
    #[error("database {name} could not be made: {reason}")]
    Database { name: String, reason: String },
    #[error("cannot {action} {}: {source}", path.display())]
    Io { action: &'static str, path: PathBuf, source: std::io::Error },
}

impl ClusterError {
    pub(super) fn io(action: &'static str, path: &Path, source: std::io::Error) -> Self {
        Self::Io { action, path: path.to_owned(), source }
    }
}
