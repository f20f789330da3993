//! A Salesforce org on loopback: a server that answers clients as the vendor does, not a mock of their calls.
//!
//! It speaks OAuth (JWT bearer, password, client credentials), SOAP login, the REST API (describe, query, records, collections,
//! composite, limits), Bulk API 2.0 (query and ingest jobs), and receives leadline's Apex callbacks. Behind it is a real small database:
//! objects with typed fields, base rows on disk and a journal of every write, so that all of it survives a restart and an org of
//! any size costs no memory. The records come from a seeded process ([`generator`]) or from CSV files ([`csv_load`]).
//!
//! Three listeners on one org: plain HTTP, HTTPS under a certificate authority of its own, and an HTTP proxy for clients that
//! insist on `login.salesforce.com`. `/__simulator/` shows the org to people; faults are injected there, see [`faults`].
//!
//! Not here: Pub/Sub and change events, the metadata and tooling APIs, Bulk API v1, SOSL, sharing rules, and automation: no
//! triggers, no formula fields, and writing one field never moves another (a new `StageName` leaves `IsWon` as it is).

// A field's describe has more keys than `json!` expands within the default limit.
#![recursion_limit = "256"]

mod app;
mod auth;
mod bulk;
mod callbacks;
mod csv_load;
mod error;
mod faults;
mod generator;
mod http;
mod ids;
mod org;
mod schema;
mod soql;
mod state;
mod usage;

pub use auth::connected_app::ConnectedApp;
pub use error::SimulatorError;
pub use ids::RecordId;
pub use org::Load;

use app::{App, Urls};
use auth::sessions::Sessions;
use bulk::Jobs;
use callbacks::Callbacks;
use faults::Faults;
use http::query::Cursors;
use org::Org;
use std::fs::{File, TryLockError};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use usage::Usage;

/// How a simulator is started. [`Config::new`] has working values for everything.
#[derive(Debug, Clone)]
pub struct Config {
    /// Everything that must survive a restart; made if missing. One simulator at a time may use it.
    pub state_dir: PathBuf,
    /// Plain HTTP. Port 0 picks a free one, here and below.
    pub http_listen: SocketAddr,
    pub https_listen: SocketAddr,
    /// HTTP CONNECT proxy.
    pub proxy_listen: SocketAddr,
    /// Seed of the generated org: the same seed and size give the same records.
    pub seed: u64,
    /// Records of the generated org, split over its objects; two fifths are leads.
    pub records: u64,
    /// Files to serve as objects, in place of the generated objects of the same name.
    pub loads: Vec<Load>,
    /// A session ends after so much idleness. The vendor's default is two hours.
    pub session_timeout: Duration,
    /// API calls per rolling 24 hours, after which every call is refused with REQUEST_LIMIT_EXCEEDED.
    pub daily_api_requests: u64,
    /// Records per page of a REST query, unless the client asks for fewer. The vendor's is 2,000.
    pub rest_page_rows: usize,
    /// Records per Bulk result page when the client does not say `maxRecords`.
    pub bulk_page_rows: u64,
    /// How long a Bulk job waits in UploadComplete before it runs.
    pub bulk_queue_delay: Duration,
    /// The org's My Domain name: `instance_url` of a client that logs in through a vendor host is `https://{my_domain}.my.salesforce.com`.
    pub my_domain: String,
}

impl Config {
    pub fn new(state_dir: impl Into<PathBuf>) -> Self {
        let any_port = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        Self {
            state_dir: state_dir.into(),
            http_listen: any_port,
            https_listen: any_port,
            proxy_listen: any_port,
            seed: 20_250_630,
            records: 50_000,
            loads: Vec::new(),
            session_timeout: Duration::from_secs(7_200),
            daily_api_requests: 1_000_000,
            rest_page_rows: 2_000,
            bulk_page_rows: 100_000,
            bulk_queue_delay: Duration::from_millis(20),
            my_domain: "leadwell-dev-ed".to_owned(),
        }
    }
}

/// Starts simulators.
pub struct Simulator;

/// A simulator that is listening. Dropping it stops it without waiting; [`Running::stop`] waits.
pub struct Running {
    /// `http://127.0.0.1:{port}`: login and instance URL of clients that take any.
    pub http_url: String,
    pub https_url: String,
    /// For `HTTPS_PROXY`.
    pub proxy_url: String,
    /// The certificate to trust, PEM.
    pub ca_pem: PathBuf,
    /// The private key of the connected app, PEM, PKCS#8.
    pub private_key_pem: PathBuf,
    /// What a client needs to connect; also in `connected-app.json` in the state directory.
    pub connected_app: ConnectedApp,
    app: Arc<App>,
    tasks: Vec<JoinHandle<()>>,
    /// Held for as long as the state directory is in use.
    _lock: File,
}

