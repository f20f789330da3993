//! A private PostgreSQL cluster, for `leadline dev` and for tests: made from the system's binaries, on loopback only, with a
//! password of its own, and gone with the process that started it.
//!
//! PostgreSQL refuses to run as root. Under root, the cluster belongs to another account, and its directory lies where that
//! account can reach it (see `ground`).
//!
//! The postmaster runs under a small shell that holds the read end of a pipe. When this process lets go of the other end, by
//! [`RunningCluster::stop`] or because it was killed, the shell stops the postmaster: nothing is left behind.

mod error;
mod ground;
mod programs;

pub use error::ClusterError;

use std::{
    ffi::OsStr,
    fs::{self, File, OpenOptions},
    io::{ErrorKind, Read as _, Seek as _, SeekFrom},
    net::TcpListener,
    os::{fd::OwnedFd, unix::fs::OpenOptionsExt as _},
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::{Duration, Instant},
};

use nix::fcntl::{Flock, FlockArg};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, postgres::PgConnectOptions};
use tokio::process::Child;

use ground::Ground;
use programs::Programs;

type Result<T, E = ClusterError> = std::result::Result<T, E>;

/// Owner and superuser of the cluster.
const OWNER: &str = "leadline";
/// How often a starting postmaster is asked whether it is ready.
const READY_POLL: Duration = Duration::from_millis(50);
/// A fast stop writes a checkpoint; one that takes longer than this has hung.
const STOP_LIMIT: Duration = Duration::from_secs(60);

/// Runs `$2 ...`; stops it when standard input ends; then removes `$1` unless it is empty.
const SUPERVISOR: &str = r#"
exec 3<&0 </dev/null
remove=$1; shift
"$@" 3<&- & server=$!
( cat <&3 >/dev/null 2>&1; kill -INT $server 2>/dev/null ) & watch=$!
trap '' INT TERM HUP
wait $server; status=$?
kill $watch 2>/dev/null
if [ -n "$remove" ]; then rm -rf "$remove"; fi
exit $status
"#;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// As PostgreSQL is: what is committed survives a power failure.
    Durable,
    /// For tests: no fsync, and the directory is removed when the cluster stops.
    Disposable,
}

#[derive(Debug, Clone)]
pub struct ClusterConfig {
    /// Made when it is missing. Under root the cluster may have to lie elsewhere; see [`RunningCluster::directory`].
    pub directory: PathBuf,
    /// `None`: any free port.
    pub port: Option<u16>,
    /// Output of the postmaster, appended.
    pub log_file: PathBuf,
    pub durability: Durability,
    /// Recovery after a crash is part of the start.
    pub start_timeout: Duration,
}

impl ClusterConfig {
    /// A durable cluster in `directory` on any free port, logging into the directory's `postgres.log`.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        let directory = directory.into();
        let log_file = directory.join("postgres.log");
        Self { directory, port: None, log_file, durability: Durability::Durable, start_timeout: Duration::from_secs(60) }
    }

    /// A cluster for tests, in a new directory below the system's temporary one.
    pub fn disposable() -> Self {
        let directory = std::env::temp_dir().join(format!("leadline-pg-{}", leadline_domain::OperationId::random()));
        Self { durability: Durability::Disposable, ..Self::new(directory) }
    }
}

pub struct PrivateCluster;

/// A cluster that runs until this is dropped or stopped.
#[derive(Debug)]
pub struct RunningCluster {
    directory: PathBuf,
    port: u16,
    password: String,
    server: Server,
    _lock: Flock<File>,
}

