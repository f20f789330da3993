//! Where `leadline dev` keeps its state, and what it leaves there for the other verbs to find.
//!
//! Everything lies below one directory, `.leadline/` unless told otherwise, in files and directories that only their owner can
//! read: they hold the databases' passwords and the operator's API key. One `dev` at a time may use it; an advisory lock on a file says so, because a
//! lock ends with its process however that ends, and a pid file does not.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{Read, Seek, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use url::Url;

use super::parts::OrgData;
use crate::error::{CliError, Result};

/// The directory that verbs look for from the current directory upwards.
pub const DEFAULT_NAME: &str = ".leadline";

/// The state directory of one dev stack.
#[derive(Debug, Clone)]
pub struct StateDir(PathBuf);

impl StateDir {
    /// Creates the directory, readable by its owner only, where it is missing.
    pub fn create(path: &Path) -> Result<Self> {
        let attempt = || -> std::io::Result<PathBuf> {
            fs::create_dir_all(path)?;
            let path = path.canonicalize()?;
            // PostgreSQL does not run as root: its own account must be able to pass through to its directory.
            let mode = if nix::unistd::Uid::effective().is_root() { 0o711 } else { 0o700 };
            fs::set_permissions(&path, fs::Permissions::from_mode(mode))?;
            for closed in ["logs", "objects", "simulator", "temporal"] {
                fs::DirBuilder::new().recursive(true).mode(0o700).create(path.join(closed))?;
            }
            Ok(path)
        };
        attempt().map(Self).map_err(|error| {
            CliError::environment(
                format!("cannot create the state directory {}: {error}", path.display()),
                "choose another with --state-dir",
            )
        })
    }

    /// The directory that was named, or the nearest `.leadline` from here upwards. It need not be in use.
    pub fn find(named: Option<&Path>) -> Option<Self> {
        if let Some(path) = named {
            return path.is_dir().then(|| Self(path.to_owned()));
        }
        let here = std::env::current_dir().ok()?;
        here.ancestors().map(|dir| dir.join(DEFAULT_NAME)).find(|dir| dir.join("dev.json").is_file()).map(Self)
    }

    pub fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    pub fn log(&self, part: &str) -> PathBuf {
        self.0.join("logs").join(format!("{part}.log"))
    }

    /// Takes the directory for this process, until the guard is dropped or the process ends.
    pub fn lock(&self) -> Result<StateLock> {
        let path = self.join("dev.lock");
        let cannot = |error: std::io::Error| {
            CliError::environment(format!("cannot open {}: {error}", path.display()), "check who owns the state directory")
        };
        let mut file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(&path).map_err(cannot)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                file.read_to_string(&mut holder).map_err(cannot)?;
                return Err(CliError::environment(
                    format!("another leadline (process {}) runs on {}", holder.trim(), self.0.display()),
                    "use that one, stop it first, or choose another --state-dir",
                ));
            }
            Err(TryLockError::Error(error)) => return Err(cannot(error)),
        }
        file.set_len(0).map_err(cannot)?;
        file.rewind().map_err(cannot)?;
        write!(file, "{}", std::process::id()).map_err(cannot)?;
        Ok(StateLock { _file: file })
    }

    /// Whether a `dev` holds the directory now.
    pub fn is_in_use(&self) -> bool {
        File::open(self.join("dev.lock")).is_ok_and(|file| matches!(file.try_lock(), Err(TryLockError::WouldBlock)))
    }

    /// Reads a JSON file of the directory; `None` when it is not there or is not of this form.
    pub fn read<T: DeserializeOwned>(&self, name: &str) -> Option<T> {
        serde_json::from_slice(&fs::read(self.join(name)).ok()?).ok()
    }

    /// Writes a file that only its owner can read, whole or not at all.
    pub fn write(&self, name: &str, content: &[u8]) -> Result<()> {
        write_private(&self.join(name), content)
    }

    /// Removes a file that may be there.
    pub fn remove(&self, name: &str) -> Result<()> {
        match fs::remove_file(self.join(name)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(CliError::environment(
                format!("cannot remove {}: {error}", self.join(name).display()),
                "check who owns the state directory",
            )),
            _ => Ok(()),
        }
    }

    pub fn write_json<T: Serialize>(&self, name: &str, content: &T) -> Result<()> {
        let text = serde_json::to_vec_pretty(content).expect("the state files are plain structures");
        self.write(name, &text)
    }
}

/// Writes a file that only its owner can read, whole or not at all.
pub fn write_private(path: &Path, content: &[u8]) -> Result<()> {
    let temporary = path.with_added_extension("new");
    let attempt = || -> std::io::Result<()> {
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
        file.set_permissions(fs::Permissions::from_mode(0o600))?;
        file.write_all(content)?;
        file.sync_all()?;
        fs::rename(&temporary, path)
    };
    attempt().map_err(|error| {
        CliError::environment(format!("cannot write {}: {error}", path.display()), "check free space and who owns it")
    })
}

/// Holds the state directory; letting go of it lets the next `dev` in.
#[derive(Debug)]
pub struct StateLock {
    _file: File,
}

/// `dev.json`: where everything of the running stack is reached. Holds credentials, so it is written with mode 0600.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct DevFile {
    /// The supervisor's process id.
    pub pid: u32,
    pub api_url: Url,
    /// The worker's health and metrics.
    pub worker_url: Url,
    /// `host:port`, as TEMPORAL_ADDRESS has it.
    pub temporal_address: String,
    pub temporal_ui_url: Url,
    pub database: DatabaseUrls,
    pub object_store: ObjectStore,
    pub simulator: SimulatorUrls,
    /// What the simulated org was started with.
    pub org: OrgData,
    /// Holds the API key of an operator.
    pub operator_key_file: PathBuf,
    pub keyring_file: PathBuf,
}

impl DevFile {
    pub const NAME: &'static str = "dev.json";
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct DatabaseUrls {
    pub owner: Url,
    pub tenant: Url,
    pub operator: Url,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ObjectStore {
    pub endpoint: Url,
    pub region: String,
    pub bucket: String,
    pub access_key: String,
    pub secret_key: String,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SimulatorUrls {
    pub http: Url,
    pub https: Url,
    pub proxy: Url,
    pub state_dir: PathBuf,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_holder_is_refused_and_told_who_holds_the_directory() {
        let root = tempfile::tempdir().unwrap();
        let state = StateDir::create(&root.path().join("state")).unwrap();
        let held = state.lock().unwrap();
        assert!(state.is_in_use());
        let refused = state.lock().unwrap_err().to_string();
        assert!(refused.contains(&std::process::id().to_string()), "{refused}");
        drop(held);
        assert!(!state.is_in_use());
        state.lock().unwrap();
    }

    #[test]
    fn what_is_written_is_readable_by_its_owner_only() {
        let root = tempfile::tempdir().unwrap();
        let state = StateDir::create(&root.path().join("state")).unwrap();
        state.write_json("dev.json", &serde_json::json!({"a": 1})).unwrap();
        assert_eq!(fs::metadata(state.join("dev.json")).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::metadata(state.join("objects")).unwrap().permissions().mode() & 0o777, 0o700);
        assert_eq!(fs::metadata(state.join("")).unwrap().permissions().mode() & 0o066, 0);
        assert_eq!(state.read::<serde_json::Value>("dev.json").unwrap()["a"], 1);
        assert!(state.read::<serde_json::Value>("absent.json").is_none());
    }
}
