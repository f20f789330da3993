//! Whether the process lives, and whether it can do its work.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::{Json, extract::State, http::StatusCode};
use leadline_domain::Failure;
use leadline_store::Store;
use serde::Serialize;
use tokio_util::sync::CancellationToken;
use tonic_health::{ServingStatus, server::HealthReporter};
use tracing::warn;

use crate::temporal::Temporal;

/// Longest wait for one dependency.
const CHECK_TIMEOUT: Duration = Duration::from_secs(2);

/// Checks what the API stands on.
#[derive(Clone)]
pub struct Health {
    store: Store,
    temporal: Temporal,
    draining: Arc<AtomicBool>,
}

/// What `/health/ready` answers.
#[derive(Debug, Serialize)]
pub struct Readiness {
    /// `ready`, `draining` or `unready`.
    status: &'static str,
    database: &'static str,
    /// For information: operations are accepted while Temporal is away, and predictions never need it.
    temporal: &'static str,
}

impl Health {
    pub fn new(store: Store, temporal: Temporal) -> Self {
        Self { store, temporal, draining: Arc::default() }
    }

    /// From now on the process is not ready: whoever balances load sends nothing more.
    pub fn begin_draining(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    async fn database_answers(&self) -> bool {
        within(async { self.store.ping().await.map_err(Failure::from) }, "database").await
    }

    /// Tells the gRPC health service how things are. Called once before the first request, so that nobody is told `NOT_FOUND`.
    pub async fn report(&self, reporter: &HealthReporter) {
        let status = if self.database_answers().await { ServingStatus::Serving } else { ServingStatus::NotServing };
        set_all(reporter, status).await;
    }

    /// Keeps it up to date until `stop`.
    pub async fn keep_reporting(self, reporter: HealthReporter, interval: Duration, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                () = tokio::time::sleep(interval) => self.report(&reporter).await,
            }
        }
        set_all(&reporter, ServingStatus::NotServing).await;
    }
}

/// The server as a whole, and each service by its name.
async fn set_all(reporter: &HealthReporter, status: ServingStatus) {
    reporter.set_service_status("", status).await;
    for service in ["Tenants", "Exports", "TrainingRuns", "Models", "Predictions", "Operations"] {
        reporter.set_service_status(format!("leadline.v1.{service}"), status).await;
    }
}

/// The process answers at all.
pub async fn live() -> &'static str {
    "live\n"
}

pub async fn ready(State(health): State<Health>) -> (StatusCode, Json<Readiness>) {
    let (database, temporal) = tokio::join!(health.database_answers(), within(health.temporal.check(), "temporal"));
    let draining = health.draining.load(Ordering::Relaxed);
    let (code, status) = match (draining, database) {
        (true, _) => (StatusCode::SERVICE_UNAVAILABLE, "draining"),
        (false, true) => (StatusCode::OK, "ready"),
        (false, false) => (StatusCode::SERVICE_UNAVAILABLE, "unready"),
    };
    let word = |up| if up { "up" } else { "down" };
    (code, Json(Readiness { status, database: word(database), temporal: word(temporal) }))
}

async fn within(check: impl Future<Output = Result<(), Failure>>, name: &str) -> bool {
    match tokio::time::timeout(CHECK_TIMEOUT, check).await {
        Ok(Ok(())) => true,
        Ok(Err(failure)) => {
            warn!(dependency = name, code = %failure.code, reason = failure.message, "not reachable");
            false
        }
        Err(_) => {
            warn!(dependency = name, "no answer in time");
            false
        }
    }
}
