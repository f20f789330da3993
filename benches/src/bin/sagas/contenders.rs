//! The workers that are measured, each a process of its own, so that its processor time can be told apart.

use std::{
    io::{BufRead as _, Write as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use leadline_activities::{Parts, Services, StepConfig};
use leadline_lake::{Lake, LakeConfig};
use leadline_secrets::Keyring;
use leadline_serving::{Predictor, ServingConfig};
use leadline_store::{Store, StoreConfig};
use leadline_tests::{ground::Ground as Tests, scenario::connection};
use leadline_worker::{DataConverter, Slots, Tuned, WorkerConfig, data_converter};
use leadline_workflows::{Lane, Limits};
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};
use temporalio_sdk::{WorkerOptions, runtime::PollerBehavior};

use crate::{ground::Ground, noops::NoOps};

/// Of each kind of task.
const FIXED_SLOTS: Tuned = Tuned { at_least: 50, at_most: 50 };
const FIXED_POLLERS: usize = 10;
/// How long a worker that was asked to stop may take.
const DRAIN: Duration = Duration::from_millis(200);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Contender {
    /// The saga core with activities that answer at once.
    LedgerOff,
    /// The saga as it is: its steps do next to nothing, each in the ledger.
    LedgerOn,
    /// The same workflow and activities that answer at once, in Temporal's Go SDK. It compresses what it sends, as it does by default.
    GoSdk,
    /// The same without compression, as leadline connects.
    GoSdkUncompressed,
}

impl Contender {
    pub const ALL: [Self; 4] = [Self::LedgerOff, Self::LedgerOn, Self::GoSdk, Self::GoSdkUncompressed];

    pub fn name(self) -> &'static str {
        match self {
            Self::LedgerOff => "leadline, ledger off",
            Self::LedgerOn => "leadline, ledger on",
            Self::GoSdk => "Go SDK",
            Self::GoSdkUncompressed => "Go SDK, no compression",
        }
    }

    pub fn is_leadline(self) -> bool {
        matches!(self, Self::LedgerOff | Self::LedgerOn)
    }
}

/// Whether the workers' polls and slots are tuned while they run, as leadline's are in production, or fixed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Tuning {
    On,
    Off,
}

/// What a worker of leadline's is told, on one line of its standard input. When that input ends, so does the process.
#[derive(Serialize, Deserialize)]
struct Spec {
    contender: Contender,
    tuning: Tuning,
    temporal: String,
    queue: String,
    tenant_url: String,
    operator_url: String,
    keyring_file: PathBuf,
}

/// Builds the Go worker; answers its program.
pub fn build_go(into: &Path) -> Result<PathBuf> {
    let program = into.join("go-worker");
    let module = Path::new(env!("CARGO_MANIFEST_DIR")).join("go");
    let built = Command::new("go").args(["build", "-o"]).arg(&program).arg(".").current_dir(module).status();
    ensure!(built.context("start go; make setup says where to get it")?.success(), "the Go worker does not build");
    Ok(program)
}

/// A worker that runs until it is dropped.
pub struct RunningWorker(Child);

impl RunningWorker {
    pub fn start(ground: &Ground, go: &Path, contender: Contender, tuning: Tuning, queue: &str) -> Result<Self> {
        let (mut command, spec) = if contender.is_leadline() {
            let mut own = Command::new(std::env::current_exe()?);
            own.arg("--worker");
            (own, json!(spec(ground, contender, tuning, queue)))
        } else {
            (Command::new(go), go_spec(ground, contender, tuning, queue))
        };
        let mut child = command.stdin(Stdio::piped()).spawn()?;
        writeln!(child.stdin.as_mut().context("a pipe")?, "{spec}")?;
        Ok(Self(child))
    }

