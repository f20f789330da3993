//! Running the workers of all lanes until they are asked to stop.

use std::{sync::Arc, time::Duration};

use futures::future::join_all;
use leadline_activities::Services;
use leadline_workflows::Lane;
use temporalio_client::Client;
use temporalio_common::{
    telemetry::{TelemetryOptions, metrics::CoreMeter},
    worker::WorkerDeploymentOptions,
};
use temporalio_sdk::{
    Runtime, Worker, WorkerOptions,
    runtime::{
        PollerBehavior, RuntimeOptions,
        worker_tuner::{
            FixedSizeSlotSupplier, ResourceBasedSlotOptions, ResourceBasedSlotsForType, ResourceBasedTunerOptions, SlotSupplier,
            TunerHolder,
        },
    },
    workflow_interceptors::WorkflowInterceptorConstructor,
};
use tokio::sync::oneshot;

use crate::{
    config::{SHARE_OF_BEGINNERS, Slots, Tuned, WorkerConfig},
    connection::connect_measured,
    deployment::Version,
    interception::{self, Steps},
    meter::PageMeter,
    stamping::{StampRun, StampSteps},
};

/// Shares of the machine above which a worker takes on no more than it must.
const MEMORY_IN_USE: f64 = 0.8;
const PROCESSORS_IN_USE: f64 = 0.9;
/// Between two slots above the least, of either kind. The default for activities, 50 ms, keeps an idle worker from more than 20 light
/// steps a second.
const RAMP: Duration = Duration::from_millis(5);

/// Why a worker does not run.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    #[error("cannot connect to Temporal at {address}: {reason}")]
    Connect { address: String, reason: String },
    #[error("cannot set a worker up for {queue}: {reason}")]
    Setup { queue: String, reason: String },
    #[error("the worker of {queue} has stopped: {reason}")]
    Stopped { queue: String, reason: String },
}

