//! `leadline object-store`: the embedded S3, for development and tests.

use std::{net::SocketAddr, path::PathBuf};

use clap::Args;
use leadline_lake::embedded::{EmbeddedConfig, serve};

use crate::{
    error::{CliError, Result},
    settings::LakeArgs,
    shutdown,
};

/// Run the embedded S3 alone (for development; loopback only)
#[derive(Debug, Args)]
pub struct ObjectStore {
    /// Where to listen; port 0 takes a free one
    #[arg(long, env = "LEADLINE_OBJECT_STORE_LISTEN", default_value = "127.0.0.1:7210", value_name = "ADDRESS")]
    listen: SocketAddr,
    /// Directory that holds the objects
    #[arg(long, env = "LEADLINE_OBJECT_STORE_ROOT", default_value = ".leadline/objects", value_name = "DIR")]
    root: PathBuf,
    #[arg(long, env = LakeArgs::ACCESS_KEY, hide_env_values = true, value_name = "KEY")]
    s3_access_key: String,
    #[arg(long, env = LakeArgs::SECRET_KEY, hide_env_values = true, value_name = "KEY")]
    s3_secret_key: String,
}

impl ObjectStore {
    pub async fn run(self) -> Result<()> {
        let stop = shutdown::token()?;
        let config = EmbeddedConfig {
            root: self.root,
            listen: self.listen,
            access_key: self.s3_access_key,
            secret_key: self.s3_secret_key,
        };
        let running = serve(config).await.map_err(|error| CliError::part("object store", &error))?;
        tracing::info!(listen = %running.addr(), "embedded S3 serves");
        stop.cancelled().await;
        running.stop().await;
        Ok(())
    }
}
