//! How soon the sagas went on that a worker had work of in its hands when it was killed.
//!
//! Steps are looked at while they recover, since a history has only the attempt that ended a step: [`steps`]. Workflow tasks are read
//! from the histories: [`workflow_tasks`].

mod steps;
mod workflow_tasks;

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime},
};

use temporalio_client::{Client, ClientOptions, Connection};
use tokio::{
    sync::mpsc::{self, UnboundedSender},
    task::JoinHandle,
};

use crate::{dev_stack::DevStack, scenario::connection};

/// Looks on while workers die, and says at the end how soon things went on.
pub struct Observer {
    client: Client,
    steps: JoinHandle<Vec<Interrupted>>,
}

/// A task that a worker had in its hands when it died.
#[derive(Debug, Clone)]
pub struct Interrupted {
    pub workflow: String,
    pub death: SystemTime,
    pub task: Task,
    /// From the death until the step had ended, to within a second and a half, or until the next workflow task had. `None` when that
    /// was not seen.
    pub after: Option<Duration>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Task {
    /// An attempt at this activity.
    Step(String),
    Workflow,
}

/// What the deaths of workers interrupted, each step's attempt once. What was not seen to go on has taken for ever.
#[derive(Debug)]
pub struct Recovery(pub Vec<Interrupted>);

impl Observer {
    /// Looks on after each death of a worker that the sender is told, for `patience` at most.
    ///
    /// # Panics
    /// When Temporal does not answer.
    pub async fn start(stack: &DevStack, patience: Duration) -> (UnboundedSender<SystemTime>, Self) {
        let options = connection(&stack.endpoint("/temporal_address"));
        let connection = Connection::connect(options).await.expect("the Temporal server answers");
        let client = Client::new(connection, ClientOptions::new("default").build()).expect("a client of the default namespace");
        let (worker_died, deaths) = mpsc::unbounded_channel();
        let steps = tokio::spawn(steps::observe(client.clone(), deaths, patience));
        (worker_died, Self { client, steps })
    }

    /// Ends once the sender is gone and everything has gone on.
    ///
    /// # Panics
    /// When steps or histories cannot be read.
    pub async fn recovery(self, stack: &DevStack, deaths: &[SystemTime]) -> Recovery {
        let mut interrupted = self.steps.await.expect("the steps can be looked at");
        interrupted.extend(workflow_tasks::interrupted(&self.client, stack, deaths).await);
        Recovery(interrupted)
    }
}

impl Recovery {
    pub fn of_steps(&self) -> Vec<Duration> {
        self.times(|task| *task != Task::Workflow)
    }

    pub fn of_workflow_tasks(&self) -> Vec<Duration> {
        self.times(|task| *task == Task::Workflow)
    }

    /// From a death until the last task of a saga that it interrupted had gone on.
    pub fn of_sagas(&self) -> Vec<Duration> {
        let mut sagas: BTreeMap<(&str, SystemTime), Duration> = BTreeMap::new();
        for Interrupted { workflow, death, after, .. } in &self.0 {
            let longest = sagas.entry((workflow, *death)).or_default();
            *longest = after.unwrap_or(Duration::MAX).max(*longest);
        }
        sagas.into_values().collect()
    }

    /// What was not seen to go on.
    pub fn lost(&self) -> impl Iterator<Item = &Interrupted> {
        self.0.iter().filter(|interrupted| interrupted.after.is_none())
    }

    fn times(&self, of: impl Fn(&Task) -> bool) -> Vec<Duration> {
        self.0
            .iter()
            .filter(|interrupted| of(&interrupted.task))
            .map(|interrupted| interrupted.after.unwrap_or(Duration::MAX))
            .collect()
    }
}

/// The time within which this part of them went on; zero when there is none.
pub fn quantile(times: &[Duration], part: f64) -> Duration {
    let mut sorted = times.to_vec();
    sorted.sort();
    let last = sorted.len().saturating_sub(1);
    sorted.get((last as f64 * part).ceil() as usize).copied().unwrap_or_default()
}
