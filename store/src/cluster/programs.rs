//! Where the system keeps PostgreSQL's programs.

use std::{
    fs,
    path::{Path, PathBuf},
};

use tokio::process::Command;

use super::{ClusterError, Result};

const OLDEST: u32 = 15;
/// Debian keeps the server's programs off the search path, one directory for each major version.
const DEBIAN: &str = "/usr/lib/postgresql";

pub(super) struct Programs {
    bin: PathBuf,
    pub(super) major: u32,
}

impl Programs {
    /// `pg_config --bindir`, then Debian's directories, newest first.
    pub(super) async fn find() -> Result<Self> {
        let mut candidates: Vec<PathBuf> = configured().await.into_iter().collect();
        candidates.extend(debian());
        let complete = |bin: &&PathBuf| ["initdb", "postgres", "pg_ctl"].iter().all(|name| bin.join(name).is_file());
        let Some(bin) = candidates.iter().find(complete).cloned() else {
            return Err(ClusterError::ProgramsMissing { looked: format!("looked at `pg_config --bindir` and {DEBIAN}/*/bin") });
        };
        let major = major_version(&bin).await?;
        if major < OLDEST { Err(ClusterError::TooOld { found: major, bin }) } else { Ok(Self { bin, major }) }
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.bin.join(name)
    }
}

async fn configured() -> Option<PathBuf> {
    let output = Command::new("pg_config").arg("--bindir").output().await.ok()?;
    let path = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| PathBuf::from(path.trim()))
}

fn debian() -> Vec<PathBuf> {
    let mut found: Vec<(u32, PathBuf)> = fs::read_dir(DEBIAN)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path().join("bin"))))
        .collect();
    found.sort_by_key(|(major, _)| std::cmp::Reverse(*major));
    found.into_iter().map(|(_, bin)| bin).collect()
}

/// Out of `postgres (PostgreSQL) 15.14 (Debian 15.14-0+deb12u1)`.
async fn major_version(bin: &Path) -> Result<u32> {
    let program = bin.join("postgres");
    let output =
        Command::new(&program).arg("--version").output().await.map_err(|source| ClusterError::io("run", &program, source))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let version = text.split_whitespace().find(|word| word.starts_with(|c: char| c.is_ascii_digit()));
    let major = version.and_then(|v| v.split(|c: char| !c.is_ascii_digit()).next()).and_then(|m| m.parse().ok());
    major.ok_or_else(|| ClusterError::ProgramsMissing { looked: format!("{} does not tell its version", program.display()) })
}
