//! `leadline api`: the facade alone, against any PostgreSQL, S3 and Temporal.

use std::{
    net::SocketAddr,
    num::{NonZeroU32, NonZeroUsize},
    sync::Arc,
    time::Duration,
};

use clap::Args;
use leadline_api::{Api as Facade, ApiConfig, CodecConfig, RateLimit, Services, SweepConfig, Temporal};
use leadline_serving::{Predictor, ServingConfig};
use leadline_store::budgets;

use super::Context;
use crate::{
    error::{CliError, Result},
    settings::{self, BuildArgs, DatabaseArgs, KeyringArgs, LakeArgs},
    shutdown,
};

/// Run the API alone
///
/// gRPC and REST on one port. Holds no state: run as many as needed. Temporal is found by the standard TEMPORAL_* environment and
/// profile file, TLS and API key included; while it is away, operations are accepted and started later.
#[derive(Debug, Args)]
pub struct Api {
    /// Where to listen; port 0 takes a free one
    #[arg(long, env = "LEADLINE_LISTEN", default_value = "127.0.0.1:7200", value_name = "ADDRESS")]
    listen: SocketAddr,
    /// Largest request, in bytes
    #[arg(long, env = "LEADLINE_MAX_BODY_BYTES", default_value = "1048576", value_name = "BYTES")]
    max_body_bytes: NonZeroUsize,
    /// Seconds after which a request is given up
    #[arg(long, env = "LEADLINE_REQUEST_TIMEOUT", default_value = "30", value_parser = settings::seconds, value_name = "SECONDS")]
    request_timeout: Duration,
    /// Requests a second that one tenant may make for long
    #[arg(long, env = "LEADLINE_RATE_PER_SECOND", default_value = "500", value_name = "N")]
    rate_per_second: NonZeroU32,
    /// Requests that one tenant may make at once
    #[arg(long, env = "LEADLINE_RATE_BURST", default_value = "1000", value_name = "N")]
    rate_burst: NonZeroU32,
    /// Seconds that a revoked API key may live on
    #[arg(long, env = "LEADLINE_KEY_CACHE", default_value = "5", value_parser = settings::seconds, value_name = "SECONDS")]
    key_cache: Duration,
    /// Seconds that a stop waits for requests under way
    #[arg(long, env = "LEADLINE_API_DRAIN", default_value = "5", value_parser = settings::seconds, value_name = "SECONDS")]
    drain: Duration,
    /// Seconds between two looks for starts, cancels and decisions that did not reach Temporal
    #[arg(long, env = "LEADLINE_SWEEP_INTERVAL", default_value = "5", value_parser = settings::seconds, value_name = "SECONDS")]
    sweep_interval: Duration,
    /// Seconds after which an operation that should be running is compared with its run again
    #[arg(long, env = "LEADLINE_RECONCILE_AFTER", default_value = "30", value_parser = settings::seconds, value_name = "SECONDS")]
    reconcile_after: Duration,
    /// Failed attempts at one workflow task after which a run is shown as stuck
    #[arg(long, env = "LEADLINE_STUCK_AFTER", default_value_t = ApiConfig::default().sweep.stuck_after,
          value_parser = clap::value_parser!(i32).range(1..), value_name = "N")]
    stuck_after: i32,
    /// Calls to Salesforce that a tenant may make in a UTC day, as the workers are told
    #[arg(long, env = "LEADLINE_DAILY_API_CALLS", default_value_t = budgets::DAILY_CALLS, value_name = "N")]
    daily_api_calls: i64,
    /// Origins of Temporal UIs whose pages may use /codec from a browser, such as https://temporal.example.com
    #[arg(long, env = "LEADLINE_CODEC_ORIGINS", value_delimiter = ',', value_parser = settings::origin, value_name = "ORIGIN")]
    codec_origin: Vec<String>,
    /// Let pages of these origins decode without a key; on loopback only, for the Temporal UI of a dev stack
    #[arg(long, env = "LEADLINE_CODEC_KEYLESS", requires = "codec_origin")]
    codec_keyless: bool,
    #[command(flatten)]
    build: BuildArgs,
    #[command(flatten)]
    database: DatabaseArgs,
    #[command(flatten)]
    lake: LakeArgs,
    #[command(flatten)]
    keyring: KeyringArgs,
}

impl Api {
    pub async fn run(self, context: &Context) -> Result<()> {
        let stop = shutdown::token()?;
        let store = self.database.connect(&context.target).await?;
        let lake = self.lake.connect(&context.target).await?;
        let (connection, namespace) = settings::temporal(&context.target)?;
        let keyring = self.keyring.load(&context.target)?;
        let services = Services {
            predictor: Arc::new(Predictor::new(store.clone(), lake, ServingConfig::default())),
            temporal: Temporal::lazy(connection, namespace, &keyring),
            keyring: Arc::new(keyring),
            store,
        };
        let failed = |error: leadline_api::ApiError| CliError::part("API", &error);
        let facade = Facade::bind(self.config(), services).await.map_err(failed)?;
        facade.serve(stop.cancelled_owned()).await.map_err(failed)
    }

    fn config(&self) -> ApiConfig {
        let standard = ApiConfig::default();
        ApiConfig {
            listen: self.listen,
            max_body_bytes: self.max_body_bytes.get(),
            request_timeout: self.request_timeout,
            rate: RateLimit { per_second: self.rate_per_second, burst: self.rate_burst },
            key_cache: self.key_cache,
            drain: self.drain,
            daily_api_calls: self.daily_api_calls,
            sweep: SweepConfig {
                interval: self.sweep_interval,
                older_than: self.sweep_interval,
                reconcile_after: self.reconcile_after,
                stuck_after: self.stuck_after,
                ..standard.sweep
            },
            version: self.build.version(),
            codec: CodecConfig { origins: self.codec_origin.clone(), keyless: self.codec_keyless },
            ..standard
        }
    }
}
