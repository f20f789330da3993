//! Orgs beside the dev stack's own, each a simulator in a process of its own: a tenant has an org, and an org has one tenant.

use std::{
    net::TcpListener,
    process::{Child, Command, Stdio},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use leadline_salesforce::{OrgClient, SalesforceError};
use serde_json::Value as Json;
use tempfile::TempDir;

use crate::{org, tools};

const READY_WITHIN: Duration = Duration::from_secs(60);
const AGAIN: Duration = Duration::from_millis(100);

pub struct Org {
    state: TempDir,
    ports: [u16; 3],
    records: u64,
    process: Mutex<Option<Child>>,
}

impl Org {
    /// # Panics
    /// When the simulator does not start.
    pub fn start(records: u64) -> Self {
        let state = tempfile::Builder::new().prefix("leadline-org-").tempdir().expect("a temporary directory");
        let org = Self { state, ports: free_ports(), records, process: Mutex::new(None) };
        org.start_again();
        org
    }

    /// Starts it with what it was when it was killed, where it was.
    pub fn start_again(&self) {
        let [http, https, proxy] = self.ports.map(|port| port.to_string());
        let log = std::fs::File::options().create(true).append(true).open(self.state.path().join("simulator.log"));
        let log = log.expect("a log file in the temporary directory");
        let child = Command::new(tools::leadline())
            .args(["simulator", "--port", &http, "--https-port", &https, "--proxy-port", &proxy])
            .args(["--records", &self.records.to_string(), "--org-dir"])
            .arg(self.dir())
            // It ends with its standard input, and so with this process.
            .env("LEADLINE_SUPERVISED", "1")
            .stdin(Stdio::piped())
            .stdout(log.try_clone().expect("a second handle of the log file"))
            .stderr(log)
            .spawn()
            .expect("the leadline binary starts");
        *self.lock() = Some(child);
    }

    /// As SIGKILL does.
    pub fn kill(&self) {
        if let Some(mut child) = self.lock().take() {
            child.kill().expect("it is ours to kill");
            child.wait().expect("it is ours");
        }
    }

    /// # Panics
    /// When the org does not answer.
    pub async fn ready(&self) {
        let (http, began) = (tools::http(), Instant::now());
        while http.get(format!("{}/services/data/", self.url())).send().await.is_err() {
            assert!(began.elapsed() < READY_WITHIN, "the simulator does not answer: see {}", self.state.path().display());
            tokio::time::sleep(AGAIN).await;
        }
    }

    /// The body of `POST /v1/tenants` that connects it.
    pub fn connection(&self, name: &str) -> Json {
        org::connection_of(&self.dir(), name)
    }

    /// A client, signed in. The org can be killed at any time, so that this is tried until it is back.
    ///
    /// # Panics
    /// When the org does not come back, or refuses.
    pub async fn client(&self) -> OrgClient {
        let began = Instant::now();
        loop {
            match org::client_of(&self.dir()).await {
                Ok(client) => return client,
                Err(SalesforceError::Transport { .. }) if began.elapsed() < READY_WITHIN => tokio::time::sleep(AGAIN).await,
                Err(refused) => panic!("the org does not let its own connected app in: {refused:?}"),
            }
        }
    }

    /// The simulator's own view, below `/__simulator/`.
    pub async fn view(&self, what: &str) -> Json {
        let answer = tools::http().get(format!("{}/__simulator/{what}", self.url())).send().await;
        answer.expect("the simulator answers").json().await.expect("the simulator's view is JSON")
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.ports[0])
    }

    fn dir(&self) -> std::path::PathBuf {
        self.state.path().join("org")
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Child>> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Org {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Below those that outgoing connections may have, so that it finds them again after it was killed. Of the three that listen at
/// the same time, none is the same.
fn free_ports() -> [u16; 3] {
    let free = || (0..100).find_map(|_| TcpListener::bind(("127.0.0.1", rand::random_range(10_000..=32_000))).ok());
    let listeners = [(); 3].map(|()| free().expect("a free port"));
    listeners.map(|listener| listener.local_addr().expect("a bound socket has an address").port())
}
