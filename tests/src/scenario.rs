//! One org with its tenant, a worker on task queues of its own, and the ways in which a test starts, cancels and looks at
//! operations.

use std::{
    sync::{Arc, mpsc},
    time::Duration,
};

use leadline_activities::{Parts, Services, StepConfig};
use leadline_codec::data_converter;
use leadline_domain::{Code, ConsentGrant, OperationId, OperationKind, OperationRef, OperationState, TenantId, Verb};
use leadline_lake::{Lake, Prefix};
use leadline_secrets::Keyring;
use leadline_serving::{Predictor, ServingConfig};
use leadline_simulator::{Config, Running, Simulator};
use leadline_store::{
    PageRequest, Store, audit, consents,
    operations::{self, Operation},
};
use leadline_worker::{Slots, WorkerConfig};
use leadline_workflows::{
    Limits,
    course::{REASON_ATTRIBUTE, STATE_ATTRIBUTE, TENANT_ATTRIBUTE},
};
use serde_json::{Value as Json, json};
use tempfile::TempDir;
use temporalio_client::{
    Client, ClientOptions, Connection, ConnectionOptions, RpcOptions, UntypedWorkflow, WorkflowStartUpdateOptions,
    errors::WorkflowUpdateError,
};
use temporalio_common::UpdateDefinition;
use tokio::{sync::oneshot, task::JoinHandle};

use crate::{
    ground::{Ground, ground},
    proxy::FaultProxy,
};

const END_WITHIN: Duration = Duration::from_secs(90);
const HOLDS_WITHIN: Duration = Duration::from_secs(60);
const LOOK_AGAIN: Duration = Duration::from_millis(30);

pub struct Scenario {
    pub ground: &'static Ground,
    pub store: Store,
    pub simulator: Running,
    pub tenant: TenantId,
    pub queue: String,
    pub keyring: Arc<Keyring>,
    pub temporal: Client,
    worker: Option<RunningWorker>,
    /// Stand between the worker and its servers.
    pub database: FaultProxy,
    pub bucket: FaultProxy,
    through: (Store, Lake),
    pub steps: StepConfig,
    pub limits: Limits,
    _state: TempDir,
}

pub(crate) struct RunningWorker {
    stop: oneshot::Sender<()>,
    ended: JoinHandle<()>,
}

/// A worker with one thread for everything that it does but poll, which can be stopped and let go again, as by SIGSTOP and
/// SIGCONT: its connections stay, what arrives meanwhile waits in them, and it knows nothing of the time that passes.
pub struct FreezableWorker {
    runtime: tokio::runtime::Runtime,
    worker: RunningWorker,
}

impl RunningWorker {
    pub(crate) async fn stop(self) {
        self.stop.send(()).expect("the worker runs");
        self.ended.await.expect("the worker ends well");
    }
}

