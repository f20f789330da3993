//! `leadline simulator`: a Salesforce org on loopback, alone.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use clap::Args;
use leadline_simulator::{Config, Load, Simulator as Org};

use crate::{
    dev::parts::GENERATED_RECORDS,
    error::{CliError, Result},
    settings, shutdown,
};

/// Run the Salesforce simulator alone (for development; loopback only)
#[derive(Debug, Args)]
pub struct Simulator {
    /// Directory that keeps the org
    #[arg(long, env = "LEADLINE_SIMULATOR_DIR", default_value = ".leadline/simulator", value_name = "DIR")]
    org_dir: PathBuf,
    /// Plain HTTP; port 0 takes a free one, here and below
    #[arg(long, env = "LEADLINE_SIMULATOR_PORT", default_value_t = 7220)]
    port: u16,
    /// HTTPS
    #[arg(long, env = "LEADLINE_SIMULATOR_HTTPS_PORT", default_value_t = 7221, value_name = "PORT")]
    https_port: u16,
    /// HTTP CONNECT proxy, for clients that insist on login.salesforce.com
    #[arg(long, env = "LEADLINE_SIMULATOR_PROXY_PORT", default_value_t = 7222, value_name = "PORT")]
    proxy_port: u16,
    /// Serve a CSV file (plain or gzipped) as this object, instead of generated records
    #[arg(long = "load", value_name = "OBJECT=FILE", value_parser = load)]
    loads: Vec<Load>,
    /// Records of the generated org
    #[arg(long, default_value_t = GENERATED_RECORDS, value_name = "N")]
    records: u64,
    /// Seed of the generated org [default: the simulator's own]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// API calls in 24 hours, after which every call is refused
    #[arg(long, env = "LEADLINE_SIMULATOR_DAILY_CALLS", default_value_t = 1_000_000, value_name = "N")]
    daily_calls: u64,
    /// Seconds that a Bulk job waits before it runs
    #[arg(long, env = "LEADLINE_SIMULATOR_BULK_DELAY", default_value = "0.02", value_parser = settings::seconds, value_name = "SECONDS")]
    bulk_delay: Duration,
}

fn load(text: &str) -> Result<Load, String> {
    let (object, path) = text.split_once('=').ok_or("write it as Object=file.csv.gz")?;
    Ok(Load { object: object.to_owned(), path: PathBuf::from(path) })
}

impl Simulator {
    pub async fn run(self) -> Result<()> {
        let stop = shutdown::token()?;
        let failed = |error: leadline_simulator::SimulatorError| CliError::part("simulator", &error);
        let running = Org::start(self.config()).await.map_err(failed)?;
        for (object, records) in running.objects() {
            tracing::info!(object, records, "the org has");
        }
        tracing::info!(http = running.http_url, https = running.https_url, proxy = running.proxy_url, "simulator serves");
        stop.cancelled().await;
        running.stop().await;
        Ok(())
    }

    fn config(self) -> Config {
        let loopback = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let standard = Config::new(self.org_dir);
        Config {
            http_listen: loopback(self.port),
            https_listen: loopback(self.https_port),
            proxy_listen: loopback(self.proxy_port),
            loads: self.loads,
            records: self.records,
            seed: self.seed.unwrap_or(standard.seed),
            daily_api_requests: self.daily_calls,
            bulk_queue_delay: self.bulk_delay,
            ..standard
        }
    }
}
