//! The parts of the stack: which verb each runs, with which settings.

use std::{ffi::OsString, path::PathBuf};

use rand::distr::{Alphanumeric, SampleString};
use serde::{Deserialize, Serialize};
use url::Url;

use super::{
    child::Part,
    ports::Ports,
    state::{DatabaseUrls, DevFile, ObjectStore, SimulatorUrls, StateDir},
    temporal,
};
use crate::{
    error::Result,
    settings::{DatabaseArgs, KeyringArgs, LakeArgs},
};

/// Passwords and keys of one state directory, made once. On loopback, too, nobody else on the machine gets in.
#[derive(Clone, Serialize, Deserialize)]
pub struct Credentials {
    pub tenant_password: String,
    pub operator_password: String,
    pub s3_access_key: String,
    pub s3_secret_key: String,
}

impl Credentials {
    const FILE: &str = "credentials.json";

    pub fn load_or_create(state: &StateDir) -> Result<Self> {
        if let Some(known) = state.read(Self::FILE) {
            return Ok(known);
        }
        let secret = || Alphanumeric.sample_string(&mut rand::rng(), 40);
        let made = Self {
            tenant_password: secret(),
            operator_password: secret(),
            s3_access_key: "leadline-dev".to_owned(),
            s3_secret_key: secret(),
        };
        state.write_json(Self::FILE, &made)?;
        Ok(made)
    }
}

/// What the simulated org holds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrgData {
    /// `Object=file` pairs to serve instead of generated records.
    pub loads: Vec<String>,
    /// Size of the generated org; the simulator's default when absent.
    pub records: Option<u64>,
}

/// Builds the parts of one run.
pub struct Parts<'a> {
    pub state: &'a StateDir,
    pub ports: &'a Ports,
    pub credentials: &'a Credentials,
    pub org: &'a OrgData,
    pub temporal: PathBuf,
}

fn loopback(port: u16) -> Url {
    format!("http://127.0.0.1:{port}").parse().expect("a port makes a URL")
}

fn words(words: &[&str]) -> Vec<OsString> {
    words.iter().map(OsString::from).collect()
}