/// Runs the workers until `shutdown` resolves, then lets running steps end within the configured time.
///
/// # Errors
/// [`WorkerError`]; when one lane's worker stops, all do.
pub async fn run(
    config: WorkerConfig,
    services: Arc<Services>,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<(), WorkerError> {
    run_activities(config, move |options, lane| leadline_activities::register(options, lane, &services), shutdown).await
}

/// The same with the activities that `register` gives to each lane's worker, for whoever measures the sagas without their steps.
///
/// # Errors
/// As [`run`].
pub async fn run_activities(
    config: WorkerConfig,
    register: impl Fn(&mut WorkerOptions, Lane) + Send + 'static,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<(), WorkerError> {
    let (ended, end) = oneshot::channel();
    let runtime = tokio::runtime::Handle::current();
    // Workflows are not `Send`: they live and die on one thread, which is theirs alone.
    let thread = std::thread::Builder::new().name("leadline-sagas".to_owned()).spawn(move || {
        let outcome = runtime.block_on(run_lanes(&config, &register, shutdown));
        // Nobody waits any more if the caller was dropped; the workers have stopped all the same.
        let _ = ended.send(outcome);
    });
    let lost = |reason: String| WorkerError::Setup { queue: "all lanes".to_owned(), reason };
    thread.map_err(|e| lost(e.to_string()))?;
    end.await.map_err(|_| lost("the worker's thread has panicked".to_owned()))?
}

async fn run_lanes(
    config: &WorkerConfig,
    register: &impl Fn(&mut WorkerOptions, Lane),
    shutdown: impl Future<Output = ()>,
) -> Result<(), WorkerError> {
    let refused = |reason: String| WorkerError::Setup { queue: config.queue.clone(), reason };
    config.limits.check().map_err(|e| refused(e.to_string()))?;
    let telemetry = TelemetryOptions::builder().metrics(Arc::new(PageMeter) as Arc<dyn CoreMeter>).build();
    let client = connect_measured(config, &telemetry).await?;
    let options = RuntimeOptions::builder().telemetry_options(telemetry).build().map_err(|e| refused(e.to_string()))?;
    let runtime = Runtime::from_current_tokio(options).map_err(|e| refused(e.to_string()))?;
    let mut workers =
        Lane::ALL.into_iter().map(|lane| build(config, register, &runtime, &client, lane)).collect::<Result<Vec<_>, _>>()?;
    let stops: Vec<_> = workers.iter().map(Worker::shutdown_handle).collect();
    let stop_all = || stops.iter().for_each(|stop| stop());
    let queues: Vec<String> = workers.iter().map(|worker| worker.task_queue().to_owned()).collect();
    let version = config.version.as_ref().map(ToString::to_string);
    tracing::info!(namespace = %config.namespace, queues = queues.join(" "), version, "worker polls");
    let running = join_all(workers.iter_mut().zip(queues).map(|(worker, queue)| {
        let stop_all = &stop_all;
        async move {
            let outcome = worker.run().await;
            stop_all();
            outcome.map_err(|e| WorkerError::Stopped { queue, reason: e.to_string() })
        }
    }));
    let mut running = std::pin::pin!(running);
    let outcomes = tokio::select! {
        outcomes = &mut running => outcomes,
        () = shutdown => {
            tracing::info!(seconds = config.drain.as_secs(), "worker drains");
            stop_all();
            running.await
        }
    };
    outcomes.into_iter().collect()
}

fn build(
    config: &WorkerConfig,
    register: &impl Fn(&mut WorkerOptions, Lane),
    runtime: &Runtime,
    client: &Client,
    lane: Lane,
) -> Result<Worker, WorkerError> {
    let queue = lane.queue(&config.queue);
    let mut options = WorkerOptions::new(&queue)
        .deployment_options(config.version.as_ref().map_or_else(unversioned, Version::options))
        .tuner(tuner(&config.slots, lane))
        .workflow_task_poller_behavior(PollerBehavior::SimpleMaximum(config.slots.workflow_polls()))
        .nonsticky_to_sticky_poll_ratio(SHARE_OF_BEGINNERS)
        .activity_task_poller_behavior(config.step_polls)
        .max_cached_workflows(config.cached_workflows)
        .sticky_queue_schedule_to_start_timeout(config.sticky_timeout)
        .graceful_shutdown_period(config.drain)
        // Eager activities bypass the task queue, and so its fairness between tenants.
        .max_eager_activity_reservations_per_workflow_task(0)
        .build();
    let refused = |reason: String| WorkerError::Setup { queue: queue.clone(), reason };
    if lane == Lane::Light {
        (config.sagas)(&mut options, config.limits).map_err(|e| refused(e.to_string()))?;
    }
    register(&mut options, lane);
    options.activity_inbound_interceptor(Steps);
    options.activity_inbound_interceptor(StampSteps);
    // What goes out meets them in reverse: the trace context is there when it is stamped.
    options.workflow_interceptor(WorkflowInterceptorConstructor::new(|_| StampRun));
    options.workflow_interceptor(interception::around_runs());
    for interceptor in &config.interceptors {
        options.workflow_interceptor(interceptor.clone());
    }
    Worker::new(runtime, client.clone(), options).map_err(|e| refused(e.to_string()))
}

/// The default hashes the binary, which takes seconds for a debug build.
fn unversioned() -> WorkerDeploymentOptions {
    WorkerDeploymentOptions::from_build_id(concat!("leadline-", env!("CARGO_PKG_VERSION")).to_owned())
}

fn tuner(slots: &Slots, lane: Lane) -> TunerHolder {
    let fixed = |slots| SlotSupplier::from(FixedSizeSlotSupplier::new(slots));
    let (workflow_tasks, activities) = match lane {
        Lane::Light => (tuned(slots.workflow_tasks).into(), tuned(slots.light).into()),
        // No workflow runs there.
        Lane::Extraction => (fixed(1), fixed(slots.extraction)),
        Lane::Compute => (fixed(1), fixed(slots.compute)),
    };
    TunerHolder::builder()
        .workflow_task_slot_supplier(workflow_tasks)
        .activity_task_slot_supplier(activities)
        .local_activity_task_slot_supplier(FixedSizeSlotSupplier::new(1))
        .nexus_task_slot_supplier(FixedSizeSlotSupplier::new(1))
        .build()
}

fn tuned(slots: Tuned) -> ResourceBasedSlotsForType {
    let aim = ResourceBasedTunerOptions::builder().target_memory_usage(MEMORY_IN_USE).target_cpu_usage(PROCESSORS_IN_USE).build();
    let bounds = ResourceBasedSlotOptions::builder()
        .minimum_slots(slots.at_least)
        .maximum_slots(slots.at_most)
        .ramp_throttle(RAMP)
        .build();
    ResourceBasedSlotsForType::new(aim, bounds)
}
