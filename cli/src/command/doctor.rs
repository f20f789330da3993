//! `leadline doctor`: checks everything that leadline stands on, and says what to do about what is not as it should be.

use std::{fmt::Display, path::PathBuf, time::Duration};

use clap::Args;
use leadline_api::Temporal;
use leadline_lake::Lake;
use leadline_secrets::Keyring;
use leadline_store::{
    Store,
    cluster::{ClusterConfig, ClusterError, PrivateCluster},
    migrate,
};
use serde_json::json;
use url::Url;

use super::Context;
use crate::{
    client::{Client, TargetArgs, http},
    dev::{
        org::ConnectedApp,
        ports::{PortArgs, WhenTaken},
        state::{DevFile, StateDir},
        temporal,
    },
    error::{CliError, Result},
    output,
    settings::{self, DatabaseArgs, KeyringArgs, LakeArgs},
};

/// Check everything that leadline stands on, and say what to do about what is wrong
///
/// Looks at PostgreSQL and its schema, S3, Temporal, the key file, the API, and, where a dev stack runs, its programs and the
/// simulated org. Where nothing runs yet, it looks at what `leadline dev` will need. Exit code 1 when something is wrong.
#[derive(Debug, Args)]
pub struct Doctor {
    /// The Temporal server of dev stacks
    #[arg(long, env = "LEADLINE_TEMPORAL_BIN", value_name = "FILE")]
    temporal_bin: Option<PathBuf>,
    #[command(flatten)]
    ports: PortArgs,
    #[command(flatten)]
    database: DatabaseArgs,
    #[command(flatten)]
    lake: LakeArgs,
    #[command(flatten)]
    keyring: KeyringArgs,
}

/// One thing that was looked at.
struct Finding {
    what: &'static str,
    /// What was found, or what is wrong and what to do.
    verdict: Result<String, String>,
}

const LIMIT: Duration = Duration::from_secs(20);

impl Doctor {
    pub async fn run(self, context: &Context) -> Result<()> {
        let findings = match context.target.state().filter(StateDir::is_in_use) {
            None if !self.names_something(context) => self.before_the_first_start().await,
            running => self.services(context, running.is_some()).await,
        };
        let wrong = findings.iter().filter(|finding| finding.verdict.is_err()).count();
        if context.output.json {
            let rows: Vec<_> = findings.iter().map(Finding::json).collect();
            output::json(&json!({ "checks": rows }));
        } else {
            print(&findings);
        }
        if wrong == 0 {
            return Ok(());
        }
        Err(CliError::environment(format!("{wrong} of {} checks failed", findings.len()), "see what to do above"))
    }

    /// Whether flags or environment name anything that is to be looked at, be it only one of the services.
    fn names_something(&self, context: &Context) -> bool {
        let api = context.target.url.is_some() || context.target.key.is_some();
        api || self.database.is_named() || self.lake.is_named() || self.keyring.is_named() || settings::temporal_is_named()
    }

    /// What a dev stack is made from; a production host needs none of it.
    async fn before_the_first_start(&self) -> Vec<Finding> {
        let temporal = temporal::find(self.temporal_bin.as_deref()).map(|path| path.display().to_string());
        let ports = self.ports.choose(None, WhenTaken::Refuse).map(|_| "all free".to_owned());
        vec![
            Finding::new("PostgreSQL", within(check_private_cluster()).await),
            Finding::new("Temporal server program", temporal),
            Finding::new("ports of a dev stack", ports),
            Finding::new("dev stack", Ok::<_, String>("none runs here; `leadline dev` starts everything".to_owned())),
        ]
    }

    async fn services(&self, context: &Context, dev_runs: bool) -> Vec<Finding> {
        let mut findings = vec![Finding::new("key file", self.check_keyring(context))];
        match within(self.check_database(context)).await {
            Ok((reached, schema)) => {
                findings.push(Finding::new("PostgreSQL", Ok::<_, String>(reached)));
                findings.push(Finding::new("schema", schema));
            }
            Err(error) => findings.push(Finding::new("PostgreSQL", Err::<String, _>(error))),
        }
        findings.push(Finding::new("S3", within(self.check_lake(context)).await));
        findings.push(Finding::new("Temporal", within(check_temporal(&context.target)).await));
        if let Some(dev) = context.target.dev_file().filter(|_| dev_runs) {
            findings.push(Finding::new("simulated org", within(check_org(&dev)).await));
            findings.push(Finding::new("worker", within(check_health(&dev.worker_url)).await));
        }
        findings.push(Finding::new("API", within(check_api(context)).await));
        findings
    }

