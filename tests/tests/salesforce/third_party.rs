//! Runs a scenario of a third-party client, in its own language, against a simulator of this process.
//!
//! The scripts beside this file use the clients as their users do, and print what they saw as one JSON object; the assertions are in
//! Rust. `tests/tools/install.sh` installs the clients, and `make test` calls it.

use std::path::Path;
use std::process::Stdio;

use leadline_simulator::{Config, Running, Simulator};
use leadline_tests::tools;
use serde_json::{Value as Json, json};
use tempfile::TempDir;
use tokio::process::Command;

/// A simulator with its state in a folder that goes when the test ends.
pub struct Org {
    pub running: Running,
    state: TempDir,
}

impl Org {
    pub async fn start(change: impl FnOnce(&mut Config)) -> Self {
        let state = tempfile::tempdir().expect("a folder for the org");
        let mut config = Config::new(state.path());
        config.records = 20_000;
        change(&mut config);
        let running = Simulator::start(config).await.expect("the simulator starts");
        Self { running, state }
    }

    pub async fn inject(&self, fault: Json) {
        leadline_salesforce::tls::install_default_provider();
        let url = format!("{}/__simulator/faults", self.running.http_url);
        let answer = reqwest::Client::new().post(url).json(&fault).send().await.expect("the simulator answers");
        assert_eq!(answer.status(), 201, "{fault}");
    }

    pub async fn python(&self, scenario: &str) -> Json {
        self.run(&tools::client("python/bin/python"), "simple_salesforce.py", scenario).await
    }

    pub async fn node(&self, scenario: &str) -> Json {
        self.run(&tools::client("node"), "jsforce.mjs", scenario).await
    }

    async fn run(&self, interpreter: &Path, script: &str, scenario: &str) -> Json {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/salesforce").join(script);
        let setting = json!({
            "httpUrl": self.running.http_url,
            "httpsUrl": self.running.https_url,
            "stateDir": self.state.path(),
            "modules": tools::client("node_modules"),
        });
        let output = Command::new(interpreter)
            .arg(&script)
            .arg(scenario)
            .arg(setting.to_string())
            .env("REQUESTS_CA_BUNDLE", &self.running.ca_pem)
            .env("HTTPS_PROXY", &self.running.proxy_url)
            .env_remove("NO_PROXY")
            .env_remove("no_proxy")
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output()
            .await
            .expect("the interpreter starts");
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{scenario} failed:\n{out}\n{err}");
        let last = out.trim().lines().last().unwrap_or_default();
        serde_json::from_str(last)
            .unwrap_or_else(|error| panic!("{scenario} printed no JSON object last ({error}):\n{out}\n{err}"))
    }
}
