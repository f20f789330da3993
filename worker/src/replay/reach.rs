//! How far a replay has come, seen from inside the workflow.

use std::{
    future::poll_fn,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use futures::FutureExt as _;
use temporalio_sdk::workflow_interceptors::{
    ExecuteWorkflowInput, ExecuteWorkflowResult, WorkflowInterceptor, WorkflowInterceptorConstructor, WorkflowInterceptorContext,
    WorkflowInterceptorFuture, WorkflowNext,
};

/// The last event that the workflow was woken for: the start of a workflow task, or the end of an open history.
#[derive(Debug, Clone, Default)]
pub(super) struct Reach(Arc<AtomicU32>);

impl Reach {
    /// 0 before the workflow was woken for the first time.
    pub(super) fn event(&self) -> i64 {
        self.0.load(Ordering::Relaxed).into()
    }

    pub(super) fn interceptor(&self) -> WorkflowInterceptorConstructor {
        let reach = self.clone();
        WorkflowInterceptorConstructor::new(move |_| reach.clone())
    }
}

impl WorkflowInterceptor for Reach {
    fn execute<'a>(
        &'a self,
        ctx: WorkflowInterceptorContext,
        input: ExecuteWorkflowInput,
        next: WorkflowNext<'a, ExecuteWorkflowInput, WorkflowInterceptorFuture<'a, ExecuteWorkflowResult>>,
    ) -> WorkflowInterceptorFuture<'a, ExecuteWorkflowResult> {
        let mut run = next.run(input);
        WorkflowInterceptorFuture::new(poll_fn(move |cx| {
            self.0.fetch_max(ctx.history_length(), Ordering::Relaxed);
            run.poll_unpin(cx)
        }))
    }
}