    fn check_keyring(&self, context: &Context) -> Result<String> {
        let keyring = self.keyring.load(&context.target)?;
        Ok(format!("{} keys, current {}", keyring.key_ids().count(), keyring.current_key_id()))
    }

    /// That both roles can connect, and whether the schema is this version's.
    async fn check_database(&self, context: &Context) -> Result<(String, Result<String>)> {
        let store: Store = self.database.connect(&context.target).await?;
        let version = migrate::schema_version(&store).await?;
        let schema = if version.is_current() {
            Ok(format!("version {}", version.found))
        } else {
            Err(CliError::environment(
                format!("version {}, and this leadline needs {}", version.found, version.needed),
                "run `leadline migrate`",
            ))
        };
        Ok(("both roles connect".to_owned(), schema))
    }

    async fn check_lake(&self, context: &Context) -> Result<String> {
        let failed = |error: leadline_lake::LakeError| CliError::part("object storage", &error);
        let lake = Lake::connect(&self.lake.config(&context.target)).map_err(failed)?;
        lake.check().await.map_err(failed)?;
        Ok(format!("bucket {}", lake.bucket()))
    }
}

/// Makes a cluster that is gone afterwards: the programs, the account they run under and the directories are all tried.
async fn check_private_cluster() -> Result<String> {
    let failed = |error: ClusterError| CliError::part("PostgreSQL", &error);
    let cluster = PrivateCluster::start(&ClusterConfig::disposable()).await.map_err(failed)?;
    cluster.stop().await.map_err(failed)?;
    Ok("a private cluster starts and stops".to_owned())
}

async fn check_temporal(target: &TargetArgs) -> Result<String> {
    let (connection, namespace) = settings::temporal(target)?;
    let address = connection.target.to_string();
    // A look at the namespace carries no payload: any key will do, and the key file is checked by itself.
    let keyring = Keyring::generate().map_err(|error| CliError::part("keyring", &error))?;
    let checked = Temporal::lazy(connection, &namespace, &keyring).check().await;
    checked.map_err(|failure| CliError::environment(failure.message, "check TEMPORAL_ADDRESS, its TLS and its API key"))?;
    Ok(format!("{address} namespace {namespace}"))
}

/// Signs in, as the worker does for every tenant.
async fn check_org(dev: &DevFile) -> Result<String> {
    let org = ConnectedApp::of_simulator(&dev.simulator.state_dir)?.client().await?;
    Ok(format!("org {}", org.org_id()))
}

async fn check_api(context: &Context) -> Result<String> {
    let client = Client::new(&context.target)?;
    check_health(client.base()).await?;
    client.get::<serde_json::Value>(&["v1", "operations"], &[("pageSize", "1".to_owned())]).await?;
    Ok(format!("{} ready, key accepted", client.base()))
}

async fn check_health(base: &Url) -> Result<String> {
    let url = base.join("health/ready").map_err(|error| CliError::part("address", &error))?;
    let answer = http(base)?
        .get(url)
        .send()
        .await
        .map_err(|_| CliError::Unreachable { url: base.to_string(), reason: "no connection".to_owned() })?;
    if answer.status().is_success() {
        return Ok(format!("{base} ready"));
    }
    Err(CliError::environment(format!("{base} answers {}", answer.status()), "see its log"))
}

async fn within<T>(check: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::time::timeout(LIMIT, check).await.unwrap_or_else(|_| {
        Err(CliError::environment(format!("no answer within {} s", LIMIT.as_secs()), "check that it runs and is reachable"))
    })
}

impl Finding {
    fn new(what: &'static str, verdict: Result<String, impl Display>) -> Self {
        Self { what, verdict: verdict.map_err(|error| error.to_string()) }
    }

    fn json(&self) -> serde_json::Value {
        let (Ok(detail) | Err(detail)) = &self.verdict;
        json!({"check": self.what, "ok": self.verdict.is_ok(), "detail": detail})
    }
}

fn print(findings: &[Finding]) {
    let mut table = output::table(["check", "", "detail"]);
    for Finding { what, verdict } in findings {
        match verdict {
            Ok(detail) => table.add_row([*what, "ok", detail]),
            Err(problem) => table.add_row([*what, "WRONG", problem]),
        };
    }
    output::print(&table);
}
