//! Health and metrics of a part that has no HTTP of its own: the worker.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    Json, Router,
    extract::State,
    http::{StatusCode, header},
    routing::get,
};
use leadline_api::Temporal;
use leadline_store::Store;
use leadline_telemetry::metrics;
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
    metrics::install();
    let routes = Router::new()
        .route("/health/live", get(|| async { Json(json!({"status": "live"})) }))
        .route("/health/ready", get(ready))
        .route("/metrics", get(|| async { ([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], metrics::page()) }))
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
