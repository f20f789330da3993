//! The connection to Temporal.

use temporalio_client::{Client, ClientOptions, Connection, ConnectionOptions, GrpcCompression, errors::ClientConnectError};
use temporalio_common::telemetry::{TelemetryOptions, telemetry_init};

use crate::{config::WorkerConfig, run::WorkerError};

/// Opens a connection as all of leadline does: without gzip, the SDK's default, which takes processor time and makes nothing smaller
/// that is encrypted.
///
/// # Errors
/// When nobody answers at the address, or refuses.
pub async fn open_connection(mut options: ConnectionOptions) -> Result<Connection, ClientConnectError> {
    options.grpc_compression = GrpcCompression::None;
    Connection::connect(options).await
}

/// Connects to the namespace.
///
/// # Errors
/// [`WorkerError::Connect`], with the address that was tried.
pub async fn connect(config: &WorkerConfig) -> Result<Client, WorkerError> {
    connect_with(config, config.connection.clone()).await
}

/// The same with the calls and polls of the connection measured.
pub(crate) async fn connect_measured(config: &WorkerConfig, telemetry: &TelemetryOptions) -> Result<Client, WorkerError> {
    let measured = telemetry_init(telemetry.clone()).map_err(|e| refused(config, e.to_string()))?;
    let mut connection = config.connection.clone();
    connection.metrics_meter = measured.get_temporal_metric_meter();
    connect_with(config, connection).await
}

async fn connect_with(config: &WorkerConfig, options: ConnectionOptions) -> Result<Client, WorkerError> {
    let connection = open_connection(options).await.map_err(|e| refused(config, e.to_string()))?;
    let options = ClientOptions::new(&config.namespace).data_converter(config.converter.clone()).build();
    Client::new(connection, options).map_err(|e| refused(config, e.to_string()))
}

fn refused(config: &WorkerConfig, reason: String) -> WorkerError {
    WorkerError::Connect { address: config.connection.target.to_string(), reason }
}
