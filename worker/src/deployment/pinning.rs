//! To which build a run is pinned, and how that is changed.

use temporalio_client::{Client, tonic::Request};
use temporalio_common::protos::temporal::api::{
    common::v1::WorkflowExecution,
    workflow::v1::{
        VersioningOverride, WorkflowExecutionOptions,
        versioning_override::{Override, PinnedOverride, PinnedOverrideBehavior},
    },
    workflowservice::v1::{DescribeWorkflowExecutionRequest, UpdateWorkflowExecutionOptionsRequest},
};

use super::{DeploymentError, Version, namespace, told};
use crate::replay::RunName;

/// What pins a run against what its own workers say of it; nothing, when nobody has moved it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Pin(Option<VersioningOverride>);

impl Pin {
    pub fn to(version: &Version) -> Self {
        let pinned = PinnedOverride { behavior: PinnedOverrideBehavior::Pinned.into(), version: Some(version.to_api()) };
        Self(Some(VersioningOverride { r#override: Some(Override::Pinned(pinned)), ..Default::default() }))
    }
}

/// The build that carries a run on, if it is pinned to one, and what somebody pinned it by.
///
/// # Errors
/// [`DeploymentError::Unknown`] when Temporal does not know the run.
pub async fn pinned_to(client: &Client, run: &RunName) -> Result<(Option<Version>, Pin), DeploymentError> {
    let request = DescribeWorkflowExecutionRequest { namespace: namespace(client), execution: Some(execution(run)) };
    let answer = client.connection().workflow_service().describe_workflow_execution(Request::new(request)).await;
    let described = told(answer, || format!("run {run}"))?;
    let Some(info) = described.workflow_execution_info.and_then(|info| info.versioning_info) else {
        return Ok((None, Pin::default()));
    };
    let moved = match info.versioning_override.as_ref().and_then(|pin| pin.r#override.as_ref()) {
        Some(Override::Pinned(pinned)) => pinned.version.clone(),
        _ => None,
    };
    let version = moved.or(info.deployment_version);
    let version = version.and_then(|of| Version::new(&of.deployment_name, &of.build_id).ok());
    Ok((version, Pin(info.versioning_override)))
}

/// Pins a run, from its next workflow task on. With [`Pin::default`] it goes where its workers said that it belongs.
///
/// # Errors
/// [`DeploymentError::Unknown`] when Temporal does not know the run, or it has ended.
pub async fn pin(client: &Client, run: &RunName, pin: Pin) -> Result<(), DeploymentError> {
    let mut request = UpdateWorkflowExecutionOptionsRequest {
        namespace: namespace(client),
        workflow_execution: Some(execution(run)),
        workflow_execution_options: Some(WorkflowExecutionOptions { versioning_override: pin.0, ..Default::default() }),
        identity: client.connection().identity().to_owned(),
        ..Default::default()
    };
    request.update_mask.get_or_insert_default().paths.push("versioning_override".to_owned());
    let answer = client.connection().workflow_service().update_workflow_execution_options(Request::new(request)).await;
    told(answer, || format!("open run {run}")).map(drop)
}

fn execution(run: &RunName) -> WorkflowExecution {
    WorkflowExecution { workflow_id: run.workflow_id.clone(), run_id: run.run_id.clone() }
}
