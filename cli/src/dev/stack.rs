//! Starts the stack in the order in which its parts need each other, and stops it in the reverse order.

use std::path::PathBuf;

use clap::Args;
use leadline_store::{Store, StoreConfig, api_keys, migrate};
use tokio_util::sync::CancellationToken;
use url::Url;

use super::{
    child::{Part, Patience, Supervised},
    parts::{Credentials, OrgData, Parts},
    ports::{PortArgs, Ports, WhenTaken},
    ready::{self, Probe},
    state::{DatabaseUrls, DevFile, StateDir, StateLock},
    temporal,
};
use crate::{
    command::keys,
    error::{CliError, Result},
    settings::KeyringArgs,
};

/// How a dev stack is started.
#[derive(Debug, Clone, Args)]
pub struct StackArgs {
    /// Serve a CSV file (plain or gzipped) as this object of the simulated org, instead of generated records
    #[arg(long = "load", value_name = "OBJECT=FILE")]
    pub loads: Vec<String>,
    /// Records of the generated org [default: 50000]
    #[arg(long, value_name = "N")]
    pub records: Option<u64>,
    /// The Temporal server; the one that `make setup` builds when absent
    #[arg(long, env = "LEADLINE_TEMPORAL_BIN", value_name = "FILE")]
    pub temporal_bin: Option<PathBuf>,
    #[command(flatten)]
    pub ports: PortArgs,
}

/// A running stack.
pub struct Stack {
    pub file: DevFile,
    /// In the order of their start.
    children: Vec<Supervised>,
    state: StateDir,
    _lock: StateLock,
}

const PORTS: &str = "ports.json";
const DATABASE_CONNECTIONS: u32 = 2;

impl Stack {
    /// Starts everything and waits until it is ready. `say` hears what is being waited for. `None` when `stop` came first.
    ///
    /// # Errors
    /// What is missing, taken or broken, with what to do. Nothing is left running then.
    pub async fn start(
        args: &StackArgs,
        state: StateDir,
        when_taken: WhenTaken,
        stop: &CancellationToken,
        say: impl Fn(&str),
    ) -> Result<Option<Self>> {
        let lock = state.lock()?;
        // Of a run that came to a hard end: who looks for the stack must not find one that is gone.
        state.remove(DevFile::NAME)?;
        let org = OrgData::asked(&args.loads, args.records)?.settle(state.read(OrgData::FILE))?;
        let temporal = temporal::find(args.temporal_bin.as_deref())?;
        let ports: Ports = args.ports.choose(state.read(PORTS).as_ref(), when_taken)?;
        state.write_json(PORTS, &ports)?;
        let credentials = Credentials::load_or_create(&state)?;
        let parts = Parts { state: &state, ports: &ports, credentials: &credentials, org: &org, temporal };
        let mut children = Vec::new();
        let started = tokio::select! {
            started = start_parts(&parts, &mut children, &say) => started.and_then(|file| {
                state.write_json(OrgData::FILE, &org)?;
                state.write_json(DevFile::NAME, &file)?;
                Ok(Some(file))
            }),
            () = stop.cancelled() => Ok(None),
        };
        match started {
            Ok(Some(file)) => Ok(Some(Self { file, children, state, _lock: lock })),
            Ok(None) => {
                stop_children(children).await;
                Ok(None)
            }
            Err(error) => {
                stop_children(children).await;
                Err(error)
            }
        }
    }

    /// Stops everything, last started first.
    pub async fn stop(self) {
        // The file goes first: who looks for the stack from now on is told that there is none.
        if let Err(error) = self.state.remove(DevFile::NAME) {
            tracing::warn!(%error, "dev.json could not be removed");
        }
        stop_children(self.children).await;
    }
}

async fn stop_children(children: Vec<Supervised>) {
    for child in children.into_iter().rev() {
        child.stop().await;
    }
}

