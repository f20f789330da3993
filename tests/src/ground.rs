//! What all scenarios of this binary share: a Temporal server, a PostgreSQL cluster and a bucket. They end with the process.

use std::{
    io::{BufRead as _, BufReader},
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use leadline_domain::OperationId;
use leadline_lake::{Lake, LakeConfig, embedded};
use leadline_secrets::Keyring;
use leadline_store::{
    Store, StoreConfig,
    cluster::{ClusterConfig, PrivateCluster},
    migrate::{RolePasswords, migrate},
};
use sqlx::{Connection as _, PgConnection};
use tokio::{runtime::Runtime, sync::OnceCell};
use tracing_subscriber::EnvFilter;
use url::Url;

use crate::tools;

/// Runs `$2 ...` until standard input ends, which it does when the test process is gone, however it went; then removes `$1`.
const GUARD: &str = r#"files=$1; shift; "$@" & server=$!; cat > /dev/null; kill $server; wait $server; rm -rf "$files""#;
const READY_WITHIN: Duration = Duration::from_secs(60);
const DATABASE: &str = "sagas";

pub struct Ground {
    pub temporal: String,
    pub store_config: StoreConfig,
    /// Sees and may do everything.
    pub owner_url: String,
    pub lake_config: LakeConfig,
    pub lake: Lake,
    pub keyring_file: PathBuf,
    _runtime: Runtime,
}

static GROUND: OnceCell<Ground> = OnceCell::const_new();

/// The shared ground, laid at the first call.
pub async fn ground() -> &'static Ground {
    GROUND.get_or_init(|| async { tokio::task::spawn_blocking(lay).await.expect("the ground is laid") }).await
}

/// On a runtime of its own: each test's runtime ends with its test.
fn lay() -> Ground {
    leadline_salesforce::tls::install_default_provider();
    // `RUST_LOG=leadline=debug` shows what the worker says; without it the suite is quiet.
    drop(tracing_subscriber::fmt().with_env_filter(EnvFilter::from_default_env()).with_test_writer().try_init());
    let runtime = Runtime::new().expect("a runtime");
    let files = tempfile::Builder::new().prefix("leadline-sagas-").tempdir().expect("a temporary directory").keep();
    let temporal = start_temporal(&files);
    let (store_config, owner_url, lake_config, lake) = runtime.block_on(async {
        let passwords = RolePasswords { tenant: "tenant-of-tests".to_owned(), operator: "operator-of-tests".to_owned() };
        let cluster = PrivateCluster::start(&ClusterConfig::disposable()).await.expect("a disposable cluster");
        let owner_url = cluster.ensure_database(DATABASE).await.expect("a database");
        migrate(&owner_url, Some(&passwords)).await.expect("the migrations apply");
        let store_config = StoreConfig {
            tenant_url: cluster.url("leadline_tenant", &passwords.tenant, DATABASE),
            operator_url: cluster.url("leadline_operator", &passwords.operator, DATABASE),
            ..Ground::pools()
        };
        let config = embedded::EmbeddedConfig {
            root: files.join("bucket"),
            listen: ([127, 0, 0, 1], 0).into(),
            access_key: "tests".to_owned(),
            secret_key: "secret-of-tests".to_owned(),
        };
        let objects = embedded::serve(config).await.expect("the embedded S3 listens");
        let endpoint = format!("http://{}", objects.addr()).parse().expect("a URL");
        let lake_config = LakeConfig { endpoint: Some(endpoint), ..Ground::bucket() };
        let lake = Lake::connect(&lake_config).expect("the lake's settings are complete");
        lake.ensure_bucket().await.expect("a bucket");
        // They run until the process ends; the cluster's own guard sees that it ends with us.
        std::mem::forget(cluster);
        std::mem::forget(objects);
        (store_config, owner_url, lake_config, lake)
    });
    let keyring_file = files.join("keys.json");
    Keyring::create(&keyring_file).expect("a new keyring");
    Ground { temporal, store_config, owner_url, lake_config, lake, keyring_file, _runtime: runtime }
}

