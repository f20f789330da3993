//! The connection to Temporal.

use temporalio_client::{Client, ClientOptions, Connection};

use crate::{config::WorkerConfig, run::WorkerError};

/// Connects to the namespace.
///
/// # Errors
/// [`WorkerError::Connect`], with the address that was tried.
pub async fn connect(config: &WorkerConfig) -> Result<Client, WorkerError> {
    let refused = |reason: String| WorkerError::Connect { address: config.connection.target.to_string(), reason };
    let connection = Connection::connect(config.connection.clone()).await.map_err(|e| refused(e.to_string()))?;
    Client::new(connection, ClientOptions::new(&config.namespace).build()).map_err(|e| refused(e.to_string()))
}
