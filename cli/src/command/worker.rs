//! `leadline worker`: runs the sagas and their steps, against any Temporal, PostgreSQL and S3.

use std::{net::SocketAddr, ops::RangeInclusive, path::PathBuf, sync::Arc, time::Duration};

use clap::{Args, builder::RangedU64ValueParser};
use leadline_activities::{HeavyPerTenant, Parts, Services, StepConfig};
use leadline_api::Temporal;
use leadline_salesforce::Options;
use leadline_serving::{Predictor, ServingConfig};
use leadline_store::budgets;
use leadline_worker::{LEAST_WORKFLOW_SLOTS, SLOTS_AT_MOST, Slots, Tuned, WorkerConfig, ensure_search_attributes};
use tokio_util::sync::CancellationToken;

use super::Context;
use crate::{
    error::{CliError, Result},
    part_health::{self, Dependencies},
    settings::{self, BuildArgs, DatabaseArgs, KeyringArgs, LakeArgs},
    shutdown,
};

/// Run the worker alone
///
/// Holds no state: run as many as needed. Temporal is found by the standard TEMPORAL_* environment and profile file, TLS and API
/// key included. On SIGTERM it takes nothing new and lets running steps end; what is cut off goes on elsewhere.
///
/// In production give each build its --build-id: what begins on a build's workers ends on them, and `leadline deployment promote`
/// says which build takes new runs.
#[derive(Debug, Args)]
pub struct Worker {
    /// Where health and metrics listen; port 0 takes a free one
    #[arg(long, env = "LEADLINE_WORKER_LISTEN", default_value = "127.0.0.1:7201", value_name = "ADDRESS")]
    listen: SocketAddr,
    /// Light steps at a time in any case; up to 200 while the machine has processors and memory to spare
    #[arg(long, env = "LEADLINE_LIGHT_SLOTS", default_value_t = Slots::default().light.at_least,
          value_parser = slots_within(1..=SLOTS_AT_MOST), value_name = "N")]
    light_slots: usize,
    /// Sagas' own tasks at a time in any case, up to 200 while the machine has processors and memory to spare; a fifth of the number
    /// are polls: raise it where Temporal is far away
    #[arg(long, env = "LEADLINE_WORKFLOW_SLOTS", default_value_t = Slots::default().workflow_tasks.at_least,
          value_parser = slots_within(LEAST_WORKFLOW_SLOTS), value_name = "N")]
    workflow_slots: usize,
    /// Exports at a time
    #[arg(long, env = "LEADLINE_EXTRACTION_SLOTS", default_value_t = Slots::default().extraction, value_name = "N")]
    extraction_slots: usize,
    /// Training runs at a time
    #[arg(long, env = "LEADLINE_COMPUTE_SLOTS", default_value_t = Slots::default().compute, value_name = "N")]
    compute_slots: usize,
    /// Exports of one tenant at a time, on all workers together: give every worker the same number
    #[arg(long, env = "LEADLINE_EXTRACTION_PER_TENANT", default_value_t = HeavyPerTenant::default().extraction,
          value_parser = clap::value_parser!(u32).range(1..), value_name = "N")]
    extraction_per_tenant: u32,
    /// Training runs of one tenant at a time, on all workers together
    #[arg(long, env = "LEADLINE_COMPUTE_PER_TENANT", default_value_t = HeavyPerTenant::default().compute,
          value_parser = clap::value_parser!(u32).range(1..), value_name = "N")]
    compute_per_tenant: u32,
    /// Seconds that running steps may go on after SIGTERM
    #[arg(long, env = "LEADLINE_WORKER_DRAIN", default_value = "20", value_parser = settings::seconds, value_name = "SECONDS")]
    drain: Duration,
    /// Seconds between two looks at a Bulk job
    #[arg(long, env = "LEADLINE_BULK_POLL", default_value = "5", value_parser = settings::seconds, value_name = "SECONDS")]
    bulk_poll: Duration,
    /// Rows of one Bulk results page, and so of one part
    #[arg(long, env = "LEADLINE_PAGE_ROWS", default_value_t = StepConfig::default().page_rows, value_name = "N")]
    page_rows: u32,
    /// Calls to Salesforce that a tenant may make in a UTC day
    #[arg(long, env = "LEADLINE_DAILY_API_CALLS", default_value_t = budgets::DAILY_CALLS, value_name = "N")]
    daily_api_calls: i64,
    /// Certificates (PEM) to trust for Salesforce beside the system's
    #[arg(long, env = "LEADLINE_SALESFORCE_CA", value_name = "FILE")]
    salesforce_ca: Option<PathBuf>,
    #[command(flatten)]
    build: BuildArgs,
    #[command(flatten)]
    database: DatabaseArgs,
    #[command(flatten)]
    lake: LakeArgs,
    #[command(flatten)]
    keyring: KeyringArgs,
}

