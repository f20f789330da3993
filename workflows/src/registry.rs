//! What sagas are registered with: a worker, which runs them, or the replayer, which checks that they still do what they did.

use temporalio_common::WorkflowDefinition;
use temporalio_sdk::{
    WorkerOptions, WorkflowRegistrationError, workflow_replayer::WorkflowReplayerOptions, workflows::WorkflowImplementation,
};

/// Takes workflows. Both take the same ones by the same call, so that nothing can be run that is not replayed.
pub trait Registry {
    /// Registers a workflow whose instances `factory` makes.
    ///
    /// # Errors
    /// When there already is a workflow of the same name.
    fn register_workflow_with_factory<W, F>(&mut self, factory: F) -> Result<&mut Self, WorkflowRegistrationError>
    where
        W: WorkflowImplementation,
        <W::Run as WorkflowDefinition>::Input: Send,
        F: Fn() -> W + Send + Sync + 'static;
}

/// Each of the SDK's two has the method itself.
macro_rules! registries {
    ($($options:ty)*) => {$(
        impl Registry for $options {
            fn register_workflow_with_factory<W, F>(&mut self, factory: F) -> Result<&mut Self, WorkflowRegistrationError>
            where
                W: WorkflowImplementation,
                <W::Run as WorkflowDefinition>::Input: Send,
                F: Fn() -> W + Send + Sync + 'static,
            {
                <$options>::register_workflow_with_factory::<W, F>(self, factory)
            }
        }
    )*};
}

registries! { WorkerOptions WorkflowReplayerOptions }
