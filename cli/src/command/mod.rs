//! The verbs, one file each.

mod api;
pub mod consent;
mod deployment;
pub mod dev;
mod doctor;
mod drill;
mod explain;
mod export;
mod guard;
pub mod keys;
mod migrate;
pub mod model;
mod object_store;
mod operation;
mod parking;
mod postgres;
pub mod predict;
mod replay;
mod restore_operations;
mod secrets;
mod simulator;
mod tenant;
pub mod train;
mod worker;

use clap::{Args, Parser, Subcommand};
use leadline_domain::{Code, Failure, ids::TenantId};
use leadline_proto::v1::{ListTenantsResponse, Operation};
use leadline_telemetry::traces::Traces;
use serde::Serialize;

use crate::{
    client::{Answer, Client, TargetArgs},
    demo::Demo,
    error::{CliError, Result},
    follow,
    output::{self, OutputArgs},
    telemetry::{self, LogArgs},
};

/// Durable, multi-tenant machine learning for CRM data: one binary for everything
#[derive(Debug, Parser)]
#[command(name = "leadline", version, max_term_width = 120, after_help = EXIT_CODES)]
pub struct Cli {
    #[command(flatten)]
    log: LogArgs,
    #[command(flatten)]
    target: TargetArgs,
    #[command(flatten)]
    output: OutputArgs,
    #[command(subcommand)]
    command: Command,
}

const EXIT_CODES: &str = "Exit codes: 0 done; 1 this machine or the configuration is not as it should be; 2 wrong command line;\n\
    3 refused with a code (see `leadline explain CODE`), or a cancel that came too late; 4 the operation failed;\n\
    5 it was cancelled; 6 nobody answers;\n\
    7 it is parked; 8 a history does not replay; 130 interrupted";

#[derive(Debug, Subcommand)]
enum Command {
    Dev(Box<dev::Dev>),
    Demo(Box<Demo>),
    /// Connect orgs and see what state they are in
    #[command(subcommand)]
    Tenant(tenant::Tenant),
    /// Say what a tenant allows
    #[command(subcommand)]
    Consent(consent::Consent),
    /// Export records into a data set
    #[command(subcommand)]
    Export(export::Export),
    /// Train models
    #[command(subcommand)]
    Train(train::Train),
    /// Look at models and put them into production
    #[command(subcommand)]
    Model(model::Model),
    /// Ask for predictions
    #[command(subcommand)]
    Predict(predict::Predict),
    /// Watch and cancel what was started
    #[command(subcommand)]
    Operation(operation::Operation),
    /// Practise on an operation that waits for an operator
    #[command(subcommand)]
    Drill(drill::Drill),
    /// API keys
    #[command(subcommand)]
    Keys(keys::Keys),
    /// The keys that encrypt tenants' credentials
    #[command(subcommand)]
    Secrets(secrets::Secrets),
    Doctor(Box<doctor::Doctor>),
    Explain(explain::Explain),
    Api(Box<api::Api>),
    Worker(Box<worker::Worker>),
    /// See the builds of the workers, and put one into production
    #[command(subcommand)]
    Deployment(deployment::Deployment),
    Replay(replay::Replay),
    Migrate(migrate::Migrate),
    RestoreOperations(restore_operations::RestoreOperations),
    ObjectStore(object_store::ObjectStore),
    Simulator(simulator::Simulator),
    #[command(hide = true)]
    Postgres(postgres::Postgres),
    #[command(hide = true)]
    Guard(guard::Guard),
}

/// What every verb has at hand.
#[derive(Debug, Clone)]
pub struct Context {
    pub target: TargetArgs,
    pub output: OutputArgs,
}

impl Cli {
    /// Starts logs and, for the parts that serve, traces.
    ///
    /// # Errors
    /// When the `OTEL_*` environment does not make sense.
    pub fn start_telemetry(&self) -> Result<Option<Traces>> {
        telemetry::start(&self.log, self.command.default_log(), self.command.traced_as())
    }