async fn start_parts(parts: &Parts<'_>, children: &mut Vec<Supervised>, say: &impl Fn(&str)) -> Result<DevFile> {
    let patience = Patience::default();
    let mut start = |part: Part| -> Result<()> {
        children.push(Supervised::start(part, patience)?);
        Ok(())
    };
    KeyringArgs::load_or_create(&parts.keyring_file())?;
    let url_file = parts.database_url_file();
    // Of an earlier run; the new one is the sign that this run's server is up.
    parts.state.remove(Parts::DATABASE_URL_FILE)?;
    // None of these four needs another, so they start side by side.
    start(parts.postgres())?;
    start(parts.temporal())?;
    start(parts.object_store())?;
    start(parts.simulator())?;
    let probes = [
        Probe::Database { url_file: url_file.clone() },
        Probe::Temporal { ui: parts.temporal_ui_url() },
        Probe::AnyAnswer { url: parts.object_store_url() },
        Probe::Healthy { url: simulator_health(parts)? },
    ];
    for (child, probe) in children.iter().zip(&probes) {
        say(child.part.name);
        ready::wait(child, probe, patience).await?;
    }
    say("schema");
    let database = prepare_database(parts, &url_file).await?;
    let file = parts.dev_file(database);
    for (part, url) in [(parts.api(&file.database), &file.api_url), (parts.worker(&file.database), &file.worker_url)] {
        say(part.name);
        let child = Supervised::start(part, patience)?;
        children.push(child);
        let child = children.last().expect("a child was just pushed");
        ready::wait(child, &Probe::Healthy { url: join(url, "health/ready")? }, patience).await?;
    }
    Ok(file)
}

fn simulator_health(parts: &Parts<'_>) -> Result<Url> {
    let base: Url = format!("http://127.0.0.1:{}", parts.ports.simulator).parse().expect("a port makes a URL");
    join(&base, "services/data/")
}

fn join(base: &Url, path: &str) -> Result<Url> {
    base.join(path).map_err(|error| CliError::part("address", &error))
}

/// Brings the schema up to date, and makes the operator's key where it is missing or no longer good.
async fn prepare_database(parts: &Parts<'_>, url_file: &PathBuf) -> Result<DatabaseUrls> {
    let owner = std::fs::read_to_string(url_file).map_err(|error| CliError::part("PostgreSQL's address", &error))?;
    let owner: Url = owner.trim().parse().map_err(|error: url::ParseError| CliError::part("PostgreSQL's address", &error))?;
    let credentials = parts.credentials;
    let passwords =
        migrate::RolePasswords { tenant: credentials.tenant_password.clone(), operator: credentials.operator_password.clone() };
    migrate::migrate(owner.as_str(), Some(&passwords)).await?;
    let urls = DatabaseUrls {
        tenant: of_role(&owner, migrate::TENANT_ROLE, &credentials.tenant_password),
        operator: of_role(&owner, migrate::OPERATOR_ROLE, &credentials.operator_password),
        owner,
    };
    let store = Store::connect(&StoreConfig {
        tenant_url: urls.tenant.to_string(),
        operator_url: urls.operator.to_string(),
        max_connections: DATABASE_CONNECTIONS,
        acquire_timeout: std::time::Duration::from_secs(10),
    })
    .await?;
    ensure_operator_key(parts.state, &store).await?;
    store.close().await;
    Ok(urls)
}

fn of_role(owner: &Url, role: &str, password: &str) -> Url {
    let mut url = owner.clone();
    let set = url.set_username(role).and_then(|()| url.set_password(Some(password)));
    set.expect("a database URL has a host, so it can have a user");
    url
}

async fn ensure_operator_key(state: &StateDir, store: &Store) -> Result<()> {
    let known = std::fs::read_to_string(state.join("operator.key")).ok().and_then(|text| text.trim().parse().ok());
    if let Some(key) = known
        && api_keys::authenticate(store, &key).await? == Some(api_keys::KeyScope::Operator)
    {
        return Ok(());
    }
    let key = keys::create(store, &api_keys::KeyScope::Operator, "operator of leadline dev", None).await?;
    state.write("operator.key", key.reveal().as_bytes())
}
