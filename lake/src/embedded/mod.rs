//! The S3 that `leadline dev` and the tests run: a loopback server over a directory.
//!
//! s3s speaks the protocol and checks signatures; the storage behind it is our own. s3s-fs 0.14.1 is not used: its conditional
//! puts are not atomic (of 20 at once, 10 succeeded), and its source shows more that no wrapper around it can mend. It names
//! side files after the whole key in base64, so that keys of some 150 bytes cannot be stored; it renames a body into place
//! before it has checked its digest; a failed completion destroys its upload; a multipart object keeps the checksums of the
//! object that it replaces; a listing reads the whole bucket and fails when a file vanishes meanwhile; `a` and `a/b` collide.
//!
//! State survives the end of the process, however it ends. It is not synced to disk: a power cut may lose or tear the last
//! objects, and a torn one is refused. File names keep their case, so the directory has to lie on a file system that does too.

mod body;
mod disk;
mod layout;
mod listing;
mod object;
mod service;
mod upload;

use std::{fmt, io, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use s3s::{
    auth::SimpleAuth,
    service::{S3Service, S3ServiceBuilder},
};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// How long [`Running::stop`] lets requests finish.
const GRACE: Duration = Duration::from_secs(5);
/// After a failed accept (no file descriptors left, mostly).
const ACCEPT_BACKOFF: Duration = Duration::from_millis(50);

#[derive(Clone)]
pub struct EmbeddedConfig {
    /// Created if missing. Only one server at a time may use it.
    pub root: PathBuf,
    /// Loopback; port 0 takes a free one.
    pub listen: SocketAddr,
    pub access_key: String,
    pub secret_key: String,
}

impl fmt::Debug for EmbeddedConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EmbeddedConfig").field("root", &self.root).field("listen", &self.listen).finish_non_exhaustive()
    }
}

/// Why the embedded S3 did not start.
#[derive(Debug, thiserror::Error)]
pub enum EmbeddedError {
    #[error("the embedded object storage listens on loopback addresses only, not on {0}")]
    NotLoopback(SocketAddr),
    #[error("the embedded object storage cannot open {root}: {source}", root = root.display())]
    Directory { root: PathBuf, source: io::Error },
    #[error("the embedded object storage cannot listen on {addr}: {source}")]
    Listen { addr: SocketAddr, source: io::Error },
}

/// A running server. Dropping it stops it without waiting.
#[derive(Debug)]
pub struct Running {
    addr: SocketAddr,
    stopping: CancellationToken,
    tasks: TaskTracker,
}

impl Running {
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Accepts no more, lets the requests under way finish for a few seconds, and returns once the directory is free again.
    pub async fn stop(self) {
        self.stopping.cancel();
        self.tasks.wait().await;
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stopping.cancel();
    }
}

/// Starts the server on the current runtime.
///
/// # Errors
/// [`EmbeddedError`] when the directory or the address cannot be used.
pub async fn serve(config: EmbeddedConfig) -> Result<Running, EmbeddedError> {
    if !config.listen.ip().is_loopback() {
        return Err(EmbeddedError::NotLoopback(config.listen));
    }
    let disk = disk::Disk::open(&config.root).map_err(|source| EmbeddedError::Directory { root: config.root.clone(), source })?;
    let listen_error = |source| EmbeddedError::Listen { addr: config.listen, source };
    let listener = TcpListener::bind(config.listen).await.map_err(listen_error)?;
    let addr = listener.local_addr().map_err(listen_error)?;

    let mut builder = S3ServiceBuilder::new(service::Service { disk: Arc::new(disk) });
    builder.set_auth(SimpleAuth::from_single(config.access_key, config.secret_key));
    let (stopping, tasks) = (CancellationToken::new(), TaskTracker::new());
    tasks.spawn(accept(listener, builder.build(), stopping.clone(), tasks.clone()));
    tasks.close();
    tracing::info!(%addr, "embedded object storage is up");
    Ok(Running { addr, stopping, tasks })
}

async fn accept(listener: TcpListener, service: S3Service, stopping: CancellationToken, tasks: TaskTracker) {
    while let Some(accepted) = stopping.run_until_cancelled(listener.accept()).await {
        match accepted {
            Ok((socket, _)) => drop(tasks.spawn(converse(socket, service.clone(), stopping.clone()))),
            Err(error) => {
                tracing::warn!(%error, "embedded object storage cannot accept a connection");
                tokio::time::sleep(ACCEPT_BACKOFF).await;
            }
        }
    }
}

async fn converse(socket: TcpStream, service: S3Service, stopping: CancellationToken) {
    if let Err(error) = socket.set_nodelay(true) {
        tracing::debug!(%error, "no TCP_NODELAY");
    }
    let server = auto::Builder::new(TokioExecutor::new());
    let connection = server.serve_connection(TokioIo::new(socket), service);
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stopping.cancelled() => {
            connection.as_mut().graceful_shutdown();
            tokio::time::timeout(GRACE, connection).await.unwrap_or(Ok(()))
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection to the embedded object storage broke off");
    }
}