    pub async fn run(self) -> Result<()> {
        let context = Context { target: self.target, output: self.output };
        match self.command {
            Command::Tenant(verb) => verb.run(&context).await,
            Command::Consent(verb) => verb.run(&context).await,
            Command::Export(verb) => verb.run(&context).await,
            Command::Train(verb) => verb.run(&context).await,
            Command::Model(verb) => verb.run(&context).await,
            Command::Predict(verb) => verb.run(&context).await,
            Command::Operation(verb) => verb.run(&context).await,
            Command::Drill(verb) => verb.run(&context).await,
            Command::Keys(verb) => verb.run(&context).await,
            Command::Secrets(verb) => verb.run(&context).await,
            Command::Dev(verb) => verb.run(&context).await,
            Command::Demo(verb) => verb.run(&context).await,
            Command::Doctor(verb) => verb.run(&context).await,
            Command::Explain(verb) => verb.run(&context),
            Command::Api(part) => part.run(&context).await,
            Command::Worker(part) => part.run(&context).await,
            Command::Deployment(verb) => verb.run(&context).await,
            Command::Replay(verb) => verb.run(&context).await,
            Command::Migrate(verb) => verb.run(&context).await,
            Command::RestoreOperations(verb) => verb.run(&context).await,
            Command::ObjectStore(part) => part.run().await,
            Command::Simulator(part) => part.run().await,
            Command::Postgres(part) => part.run().await,
            Command::Guard(part) => part.run().await,
        }
    }
}

impl Command {
    /// Parts say what they do; verbs only what goes wrong.
    fn default_log(&self) -> &'static str {
        match self {
            Self::Api(_) | Self::Worker(_) | Self::ObjectStore(_) | Self::Simulator(_) | Self::Postgres(_) | Self::Guard(_) => {
                "info"
            }
            // What does not replay is the answer itself; the SDK would say it once more, at length.
            Self::Replay(_) => "warn,temporalio_sdk=off,temporalio_sdk_core=off",
            _ => "warn",
        }
    }

    /// The service under which a part's spans appear; a verb sends none.
    fn traced_as(&self) -> Option<&'static str> {
        match self {
            Self::Api(_) => Some("leadline-api"),
            Self::Worker(_) => Some("leadline-worker"),
            _ => None,
        }
    }
}

/// How a verb starts an operation.
#[derive(Debug, Clone, Args)]
pub struct StartArgs {
    /// Wait for the end, with a progress bar
    #[arg(long)]
    pub follow: bool,
    /// Makes a repeated start safe: the same key answers with the same operation
    #[arg(long, value_name = "KEY")]
    pub idempotency_key: Option<String>,
}

/// How a list is cut.
#[derive(Debug, Clone, Args)]
pub struct PageArgs {
    /// Entries on a page, 1 to 500
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=500), value_name = "N")]
    pub page_size: u16,
    /// Go on after an earlier page
    #[arg(long, value_name = "TOKEN")]
    pub page_token: Option<String>,
}

impl PageArgs {
    pub fn query(&self) -> Vec<(&'static str, String)> {
        let mut query = vec![("pageSize", self.page_size.to_string())];
        query.extend(self.page_token.clone().map(|token| ("pageToken", token)));
        query
    }
}

impl Context {
    pub fn client(&self) -> Result<Client> {
        Client::new(&self.target)
    }

    /// Posts a start, shows the operation, and follows it when that was asked for.
    pub async fn start(&self, client: &Client, path: &[&str], body: &impl Serialize, args: &StartArgs) -> Result<()> {
        let made_up = random_key();
        let key = args.idempotency_key.as_deref().unwrap_or(&made_up);
        let started: Answer<Operation> = client.post(path, body, Some(key)).await?;
        if !args.follow {
            self.show(&started, operation::print);
            return Ok(());
        }
        if !self.output.json {
            eprintln!("operation {} accepted", started.message.operation_id);
        }
        let ended = follow::to_end(client, &started.message.operation_id).await?;
        self.show(&ended, operation::print);
        follow::success(&ended.message)
    }

    /// Prints JSON or, for people, what `show` prints of the message.
    pub fn show<T>(&self, answer: &Answer<T>, show: impl FnOnce(&T)) {
        if self.output.json { output::json(&answer.json) } else { show(&answer.message) }
    }
}

/// A key that no other start will use.
pub fn random_key() -> String {
    format!("cli-{:032x}", rand::random::<u128>())
}

/// The id of a tenant that was named by its id or by its name.
pub async fn tenant_id(client: &Client, tenant: &str) -> Result<String> {
    if tenant.parse::<TenantId>().is_ok() {
        return Ok(tenant.to_owned());
    }
    let found: Answer<ListTenantsResponse> = client.get(&["v1", "tenants"], &[("name", tenant.to_owned())]).await?;
    let tenant_id = found.message.tenants.into_iter().next().map(|found| found.tenant_id);
    tenant_id.ok_or_else(|| no_tenant(tenant))
}

/// No tenant has this name.
pub fn no_tenant(name: &str) -> CliError {
    let message = format!("no tenant is called {name}: see `leadline tenant list` for those there are");
    Failure::new(Code::TenantNotFound, message).into()
}

/// Says that there is more, after a page for people.
pub fn hint_at_next_page(token: &str) {
    if !token.is_empty() {
        println!("\nmore: --page-token {token}");
    }
}
