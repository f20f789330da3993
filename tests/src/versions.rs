//! Workers of several builds beside each other, and an API of one of them.

use std::{sync::Arc, time::Duration};

use leadline_api::{Api, ApiConfig, Services, SweepConfig, Temporal};
use leadline_domain::{OperationId, OperationKind};
use leadline_secrets::ApiKey;
use leadline_serving::{Predictor, ServingConfig};
use leadline_store::api_keys::{self, KeyScope};
use leadline_worker::{
    WorkerConfig,
    deployment::{self, Version},
    replay::{self, RecordedRun, RunName},
};
use leadline_workflows::Limits;
use temporalio_common::protos::temporal::api::{
    history::v1::history_event::Attributes, workflowservice::v1::SetWorkerDeploymentRampingVersionRequest,
};
use temporalio_sdk::{WorkerOptions, WorkflowRegistrationError};
use tokio::{sync::oneshot, task::JoinHandle};

use crate::{
    api,
    scenario::{RunningWorker, Scenario, connection},
};

const WITHIN: Duration = Duration::from_secs(30);
const LOOK_AGAIN: Duration = Duration::from_millis(50);
const NEVER: Duration = Duration::from_secs(24 * 3600);

/// Registers sagas.
pub type Sagas = fn(&mut WorkerOptions, Limits) -> Result<(), WorkflowRegistrationError>;

/// The workers of one build.
pub struct Build {
    pub version: Version,
    worker: RunningWorker,
}

impl Build {
    pub async fn stop(self) -> Version {
        self.worker.stop().await;
        self.version
    }
}

/// An API in this process.
pub struct BuildApi {
    pub caller: api::Api,
    stop: oneshot::Sender<()>,
    served: JoinHandle<()>,
}

impl BuildApi {
    pub async fn stop(self) {
        self.stop.send(()).expect("the API serves");
        self.served.await.expect("the API ends well");
    }
}

impl Scenario {
    /// A build of the scenario's own deployment.
    pub fn version(&self, build_id: &str) -> Version {
        Version::new(self.tenant.as_str(), build_id).expect("a tenant's id names a deployment")
    }

    /// Starts a worker of this build, beside those that run, with today's sagas or others in their place; answers once Temporal
    /// has heard of it.
    pub async fn start_build(&self, build_id: &str, sagas: Option<Sagas>) -> Build {
        let version = self.version(build_id);
        let standard = self.worker_config();
        let sagas = sagas.unwrap_or(standard.sagas);
        let worker = self.run_worker(WorkerConfig { version: Some(version.clone()), sagas, ..standard });
        let polls = async {
            while deployment::workers(&self.temporal, &version, &self.queue).await.expect("the server describes").is_empty() {
                tokio::time::sleep(LOOK_AGAIN).await;
            }
        };
        tokio::time::timeout(WITHIN, polls).await.unwrap_or_else(|_| panic!("no worker of {version} polls"));
        Build { version, worker }
    }

    /// Makes a build known to Temporal that has no worker.
    pub async fn announce_build(&self, version: &Version) {
        let request = SetWorkerDeploymentRampingVersionRequest {
            namespace: "default".to_owned(),
            deployment_name: version.deployment().to_owned(),
            build_id: version.build_id().to_owned(),
            ignore_missing_task_queues: true,
            allow_no_pollers: true,
            ..Default::default()
        };
        let mut service = self.temporal.connection().workflow_service();
        let set = service.set_worker_deployment_ramping_version(tonic::Request::new(request)).await;
        set.expect("a ramp of 0 % takes no new run");
    }

    /// Lets a build take every new run.
    pub async fn promote_build(&self, version: &Version) {
        deployment::set_current(&self.temporal, version).await.expect("the server lets it take new runs");
    }

    /// The API of this build, or of none, as an operator calls it. It sweeps nothing: other tests' operations are not its own.
    pub async fn start_api(&self, version: Option<Version>) -> BuildApi {
        let sweep = SweepConfig { interval: NEVER, ..ApiConfig::default().sweep };
        let config = ApiConfig { listen: ([127, 0, 0, 1], 0).into(), version, sweep, ..ApiConfig::default() };
        let predictor = Predictor::new(self.store.clone(), self.ground.lake.clone(), ServingConfig::default());
        let services = Services {
            store: self.store.clone(),
            keyring: Arc::clone(&self.keyring),
            predictor: Arc::new(predictor),
            temporal: Temporal::lazy(connection(&self.ground.temporal), "default", &self.keyring),
        };
        let api = Api::bind(config, services).await.expect("a free port");
        let base = format!("http://{}", api.local_addr());
        let (stop, stopped) = oneshot::channel();
        let stopped = async move { stopped.await.unwrap_or_default() };
        let served = tokio::spawn(async move { api.serve(stopped).await.expect("the API serves until it is stopped") });
        let key = ApiKey::generate().expect("a key");
        let mut tx = self.store.operator().await.unwrap();
        api_keys::create(&mut tx, &key, &KeyScope::Operator, "tests", None).await.unwrap();
        tx.commit().await.unwrap();
        BuildApi { caller: api::Api::new(base, key.reveal().to_string()), stop, served }
    }

    pub async fn run_of(&self, kind: OperationKind, id: &OperationId) -> RunName {
        let workflow_id = self.reference(kind, id).workflow_id();
        replay::latest(&self.temporal, &workflow_id).await.expect("the server describes").expect("the run is known")
    }

    /// The builds that the run's workflow tasks ran on, without repetitions, in their order.
    pub async fn builds_of(&self, kind: OperationKind, id: &OperationId) -> Vec<String> {
        let run = self.run_of(kind, id).await;
        builds_in(&replay::fetch(&self.temporal, run).await.expect("the server has it").expect("it is kept"))
    }
}

/// The builds that the run's workflow tasks ran on, without repetitions, in their order.
pub fn builds_in(run: &RecordedRun) -> Vec<String> {
    let mut builds: Vec<String> = run.events().iter().filter_map(|event| build_of(event.attributes.as_ref()?)).collect();
    builds.dedup();
    builds
}

fn build_of(event: &Attributes) -> Option<String> {
    match event {
        Attributes::WorkflowTaskCompletedEventAttributes(task) => Some(task.deployment_version.as_ref()?.build_id.clone()),
        _ => None,
    }
}