/// Keeps a worker frozen until it is dropped.
pub struct Frozen(#[expect(dead_code, reason = "held for its end")] mpsc::Sender<()>);

impl FreezableWorker {
    pub fn freeze(&self) -> Frozen {
        let (thaw, frozen) = mpsc::channel();
        self.runtime.spawn(async move { frozen.recv().unwrap_or_default() });
        Frozen(thaw)
    }

    /// Lets everything that is under way end, and stops.
    pub async fn stop(self) {
        self.worker.stop().await;
        self.runtime.shutdown_background();
    }
}

async fn work(config: WorkerConfig, services: Arc<Services>, stopped: oneshot::Receiver<()>) {
    let worker = leadline_worker::run(config, services, async { stopped.await.unwrap_or_default() });
    worker.await.expect("the worker runs until it is stopped");
}

/// A decision about a parking, as the Temporal UI sends it.
struct Decide(Verb);

impl UpdateDefinition for Decide {
    type Workflow = UntypedWorkflow;
    type Input = Json;
    type Output = ();

    fn name(&self) -> &str {
        self.0.as_str()
    }
}

impl Scenario {
    /// An org of `records` generated records, a worker, and no tenant yet.
    pub async fn new(records: u64) -> Self {
        let ground = ground().await;
        let state = tempfile::Builder::new().prefix("leadline-org-").tempdir().expect("a temporary directory");
        let simulator = Simulator::start(Config { records, ..Config::new(state.path()) }).await.expect("the simulator listens");
        let tenant = TenantId::random();
        let (steps, limits) = (steps(), limits());
        let keyring = Arc::new(Keyring::load(&ground.keyring_file).expect("the keyring reads"));
        let temporal = connect(&ground.temporal, &keyring).await;
        let [database, bucket] = ground.servers().map(FaultProxy::before);
        let (database, bucket) = (database.await, bucket.await);
        let through = ground.through([database.address, bucket.address]).await;
        let mut scenario = Self {
            ground,
            store: ground.store().await,
            simulator,
            queue: format!("{tenant}-sagas"),
            tenant,
            keyring,
            temporal,
            worker: None,
            database,
            bucket,
            through,
            steps,
            limits,
            _state: state,
        };
        scenario.start_worker();
        scenario
    }

    /// The same with the tenant onboarded and everything consented to.
    pub async fn onboarded(records: u64) -> Self {
        let scenario = Self::new(records).await;
        let id = scenario.onboard("whole").await;
        let ended = scenario.ended(&id).await;
        assert_eq!(ended.state, OperationState::Succeeded, "{ended:?}");
        scenario.consent(ConsentGrant::ALL).await;
        scenario
    }

    pub fn start_worker(&mut self) {
        self.worker = Some(self.run_worker(self.worker_config()));
    }

    pub(crate) fn run_worker(&self, config: WorkerConfig) -> RunningWorker {
        let (stop, stopped) = oneshot::channel();
        RunningWorker { stop, ended: tokio::spawn(work(config, self.services(self.through.0.clone()), stopped)) }
    }

    pub(crate) fn worker_config(&self) -> WorkerConfig {
        WorkerConfig {
            queue: self.queue.clone(),
            limits: self.limits,
            // A second one, since an attempt that is held keeps its own.
            slots: Slots { compute: 2, ..Slots::default() },
            sticky_timeout: Duration::from_secs(1),
            drain: Duration::from_millis(200),
            ..WorkerConfig::new(connection(&self.ground.temporal), "default", data_converter(&self.keyring))
        }
    }

    fn services(&self, store: Store) -> Arc<Services> {
        Services::new(Parts {
            lake: self.through.1.clone(),
            keyring: Arc::clone(&self.keyring),
            predictor: Arc::new(Predictor::new(store.clone(), self.through.1.clone(), ServingConfig::default())),
            config: self.steps.clone(),
            store,
        })
    }

    /// Puts a worker that can be frozen in the place of the one that runs.
    pub async fn start_freezable_worker(&mut self) -> FreezableWorker {
        self.stop_worker().await;
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
        let store = runtime.spawn(self.ground.store()).await.expect("connections of the frozen runtime's own");
        let (stop, stopped) = oneshot::channel();
        let ended = runtime.spawn(work(self.worker_config(), self.services(store), stopped));
        FreezableWorker { runtime, worker: RunningWorker { stop, ended } }
    }

    pub async fn stop_worker(&mut self) {
        if let Some(worker) = self.worker.take() {
            worker.stop().await;
        }
    }

    /// Lets everything end, so that the next test finds a quiet machine.
    pub async fn end(mut self) {
        self.stop_worker().await;
        self.simulator.stop().await;
        self.store.close().await;
        self.through.0.close().await;
    }

    pub async fn consent(&self, grant: ConsentGrant) {
        let mut tx = self.store.tenant(&self.tenant).await.unwrap();
        consents::record(&mut tx, grant, "the test suite", "").await.unwrap();
        tx.commit().await.unwrap();
    }

    pub fn reference(&self, kind: OperationKind, id: &OperationId) -> OperationRef {
        OperationRef { tenant: self.tenant.clone(), operation: id.clone(), kind }
    }

    pub async fn operation(&self, id: &OperationId) -> Operation {
        let mut tx = self.store.tenant(&self.tenant).await.unwrap();
        operations::get(&mut tx, id).await.unwrap()
    }

    /// The operation's audit log, newest first: what was done, and by whom.
    pub async fn audited(&self, id: &OperationId) -> Vec<String> {
        let mut tx = self.store.tenant(&self.tenant).await.unwrap();
        let log = audit::list(&mut tx, Some(id), &PageRequest { size: 100, ..PageRequest::default() }).await.unwrap();
        log.items.into_iter().map(|entry| format!("{} by {}", entry.action, entry.actor)).collect()
    }

    pub async fn ended(&self, id: &OperationId) -> Operation {
        self.until(id, "ended", |operation| operation.state.is_ended()).await
    }

    pub async fn until(&self, id: &OperationId, what: &str, wanted: impl Fn(&Operation) -> bool) -> Operation {
        let look = async {
            loop {
                let operation = self.operation(id).await;
                if wanted(&operation) {
                    return operation;
                }
                tokio::time::sleep(LOOK_AGAIN).await;
            }
        };
        match tokio::time::timeout(END_WITHIN, look).await {
            Ok(operation) => operation,
            Err(_) => panic!("operation {id} never {what}: {:?}", self.operation(id).await),
        }
    }

    pub async fn failed(&self, id: &OperationId, code: Code) -> Operation {
        let ended = self.ended(id).await;
        assert_eq!((ended.state, ended.code), (OperationState::Failed, Some(code)), "{ended:?}");
        ended
    }

    pub async fn parked(&self, id: &OperationId, code: Code) -> Operation {
        let parked = self.until(id, "parked", |operation| operation.state == OperationState::Parked).await;
        assert_eq!(parked.code, Some(code), "{parked:?}");
        parked
    }

    /// Decides about a parked operation as the Temporal UI does.
    ///
    /// # Errors
    /// The message of the rejection.
    pub async fn decide(&self, kind: OperationKind, id: &OperationId, verb: Verb, instruction: Json) -> Result<(), String> {
        let handle = self.temporal.get_workflow_handle::<UntypedWorkflow>(self.reference(kind, id).workflow_id());
        let said = |error: WorkflowUpdateError| match error {
            WorkflowUpdateError::Failed(failure) => failure.message,
            other => format!("{other:?}"),
        };
        let sent = handle.start_update(Decide(verb), instruction, WorkflowStartUpdateOptions::default()).await.map_err(said)?;
        sent.get_result(RpcOptions::default()).await.map_err(said)
    }

    /// State and reason as Temporal shows them of a run that is open.
    pub async fn shown(&self, kind: OperationKind, id: &OperationId) -> Json {
        let handle = self.temporal.get_workflow_handle::<UntypedWorkflow>(self.reference(kind, id).workflow_id());
        let described = handle.describe(Default::default()).await.expect("the run is known");
        let attributes = described.search_attributes();
        json!([attributes.get(&STATE_ATTRIBUTE), attributes.get(&REASON_ATTRIBUTE)])
    }

    /// How Temporal itself shows the run.
    pub async fn status(&self, kind: OperationKind, id: &OperationId) -> (String, Json) {
        let handle = self.temporal.get_workflow_handle::<UntypedWorkflow>(self.reference(kind, id).workflow_id());
        let look = async {
            loop {
                let described = handle.describe(Default::default()).await.expect("the run is known");
                let status = format!("{:?}", described.status());
                if status != "Running" {
                    let attributes = described.search_attributes();
                    let [state, reason, tenant] =
                        [STATE_ATTRIBUTE, REASON_ATTRIBUTE, TENANT_ATTRIBUTE].map(|key| attributes.get(&key));
                    return (status, json!([state, reason, tenant]));
                }
                tokio::time::sleep(LOOK_AGAIN).await;
            }
        };
        tokio::time::timeout(END_WITHIN, look).await.expect("the run ends in Temporal too")
    }

    /// Lets so much time pass between two attempts of a step, for what a test has to do there.
    pub async fn retry_after(&mut self, pause: Duration) {
        self.stop_worker().await;
        let limits = &mut self.limits;
        (limits.first_retry, limits.longest_retry, limits.longest_heavy_retry) = (pause, pause, pause);
        self.start_worker();
    }

    /// Keys of the tenant's objects, without its marker.
    pub async fn objects(&self) -> Vec<String> {
        self.all_objects().await.into_iter().filter(|key| !key.ends_with("/tenant.json")).collect()
    }

    pub async fn all_objects(&self) -> Vec<String> {
        let listed = self.ground.lake.list(&Prefix::tenant(&self.tenant)).await.unwrap();
        listed.into_iter().map(|object| object.key.as_str().to_owned()).collect()
    }
}

/// Looks until it holds.
pub async fn until(what: &str, holds: impl AsyncFn() -> bool) {
    let look = async {
        while !holds().await {
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    };
    tokio::time::timeout(HOLDS_WITHIN, look).await.unwrap_or_else(|_| panic!("never: {what}"));
}

/// Steps that are quick to look again and to give up.
pub fn steps() -> StepConfig {
    StepConfig {
        page_rows: 100,
        job_poll: Duration::from_millis(50),
        apply_rows: 200,
        first_callback: Duration::from_secs(1),
        cancel_grace: Duration::from_secs(2),
        ..StepConfig::default()
    }
}

pub fn limits() -> Limits {
    Limits {
        heartbeat: Duration::from_secs(2),
        light_attempt: Duration::from_secs(10),
        light_patience: Duration::from_secs(30),
        first_retry: Duration::from_millis(50),
        longest_retry: Duration::from_millis(500),
        longest_heavy_retry: Duration::from_millis(500),
        first_round: Duration::from_millis(200),
        longest_round: Duration::from_secs(1),
        ..Limits::default()
    }
}

pub fn connection(address: &str) -> ConnectionOptions {
    ConnectionOptions::new(format!("http://{address}").parse::<url::Url>().expect("a URL")).build()
}

async fn connect(address: &str, keyring: &Keyring) -> Client {
    let connection = Connection::connect(connection(address)).await.expect("the Temporal server answers");
    Client::new(connection, ClientOptions::new("default").data_converter(data_converter(keyring)).build())
        .expect("a client of the default namespace")
}