impl PrivateCluster {
    /// Starts the cluster of a directory, after making it if it is new, and waits until it answers. A postmaster that an earlier
    /// run has left behind is stopped first.
    ///
    /// # Errors
    /// Each names what is wrong and what to do.
    pub async fn start(config: &ClusterConfig) -> Result<RunningCluster> {
        let programs = Programs::find().await?;
        let ground = Ground::claim(&config.directory)?;
        let lock = lock_directory(&ground)?;
        ground.stop_left_behind(&programs).await?;
        let password = ground.ensure_initialised(&programs, config.durability).await?;
        let mut attempt = 1;
        loop {
            let port = choose_port(config.port)?;
            match Server::start(config, &programs, &ground, port, &password).await {
                Ok(server) => {
                    return Ok(RunningCluster { directory: ground.directory, port, password, server, _lock: lock });
                }
                // Somebody took the free port between its choice and its use.
                Err(ClusterError::PortTaken { .. }) if config.port.is_none() && attempt < 5 => attempt += 1,
                Err(error) => return Err(error),
            }
        }
    }
}

impl RunningCluster {
    /// Where the cluster lies; not the configured directory when the account that runs it cannot reach that.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// URL of a database for the cluster's owner. Holds the password: not for logs.
    pub fn owner_url(&self, database: &str) -> String {
        self.url(OWNER, &self.password, database)
    }

    /// URL of a database for another role.
    pub fn url(&self, role: &str, password: &str, database: &str) -> String {
        format!("postgres://{role}:{password}@127.0.0.1:{}/{database}", self.port)
    }

    /// Makes a database unless it exists; returns its owner's URL. `name` has lower-case letters, digits and _ only.
    pub async fn ensure_database(&self, name: &str) -> Result<String> {
        debug_assert!(name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_'), "{name}");
        let failed = |source: sqlx::Error| ClusterError::Database { name: name.to_owned(), reason: source.to_string() };
        let mut connection = connect(self.port, &self.password).await.map_err(failed)?;
        let exists: bool = sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM pg_database WHERE datname = $1)")
            .bind(name)
            .fetch_one(&mut connection)
            .await
            .map_err(failed)?;
        if !exists {
            let create = AssertSqlSafe(format!("CREATE DATABASE {name}"));
            sqlx::raw_sql(create).execute(&mut connection).await.map_err(failed)?;
        }
        connection.close().await.map_err(failed)?;
        Ok(self.owner_url(name))
    }

    /// Waits until the postmaster has ended by itself, for whoever watches over it.
    pub async fn exited(&mut self) -> std::io::Result<ExitStatus> {
        self.server.supervisor.wait().await
    }

    /// Ends all connections, writes a checkpoint, and waits until the postmaster is gone.
    ///
    /// # Errors
    /// [`ClusterError::StopTimedOut`].
    pub async fn stop(mut self) -> Result<()> {
        self.server.lifeline = None;
        match tokio::time::timeout(STOP_LIMIT, self.server.supervisor.wait()).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(source)) => Err(ClusterError::io("wait for the postmaster of", &self.directory, source)),
            Err(_) => Err(ClusterError::StopTimedOut { directory: self.directory.clone() }),
        }
    }
}

/// The postmaster's supervisor, and what keeps it going.
#[derive(Debug)]
struct Server {
    supervisor: Child,
    /// The supervisor stops the postmaster when this end of its pipe is closed.
    lifeline: Option<OwnedFd>,
}

impl Server {
    async fn start(config: &ClusterConfig, programs: &Programs, ground: &Ground, port: u16, password: &str) -> Result<Self> {
        let mut log = open_log(&config.log_file)?;
        let log_start = log.seek(SeekFrom::End(0)).map_err(|source| ClusterError::io("read", &config.log_file, source))?;
        let mut server = Self::spawn(config, programs, ground, port, &log)?;
        match server.wait_until_ready(config.start_timeout, port, password).await {
            Ok(()) => Ok(server),
            Err(Unready::Exited) => Err(start_failure(&config.log_file, log_start, port)),
            Err(Unready::TimedOut) => {
                Err(ClusterError::StartTimedOut { log_file: config.log_file.clone(), seconds: config.start_timeout.as_secs() })
            }
        }
    }