impl Ground {
    /// How many connections a store has; its addresses are to be filled in.
    pub fn pools() -> StoreConfig {
        StoreConfig {
            tenant_url: String::new(),
            operator_url: String::new(),
            max_connections: 12,
            acquire_timeout: Duration::from_secs(10),
        }
    }

    /// The bucket; its address is to be filled in.
    pub fn bucket() -> LakeConfig {
        LakeConfig {
            endpoint: None,
            region: "us-east-1".to_owned(),
            bucket: "sagas".to_owned(),
            access_key: Some("tests".to_owned()),
            secret_key: Some("secret-of-tests".to_owned()),
            path_style: true,
        }
    }

    /// Where the database and the bucket listen.
    pub fn servers(&self) -> [SocketAddr; 2] {
        let database = self.store_config.tenant_url.parse().expect("a URL");
        [&database, self.lake_config.endpoint.as_ref().expect("the bucket is on loopback")].map(address)
    }

    /// Connections of the caller's own runtime to the database and the bucket that listen here.
    pub async fn through(&self, [database, bucket]: [SocketAddr; 2]) -> (Store, Lake) {
        let [tenant_url, operator_url] = [&self.store_config.tenant_url, &self.store_config.operator_url].map(|url| {
            let url: Url = url.parse().expect("a URL");
            at(url, database).to_string()
        });
        let pools = StoreConfig { tenant_url, operator_url, ..Self::pools() };
        let endpoint = self.lake_config.endpoint.clone().map(|url| at(url, bucket));
        let lake = Lake::connect(&LakeConfig { endpoint, ..Self::bucket() }).expect("complete settings");
        (Store::connect(&pools).await.expect("the database lets the roles in"), lake)
    }

    /// Connections of the caller's own runtime.
    pub async fn store(&self) -> Store {
        Store::connect(&self.store_config).await.expect("the database lets the roles in")
    }

    /// Ends the session that holds the lock of a step, as the database does by itself after it was idle for too long.
    pub async fn end_fence(&self, operation: &OperationId, step: &str) {
        let mut owner = PgConnection::connect(&self.owner_url).await.expect("the database lets its owner in");
        let ended: Vec<bool> = sqlx::query_scalar(
            "SELECT pg_terminate_backend(holder.pid) FROM step_ledger step JOIN pg_stat_activity holder ON holder.backend_xid = step.xmax
             WHERE step.operation_id = $1 AND step.step = $2",
        )
        .bind(operation.as_str())
        .bind(step)
        .fetch_all(&mut owner)
        .await
        .expect("the owner ends a session");
        assert_eq!(ended, [true], "one session holds the step's lock");
    }
}

fn address(url: &Url) -> SocketAddr {
    let port = url.port().expect("servers on loopback have ports");
    ([127, 0, 0, 1], port).into()
}

fn at(mut url: Url, address: SocketAddr) -> Url {
    url.set_port(Some(address.port())).expect("an address with a host takes a port");
    url
}

/// Starts a server in memory, whose guard removes `files` in the end; answers its address.
fn start_temporal(files: &Path) -> String {
    let port = TcpListener::bind(("127.0.0.1", 0)).and_then(|l| l.local_addr()).expect("a free port").port();
    let mut command = Command::new("sh");
    command.args(["-c", GUARD, "guard"]).arg(files).arg(tools::temporal()).args([
        "server",
        "start-dev",
        "--headless",
        "--ip",
        "127.0.0.1",
    ]);
    command.args(["--log-level", "never", "--port", &port.to_string()]);
    for attribute in ["LeadlineTenant", "LeadlineKind", "LeadlineState", "LeadlineReason"] {
        command.args(["--search-attribute", &format!("{attribute}=Keyword")]);
    }
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("sh starts");
    let output = child.stdout.take().expect("a pipe");
    std::thread::spawn(move || BufReader::new(output).lines().for_each(drop));
    // Its standard input is the life line: it stays open as long as this process lives.
    std::mem::forget(child);
    let address = format!("127.0.0.1:{port}");
    let began = Instant::now();
    while std::net::TcpStream::connect(&address).is_err() {
        assert!(began.elapsed() < READY_WITHIN, "the Temporal server does not listen on {address}");
        std::thread::sleep(Duration::from_millis(50));
    }
    address
}
