//! `leadline deployment`: the builds of the workers, and which of them takes new runs.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant, SystemTime},
};

use chrono::{DateTime, Utc};
use clap::{Args, Subcommand};
use leadline_domain::{Code, Failure};
use leadline_worker::deployment::{self, Build, DeploymentError, OpenRuns, Stand, Version, WORKER_QUEUE};
use serde_json::{Value, json};
use temporalio_client::Client;

use super::Context;
use crate::{
    error::{CliError, Result},
    output,
    settings::{self, DeploymentArgs},
    temporal,
};

const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Temporal is found by the standard TEMPORAL_* environment and profile file, TLS and API key included.
#[derive(Debug, Subcommand)]
pub enum Deployment {
    /// List the builds of the workers: how they stand, how many workers live, how many runs are pinned to them
    List {
        #[command(flatten)]
        deployment: DeploymentArgs,
    },
    /// Let a build take every new run; what runs already ends on the build that it began on
    ///
    /// Refused when no worker of the build polls every queue. To go back, promote the build before it.
    Promote(Promote),
    /// Wait until every run of a build has ended, so that its workers may be stopped
    ///
    /// Ends with 0 once the build takes no new run, Temporal calls it drained, and no open run is pinned to it. Temporal looks some
    /// minutes after the build was replaced for the first time. A parked run keeps its build: decide about it, or move it with
    /// `leadline operation move`.
    WaitDrained(WaitDrained),
}

#[derive(Debug, Args)]
pub struct Promote {
    /// Id of the build
    #[arg(value_parser = settings::build_id)]
    build_id: String,
    /// Let it take this percentage of new runs only; 0 ends a ramp
    #[arg(long, value_parser = percentage, value_name = "PERCENT")]
    ramp: Option<f32>,
    /// Seconds to wait for workers of the build
    #[arg(long, default_value = "0", value_parser = settings::seconds, value_name = "SECONDS")]
    wait: Duration,
    #[command(flatten)]
    deployment: DeploymentArgs,
}

#[derive(Debug, Args)]
pub struct WaitDrained {
    /// Id of the build
    #[arg(value_parser = settings::build_id)]
    build_id: String,
    /// Seconds after which to give up, with exit code 3; without it, never
    #[arg(long, value_parser = settings::seconds, value_name = "SECONDS")]
    timeout: Option<Duration>,
    #[command(flatten)]
    deployment: DeploymentArgs,
}

fn percentage(text: &str) -> Result<f32, String> {
    let percent: f32 = text.parse().map_err(|_| "write it as a number, such as 5 or 12.5")?;
    if (0.0..=100.0).contains(&percent) { Ok(percent) } else { Err("it is 0 to 100".to_owned()) }
}

impl Deployment {
    pub async fn run(self, context: &Context) -> Result<()> {
        let (client, address) = temporal::connect(&context.target).await?;
        let server = Server { client, address };
        match self {
            Self::List { deployment } => server.list(context, &deployment.deployment).await,
            Self::Promote(verb) => server.promote(context, verb).await,
            Self::WaitDrained(verb) => server.wait_drained(context, verb).await,
        }
    }
}

/// A build with all that is shown of it.
struct Row {
    build: Build,
    workers: BTreeSet<String>,
    runs: OpenRuns,
}

struct Server {
    client: Client,
    address: String,
}

impl Server {
    async fn list(&self, context: &Context, deployment: &str) -> Result<()> {
        let builds = deployment::builds(&self.client, deployment).await.map_err(|error| self.failed(error))?;
        let mut rows = Vec::new();
        for build in builds {
            rows.push(self.row(build).await?);
        }
        if context.output.json {
            let builds: Vec<_> = rows.iter().map(object).collect();
            output::json(&json!({ "deployment": deployment, "builds": builds }));
        } else {
            print(&rows);
        }
        Ok(())
    }

    async fn row(&self, build: Build) -> Result<Row> {
        let workers = self.workers(&build.version).await?;
        let runs = deployment::open_runs(&self.client, &build.version).await.map_err(|error| self.failed(error))?;
        Ok(Row { build, workers, runs })
    }

    async fn promote(&self, context: &Context, verb: Promote) -> Result<()> {
        let version = verb.deployment.version(&verb.build_id);
        // A ramp is ended because something is wrong, such as that the workers are gone.
        if verb.ramp != Some(0.0) {
            self.until_workers(&version, verb.wait).await?;
        }
        let promoted = match verb.ramp {
            None => deployment::set_current(&self.client, &version).await,
            Some(percent) => deployment::set_ramp(&self.client, &version, percent).await,
        };
        promoted.map_err(|error| self.failed(error))?;
        let row = self.row(self.build(&version).await?).await?;
        self.show(context, &row);
        Ok(())
    }