    fn spawn(config: &ClusterConfig, programs: &Programs, ground: &Ground, port: u16, log: &File) -> Result<Self> {
        let failed = |source| ClusterError::io("start PostgreSQL in", &ground.directory, source);
        let mut command = ground.command(Path::new("/bin/sh"));
        command.args(["-c", SUPERVISOR, "leadline-postgres"]);
        command.arg(if config.durability == Durability::Disposable { ground.directory.as_os_str() } else { OsStr::new("") });
        command.arg(programs.path("postgres")).arg("-D").arg(ground.data());
        for setting in settings(port, config.durability) {
            command.arg("-c").arg(setting);
        }
        command.stdin(Stdio::piped());
        command.stdout(log.try_clone().map_err(failed)?).stderr(log.try_clone().map_err(failed)?);
        // A Ctrl-C in the terminal is for leadline, which stops its parts in order.
        command.process_group(0);
        let mut supervisor = command.spawn().map_err(failed)?;
        let lifeline = supervisor.stdin.take().map(|pipe| pipe.into_owned_fd()).transpose().map_err(failed)?;
        Ok(Self { supervisor, lifeline })
    }

    async fn wait_until_ready(&mut self, limit: Duration, port: u16, password: &str) -> Result<(), Unready> {
        let deadline = Instant::now() + limit;
        loop {
            if !matches!(self.supervisor.try_wait(), Ok(None)) {
                return Err(Unready::Exited);
            }
            if let Ok(connection) = connect(port, password).await {
                // Whether it is closed well does not matter to a fresh server.
                let _ = connection.close().await;
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(Unready::TimedOut);
            }
            tokio::time::sleep(READY_POLL).await;
        }
    }
}

enum Unready {
    Exited,
    TimedOut,
}

fn settings(port: u16, durability: Durability) -> Vec<String> {
    let mut settings = vec![
        format!("port={port}"),
        "listen_addresses=127.0.0.1".to_owned(),
        // The paths of sockets are limited to 107 bytes, and checkouts lie deep.
        "unix_socket_directories=".to_owned(),
        "max_connections=200".to_owned(),
        "timezone=UTC".to_owned(),
    ];
    if durability == Durability::Disposable {
        settings.extend(["fsync=off", "synchronous_commit=off", "full_page_writes=off"].map(str::to_owned));
    }
    settings
}

async fn connect(port: u16, password: &str) -> sqlx::Result<PgConnection> {
    let options = PgConnectOptions::new().host("127.0.0.1").port(port).username(OWNER).password(password).database("postgres");
    PgConnection::connect_with(&options).await
}

fn choose_port(wanted: Option<u16>) -> Result<u16> {
    let failed = |source: std::io::Error| match (source.kind(), wanted) {
        (ErrorKind::AddrInUse, Some(port)) => ClusterError::PortTaken { port },
        _ => ClusterError::NoPort(source),
    };
    let listener = TcpListener::bind(("127.0.0.1", wanted.unwrap_or(0))).map_err(failed)?;
    Ok(listener.local_addr().map_err(failed)?.port())
}

/// Keeps a second leadline off the directory until the file is closed, also by a crash.
fn lock_directory(ground: &Ground) -> Result<Flock<File>> {
    let path = ground.directory.join("lock");
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(&path)
        .map_err(|source| ClusterError::io("open", &path, source))?;
    Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|_| ClusterError::InUse { directory: ground.directory.clone() })
}

fn open_log(path: &Path) -> Result<File> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(|source| ClusterError::io("create", parent, source))?;
    }
    OpenOptions::new().create(true).append(true).read(true).open(path).map_err(|source| ClusterError::io("open", path, source))
}

/// What PostgreSQL itself said last about why it did not start.
fn start_failure(log_file: &Path, log_start: u64, port: u16) -> ClusterError {
    let mut said = String::new();
    let read = File::open(log_file).and_then(|mut log| {
        log.seek(SeekFrom::Start(log_start))?;
        log.read_to_string(&mut said)
    });
    if read.is_ok() && said.contains("Address already in use") {
        return ClusterError::PortTaken { port };
    }
    let last = said.lines().rev().find(|line| line.contains("FATAL") || line.contains("PANIC"));
    let reason = last.unwrap_or("it gave no reason").trim().to_owned();
    ClusterError::StartFailed { reason, log_file: log_file.to_owned() }
}
