//! The ports of the dev stack: a fixed set, so that links and bookmarks stay good, each of them overridable.

use std::{
    net::{Ipv4Addr, TcpListener},
    ops::RangeInclusive,
};

use clap::Args;
use serde::{Deserialize, Serialize};

use crate::error::{CliError, Result};

/// The ports that were asked for; 0 stands for any free one.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Ports (0 picks a free one)")]
pub struct PortArgs {
    /// REST and gRPC API [default: 7200]
    #[arg(long, env = "LEADLINE_API_PORT", value_name = "PORT")]
    pub api_port: Option<u16>,
    /// Temporal's gRPC frontend [default: 7233]
    #[arg(long, env = "LEADLINE_TEMPORAL_PORT", value_name = "PORT")]
    pub temporal_port: Option<u16>,
    /// Temporal's web UI [default: 8233]
    #[arg(long, env = "LEADLINE_TEMPORAL_UI_PORT", value_name = "PORT")]
    pub temporal_ui_port: Option<u16>,
    /// PostgreSQL [default: 7232]
    #[arg(long, env = "LEADLINE_POSTGRES_PORT", value_name = "PORT")]
    pub postgres_port: Option<u16>,
    /// Embedded S3 [default: 7210]
    #[arg(long, env = "LEADLINE_OBJECT_STORE_PORT", value_name = "PORT")]
    pub object_store_port: Option<u16>,
    /// Salesforce simulator, plain HTTP [default: 7220]
    #[arg(long, env = "LEADLINE_SIMULATOR_PORT", value_name = "PORT")]
    pub simulator_port: Option<u16>,
    /// Salesforce simulator, HTTPS [default: 7221]
    #[arg(long, env = "LEADLINE_SIMULATOR_HTTPS_PORT", value_name = "PORT")]
    pub simulator_https_port: Option<u16>,
    /// Salesforce simulator, HTTP CONNECT proxy [default: 7222]
    #[arg(long, env = "LEADLINE_SIMULATOR_PROXY_PORT", value_name = "PORT")]
    pub simulator_proxy_port: Option<u16>,
    /// The worker's health and metrics [default: 7201]
    #[arg(long, env = "LEADLINE_WORKER_PORT", value_name = "PORT")]
    pub worker_port: Option<u16>,
    /// Take free ports instead of the fixed set
    #[arg(long, env = "LEADLINE_FREE_PORTS")]
    pub free_ports: bool,
}

/// The ports of one run, all different and free when they were chosen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ports {
    pub api: u16,
    pub temporal: u16,
    pub temporal_ui: u16,
    pub postgres: u16,
    pub object_store: u16,
    pub simulator: u16,
    pub simulator_https: u16,
    pub simulator_proxy: u16,
    pub worker: u16,
}

/// What to do about a port of the fixed set that is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhenTaken {
    Refuse,
    /// Pick a free one and say so: for a show that should run on any machine.
    PickAnother,
}

/// One port that is to be chosen.
struct Wanted {
    part: &'static str,
    flag: &'static str,
    /// What the command line says.
    asked: Option<u16>,
    /// What this state directory used before.
    remembered: Option<u16>,
    default: u16,
    /// Tenants have stored it: whoever moves it says so.
    stored: bool,
}

impl PortArgs {
    /// Chooses every port, holding all of them until the last is chosen so that no two are the same.
    ///
    /// A state directory keeps the ports that it once had, unless the command line says otherwise: tenants remember where the
    /// simulated org is, and links where the Temporal UI was.
    ///
    /// # Errors
    /// The first port that is taken, with its flag.
    pub fn choose(&self, remembered: Option<&Ports>, when_taken: WhenTaken) -> Result<Ports> {
        let mut held = Vec::new();
        let mut choose = |part, flag, asked, of: fn(&Ports) -> u16, default| -> Result<u16> {
            let wanted =
                Wanted { part, flag, asked, remembered: remembered.map(of), default, stored: flag.starts_with("simulator-") };
            let listener = self.listen(&wanted, when_taken)?;
            let port = listener.local_addr().map_err(|error| wanted.taken(0, &error))?.port();
            held.push(listener);
            Ok(port)
        };
        Ok(Ports {
            api: choose("API", "api-port", self.api_port, |p| p.api, 7200)?,
            worker: choose("worker", "worker-port", self.worker_port, |p| p.worker, 7201)?,
            object_store: choose("embedded S3", "object-store-port", self.object_store_port, |p| p.object_store, 7210)?,
            simulator: choose("simulator", "simulator-port", self.simulator_port, |p| p.simulator, 7220)?,
            simulator_https: choose(
                "simulator HTTPS",
                "simulator-https-port",
                self.simulator_https_port,
                |p| p.simulator_https,
                7221,
            )?,
            simulator_proxy: choose(
                "simulator proxy",
                "simulator-proxy-port",
                self.simulator_proxy_port,
                |p| p.simulator_proxy,
                7222,
            )?,
            postgres: choose("PostgreSQL", "postgres-port", self.postgres_port, |p| p.postgres, 7232)?,
            temporal: choose("Temporal", "temporal-port", self.temporal_port, |p| p.temporal, 7233)?,
            temporal_ui: choose("Temporal UI", "temporal-ui-port", self.temporal_ui_port, |p| p.temporal_ui, 8233)?,
        })
    }

