//! What the contenders stand on: a Temporal server in memory with the settings of `temporal-dev/`, and a disposable PostgreSQL
//! cluster. Both end with this process.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead as _, BufReader},
    net::{TcpListener, TcpStream},
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use leadline_secrets::Keyring;
use leadline_store::{
    Store, StoreConfig,
    cluster::{ClusterConfig, PrivateCluster, RunningCluster},
    migrate::{RolePasswords, migrate},
};
use leadline_tests::tools;
use serde::Deserialize;
use serde_json::Value as Json;
use tempfile::TempDir;

/// Says which process is the server, and stops it when standard input ends, however this process goes.
const GUARD: &str = r#""$@" >/dev/null & server=$!; echo $server; cat >/dev/null; kill $server; wait $server"#;
const READY_WITHIN: Duration = Duration::from_secs(60);
const DATABASE: &str = "sagas";

pub struct Ground {
    pub temporal: String,
    pub server: u32,
    pub postmaster: u32,
    pub store_config: StoreConfig,
    pub store: Store,
    pub keyring_file: PathBuf,
    pub files: TempDir,
    _cluster: RunningCluster,
    _guard: Guard,
}

/// How leadline wants its server.
#[derive(Deserialize)]
struct DevServer {
    search_attributes: BTreeMap<String, String>,
    dynamic_config: BTreeMap<String, Json>,
}

impl Ground {
    pub async fn lay() -> Result<Self> {
        let files = tempfile::Builder::new().prefix("leadline-bench-").tempdir()?;
        let (guard, server, temporal) = start_temporal()?;
        let passwords = RolePasswords { tenant: "tenant-of-bench".to_owned(), operator: "operator-of-bench".to_owned() };
        let cluster = PrivateCluster::start(&ClusterConfig::disposable()).await?;
        let owner_url = cluster.ensure_database(DATABASE).await?;
        migrate(&owner_url, Some(&passwords)).await?;
        let store_config = StoreConfig {
            tenant_url: cluster.url("leadline_tenant", &passwords.tenant, DATABASE),
            operator_url: cluster.url("leadline_operator", &passwords.operator, DATABASE),
            ..leadline_tests::ground::Ground::pools()
        };
        let pid_file = fs::read_to_string(cluster.directory().join("data/postmaster.pid")).context("read postmaster.pid")?;
        let postmaster = pid_file.lines().next().context("postmaster.pid is empty")?.trim().parse()?;
        let keyring_file = files.path().join("keys.json");
        Keyring::create(&keyring_file)?;
        let store = Store::connect(&store_config).await?;
        Ok(Self { temporal, server, postmaster, store_config, store, keyring_file, files, _cluster: cluster, _guard: guard })
    }
}

/// The server's shell. Its standard input is the life line.
struct Guard(Child);

impl Drop for Guard {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        // It ends by itself, also unwaited for.
        let _ = self.0.wait();
    }
}

fn start_temporal() -> Result<(Guard, u32, String)> {
    let settings = fs::read_to_string(tools::repository().join("temporal-dev/dev-server.json"))?;
    let settings: DevServer = serde_json::from_str(&settings)?;
    let port = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
    let mut command = Command::new("sh");
    command.args(["-c", GUARD, "guard"]).arg(tools::temporal());
    command.args(["server", "start-dev", "--headless", "--ip", "127.0.0.1", "--log-level", "never", "--port", &port.to_string()]);
    for (name, kind) in &settings.search_attributes {
        command.args(["--search-attribute", &format!("{name}={kind}")]);
    }
    for (name, value) in &settings.dynamic_config {
        command.args(["--dynamic-config-value", &format!("{name}={value}")]);
    }
    let mut guard = Guard(command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?);
    let mut line = String::new();
    BufReader::new(guard.0.stdout.take().context("a pipe")?).read_line(&mut line)?;
    let server = line.trim().parse().context("the guard names the server's process")?;
    let address = format!("127.0.0.1:{port}");
    let began = Instant::now();
    while TcpStream::connect(&address).is_err() {
        ensure!(began.elapsed() < READY_WITHIN, "the Temporal server does not listen on {address}");
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok((guard, server, address))
}
