//! Replays recorded runs against the sagas of this build: whether a run that is under way can go on here.
//!
//! Each history is replayed by a worker of its own. The SDK's replayer (1.1.1) takes several at a time, but orders its results by
//! arrival and reports no failure for a history that it never came to the end of. The latter is caught here: a replay only counts
//! when the workflow was woken for its last task. A run that is still open is replayed to its last event.

mod failure;
mod history;
mod json;
mod reach;
mod server;

use std::time::Duration;

use leadline_workflows::Limits;
use temporalio_common::{data_converters::DataConverter, protos::temporal::api::history::v1::History};
use temporalio_sdk::{
    WorkflowRegistrationError,
    workflow_replayer::{WorkflowReplayError, WorkflowReplayFailure, WorkflowReplayer, WorkflowReplayerOptions},
};
use tokio::sync::oneshot;

use crate::interception;

pub use failure::{Reason, ReplayFailure};
pub use history::{InvalidHistory, RecordedRun, RunName};
pub use server::{ServerError, fetch, latest, list};

use reach::Reach;

/// How long one history may take when nothing else was said; it takes milliseconds.
pub const TIME_LIMIT: Duration = Duration::from_secs(10);

/// Replays histories, one at a time.
#[derive(Clone)]
pub struct Replayer {
    options: WorkflowReplayerOptions,
    time_limit: Duration,
}

impl Replayer {
    /// With every saga, and with what surrounds them, as a worker has them.
    pub fn new() -> Self {
        let sagas = Self::of(|options| leadline_workflows::register(options, Limits::default()));
        sagas.expect("each saga has a name of its own, or no worker would start")
    }

    /// With other workflows than today's.
    ///
    /// # Errors
    /// What `register` answers.
    pub fn of(
        register: impl FnOnce(&mut WorkflowReplayerOptions) -> Result<(), WorkflowRegistrationError>,
    ) -> Result<Self, WorkflowRegistrationError> {
        let mut options = WorkflowReplayerOptions::new().build();
        register(&mut options)?;
        Ok(Self { options, time_limit: TIME_LIMIT })
    }

    /// How long one history may take.
    #[must_use]
    pub fn time_limit(mut self, limit: Duration) -> Self {
        self.time_limit = limit;
        self
    }

    /// What decodes the payloads of the histories: the converter of the workers that recorded them.
    #[must_use]
    pub fn data_converter(mut self, converter: DataConverter) -> Self {
        self.options.data_converter = converter;
        self
    }

    /// Replays a run up to its last event.
    ///
    /// # Errors
    /// [`ReplayFailure`] when this build's code does not do what the history says that the run's code did.
    pub async fn replay(&self, run: &RecordedRun) -> Result<(), ReplayFailure> {
        let Some(history) = run.to_replay() else { return Ok(()) };
        let last_task = run.last_waking_task();
        let reach = Reach::default();
        let (ended, end) = oneshot::channel();
        let options = self.options_of(run, &reach);
        // Workflows are not `Send`, and one that spins must not hold up whoever waits for it.
        let thread = std::thread::Builder::new().name("leadline-replay".to_owned());
        let started = thread.spawn(move || replay_here(options, history, ended));
        let failed = |reason, message: String| Err(ReplayFailure::new(run, reason, message, reach.event().max(1)));
        if let Err(error) = started {
            return failed(Reason::Replayer, format!("no thread can be started: {error}"));
        }
        match tokio::time::timeout(self.time_limit, end).await {
            Ok(Ok(Ok(()))) if reach.event() >= last_task => Ok(()),
            Ok(Ok(Ok(()))) => failed(Reason::Replayer, format!("the replay ended before the task at event {last_task}")),
            Ok(Ok(Err(error))) => {
                let (reason, message) = explain(error);
                failed(reason, message)
            }
            Ok(Err(_)) => failed(Reason::Replayer, "the replaying thread has panicked".to_owned()),
            Err(_) => failed(Reason::TimedOut, format!("not replayed within {:?}", self.time_limit)),
        }
    }

    fn options_of(&self, run: &RecordedRun, reach: &Reach) -> WorkflowReplayerOptions {
        let mut options = self.options.clone();
        options.task_queue = run.task_queue().to_owned();
        options.workflow_interceptor(reach.interceptor());
        options.workflow_interceptor(interception::around_runs());
        options
    }
}

impl Default for Replayer {
    fn default() -> Self {
        Self::new()
    }
}

/// Replays on this thread, until done or until nobody waits for it any more.
fn replay_here(options: WorkflowReplayerOptions, history: History, mut ended: oneshot::Sender<Result<(), WorkflowReplayError>>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime of one thread");
    let outcome = runtime.block_on(async {
        let replay = async { WorkflowReplayer::new(options)?.replay_workflow(history.into()).await };
        tokio::select! {
            outcome = replay => Some(outcome),
            () = ended.closed() => None,
        }
    });
    if let Some(outcome) = outcome {
        // Whoever waited may have given up at this very moment.
        let _ = ended.send(outcome);
    }
}

fn explain(error: WorkflowReplayError) -> (Reason, String) {
    match error {
        WorkflowReplayError::Replay(WorkflowReplayFailure::Nondeterminism { message }) => (Reason::Nondeterminism, message),
        WorkflowReplayError::Replay(WorkflowReplayFailure::WorkflowTaskFailure { message }) => (Reason::TaskFailed, message),
        WorkflowReplayError::Replay(WorkflowReplayFailure::InvalidHistory { message }) => (Reason::Invalid, message),
        other => (Reason::Replayer, other.to_string()),
    }
}
