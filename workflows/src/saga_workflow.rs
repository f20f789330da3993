//! The workflow around a saga's story, the same for every saga.

/// Makes the workflow of a saga: its run, the updates by which a person decides about it, and a query that says what it waits for.
macro_rules! saga_workflow {
    ($(#[$doc:meta])* $name:ident, $kind:literal, $params:ty, $story:path) => {
        $(#[$doc])*
        #[temporalio_macros::workflow]
        pub struct $name {
            limits: $crate::limits::Limits,
            desk: $crate::parking::Desk,
        }

        impl $name {
            pub(crate) fn new(limits: $crate::limits::Limits) -> Self {
                Self { limits, desk: $crate::parking::Desk::default() }
            }
        }

        impl $crate::parking::SagaWorkflow for $name {
            fn desk(&self) -> &$crate::parking::Desk {
                &self.desk
            }

            fn desk_mut(&mut self) -> &mut $crate::parking::Desk {
                &mut self.desk
            }
        }

        #[temporalio_macros::workflow_methods(factory_only)]
        impl $name {
            #[run(name = $kind)]
            pub async fn run(
                ctx: &mut temporalio_sdk::WorkflowContext<Self>,
                input: leadline_domain::operation::SagaInput<$params>,
            ) -> temporalio_sdk::WorkflowResult<serde_json::Value> {
                let limits = ctx.state(|saga| saga.limits);
                $crate::saga::run(ctx, limits, input, $story).await
            }

            #[update_validator(retry)]
            fn may_retry(
                &self,
                _: &temporalio_sdk::WorkflowContextView,
                instruction: &leadline_domain::parking::Instruction,
            ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
                self.desk.check(leadline_domain::Verb::Retry, instruction)
            }

            /// Runs the step again that the run has parked at.
            #[update]
            pub fn retry(
                &mut self,
                _: &mut temporalio_sdk::SyncWorkflowContext<Self>,
                instruction: leadline_domain::parking::Instruction,
            ) {
                self.desk.lay_down(leadline_domain::Verb::Retry, instruction);
            }

            #[update_validator(skip)]
            fn may_skip(
                &self,
                _: &temporalio_sdk::WorkflowContextView,
                instruction: &leadline_domain::parking::Instruction,
            ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
                self.desk.check(leadline_domain::Verb::Skip, instruction)
            }

            /// Goes on without the step.
            #[update]
            pub fn skip(
                &mut self,
                _: &mut temporalio_sdk::SyncWorkflowContext<Self>,
                instruction: leadline_domain::parking::Instruction,
            ) {
                self.desk.lay_down(leadline_domain::Verb::Skip, instruction);
            }

            #[update_validator(abandon)]
            fn may_abandon(
                &self,
                _: &temporalio_sdk::WorkflowContextView,
                instruction: &leadline_domain::parking::Instruction,
            ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
                self.desk.check(leadline_domain::Verb::Abandon, instruction)
            }

            /// Gives the operation up and undoes what it did.
            #[update]
            pub fn abandon(
                &mut self,
                _: &mut temporalio_sdk::SyncWorkflowContext<Self>,
                instruction: leadline_domain::parking::Instruction,
            ) {
                self.desk.lay_down(leadline_domain::Verb::Abandon, instruction);
            }

            /// What the run waits for; nothing while it gets on.
            #[query]
            pub fn parked(&self, _: &temporalio_sdk::WorkflowContextView) -> Option<leadline_domain::parking::Parked> {
                self.desk.parked()
            }
        }
    };
}
pub(crate) use saga_workflow;
