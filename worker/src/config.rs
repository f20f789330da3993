//! What of a worker can be set.

use std::{num::NonZeroUsize, ops::RangeInclusive, thread::available_parallelism, time::Duration};

use leadline_workflows::{Limits, SAGA_QUEUE};
use temporalio_client::{
    ClientOptions, ConnectionOptions,
    envconfig::{ConfigError, LoadClientConfigProfileOptions},
};
use temporalio_common::data_converters::DataConverter;
use temporalio_sdk::{
    WorkerOptions, WorkflowRegistrationError,
    runtime::{AutoscalingOptions, PollerBehavior},
    workflow_interceptors::WorkflowInterceptorConstructor,
};

use crate::deployment::Version;

/// How many tasks of a kind a worker takes on at the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slots {
    /// A fifth of the least is the number of polls that wait for such tasks at the server; each holds a slot.
    pub workflow_tasks: Tuned,
    /// The fewer a busy machine takes on, the more of a backlog waits at the server, which is fair between tenants, and the less in the
    /// worker, which is not. Too few, and those that wait for one tenant's slow org hold up the others.
    pub light: Tuned,
    /// Each streams a page: bounded by memory.
    pub extraction: usize,
    /// Each keeps processors busy.
    pub compute: usize,
}

/// Of workflow tasks and of light steps, on a machine with processors and memory to spare.
pub const SLOTS_AT_MOST: usize = 200;

/// Bounds of [`Slots::workflow_tasks`] at the least: with fewer there is no poll for each kind of queue, with more little to tune.
pub const LEAST_WORKFLOW_SLOTS: RangeInclusive<usize> = 2 * SLOTS_PER_WORKFLOW_POLL..=150;

/// With more, a worker that comes back to many runs takes on more of them at a time, and each takes longer (`fairness`).
const WORKFLOW_SLOTS_PER_PROCESSOR: usize = 25;

const SLOTS_PER_WORKFLOW_POLL: usize = 5;

/// Of the polls for workflow tasks: for the queue of runs that begin, as one of a drill's seven tasks is. The others are for the
/// worker's own queue, of runs that it has in memory. Polls whose number the server controls know no such shares: a backlog of runs
/// that begin then takes all slots for its polls.
pub(crate) const SHARE_OF_BEGINNERS: f32 = 0.2;

/// With fewer a processor is now and then idle under load (`sagas`); with more a tenant waits longer beside another (`fairness`).
const LIGHT_PER_PROCESSOR: usize = 4;

impl Default for Slots {
    fn default() -> Self {
        let processors = available_parallelism().map_or(1, NonZeroUsize::get);
        let workflow_tasks = (WORKFLOW_SLOTS_PER_PROCESSOR * processors).min(*LEAST_WORKFLOW_SLOTS.end());
        Self {
            workflow_tasks: Tuned { at_least: workflow_tasks, at_most: SLOTS_AT_MOST },
            light: Tuned { at_least: (LIGHT_PER_PROCESSOR * processors).min(SLOTS_AT_MOST), at_most: SLOTS_AT_MOST },
            extraction: 4,
            compute: 1,
        }
    }
}

impl Slots {
    /// How many polls for workflow tasks are open at a time.
    pub(crate) fn workflow_polls(&self) -> usize {
        (self.workflow_tasks.at_least / SLOTS_PER_WORKFLOW_POLL).max(2)
    }
}

/// So many tasks in any case, and more while the machine has processors and memory to spare.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tuned {
    pub at_least: usize,
    pub at_most: usize,
}

/// Typed configuration of a worker process.
#[derive(Clone)]
pub struct WorkerConfig {
    pub connection: ConnectionOptions,
    pub namespace: String,
    /// Encrypts what goes to Temporal; API, workers and tools share one keyring.
    pub converter: DataConverter,
    /// The queue of workflows and light steps; the other lanes' queues stand beside it.
    pub queue: String,
    pub limits: Limits,
    pub slots: Slots,
    /// How many polls each lane keeps open for its steps at the server, which says when more or fewer would do. A lane that has no
    /// slot free does not poll.
    pub step_polls: PollerBehavior,
    /// Runs that are kept in memory between their tasks.
    pub cached_workflows: usize,
    /// How long a workflow waits for the worker that has it in memory, before another one takes it over by replay.
    pub sticky_timeout: Duration,
    /// How long running steps may go on after shutdown was asked for. Then they are cancelled, and go on elsewhere from their
    /// committed cursor.
    pub drain: Duration,
    /// Pins every run to this build. Without it, whatever worker comes takes a run over, as on a developer's machine.
    pub version: Option<Version>,
    /// Registers the sagas: [`leadline_workflows::register`], but where a suite tries others in their place.
    pub sagas: fn(&mut WorkerOptions, Limits) -> Result<(), WorkflowRegistrationError>,
    /// Further interceptors around each run, within leadline's own.
    pub interceptors: Vec<WorkflowInterceptorConstructor>,
}

impl WorkerConfig {
    pub fn new(connection: ConnectionOptions, namespace: impl Into<String>, converter: DataConverter) -> Self {
        Self {
            connection,
            namespace: namespace.into(),
            converter,
            queue: SAGA_QUEUE.to_owned(),
            limits: Limits::default(),
            slots: Slots::default(),
            step_polls: PollerBehavior::Autoscaling(AutoscalingOptions::builder().minimum(1).initial(5).maximum(50).build()),
            cached_workflows: 1000,
            sticky_timeout: Duration::from_secs(5),
            drain: Duration::from_secs(20),
            version: None,
            sagas: |options, limits| leadline_workflows::register(options, limits),
            interceptors: Vec::new(),
        }
    }

    /// Reads connection and namespace as every Temporal program does: `TEMPORAL_*` variables over the profile file, TLS and API
    /// key included.
    ///
    /// # Errors
    /// When a variable or the file does not make sense.
    pub fn from_environment(converter: DataConverter) -> Result<Self, ConfigError> {
        let (connection, client) = ClientOptions::load_from_config(LoadClientConfigProfileOptions::default())?;
        Ok(Self::new(connection, client.namespace, converter))
    }
}