    async fn until_workers(&self, version: &Version, wait: Duration) -> Result<()> {
        let began = Instant::now();
        while self.workers(version).await?.is_empty() {
            if began.elapsed() >= wait {
                // An id that nobody knows is more likely mistyped than a worker that never came.
                self.build(version).await?;
                let message = format!("no worker of build {} polls every queue", version.build_id());
                return Err(Failure::new(Code::BuildWithoutWorkers, message).into());
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        Ok(())
    }

    async fn wait_drained(&self, context: &Context, verb: WaitDrained) -> Result<()> {
        let version = verb.deployment.version(&verb.build_id);
        let began = Instant::now();
        let mut told = None;
        loop {
            let build = self.build(&version).await?;
            if build.stand.takes_new_runs() {
                let message = format!("build {} is {}: it takes new runs", version.build_id(), build.stand.as_str());
                return Err(Failure::new(Code::BuildInUse, message).into());
            }
            let runs = deployment::open_runs(&self.client, &version).await.map_err(|error| self.failed(error))?;
            if build.stand != Stand::Draining && runs.all == 0 {
                let row = self.row(build).await?;
                self.show(context, &row);
                return Ok(());
            }
            if verb.timeout.is_some_and(|timeout| began.elapsed() >= timeout) {
                return Err(still_draining(&version, runs));
            }
            if told.replace(runs) != Some(runs) {
                eprintln!("build {}: {} open, {} of them parked", version.build_id(), runs.all, runs.parked);
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    async fn build(&self, version: &Version) -> Result<Build> {
        let found = deployment::build(&self.client, version).await.map_err(|error| self.failed(error))?;
        found.ok_or_else(|| {
            let message = format!("no worker of build {} has polled in deployment {}", version.build_id(), version.deployment());
            Failure::new(Code::BuildUnknown, message).into()
        })
    }

    async fn workers(&self, version: &Version) -> Result<BTreeSet<String>> {
        deployment::workers(&self.client, version, WORKER_QUEUE).await.map_err(|error| self.failed(error))
    }

    fn show(&self, context: &Context, row: &Row) {
        if context.output.json { output::json(&object(row)) } else { print(std::slice::from_ref(row)) }
    }

    fn failed(&self, error: DeploymentError) -> CliError {
        match error {
            DeploymentError::Unavailable(reason) => CliError::TemporalUnreachable { address: self.address.clone(), reason },
            DeploymentError::Unknown(_) => Failure::new(Code::BuildUnknown, error.to_string()).into(),
            DeploymentError::Refused(_) => CliError::part("Temporal", &error),
        }
    }
}

fn still_draining(version: &Version, runs: OpenRuns) -> CliError {
    let message = match runs.all {
        0 => format!("Temporal has not looked yet whether runs of build {} are open", version.build_id()),
        all => format!("{all} runs of build {} are open, {} of them parked", version.build_id(), runs.parked),
    };
    Failure::new(Code::BuildDraining, message).into()
}

fn print(rows: &[Row]) {
    let mut table = output::table(["build", "stands", "workers", "open runs", "parked", "since"]);
    for Row { build, workers, runs } in rows {
        let ramp = build.ramp_percentage.map(|percent| format!(", {percent} %")).unwrap_or_default();
        table.add_row([
            build.version.build_id().to_owned(),
            format!("{}{ramp}", build.stand.as_str()),
            workers.len().to_string(),
            runs.all.to_string(),
            runs.parked.to_string(),
            time(build.created_at).map(|time| time.format("%Y-%m-%d %H:%M:%SZ").to_string()).unwrap_or_default(),
        ]);
    }
    output::print(&table);
}

fn object(Row { build, workers, runs }: &Row) -> Value {
    json!({
        "buildId": build.version.build_id(),
        "stands": build.stand.as_str(),
        "rampPercentage": build.ramp_percentage,
        "workers": workers,
        "openRuns": runs.all,
        "parkedRuns": runs.parked,
        "createTime": time(build.created_at).map(|time| time.to_rfc3339_opts(chrono::SecondsFormat::Secs, true)),
    })
}

fn time(time: Option<SystemTime>) -> Option<DateTime<Utc>> {
    time.map(DateTime::from)
}