    fn listen(&self, wanted: &Wanted, when_taken: WhenTaken) -> Result<TcpListener> {
        let first_choice = match (wanted.asked, wanted.remembered) {
            (Some(0), Some(remembered)) => remembered,
            (Some(asked), _) => asked,
            (None, Some(remembered)) => remembered,
            (None, None) if self.free_ports => 0,
            (None, None) => wanted.default,
        };
        match listen(first_choice) {
            Ok(listener) => Ok(listener),
            Err(error) if wanted.stored && wanted.remembered == Some(first_choice) => Err(wanted.taken(first_choice, &error)),
            Err(_) if wanted.asked.unwrap_or(0) == 0 && (self.free_ports || wanted.asked.is_some()) => {
                listen(0).map_err(|error| wanted.taken(0, &error))
            }
            Err(_) if when_taken == WhenTaken::PickAnother && wanted.asked.is_none() => {
                eprintln!("port {first_choice} ({}) is taken: taking a free one", wanted.part);
                listen(0).map_err(|error| wanted.taken(0, &error))
            }
            Err(error) => Err(wanted.taken(first_choice, &error)),
        }
    }
}

impl Wanted {
    fn taken(&self, port: u16, error: &std::io::Error) -> CliError {
        let Self { part, flag, .. } = self;
        let advice = if self.stored && self.remembered == Some(port) {
            format!("stop what listens there: connected tenants know the org by this port (--{flag} moves it all the same)")
        } else {
            format!("stop what listens there, or choose another with --{flag} (0 picks a free one; --free-ports does so for all)")
        };
        CliError::environment(format!("cannot listen on 127.0.0.1:{port} for {part}: {error}"), advice)
    }
}

/// Where free ports are looked for: below those that the kernel lends to outgoing connections (from 32768 on, unless it is told
/// otherwise), one of which would take the port of a part that is just being started, or started again.
const FREE_PORTS: RangeInclusive<u16> = 10_000..=32_000;
const TRIES: usize = 100;

/// Listens on the port, or on any free one for 0.
fn listen(port: u16) -> std::io::Result<TcpListener> {
    let bind = |port| TcpListener::bind((Ipv4Addr::LOCALHOST, port));
    if port != 0 {
        return bind(port);
    }
    let found = (0..TRIES).find_map(|_| bind(rand::random_range(FREE_PORTS)).ok());
    found.map_or_else(|| bind(0), Ok)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Flags {
        #[command(flatten)]
        ports: PortArgs,
    }

    fn all(ports: &Ports) -> HashSet<u64> {
        let fields = serde_json::to_value(ports).unwrap();
        fields.as_object().unwrap().values().map(|port| port.as_u64().unwrap()).collect()
    }

    #[test]
    fn free_ports_are_all_different_and_stay_the_same_for_a_state_directory() {
        let flags = Flags::parse_from(["dev", "--free-ports"]).ports;
        let ports = flags.choose(None, WhenTaken::Refuse).unwrap();
        assert_eq!(all(&ports).len(), 9);
        assert!(
            all(&ports).iter().all(|port| (10_000..=32_000).contains(port)),
            "none that an outgoing connection may have: {ports:?}"
        );
        assert_eq!(flags.choose(Some(&ports), WhenTaken::Refuse).unwrap(), ports);
    }

    #[test]
    fn a_taken_port_is_named_with_its_flag_or_replaced() {
        let remembered = Flags::parse_from(["dev", "--free-ports"]).ports.choose(None, WhenTaken::Refuse).unwrap();
        let _blocker = listen(remembered.postgres).unwrap();
        let flags = Flags::parse_from(["dev"]).ports;
        let refused = flags.choose(Some(&remembered), WhenTaken::Refuse).unwrap_err().to_string();
        assert!(refused.contains(&remembered.postgres.to_string()) && refused.contains("--postgres-port"), "{refused}");
        assert_ne!(flags.choose(Some(&remembered), WhenTaken::PickAnother).unwrap().postgres, remembered.postgres);

        let _org = listen(remembered.simulator).unwrap();
        let moving = Flags::parse_from(["dev", "--free-ports", "--simulator-port", "0"]).ports;
        let refused = moving.choose(Some(&remembered), WhenTaken::PickAnother).unwrap_err().to_string();
        assert!(refused.contains("--simulator-port") && refused.contains("tenants"), "{refused}");

        let asked = Flags::parse_from(["dev", "--postgres-port", &remembered.postgres.to_string()]).ports;
        assert!(asked.choose(Some(&remembered), WhenTaken::PickAnother).is_err(), "a port that was asked for is not replaced");
    }
}