impl Parts<'_> {
    /// Where the child writes the owner's URL once its server is up.
    pub fn database_url_file(&self) -> PathBuf {
        self.state.join("postgres.url")
    }

    pub fn keyring_file(&self) -> PathBuf {
        self.state.join("keyring.json")
    }

    pub fn postgres(&self) -> Part {
        let mut arguments = words(&["postgres", "--port", &self.ports.postgres.to_string(), "--data-dir"]);
        arguments.extend([self.state.join("postgres").into(), "--url-file".into(), self.database_url_file().into()]);
        self.part("postgres", arguments, Vec::new())
    }

    pub fn temporal(&self) -> Part {
        let mut arguments = words(&["guard", "--"]);
        arguments.push(self.temporal.clone().into());
        arguments.extend(temporal::arguments(&self.state.join("temporal/server.db"), self.ports));
        self.part("temporal", arguments, Vec::new())
    }

    pub fn object_store(&self) -> Part {
        let mut arguments = words(&["object-store", "--listen", &self.loopback_address(self.ports.object_store), "--root"]);
        arguments.push(self.state.join("objects").into());
        self.part("object-store", arguments, self.s3_keys())
    }

    pub fn simulator(&self) -> Part {
        let mut arguments = words(&[
            "simulator",
            "--port",
            &self.ports.simulator.to_string(),
            "--https-port",
            &self.ports.simulator_https.to_string(),
            "--proxy-port",
            &self.ports.simulator_proxy.to_string(),
            "--org-dir",
        ]);
        arguments.push(self.simulator_dir().into());
        for load in &self.org.loads {
            arguments.extend([OsString::from("--load"), load.into()]);
        }
        if let Some(records) = self.org.records {
            arguments.extend([OsString::from("--records"), records.to_string().into()]);
        }
        self.part("simulator", arguments, Vec::new())
    }

    pub fn api(&self, database: &DatabaseUrls) -> Part {
        let arguments = words(&["api", "--listen", &self.loopback_address(self.ports.api)]);
        self.part("api", arguments, self.service_environment(database))
    }

    pub fn worker(&self, database: &DatabaseUrls) -> Part {
        let arguments = words(&["worker", "--listen", &self.loopback_address(self.ports.worker)]);
        let mut environment = self.service_environment(database);
        let on_one_machine = [
            // The simulator runs jobs at once; an org takes its time, and is asked less often.
            ("LEADLINE_BULK_POLL", "0.5"),
            // Ctrl-C is to end within seconds; what is cut off goes on with the next start.
            ("LEADLINE_WORKER_DRAIN", "5"),
        ];
        let unset = on_one_machine.into_iter().filter(|(name, _)| std::env::var_os(name).is_none());
        environment.extend(unset.map(|(name, value)| (name, value.to_owned())));
        self.part("worker", arguments, environment)
    }

    /// Where everything is reached, for the other verbs.
    pub fn dev_file(&self, database: DatabaseUrls) -> DevFile {
        let ports = self.ports;
        DevFile {
            pid: std::process::id(),
            api_url: loopback(ports.api),
            worker_url: loopback(ports.worker),
            temporal_address: self.loopback_address(ports.temporal),
            temporal_ui_url: self.temporal_ui_url(),
            database,
            object_store: ObjectStore {
                endpoint: self.object_store_url(),
                region: "us-east-1".to_owned(),
                bucket: "leadline".to_owned(),
                access_key: self.credentials.s3_access_key.clone(),
                secret_key: self.credentials.s3_secret_key.clone(),
            },
            simulator: SimulatorUrls {
                http: loopback(ports.simulator),
                https: format!("https://127.0.0.1:{}", ports.simulator_https).parse().expect("a port makes a URL"),
                proxy: loopback(ports.simulator_proxy),
                state_dir: self.simulator_dir(),
            },
            org: self.org.clone(),
            operator_key_file: self.state.join("operator.key"),
            keyring_file: self.keyring_file(),
        }
    }

    pub fn temporal_ui_url(&self) -> Url {
        loopback(self.ports.temporal_ui)
    }

    pub fn object_store_url(&self) -> Url {
        loopback(self.ports.object_store)
    }

    fn simulator_dir(&self) -> PathBuf {
        self.state.join("simulator")
    }

    fn loopback_address(&self, port: u16) -> String {
        format!("127.0.0.1:{port}")
    }

    fn s3_keys(&self) -> Vec<(&'static str, String)> {
        vec![
            (LakeArgs::ACCESS_KEY, self.credentials.s3_access_key.clone()),
            (LakeArgs::SECRET_KEY, self.credentials.s3_secret_key.clone()),
        ]
    }

    /// What API and worker are told; anywhere else an operator sets the same by hand.
    fn service_environment(&self, database: &DatabaseUrls) -> Vec<(&'static str, String)> {
        let mut environment = self.s3_keys();
        environment.extend([
            (DatabaseArgs::TENANT_URL, database.tenant.to_string()),
            (DatabaseArgs::OPERATOR_URL, database.operator.to_string()),
            (LakeArgs::ENDPOINT, self.object_store_url().to_string()),
            (LakeArgs::REGION, "us-east-1".to_owned()),
            (LakeArgs::BUCKET, "leadline".to_owned()),
            (LakeArgs::PATH_STYLE, "true".to_owned()),
            (KeyringArgs::FILE, self.keyring_file().display().to_string()),
            ("TEMPORAL_ADDRESS", self.loopback_address(self.ports.temporal)),
            ("TEMPORAL_NAMESPACE", "default".to_owned()),
            // The user's own profile, with its TLS and keys, is for another server.
            ("TEMPORAL_CONFIG_FILE", "/dev/null".to_owned()),
        ]);
        environment
    }

    fn part(&self, name: &'static str, arguments: Vec<OsString>, environment: Vec<(&'static str, String)>) -> Part {
        Part { name, arguments, environment, log: self.state.log(name) }
    }
}
