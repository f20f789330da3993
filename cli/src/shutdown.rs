//! When a part has to stop: on SIGTERM, SIGHUP or Ctrl-C, and, as a child of `leadline dev`, when its parent is gone.
//!
//! The supervisor holds the write end of each child's standard input and never writes to it. The kernel closes that end however
//! the supervisor ends, SIGKILL included, so the end of input is the one sign of an orphan that cannot be missed.

use std::io::Read;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::error::{CliError, Result};

/// Set in the environment of the supervisor's children.
pub const SUPERVISED: &str = "LEADLINE_SUPERVISED";

/// A token that is cancelled when this process has to stop. A second signal ends it at once.
pub fn token() -> Result<CancellationToken> {
    let token = CancellationToken::new();
    let listen = |kind| signal(kind).map_err(|error| CliError::part("signals", &error));
    let (mut interrupt, mut terminate) = (listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?);
    let mut hangup = listen(SignalKind::hangup())?;
    let stop = token.clone();
    tokio::spawn(async move {
        for signals in 0.. {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
                _ = hangup.recv() => {}
            }
            if signals > 0 {
                std::process::exit(130);
            }
            stop.cancel();
        }
    });
    if std::env::var_os(SUPERVISED).is_some() {
        stop_when_orphaned(token.clone());
    }
    Ok(token)
}

/// A thread of its own: a blocked read of standard input cannot be cancelled, and would hold up the runtime's shutdown.
fn stop_when_orphaned(token: CancellationToken) {
    std::thread::spawn(move || {
        let mut nothing = [0u8; 64];
        let mut input = std::io::stdin().lock();
        while matches!(input.read(&mut nothing), Ok(read) if read > 0) {}
        token.cancel();
    });
}
