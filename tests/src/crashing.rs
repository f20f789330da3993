//! A worker in a process of its own, to be killed: at a moment that the suite chooses, or by itself at one that no one outside
//! could meet.

use std::{
    io::Write as _,
    process::{Child, Command, ExitStatus, Stdio},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use leadline_activities::{
    Parts, Services,
    faults::{Fault, Faults},
};
use leadline_lake::{Lake, LakeConfig};
use leadline_secrets::Keyring;
use leadline_serving::{Predictor, ServingConfig};
use leadline_store::{Store, StoreConfig};
use leadline_worker::WorkerConfig;
use serde::{Deserialize, Serialize};
use temporalio_sdk::workflow_interceptors::{
    CancellableWorkflowOutboundFuture, ExecuteWorkflowInput, ExecuteWorkflowResult, ScheduleActivityInput,
    ScheduleActivityResult, WorkflowInterceptor, WorkflowInterceptorConstructor, WorkflowInterceptorContext,
    WorkflowInterceptorFuture, WorkflowNext,
};

use crate::{
    ground::Ground,
    scenario::{Scenario, limits, steps},
    told,
};

/// All that the process is told, on one line of its standard input. When that input ends, so does the process.
#[derive(Debug, Serialize, Deserialize)]
pub struct WorkerSpec {
    temporal: String,
    queue: String,
    tenant_url: String,
    operator_url: String,
    lake_endpoint: String,
    keyring_file: std::path::PathBuf,
    page_rows: u32,
    apply_rows: usize,
    faults: Vec<Fault>,
    /// Dies when its saga is about to schedule this activity, counted from 0; the workflow task is not completed then, and the
    /// activity before is in the history. With the number of all activities: when the run is about to end.
    dies_at: Option<usize>,
}

/// The running process. It is killed when this is dropped.
pub struct CrashingWorker(Child);

impl CrashingWorker {
    /// # Panics
    /// When the program beside the test binaries does not start.
    pub fn start(scenario: &Scenario, faults: Vec<Fault>, dies_at: Option<usize>) -> Self {
        let ground = scenario.ground;
        let spec = WorkerSpec {
            temporal: ground.temporal.clone(),
            queue: scenario.queue.clone(),
            tenant_url: ground.store_config.tenant_url.clone(),
            operator_url: ground.store_config.operator_url.clone(),
            lake_endpoint: ground.lake_config.endpoint.as_ref().expect("the bucket is on loopback").to_string(),
            keyring_file: ground.keyring_file.clone(),
            page_rows: scenario.steps.page_rows,
            apply_rows: scenario.steps.apply_rows,
            faults,
            dies_at,
        };
        let program = std::env::current_exe().expect("a running test has a path");
        let program = program.parent().and_then(std::path::Path::parent).expect("two levels down").join("crashing-worker");
        let mut child = Command::new(program).stdin(Stdio::piped()).spawn().expect("cargo builds it with the tests");
        let mut input = child.stdin.take().expect("a pipe");
        let spec = serde_json::to_string(&spec).expect("plain data");
        writeln!(input, "{spec}").expect("the process reads");
        child.stdin = Some(input);
        Self(child)
    }

    /// As SIGKILL does.
    pub fn kill(mut self) {
        self.0.kill().expect("it is ours to kill");
        self.0.wait().expect("it is ours");
    }

    /// How it died, if it has.
    pub fn died(&mut self) -> Option<ExitStatus> {
        self.0.try_wait().expect("it is ours")
    }
}

impl Drop for CrashingWorker {
    fn drop(&mut self) {
        // It may be dead already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What the process does.
///
/// # Panics
/// When anything is not as the spec says.
pub async fn run() {
    leadline_salesforce::tls::install_default_provider();
    let spec: WorkerSpec = told::first_line();
    let pools = StoreConfig { tenant_url: spec.tenant_url, operator_url: spec.operator_url, ..Ground::pools() };
    let store = Store::connect(&pools).await.expect("the database lets the roles in");
    let endpoint = spec.lake_endpoint.parse().expect("a URL");
    let lake = Lake::connect(&LakeConfig { endpoint: Some(endpoint), ..Ground::bucket() }).expect("complete settings");
    let faults = Faults::default();
    faults.set(spec.faults);
    let mut steps = steps();
    steps.faults = faults;
    (steps.page_rows, steps.apply_rows) = (spec.page_rows, spec.apply_rows);
    let keyring = Arc::new(Keyring::load(&spec.keyring_file).expect("the keyring reads"));
    let predictor = Arc::new(Predictor::new(store.clone(), lake.clone(), ServingConfig::default()));
    let worker =
        WorkerConfig::new(crate::scenario::connection(&spec.temporal), "default", leadline_codec::data_converter(&keyring));
    let services = Services::new(Parts { store, lake, keyring, predictor, config: steps });
    let mut config =
        WorkerConfig { queue: spec.queue, limits: limits(), sticky_timeout: std::time::Duration::from_secs(1), ..worker };
    if let Some(at) = spec.dies_at {
        let left = Arc::new(AtomicUsize::new(at));
        config.interceptors.push(WorkflowInterceptorConstructor::new(move |_| DiesAt(Arc::clone(&left))));
    }
    leadline_worker::run(config, services, std::future::pending()).await.expect("the worker runs");
}

struct DiesAt(Arc<AtomicUsize>);

impl WorkflowInterceptor for DiesAt {
    fn execute<'a>(
        &'a self,
        _: WorkflowInterceptorContext,
        input: ExecuteWorkflowInput,
        next: WorkflowNext<'a, ExecuteWorkflowInput, WorkflowInterceptorFuture<'a, ExecuteWorkflowResult>>,
    ) -> WorkflowInterceptorFuture<'a, ExecuteWorkflowResult> {
        WorkflowInterceptorFuture::new(async move {
            let result = next.run(input).await;
            if self.0.load(Ordering::Relaxed) == 0 {
                std::process::abort();
            }
            result
        })
    }

    fn schedule_activity(
        &self,
        _: WorkflowInterceptorContext,
        input: ScheduleActivityInput,
        next: WorkflowNext<'static, ScheduleActivityInput, CancellableWorkflowOutboundFuture<ScheduleActivityResult>>,
    ) -> CancellableWorkflowOutboundFuture<ScheduleActivityResult> {
        if self.0.load(Ordering::Relaxed) == 0 {
            std::process::abort();
        }
        self.0.fetch_sub(1, Ordering::Relaxed);
        next.run(input)
    }
}