impl Simulator {
    /// Opens the org (at the first start: makes it, a second or two for 50,000 records) and listens.
    ///
    /// # Errors
    /// [`SimulatorError`]: state that cannot be read or written, a file that cannot be loaded, an address that is taken.
    pub async fn start(config: Config) -> Result<Running, SimulatorError> {
        std::fs::create_dir_all(&config.state_dir).map_err(SimulatorError::file("making", &config.state_dir))?;
        let lock = lock(&config.state_dir)?;
        let (http, http_at) = bind(config.http_listen).await?;
        let (https, https_at) = bind(config.https_listen).await?;
        let (proxy, proxy_at) = bind(config.proxy_listen).await?;
        let urls =
            Urls { http: format!("http://{http_at}"), https: format!("https://{https_at}"), proxy: format!("http://{proxy_at}") };
        let runtime = tokio::runtime::Handle::current();
        let opened = tokio::task::spawn_blocking(move || {
            let _within = runtime.enter();
            open(config, urls)
        });
        let (app, tls) =
            opened.await.map_err(|error| SimulatorError::Crypto { what: "the org", reason: error.to_string() })??;
        let stop = app.stop.clone();
        Jobs::resume(&app);
        let tasks = vec![
            tokio::spawn(http::listen::run(http, None, app.clone(), stop.clone())),
            tokio::spawn(http::listen::run(https, Some(tls), app.clone(), stop.clone())),
            tokio::spawn(http::proxy::run(proxy, http_at, https_at, stop.clone())),
            tokio::spawn(flush_regularly(app.clone(), stop.clone())),
        ];
        let state_dir = &app.config.state_dir;
        Ok(Running {
            http_url: app.urls.http.clone(),
            https_url: app.urls.https.clone(),
            proxy_url: app.urls.proxy.clone(),
            ca_pem: state_dir.join(http::tls::CA_FILE),
            private_key_pem: state_dir.join(&app.connected_app.private_key_file),
            connected_app: app.connected_app.clone(),
            app,
            tasks,
            _lock: lock,
        })
    }
}

impl Running {
    /// Object names and their numbers of live records.
    pub fn objects(&self) -> Vec<(String, u64)> {
        self.app.org.tables().map(|table| (table.def.name.clone(), table.live_count())).collect()
    }

    /// Lets open requests end (five seconds at most), writes what is in memory, and releases the ports. A Bulk job that is under way
    /// is left, and begins again at the next start.
    pub async fn stop(mut self) {
        self.app.stop.cancel();
        for task in std::mem::take(&mut self.tasks) {
            if let Err(error) = task.await {
                tracing::warn!(%error, "a listener of the simulator ended badly");
            }
        }
        flush(&self.app);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.app.stop.cancel();
    }
}

fn lock(state_dir: &Path) -> Result<File, SimulatorError> {
    let path = state_dir.join("lock");
    let file = File::create(&path).map_err(SimulatorError::file("opening", &path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(SimulatorError::InUse { path: state_dir.display().to_string() }),
        Err(TryLockError::Error(error)) => Err(SimulatorError::file("locking", &path)(error)),
    }
}

async fn bind(address: SocketAddr) -> Result<(TcpListener, SocketAddr), SimulatorError> {
    let failed = |source| SimulatorError::Listen { address: address.to_string(), source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    Ok((listener, bound))
}

fn open(config: Config, urls: Urls) -> Result<(Arc<App>, tokio_rustls::TlsAcceptor), SimulatorError> {
    let dir = config.state_dir.clone();
    let unreadable = |source: std::io::Error| SimulatorError::file("reading", &dir)(source);
    let tls = http::tls::acceptor(&dir)?;
    let app = App {
        org: Org::open(&dir, config.seed, config.records, &config.loads)?,
        connected_app: ConnectedApp::open(&dir, &urls.http)?,
        sessions: Sessions::open(&dir, config.session_timeout).map_err(unreadable)?,
        faults: Faults::open(&dir).map_err(unreadable)?,
        usage: Usage::open(&dir).map_err(unreadable)?,
        jobs: Jobs::open(&dir)?,
        callbacks: Callbacks::open(&dir)?,
        cursors: Cursors::open(&dir)?,
        stop: CancellationToken::new(),
        config,
        urls,
    };
    Ok((Arc::new(app), tls))
}

async fn flush_regularly(app: Arc<App>, stop: CancellationToken) {
    let mut tick = tokio::time::interval(Duration::from_secs(1));
    loop {
        tokio::select! {
            _ = tick.tick() => {}
            () = stop.cancelled() => return,
        }
        if let Err(error) = app.usage.flush() {
            tracing::warn!(%error, "cannot write the usage counters");
        }
    }
}

fn flush(app: &App) {
    if let Err(error) = app.usage.flush().and_then(|()| app.sessions.flush()) {
        tracing::warn!(%error, "cannot write the simulator's counters and sessions");
    }
}
