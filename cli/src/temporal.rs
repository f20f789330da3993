//! The connection of verbs that speak to Temporal themselves.

use std::time::Duration;

use leadline_worker::{DataConverter, WorkerConfig, WorkerError};
use temporalio_client::Client;

use crate::{
    client::TargetArgs,
    error::{CliError, Result},
    settings,
};

const CONNECT_WITHIN: Duration = Duration::from_secs(15);

/// A client, and the address that it speaks to.
///
/// # Errors
/// When Temporal's settings do not make sense, or nobody answers at its address.
pub async fn connect(target: &TargetArgs) -> Result<(Client, String)> {
    let (connection, namespace) = settings::temporal(target)?;
    let address = connection.target.to_string();
    let config = WorkerConfig::new(connection, namespace, DataConverter::default());
    match tokio::time::timeout(CONNECT_WITHIN, leadline_worker::connect(&config)).await {
        Ok(Ok(client)) => Ok((client, address)),
        Ok(Err(WorkerError::Connect { address, reason })) => Err(CliError::TemporalUnreachable { address, reason }),
        Ok(Err(error)) => Err(CliError::part("Temporal", &error)),
        Err(_) => Err(CliError::TemporalUnreachable { address, reason: "no answer in time".to_owned() }),
    }
}
