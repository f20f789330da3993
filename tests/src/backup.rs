//! A backup of a stack and its restore, in the order and with the programs that docs/operations.md names.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use leadline_store::{
    cluster::{ClusterConfig, PrivateCluster},
    migrate::{RolePasswords, migrate},
};
use serde_json::Value as Json;
use tempfile::TempDir;

use crate::dev_stack::DevStack;

/// What is no data of leadline's and is kept elsewhere: the keys, the passwords, and what the dev stack is made of.
const SETTINGS: [&str; 5] = ["keyring.json", "credentials.json", "operator.key", "ports.json", "org.json"];
/// Salesforce: nothing that happens to leadline takes it along.
const ORG: &str = "simulator";
const OBJECTS: &str = "objects";
const DUMP: &str = "leadline.dump";
const DATABASE: &str = "leadline";

/// Taken while everything runs.
pub struct Backup {
    directory: TempDir,
}

impl Backup {
    /// PostgreSQL first, then the bucket: every object that a row of the dump names is older than the dump.
    ///
    /// # Panics
    /// When something cannot be read.
    pub fn take(stack: &DevStack) -> Self {
        let directory = tempfile::Builder::new().prefix("leadline-backup-").tempdir().expect("a temporary directory");
        let dump = directory.path().join(DUMP);
        let owner = stack.endpoint("/database/owner");
        run(Command::new("pg_dump").arg("--format=custom").arg("--dbname").arg(owner).arg("--file").arg(dump));
        copy(&stack.state_dir().join(OBJECTS), &directory.path().join(OBJECTS));
        Self { directory }
    }

    /// Fills a new machine's state directory from the backup, and takes the keys, the settings and the org from the lost one. Temporal
    /// begins empty.
    ///
    /// # Panics
    /// When something cannot be written.
    pub async fn restore(&self, lost: &TempDir) -> TempDir {
        let (new, old) = (tempfile::Builder::new().prefix("leadline-test-").tempdir(), lost.path().join("state"));
        let new = new.expect("a temporary directory");
        let state = new.path().join("state");
        fs::create_dir(&state).expect("a new directory");
        for name in SETTINGS {
            fs::copy(old.join(name), state.join(name)).unwrap_or_else(|e| panic!("{name}: {e}"));
        }
        copy(&old.join(ORG), &state.join(ORG));
        copy(&self.directory.path().join(OBJECTS), &state.join(OBJECTS));
        self.restore_database(&state).await;
        new
    }

    async fn restore_database(&self, state: &Path) {
        let cluster = PrivateCluster::start(&ClusterConfig::new(state.join("postgres"))).await.expect("a new cluster");
        let owner = cluster.ensure_database(DATABASE).await.expect("a new database");
        let credentials = fs::read(state.join("credentials.json")).expect("the passwords");
        let credentials: Json = serde_json::from_slice(&credentials).expect("the passwords are JSON");
        let password = |name: &str| credentials[name].as_str().expect("a password").to_owned();
        let passwords = RolePasswords { tenant: password("tenant_password"), operator: password("operator_password") };
        // Makes the roles, which are no part of the dump.
        migrate(&owner, Some(&passwords)).await.expect("the roles are made");
        let dump = self.directory.path().join(DUMP);
        let options = ["--clean", "--if-exists", "--exit-on-error", "--single-transaction"];
        run(Command::new("pg_restore").args(options).arg("--dbname").arg(owner).arg(dump));
        cluster.stop().await.expect("the cluster stops");
    }
}

fn copy(from: &Path, to: &PathBuf) {
    run(Command::new("cp").arg("-a").arg("--no-target-directory").arg(from).arg(to));
}

fn run(command: &mut Command) {
    let output = command.output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}
