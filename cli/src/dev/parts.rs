//! The parts of the stack: which verb each runs, with which settings.

use std::{ffi::OsString, fmt, path::PathBuf};

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
    error::{CliError, Result},
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

/// Size of the generated org where nothing else is asked for.
pub const GENERATED_RECORDS: u64 = 50_000;

/// What the simulated org holds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrgData {
    /// `Object=file` pairs to serve instead of generated records.
    pub loads: Vec<String>,
    /// Size of the generated org; the simulator's default when absent.
    pub records: Option<u64>,
}

impl OrgData {
    /// Beside ports.json: what the org of this state directory is made of.
    pub const FILE: &str = "org.json";

    /// What the command line asks for, with the files' whole paths.
    pub fn asked(loads: &[String], records: Option<u64>) -> Result<Self> {
        Ok(Self { loads: absolute(loads)?, records })
    }

    /// The org that a state directory has by now, or the one that is asked for where it has none. Tenants are connected to it
    /// and learn from its records, so that it never turns into another one.
    ///
    /// # Errors
    /// When another org is asked for.
    pub fn settle(self, known: Option<Self>) -> Result<Self> {
        let Some(known) = known else { return Ok(self) };
        if self == Self::default() || (&self.loads, self.size()) == (&known.loads, known.size()) {
            return Ok(known);
        }
        Err(CliError::environment(
            format!("this state directory holds another org: {known}"),
            "leave --load and --records out to go on with it, or choose another --state-dir",
        ))
    }

    fn size(&self) -> u64 {
        self.records.unwrap_or(GENERATED_RECORDS)
    }
}

impl fmt::Display for OrgData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.loads.as_slice() {
            [] => write!(f, "{} generated records", self.size()),
            loads => write!(f, "{} and {} generated records", loads.join(", "), self.size()),
        }
    }
}

/// `Object=file` with the file's whole path: the simulator may run elsewhere, and the next run may be started elsewhere.
fn absolute(loads: &[String]) -> Result<Vec<String>> {
    let resolve = |load: &String| {
        let (object, file) = load.split_once('=').ok_or_else(|| {
            CliError::environment(format!("--load {load} names no file"), "write it as --load Object=file.csv.gz")
        })?;
        let path = std::fs::canonicalize(file)
            .map_err(|error| CliError::environment(format!("cannot read {file}: {error}"), "check the path after --load"))?;
        Ok(format!("{object}={}", path.display()))
    };
    loads.iter().map(resolve).collect()
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
    pub const DATABASE_URL_FILE: &'static str = "postgres.url";

    /// Where the child writes the owner's URL once its server is up.
    pub fn database_url_file(&self) -> PathBuf {
        self.state.join(Self::DATABASE_URL_FILE)
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
        let mut environment = self.service_environment(database);
        // The UI of the dev server cannot be told to show a key.
        let ui = ["127.0.0.1", "localhost"].map(|host| format!("http://{host}:{}", self.ports.temporal_ui));
        environment.extend([("LEADLINE_CODEC_ORIGINS", ui.join(",")), ("LEADLINE_CODEC_KEYLESS", "true".to_owned())]);
        self.part("api", arguments, environment)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_org_stays_what_it_was_and_says_so_to_who_asks_for_another() {
        let generated = |records| OrgData { loads: Vec::new(), records };
        let asked = |org: &OrgData, known: &OrgData| org.clone().settle(Some(known.clone()));
        let small = generated(Some(1000));
        assert_eq!(small.clone().settle(None).unwrap(), small);
        assert_eq!(asked(&generated(None), &small).unwrap(), small, "without flags it goes on");
        assert_eq!(asked(&generated(Some(GENERATED_RECORDS)), &generated(None)).unwrap(), generated(None));
        let refused = asked(&generated(Some(2000)), &small).unwrap_err().to_string();
        assert!(refused.contains("1000 generated records") && refused.contains("--state-dir"), "{refused}");
        let loaded = OrgData { loads: vec!["Lead=/a.csv".to_owned()], records: None };
        assert!(asked(&loaded, &generated(None)).is_err());
        assert_eq!(asked(&generated(None), &loaded).unwrap(), loaded);
    }
}
