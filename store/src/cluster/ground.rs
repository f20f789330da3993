//! Where a cluster lies, and under which account it runs.
//!
//! For an ordinary user: the configured directory, and that user. Under root: the account `postgres`, or `nobody`. A checkout may
//! be below a directory closed to that account (root's home); the cluster then lies in /var/lib/leadline, in a directory named after
//! the configured one. Both hold the same token, so that a configured directory which was removed and made anew does not find
//! the old cluster again.

use std::{
    fs::{self, OpenOptions},
    io::{ErrorKind, Write as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, chown},
    path::{Path, PathBuf},
    process::Stdio,
};

use nix::unistd::{Gid, Uid, User};
use sha2::{Digest as _, Sha256};
use tokio::process::Command;

use super::{ClusterError, Durability, OWNER, Result, programs::Programs};

const SHARED_GROUND: &str = "/var/lib/leadline";
const TOKEN: &str = "cluster-token";

struct Account {
    name: &'static str,
    uid: Uid,
    gid: Gid,
}

pub(super) struct Ground {
    pub(super) directory: PathBuf,
    /// `None`: the account of this process.
    account: Option<Account>,
}

impl Ground {
    /// Finds or makes the cluster's directory.
    pub(super) fn claim(configured: &Path) -> Result<Self> {
        let configured = std::path::absolute(configured).map_err(|source| ClusterError::io("resolve", configured, source))?;
        create(&configured)?;
        if !Uid::effective().is_root() {
            set_mode(&configured, 0o700)?;
            return Ok(Self { directory: configured, account: None });
        }
        let account = account()?;
        let directory = match closed_ancestor(&configured, &account) {
            None => configured,
            Some(closed) => shared_ground(&configured, &closed, &account)?,
        };
        give(&directory, &account)?;
        set_mode(&directory, 0o700)?;
        Ok(Self { directory, account: Some(account) })
    }

    pub(super) fn data(&self) -> PathBuf {
        self.directory.join("data")
    }

    /// A command that runs under the cluster's account, in its directory, and without `PG*` variables of whoever calls.
    pub(super) fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.env_clear().env("PATH", "/usr/local/bin:/usr/bin:/bin").env("LC_ALL", "C").env("TZ", "UTC");
        command.current_dir(&self.directory).stdin(Stdio::null());
        if let Some(account) = &self.account {
            command.uid(account.uid.as_raw()).gid(account.gid.as_raw());
        }
        command
    }

    /// Stops a postmaster whose leadline is gone. Normally it has gone with it.
    pub(super) async fn stop_left_behind(&self, programs: &Programs) -> Result<()> {
        if !self.data().join("postmaster.pid").exists() {
            return Ok(());
        }
        let pg_ctl = programs.path("pg_ctl");
        let failed = |source| ClusterError::io("run", &pg_ctl, source);
        let status = self.command(&pg_ctl).arg("status").arg("-D").arg(self.data()).output().await.map_err(failed)?;
        if !status.status.success() {
            // Not running: a stale file, which the next postmaster replaces.
            return Ok(());
        }
        tracing::warn!(directory = %self.directory.display(), "stopping the PostgreSQL of an earlier run");
        let stop = ["stop", "-m", "fast", "-w", "-t", "60", "-D"];
        let stopped = self.command(&pg_ctl).args(stop).arg(self.data()).output().await.map_err(failed)?;
        if stopped.status.success() {
            return Ok(());
        }
        Err(ClusterError::LeftBehind { directory: self.directory.clone(), reason: last_line(&stopped.stderr) })
    }

    /// Runs initdb if there is no cluster yet; returns the owner's password.
    pub(super) async fn ensure_initialised(&self, programs: &Programs, durability: Durability) -> Result<String> {
        let password_file = self.directory.join("password");
        if !self.data().exists() {
            self.initialise(programs, durability, &password_file).await?;
        }
        self.check_version(programs)?;
        match fs::read_to_string(&password_file) {
            Ok(password) => Ok(password.trim().to_owned()),
            Err(error) if error.kind() == ErrorKind::NotFound => Err(self.broken("its password file is missing")),
            Err(source) => Err(ClusterError::io("read", &password_file, source)),
        }
    }

    /// initdb works beside the final place: one that was interrupted leaves no half cluster there.
    async fn initialise(&self, programs: &Programs, durability: Durability, password_file: &Path) -> Result<()> {
        let unfinished = self.directory.join("data.unfinished");
        for leftover in [fs::remove_dir_all(&unfinished), fs::remove_file(password_file)] {
            match leftover {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    return Err(ClusterError::io("clear", &self.directory, error));
                }
                _ => {}
            }
        }
        self.write_private(password_file, &hex::encode(rand_bytes()))?;
        let initdb = programs.path("initdb");
        let mut command = self.command(&initdb);
        command.args(["--username", OWNER, "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", "--pwfile"]);
        command.arg(password_file).arg("--pgdata").arg(&unfinished);
        if durability == Durability::Disposable {
            command.arg("--no-sync");
        }
        let output = command.output().await.map_err(|source| ClusterError::io("run", &initdb, source))?;
        if !output.status.success() {
            return Err(ClusterError::InitialisationFailed {
                directory: self.directory.clone(),
                reason: last_line(&output.stderr),
            });
        }
        fs::rename(&unfinished, self.data()).map_err(|source| ClusterError::io("rename", &unfinished, source))
    }

    fn check_version(&self, programs: &Programs) -> Result<()> {
        let path = self.data().join("PG_VERSION");
        let made_by = fs::read_to_string(path).map_err(|_| self.broken("it does not tell its version"))?;
        if made_by.trim() == programs.major.to_string() {
            return Ok(());
        }
        Err(self.broken(&format!("it was made by PostgreSQL {} and this is {}", made_by.trim(), programs.major)))
    }

    fn write_private(&self, path: &Path, content: &str) -> Result<()> {
        let failed = |source| ClusterError::io("write", path, source);
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(failed)?;
        file.write_all(content.as_bytes()).map_err(failed)?;
        match &self.account {
            Some(account) => give(path, account),
            None => Ok(()),
        }
    }

    fn broken(&self, problem: &str) -> ClusterError {
        ClusterError::Broken { directory: self.directory.clone(), problem: problem.to_owned() }
    }
}

