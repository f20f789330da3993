//! `leadline` as a process, against the server that the sagas of this binary run on.

use std::{
    path::Path,
    process::{Command, Output, Stdio},
    time::Duration,
};

use futures::TryStreamExt as _;
use leadline_tests::{scenario::Scenario, tools};
use leadline_worker::replay::{self, RunName};
use serde_json::Value as Json;

const LOOK_AGAIN: Duration = Duration::from_millis(100);
const WITHIN: Duration = Duration::from_secs(30);

/// Visibility follows with some delay.
pub async fn until_listed(scenario: &Scenario, query: &str, wanted: usize) -> Vec<RunName> {
    let look = async {
        loop {
            let listed: Vec<RunName> =
                replay::list(&scenario.temporal, query, None).try_collect().await.expect("runs are listed");
            if listed.len() == wanted {
                return listed;
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    };
    tokio::time::timeout(WITHIN, look).await.unwrap_or_else(|_| panic!("never {wanted} runs of {query}"))
}

/// What a process answered.
#[derive(Debug)]
pub struct Said {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Said {
    pub fn by(scenario: &Scenario, arguments: &[&str]) -> Self {
        Self::run(&scenario.ground.temporal, Some(&scenario.ground.keyring_file), arguments)
    }

    pub fn at(temporal: &str, arguments: &[&str]) -> Self {
        Self::run(temporal, None, arguments)
    }

    fn run(temporal: &str, keyring: Option<&Path>, arguments: &[&str]) -> Self {
        let nowhere = Path::new("/nonexistent");
        let Output { status, stdout, stderr } = Command::new(tools::leadline())
            .args(arguments)
            .envs(keyring.map(|file| ("LEADLINE_KEYRING", file)))
            .env("TEMPORAL_ADDRESS", temporal)
            .env("LEADLINE_STATE_DIR", nowhere)
            .env_remove("RUST_LOG")
            .stdin(Stdio::null())
            .output()
            .expect("the leadline binary starts");
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Self { code: status.code().expect("it ends by itself"), out: text(stdout), err: text(stderr) }
    }

    pub fn objects(&self) -> Vec<Json> {
        self.out
            .lines()
            .map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("one object a line: {self:?}")))
            .collect()
    }
}
