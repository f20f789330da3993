//! The Temporal server of the dev stack: the binary that temporal-dev/ pins, with the arguments that dev-server.json asks for.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    path::{Path, PathBuf},
};

use serde::Deserialize;
use serde_json::Value;

use super::ports::Ports;
use crate::error::{CliError, Result};

const DEV_SERVER: &str = include_str!("../../../temporal-dev/dev-server.json");
const BUILT: &str = "temporal-dev/bin/temporal";
/// By default each transaction of the server waits for the disk. With these a power cut costs the last ones, and corrupts nothing.
const PRAGMAS: [&str; 2] = ["journal_mode=wal", "synchronous=normal"];

/// How leadline wants its server.
#[derive(Debug, Deserialize)]
struct DevServer {
    search_attributes: BTreeMap<String, String>,
    dynamic_config: BTreeMap<String, Value>,
}

/// Finds the program: the one that was named, else the one built in this checkout, else the one on the path.
pub fn find(named: Option<&Path>) -> Result<PathBuf> {
    if let Some(path) = named {
        return if path.is_file() {
            Ok(path.to_owned())
        } else {
            Err(CliError::environment(
                format!("there is no Temporal server at {}", path.display()),
                "correct --temporal-bin (LEADLINE_TEMPORAL_BIN), or leave it out",
            ))
        };
    }
    let here = std::env::current_dir().unwrap_or_default();
    let built = here.ancestors().map(|dir| dir.join(BUILT)).find(|path| path.is_file());
    built.or_else(|| on_path("temporal")).ok_or_else(|| {
        CliError::environment(
            "the Temporal server is not built",
            "run `make setup` in the checkout, or name a binary with --temporal-bin (LEADLINE_TEMPORAL_BIN)",
        )
    })
}

pub fn on_path(program: &str) -> Option<PathBuf> {
    std::env::split_paths(&std::env::var_os("PATH")?).map(|dir| dir.join(program)).find(|path| path.is_file())
}

/// The arguments of `temporal` that run the server on a file.
pub fn arguments(database: &Path, ports: &Ports) -> Vec<OsString> {
    let settings: DevServer = serde_json::from_str(DEV_SERVER).expect("dev-server.json is part of this source");
    let mut arguments: Vec<OsString> =
        ["server", "start-dev", "--ip", "127.0.0.1", "--log-format", "json", "--log-level", "warn"]
            .into_iter()
            .map(OsString::from)
            .collect();
    let mut option = |name: &str, value: OsString| arguments.extend([name.into(), value]);
    option("--db-filename", database.into());
    for pragma in PRAGMAS {
        option("--sqlite-pragma", pragma.into());
    }
    option("--port", ports.temporal.to_string().into());
    option("--ui-port", ports.temporal_ui.to_string().into());
    option("--ui-codec-endpoint", format!("http://127.0.0.1:{}/codec", ports.api).into());
    for (name, kind) in &settings.search_attributes {
        option("--search-attribute", format!("{name}={kind}").into());
    }
    for (name, value) in &settings.dynamic_config {
        option("--dynamic-config-value", format!("{name}={value}").into());
    }
    arguments
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_server_gets_its_search_attributes_and_fairness() {
        let ports: Ports = serde_json::from_str(
            r#"{"api":1,"temporal":7233,"temporal_ui":8233,"postgres":2,"object_store":3,
                "simulator":4,"simulator_https":5,"simulator_proxy":6,"worker":7}"#,
        )
        .unwrap();
        let arguments: Vec<_> =
            arguments(Path::new("t.db"), &ports).into_iter().map(|argument| argument.into_string().unwrap()).collect();
        let line = arguments.join(" ");
        for part in [
            "--ip 127.0.0.1",
            "--port 7233",
            "LeadlineTenant=Keyword",
            "matching.enableFairness=true",
            "--sqlite-pragma journal_mode=wal",
            "--ui-codec-endpoint http://127.0.0.1:1/codec",
        ] {
            assert!(line.contains(part), "{part} is missing in {line}");
        }
    }

    #[test]
    fn a_named_program_that_is_not_there_is_refused() {
        let refused = find(Some(Path::new("no/such/temporal"))).unwrap_err().to_string();
        assert!(refused.contains("--temporal-bin"), "{refused}");
    }
}
