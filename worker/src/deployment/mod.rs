//! The builds of a deployment's workers, as Temporal knows them: which takes new runs, which still have runs, and whether workers
//! of them live. A run is pinned to the build that its first workflow task ran on.

mod pinning;
mod version;

use std::{
    collections::BTreeSet,
    time::{Duration, SystemTime},
};

use leadline_workflows::{Lane, SAGA_QUEUE};
use temporalio_client::{
    Client,
    tonic::{Code, Request, Response, Status},
};
use temporalio_common::protos::temporal::api::{
    deployment::v1::{RoutingConfig, WorkerDeploymentInfo, worker_deployment_info::WorkerDeploymentVersionSummary},
    enums::v1::{TaskQueueType, VersionDrainageStatus, WorkerDeploymentVersionStatus},
    taskqueue::v1::{PollerInfo, TaskQueue},
    workflowservice::v1::{
        CountWorkflowExecutionsRequest, DescribeTaskQueueRequest, DescribeWorkerDeploymentRequest,
        DescribeWorkerDeploymentVersionRequest, SetWorkerDeploymentCurrentVersionRequest,
        SetWorkerDeploymentRampingVersionRequest,
    },
};

pub use pinning::{Pin, pin, pinned_to};
pub use version::{InvalidName, Version, check_build_id, check_deployment};

/// A worker polls anew after a minute at the latest; one that has not polled for longer is gone.
const LAST_POLL_WITHIN: Duration = Duration::from_secs(75);

/// How long the server may take to let a build take new runs.
const SWITCH_WITHIN: Duration = Duration::from_secs(60);
/// How often a deployment has to be missing before it counts as unknown.
const UNKNOWN_LOOKS: usize = 5;
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// Why the server does not tell, or do, what it was asked about a deployment.
#[derive(Debug, thiserror::Error)]
pub enum DeploymentError {
    #[error("Temporal does not answer: {0}")]
    Unavailable(String),
    #[error("Temporal knows no {0}")]
    Unknown(String),
    #[error("Temporal refuses: {0}")]
    Refused(String),
}

/// How a build stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stand {
    /// It has never taken a new run.
    New,
    /// It takes every new run, but for those that ramp to another.
    Current,
    /// It takes a part of the new runs.
    Ramping,
    /// It takes no new run, and runs are pinned to it still.
    Draining,
    /// It takes no new run, and none is pinned to it.
    Drained,
}

impl Stand {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Current => "current",
            Self::Ramping => "ramping",
            Self::Draining => "draining",
            Self::Drained => "drained",
        }
    }

    pub fn takes_new_runs(self) -> bool {
        matches!(self, Self::Current | Self::Ramping)
    }
}

/// A build and how it stands.
#[derive(Debug, Clone, PartialEq)]
pub struct Build {
    pub version: Version,
    pub stand: Stand,
    /// Of new runs, while it ramps.
    pub ramp_percentage: Option<f32>,
    pub created_at: Option<SystemTime>,
}

/// Runs that are pinned to a build and have not ended, as visibility knows them: it follows with some delay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpenRuns {
    pub all: u64,
    /// Of them, those that wait for a person.
    pub parked: u64,
}

