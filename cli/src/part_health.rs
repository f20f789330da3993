//! Health and process metrics of a part that has no HTTP of its own: the worker.

use std::{fmt::Write as _, net::SocketAddr, sync::Arc, time::Duration};

use axum::{Json, Router, extract::State, http::StatusCode, routing::get};
use leadline_api::Temporal;
use leadline_store::Store;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::error::{CliError, Result};

/// Longest wait for one dependency.
const CHECK_LIMIT: Duration = Duration::from_secs(2);

/// What readiness depends on.
pub struct Dependencies {
    pub store: Store,
    pub temporal: Temporal,
    /// Once cancelled the part is no longer ready: it finishes what it has and takes nothing new.
    pub draining: CancellationToken,
}

/// Answers `/health/live`, `/health/ready` and `/metrics` until `stop`.
///
/// # Errors
/// When the address cannot be listened on.
pub async fn serve(listen: SocketAddr, dependencies: Dependencies, stop: CancellationToken) -> Result<()> {
    let listener = TcpListener::bind(listen).await.map_err(|error| {
        CliError::environment(
            format!("cannot listen on {listen} for health and metrics: {error}"),
            "choose another with --listen",
        )
    })?;
    let routes = Router::new()
        .route("/health/live", get(|| async { Json(json!({"status": "live"})) }))
        .route("/health/ready", get(ready))
        .route("/metrics", get(|| async { metrics() }))
        .with_state(Arc::new(dependencies));
    let serving = axum::serve(listener, routes).with_graceful_shutdown(stop.cancelled_owned());
    serving.await.map_err(|error| CliError::part("health", &error))
}

async fn ready(State(dependencies): State<Arc<Dependencies>>) -> (StatusCode, Json<Value>) {
    let database = tokio::time::timeout(CHECK_LIMIT, dependencies.store.ping()).await.is_ok_and(|ping| ping.is_ok());
    let temporal = tokio::time::timeout(CHECK_LIMIT, dependencies.temporal.check()).await.is_ok_and(|check| check.is_ok());
    let word = |up| if up { "up" } else { "down" };
    let status = match (dependencies.draining.is_cancelled(), database && temporal) {
        (true, _) => "draining",
        (false, true) => "ready",
        (false, false) => "unready",
    };
    let code = if status == "ready" { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (code, Json(json!({"status": status, "database": word(database), "temporal": word(temporal)})))
}

/// The process as Prometheus client libraries describe one (Linux only; empty elsewhere).
fn metrics() -> String {
    let mut text = String::new();
    let Ok(status) = std::fs::read_to_string("/proc/self/status") else { return text };
    let kilobytes = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim_start_matches(':').trim().trim_end_matches(" kB").trim().parse::<u64>().ok()
    };
    for (name, help, value) in [
        ("process_resident_memory_bytes", "Resident memory size in bytes.", kilobytes("VmRSS")),
        ("process_resident_memory_peak_bytes", "Largest resident memory size so far, in bytes.", kilobytes("VmHWM")),
    ] {
        if let Some(kilobytes) = value {
            // Writing into a String cannot fail.
            let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} gauge\n{name} {}", kilobytes * 1024);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_process_knows_its_own_memory() {
        let text = metrics();
        let value = text.lines().find_map(|line| line.strip_prefix("process_resident_memory_bytes ")).unwrap();
        assert!(value.parse::<u64>().unwrap() > 1 << 20, "{text}");
    }
}