fn account() -> Result<Account> {
    for name in ["postgres", "nobody"] {
        if let Ok(Some(user)) = User::from_name(name) {
            return Ok(Account { name, uid: user.uid, gid: user.gid });
        }
    }
    Err(ClusterError::NoAccount)
}

/// The first directory above `path` that the account cannot pass.
fn closed_ancestor(path: &Path, account: &Account) -> Option<PathBuf> {
    let passes = |directory: &&Path| {
        fs::metadata(directory).is_ok_and(|metadata| {
            let needed = match (metadata.uid() == account.uid.as_raw(), metadata.gid() == account.gid.as_raw()) {
                (true, _) => 0o100,
                (false, true) => 0o010,
                (false, false) => 0o001,
            };
            metadata.mode() & needed != 0
        })
    };
    path.ancestors().skip(1).find(|directory| !passes(directory)).map(Path::to_owned)
}

/// The directory below [`SHARED_GROUND`] that stands for `configured`.
fn shared_ground(configured: &Path, closed: &Path, account: &Account) -> Result<PathBuf> {
    let name = hex::encode(&Sha256::digest(configured.as_os_str().as_encoded_bytes())[..8]);
    let directory = Path::new(SHARED_GROUND).join(name);
    let token = configured.join(TOKEN);
    let ours = fs::read(&token).ok();
    if ours.is_none() || ours != fs::read(directory.join(TOKEN)).ok() {
        discard_old(&directory)?;
        create(&directory)?;
        // Whatever the umask: the account has to pass it.
        set_mode(Path::new(SHARED_GROUND), 0o755)?;
        let fresh = hex::encode(rand_bytes());
        for path in [&directory.join(TOKEN), &token] {
            fs::write(path, &fresh).map_err(|source| ClusterError::io("write", path, source))?;
        }
    }
    tracing::warn!(
        "{} is closed to the account {}, so the PostgreSQL cluster lies in {}",
        closed.display(),
        account.name,
        directory.display()
    );
    Ok(directory)
}

/// A postmaster that still runs there notices that its directory is gone, and ends.
fn discard_old(directory: &Path) -> Result<()> {
    match fs::remove_dir_all(directory) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(ClusterError::io("remove", directory, error)),
        _ => Ok(()),
    }
}

fn create(directory: &Path) -> Result<()> {
    fs::create_dir_all(directory).map_err(|source| ClusterError::io("create", directory, source))
}

fn give(path: &Path, account: &Account) -> Result<()> {
    chown(path, Some(account.uid.as_raw()), Some(account.gid.as_raw()))
        .map_err(|source| ClusterError::io("change the owner of", path, source))
}

fn set_mode(directory: &Path, mode: u32) -> Result<()> {
    fs::set_permissions(directory, fs::Permissions::from_mode(mode))
        .map_err(|source| ClusterError::io("change the mode of", directory, source))
}

fn rand_bytes() -> [u8; 24] {
    rand::random()
}

fn last_line(output: &[u8]) -> String {
    let text = String::from_utf8_lossy(output);
    text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("it gave no reason").trim().to_owned()
}