/// The builds of a deployment, newest first; none when Temporal has never heard of the deployment.
///
/// # Errors
/// [`DeploymentError`].
pub async fn builds(client: &Client, deployment: &str) -> Result<Vec<Build>, DeploymentError> {
    // The server keeps a deployment in a workflow of its own, and says that there is none while that continues as new.
    for _ in 0..UNKNOWN_LOOKS {
        let builds = builds_now(client, deployment).await?;
        if !builds.is_empty() {
            return Ok(builds);
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    Ok(Vec::new())
}

async fn builds_now(client: &Client, deployment: &str) -> Result<Vec<Build>, DeploymentError> {
    let request = DescribeWorkerDeploymentRequest { namespace: namespace(client), deployment_name: deployment.to_owned() };
    let answer = client.connection().workflow_service().describe_worker_deployment(Request::new(request)).await;
    match told(answer, || format!("deployment {deployment}")) {
        Ok(described) => Ok(described.worker_deployment_info.map(read_builds).unwrap_or_default()),
        Err(DeploymentError::Unknown(_)) => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// One build; `None` when no worker of it has ever polled.
///
/// # Errors
/// [`DeploymentError`].
pub async fn build(client: &Client, version: &Version) -> Result<Option<Build>, DeploymentError> {
    let builds = builds(client, version.deployment()).await?;
    Ok(builds.into_iter().find(|build| &build.version == version))
}

/// Names of the workers of a build that poll every queue of the family that `workflow_queue` belongs to: a build whose workers
/// leave one queue out cannot carry its runs to their end.
///
/// # Errors
/// [`DeploymentError`].
pub async fn workers(client: &Client, version: &Version, workflow_queue: &str) -> Result<BTreeSet<String>, DeploymentError> {
    let queues = queues_beside(workflow_queue);
    // The server enters a queue into the build some time after the first poll; until then it sends tasks of the build's runs past it.
    let entered = queues_of(client, version).await?;
    if !queues.iter().all(|queue| entered.contains(queue)) {
        return Ok(BTreeSet::new());
    }
    let mut everywhere: Option<BTreeSet<String>> = None;
    for (queue, kind) in queues {
        let here = pollers(client, version, queue, kind).await?;
        everywhere = Some(everywhere.map_or(here.clone(), |workers| &workers & &here));
    }
    Ok(everywhere.unwrap_or_default())
}

/// Every queue that a worker polls, for what.
fn queues_beside(workflow_queue: &str) -> Vec<(String, TaskQueueType)> {
    let activities = Lane::ALL.map(|lane| (lane.queue(workflow_queue), TaskQueueType::Activity));
    [vec![(workflow_queue.to_owned(), TaskQueueType::Workflow)], activities.to_vec()].concat()
}

async fn queues_of(client: &Client, version: &Version) -> Result<Vec<(String, TaskQueueType)>, DeploymentError> {
    let request = DescribeWorkerDeploymentVersionRequest {
        namespace: namespace(client),
        deployment_version: Some(version.to_api()),
        ..Default::default()
    };
    let answer = client.connection().workflow_service().describe_worker_deployment_version(Request::new(request)).await;
    match told(answer, || format!("build {version}")) {
        Ok(described) => {
            Ok(described.version_task_queues.into_iter().map(|queue| (queue.name.clone(), queue.r#type())).collect())
        }
        Err(DeploymentError::Unknown(_)) => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

async fn pollers(
    client: &Client,
    version: &Version,
    queue: String,
    kind: TaskQueueType,
) -> Result<BTreeSet<String>, DeploymentError> {
    let request = DescribeTaskQueueRequest {
        namespace: namespace(client),
        task_queue: Some(TaskQueue { name: queue.clone(), ..Default::default() }),
        task_queue_type: kind.into(),
        ..Default::default()
    };
    let answer = client.connection().workflow_service().describe_task_queue(Request::new(request)).await;
    let pollers = told(answer, || format!("task queue {queue}"))?.pollers;
    Ok(pollers.into_iter().filter(|poller| is_of(poller, version) && lives(poller)).map(|poller| poller.identity).collect())
}

fn is_of(poller: &PollerInfo, version: &Version) -> bool {
    let options = poller.deployment_options.as_ref();
    options.is_some_and(|of| of.deployment_name == version.deployment() && of.build_id == version.build_id())
}

fn lives(poller: &PollerInfo) -> bool {
    let polled = poller.last_access_time.and_then(|time| SystemTime::try_from(time).ok());
    polled.is_some_and(|polled| polled.elapsed().unwrap_or_default() < LAST_POLL_WITHIN)
}

/// # Errors
/// [`DeploymentError`].
pub async fn open_runs(client: &Client, version: &Version) -> Result<OpenRuns, DeploymentError> {
    let open = open_runs_query(version);
    let parked = count(client, format!("{open} AND LeadlineState = 'parked'")).await?;
    Ok(OpenRuns { all: count(client, open).await?, parked })
}

/// The visibility query that finds them.
pub fn open_runs_query(version: &Version) -> String {
    format!("BuildIds = '{}' AND ExecutionStatus = 'Running'", version.pinned())
}

async fn count(client: &Client, query: String) -> Result<u64, DeploymentError> {
    let request = CountWorkflowExecutionsRequest { namespace: namespace(client), query };
    let answer = client.connection().workflow_service().count_workflow_executions(Request::new(request)).await;
    let counted = told(answer, || "such runs".to_owned())?.count;
    Ok(u64::try_from(counted).unwrap_or_default())
}

/// Lets a build take every new run. What runs already stays where it is.
///
/// # Errors
/// [`DeploymentError::Refused`] also when its workers leave a queue out that those of the current build poll.
pub async fn set_current(client: &Client, version: &Version) -> Result<(), DeploymentError> {
    let request = SetWorkerDeploymentCurrentVersionRequest {
        namespace: namespace(client),
        deployment_name: version.deployment().to_owned(),
        build_id: version.build_id().to_owned(),
        identity: client.connection().identity().to_owned(),
        ..Default::default()
    };
    let answer = client.connection().workflow_service().set_worker_deployment_current_version(patient(request)).await;
    told(answer, || format!("build {version}")).map(drop)
}

/// Lets a build take this percentage of new runs; 0 ends its ramp.
///
/// # Errors
/// As [`set_current`].
pub async fn set_ramp(client: &Client, version: &Version, percentage: f32) -> Result<(), DeploymentError> {
    let request = SetWorkerDeploymentRampingVersionRequest {
        namespace: namespace(client),
        deployment_name: version.deployment().to_owned(),
        build_id: version.build_id().to_owned(),
        percentage,
        identity: client.connection().identity().to_owned(),
        ..Default::default()
    };
    let answer = client.connection().workflow_service().set_worker_deployment_ramping_version(patient(request)).await;
    told(answer, || format!("build {version}")).map(drop)
}

/// The queue of sagas that `leadline worker` polls.
pub const WORKER_QUEUE: &str = SAGA_QUEUE;

fn read_builds(info: WorkerDeploymentInfo) -> Vec<Build> {
    let routing = info.routing_config.unwrap_or_default();
    info.version_summaries.into_iter().filter_map(|summary| read_build(summary, &routing)).collect()
}

fn read_build(summary: WorkerDeploymentVersionSummary, routing: &RoutingConfig) -> Option<Build> {
    let named = summary.deployment_version.as_ref()?;
    // Workers of another program may be called by names that ours are not.
    let version = Version::new(&named.deployment_name, &named.build_id).ok()?;
    let stand = stand(&summary);
    Some(Build {
        version,
        stand,
        ramp_percentage: (stand == Stand::Ramping).then_some(routing.ramping_version_percentage),
        created_at: summary.create_time.and_then(|time| SystemTime::try_from(time).ok()),
    })
}

fn stand(summary: &WorkerDeploymentVersionSummary) -> Stand {
    let drainage = summary.drainage_info.as_ref().map(|info| info.status());
    match (summary.status(), drainage) {
        (WorkerDeploymentVersionStatus::Current, _) => Stand::Current,
        (WorkerDeploymentVersionStatus::Ramping, _) => Stand::Ramping,
        (WorkerDeploymentVersionStatus::Drained, _) | (_, Some(VersionDrainageStatus::Drained)) => Stand::Drained,
        (WorkerDeploymentVersionStatus::Draining, _) | (_, Some(VersionDrainageStatus::Draining)) => Stand::Draining,
        _ => Stand::New,
    }
}

/// The server answers once every queue knows, which takes a loaded one longer than other calls.
fn patient<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(SWITCH_WITHIN);
    request
}

fn namespace(client: &Client) -> String {
    client.options().namespace.clone()
}

fn told<T>(answer: Result<Response<T>, Status>, what: impl FnOnce() -> String) -> Result<T, DeploymentError> {
    answer.map(Response::into_inner).map_err(|status| match status.code() {
        Code::NotFound => DeploymentError::Unknown(what()),
        Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled => {
            DeploymentError::Unavailable(format!("{}: {}", status.code(), status.message()))
        }
        _ => DeploymentError::Refused(status.message().to_owned()),
    })
}
