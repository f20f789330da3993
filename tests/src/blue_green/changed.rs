//! The build that is deployed: its drills do something else than those of the build before it.

use std::{path::PathBuf, sync::Arc};

use leadline_activities::{Parts, Services, StepConfig};
use leadline_domain::operation::{RunDrill, SagaInput};
use leadline_lake::{Lake, LakeConfig};
use leadline_secrets::Keyring;
use leadline_serving::{Predictor, ServingConfig};
use leadline_store::{Store, StoreConfig};
use leadline_worker::{WorkerConfig, data_converter, deployment::Version};
use leadline_workflows::{
    Limits,
    parking::{Desk, SagaWorkflow},
    run_drill::DrillSteps,
    saga,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};
use temporalio_macros::{workflow, workflow_methods};
use temporalio_sdk::{WorkflowContext, WorkflowResult};

use crate::{dev_stack::DevStack, ground::Ground, scenario::connection, told};

/// All that a worker of that build is told, on one line of its standard input. When that input ends, so does the worker.
#[derive(Debug, Serialize, Deserialize)]
pub struct Spec {
    build_id: Option<String>,
    temporal: String,
    tenant_url: String,
    operator_url: String,
    endpoint: String,
    bucket: String,
    access_key: String,
    secret_key: String,
    keyring: PathBuf,
}

impl Spec {
    pub fn of(stack: &DevStack, build_id: Option<&str>) -> Self {
        Self {
            build_id: build_id.map(str::to_owned),
            temporal: stack.endpoint("/temporal_address"),
            tenant_url: stack.endpoint("/database/tenant"),
            operator_url: stack.endpoint("/database/operator"),
            endpoint: stack.endpoint("/object_store/endpoint"),
            bucket: stack.endpoint("/object_store/bucket"),
            access_key: stack.endpoint("/object_store/access_key"),
            secret_key: stack.endpoint("/object_store/secret_key"),
            keyring: stack.endpoint("/keyring_file").into(),
        }
    }
}

/// Runs a worker of that build until its standard input ends.
///
/// # Panics
/// When anything is not as the spec says.
pub async fn work() {
    leadline_salesforce::tls::install_default_provider();
    let spec: Spec = told::first_line();
    let pools = StoreConfig { tenant_url: spec.tenant_url, operator_url: spec.operator_url, ..Ground::pools() };
    let store = Store::connect(&pools).await.expect("the database lets the roles in");
    let bucket = LakeConfig {
        endpoint: Some(spec.endpoint.parse().expect("a URL")),
        region: "us-east-1".to_owned(),
        bucket: spec.bucket,
        access_key: Some(spec.access_key),
        secret_key: Some(spec.secret_key),
        path_style: true,
    };
    let lake = Lake::connect(&bucket).expect("complete settings");
    let keyring = Arc::new(Keyring::load(&spec.keyring).expect("the keyring reads"));
    let predictor = Arc::new(Predictor::new(store.clone(), lake.clone(), ServingConfig::default()));
    let standard = WorkerConfig::new(connection(&spec.temporal), "default", data_converter(&keyring));
    let version = spec.build_id.map(|id| Version::new(Version::DEPLOYMENT, &id).expect("a build's id"));
    let config =
        WorkerConfig { version, sagas: |options, _| options.register_workflow::<UnrehearsedDrill>().map(drop), ..standard };
    let services = Services::new(Parts { store, lake, keyring, predictor, config: StepConfig::default() });
    leadline_worker::run(config, services, std::future::pending()).await.expect("the worker runs");
}

/// A drill without its rehearsal: no run that has begun with one can go on here.
#[workflow]
#[derive(Default)]
struct UnrehearsedDrill {
    desk: Desk,
}

impl SagaWorkflow for UnrehearsedDrill {
    fn desk(&self) -> &Desk {
        &self.desk
    }

    fn desk_mut(&mut self) -> &mut Desk {
        &mut self.desk
    }
}

#[workflow_methods]
impl UnrehearsedDrill {
    #[run(name = "run_drill")]
    pub async fn run(ctx: &mut WorkflowContext<Self>, input: SagaInput<RunDrill>) -> WorkflowResult<Json> {
        let story = async |saga: &mut saga::Saga<Self>, drill: RunDrill| {
            saga.step(DrillSteps::prepare_drill, drill.clone()).undo(DrillSteps::clear_drill, drill.clone()).await?;
            let ((), mut forward) = saga.pivot(DrillSteps::complete_drill, drill.clone()).await?;
            forward.optional_step(DrillSteps::debrief_drill, DrillSteps::forgo_debriefing, drill).await;
            Ok(json!({}))
        };
        saga::run(ctx, Limits::default(), input, story).await
    }
}