impl Worker {
    pub async fn run(self, context: &Context) -> Result<()> {
        let stop = shutdown::token()?;
        let store = self.database.connect(&context.target).await?;
        let lake = self.lake.connect(&context.target).await?;
        let (connection, namespace) = settings::temporal(&context.target)?;
        let keyring = Arc::new(self.keyring.load(&context.target)?);
        let services = Services::new(Parts {
            predictor: Arc::new(Predictor::new(store.clone(), lake.clone(), ServingConfig::default())),
            keyring: Arc::clone(&keyring),
            config: self.step_config()?,
            store: store.clone(),
            lake,
        });
        let standard = Slots::default();
        let config = WorkerConfig {
            slots: Slots {
                workflow_tasks: Tuned { at_least: self.workflow_slots, ..standard.workflow_tasks },
                light: Tuned { at_least: self.light_slots, ..standard.light },
                extraction: self.extraction_slots,
                compute: self.compute_slots,
            },
            drain: self.drain,
            version: self.build.version(),
            ..WorkerConfig::new(connection.clone(), namespace.clone(), leadline_worker::data_converter(&keyring))
        };
        let failed = |error: leadline_worker::WorkerError| CliError::part("worker", &error);
        let client = leadline_worker::connect(&config).await.map_err(failed)?;
        match ensure_search_attributes(&client).await {
            Ok(added) if added.is_empty() => {}
            Ok(added) => tracing::info!(added = added.join(" "), "search attributes were added to the namespace"),
            // Temporal Cloud lets no client administer a namespace; there they were added by hand, or runs will show what is missing.
            Err(error) => tracing::warn!(%error, "search attributes could not be checked"),
        }
        let temporal = Temporal::lazy(connection, namespace, &keyring);
        let dependencies = Dependencies { store, temporal, draining: stop.clone() };
        let ended = CancellationToken::new();
        let health = part_health::serve(self.listen, dependencies, ended.clone());
        let working = async {
            let worked = leadline_worker::run(config, services, stop.cancelled_owned()).await.map_err(failed);
            // Health is answered to the end of the drain: whoever watches sees that it drains, and not that it is gone.
            ended.cancel();
            worked
        };
        tokio::try_join!(health, working).map(|_| ())
    }

    fn step_config(&self) -> Result<StepConfig> {
        let unreadable = |path: &PathBuf, error: std::io::Error| {
            CliError::environment(format!("cannot read {}: {error}", path.display()), "correct --salesforce-ca")
        };
        let extra = self.salesforce_ca.as_ref().map(|path| std::fs::read(path).map_err(|error| unreadable(path, error)));
        let standard = StepConfig::default();
        Ok(StepConfig {
            salesforce: Options { extra_root_certificates_pem: extra.transpose()?, ..standard.salesforce },
            job_poll: self.bulk_poll,
            page_rows: self.page_rows,
            heavy_per_tenant: HeavyPerTenant { extraction: self.extraction_per_tenant, compute: self.compute_per_tenant },
            daily_api_calls: self.daily_api_calls,
            fenced_calls: usize::try_from(self.database.max_connections() / 2).unwrap_or(1),
            ..standard
        })
    }
}

fn slots_within(range: RangeInclusive<usize>) -> RangedU64ValueParser<usize> {
    RangedU64ValueParser::new().range(*range.start() as u64..=*range.end() as u64)
}
