//! What of a worker can be set.

use std::{num::NonZeroUsize, thread::available_parallelism, time::Duration};

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

/// With fewer a processor is now and then idle under load (`sagas`); with more a tenant waits longer beside another (`fairness`).
const LIGHT_PER_PROCESSOR: usize = 4;

impl Default for Slots {
    fn default() -> Self {
        Self {
            workflow_tasks: Pollers::default().workflow_slots(),
            light: Tuned { at_least: (LIGHT_PER_PROCESSOR * processors()).min(SLOTS_AT_MOST), at_most: SLOTS_AT_MOST },
            extraction: 4,
            compute: 1,
        }
    }
}

/// So many tasks in any case, and more while the machine has processors and memory to spare.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tuned {
    pub at_least: usize,
    pub at_most: usize,
}

/// How many polls a worker keeps open at the server. A poll holds a slot while it waits; without a free slot there is none.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pollers {
    /// For workflow tasks, at least two. One in five is for runs that begin or that no worker has in memory, the others for those
    /// that this worker has: however many runs wait to begin, those that have begun go on. Polls whose number the server controls
    /// are not shared out like that.
    pub workflow_tasks: usize,
    /// For each lane's steps.
    pub steps: PollerBehavior,
}

/// With more, a worker that comes back to many runs that wait takes on more of them at a time, and each waits longer (`fairness`).
const WORKFLOW_POLLERS_PER_PROCESSOR: usize = 5;

/// So polls that wait leave most slots to tasks.
const SLOTS_PER_WORKFLOW_POLLER: usize = 5;

pub const WORKFLOW_POLLERS_AT_MOST: usize = SLOTS_AT_MOST / SLOTS_PER_WORKFLOW_POLLER;

impl Default for Pollers {
    fn default() -> Self {
        Self {
            workflow_tasks: (WORKFLOW_POLLERS_PER_PROCESSOR * processors()).min(WORKFLOW_POLLERS_AT_MOST),
            steps: PollerBehavior::Autoscaling(AutoscalingOptions::builder().minimum(1).initial(5).maximum(50).build()),
        }
    }
}

impl Pollers {
    /// What a worker with so many polls for workflow tasks takes on of them.
    pub fn workflow_slots(&self) -> Tuned {
        Tuned { at_least: self.workflow_tasks * SLOTS_PER_WORKFLOW_POLLER, at_most: SLOTS_AT_MOST }
    }
}

fn processors() -> usize {
    available_parallelism().map_or(1, NonZeroUsize::get)
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
    pub pollers: Pollers,
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
            pollers: Pollers::default(),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn polls_leave_slots_for_tasks_however_many_there_are() {
        for workflow_tasks in 2..=WORKFLOW_POLLERS_AT_MOST {
            let slots = Pollers { workflow_tasks, ..Pollers::default() }.workflow_slots();
            assert!(2 * workflow_tasks < slots.at_least && slots.at_least <= slots.at_most, "{workflow_tasks}: {slots:?}");
        }
    }
}
