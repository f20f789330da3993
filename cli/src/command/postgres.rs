//! `leadline postgres`: the private PostgreSQL cluster of the dev stack, as a part of its own.

use std::{path::PathBuf, time::Duration};

use clap::Args;
use leadline_store::cluster::{ClusterConfig, ClusterError, Durability, PrivateCluster};

use crate::{
    dev::state::write_private,
    error::{CliError, Result},
    shutdown,
};

/// Run a private PostgreSQL cluster (for development; loopback only)
#[derive(Debug, Args)]
pub struct Postgres {
    /// Where the cluster lies; under root it may have to lie elsewhere
    #[arg(long, value_name = "DIR")]
    data_dir: PathBuf,
    /// Port; 0 takes a free one
    #[arg(long, default_value_t = 7232)]
    port: u16,
    /// Written with the owner's URL once the server answers, mode 0600
    #[arg(long, value_name = "FILE")]
    url_file: PathBuf,
}

const DATABASE: &str = "leadline";
/// A stop that never came (a SIGKILL, a power failure) leaves recovery to the next start.
const START_LIMIT: Duration = Duration::from_secs(120);

impl Postgres {
    pub async fn run(self) -> Result<()> {
        let stop = shutdown::token()?;
        let failed = |error: ClusterError| CliError::part("PostgreSQL", &error);
        let config = ClusterConfig {
            port: (self.port != 0).then_some(self.port),
            log_file: self.data_dir.join("postgres.log"),
            durability: Durability::Durable,
            start_timeout: START_LIMIT,
            directory: self.data_dir,
        };
        let mut cluster = PrivateCluster::start(&config).await.map_err(failed)?;
        let url = cluster.ensure_database(DATABASE).await.map_err(failed)?;
        write_private(&self.url_file, url.as_bytes())?;
        tracing::info!(port = cluster.port(), directory = %cluster.directory().display(), "PostgreSQL serves");
        tokio::select! {
            status = cluster.exited() => {
                let status = status.map_err(|error| CliError::part("PostgreSQL", &error))?;
                let log = config.log_file.display();
                Err(CliError::environment(format!("PostgreSQL ended by itself ({status})"), format!("see {log}")))
            }
            () = stop.cancelled() => cluster.stop().await.map_err(failed),
        }
    }
}