    pub fn process(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for RunningWorker {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        // It ends by itself, also unwaited for.
        let _ = self.0.wait();
    }
}

fn spec(ground: &Ground, contender: Contender, tuning: Tuning, queue: &str) -> Spec {
    Spec {
        contender,
        tuning,
        temporal: ground.temporal.clone(),
        queue: queue.to_owned(),
        tenant_url: ground.store_config.tenant_url.clone(),
        operator_url: ground.store_config.operator_url.clone(),
        keyring_file: ground.keyring_file.clone(),
    }
}

/// The settings of leadline's worker. When tuned, the server controls the number of all polls, also of those for workflow tasks.
fn go_spec(ground: &Ground, contender: Contender, tuning: Tuning, queue: &str) -> Json {
    let settings = settings(&ground.temporal, queue, tuning, DataConverter::default());
    let Limits { heartbeat, light_attempt, light_patience, first_retry, longest_retry, .. } = settings.limits;
    let pollers = match settings.step_polls {
        PollerBehavior::Autoscaling(scaled) => json!({ "Initial": scaled.initial, "Maximum": scaled.maximum }),
        _ => json!({ "Maximum": FIXED_POLLERS }),
    };
    json!({
        "Temporal": ground.temporal,
        "Queue": queue,
        "Compressed": contender == Contender::GoSdk,
        "WorkflowSlots": FIXED_SLOTS.at_least,
        "ActivitySlots": FIXED_SLOTS.at_least,
        "CachedWorkflows": settings.cached_workflows,
        "StickyTimeout": settings.sticky_timeout.as_secs_f64(),
        "Pollers": pollers,
        "Limits": {
            "Heartbeat": heartbeat.as_secs_f64(),
            "Attempt": light_attempt.as_secs_f64(),
            "Patience": light_patience.as_secs_f64(),
            "FirstRetry": first_retry.as_secs_f64(),
            "LongestRetry": longest_retry.as_secs_f64(),
        },
    })
}

/// As in production, but for what the bench is told to leave out.
fn settings(temporal: &str, queue: &str, tuning: Tuning, converter: DataConverter) -> WorkerConfig {
    let mut settings = WorkerConfig::new(connection(temporal), "default", converter);
    (settings.queue, settings.drain) = (queue.to_owned(), DRAIN);
    if tuning == Tuning::Off {
        settings.slots = Slots { light: FIXED_SLOTS, workflow_tasks: FIXED_SLOTS, ..settings.slots };
        settings.step_polls = PollerBehavior::SimpleMaximum(FIXED_POLLERS);
    }
    settings
}

/// What a process of leadline's worker does.
pub async fn work() -> Result<()> {
    leadline_salesforce::tls::install_default_provider();
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line)?;
    let spec: Spec = serde_json::from_str(&line).context("the spec on the first line of the standard input")?;
    std::thread::spawn(|| {
        std::io::stdin().lock().lines().for_each(drop);
        std::process::exit(0);
    });
    let keyring = Arc::new(Keyring::load(&spec.keyring_file)?);
    let config = settings(&spec.temporal, &spec.queue, spec.tuning, data_converter(&keyring));
    match spec.contender {
        Contender::LedgerOn => {
            let services = services(&spec, keyring).await?;
            leadline_worker::run(config, services, std::future::pending()).await?;
        }
        _ => {
            // On every lane: a worker of none would not start, and those of leadline's poll as well.
            let register = |options: &mut WorkerOptions, _: Lane| {
                options.register_activities(NoOps);
            };
            leadline_worker::run_activities(config, register, std::future::pending()).await?;
        }
    }
    Ok(())
}

async fn services(spec: &Spec, keyring: Arc<Keyring>) -> Result<Arc<Services>> {
    let urls = StoreConfig { tenant_url: spec.tenant_url.clone(), operator_url: spec.operator_url.clone(), ..Tests::pools() };
    let store = Store::connect(&urls).await?;
    // No step of a drill calls on it.
    let nowhere = Some("http://127.0.0.1:9".parse()?);
    let lake = Lake::connect(&LakeConfig { endpoint: nowhere, ..Tests::bucket() })?;
    let predictor = Arc::new(Predictor::new(store.clone(), lake.clone(), ServingConfig::default()));
    Ok(Services::new(Parts { store, lake, keyring, predictor, config: StepConfig::default() }))
}
