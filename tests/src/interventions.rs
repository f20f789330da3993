//! What operators do to a run in Temporal itself.

use futures::TryStreamExt as _;
use leadline_domain::{OperationId, OperationKind};
use temporalio_client::{UntypedWorkflow, WorkflowCancelOptions, WorkflowHandle, WorkflowTerminateOptions};
use temporalio_common::protos::temporal::api::{
    common::v1::WorkflowExecution, enums::v1::EventType, history::v1::HistoryEvent,
    workflowservice::v1::ResetWorkflowExecutionRequest,
};
use tonic::Request;

use crate::scenario::Scenario;

const REASON: &str = "the test suite";

impl Scenario {
    /// As `temporal workflow cancel` does it.
    pub async fn cancel(&self, kind: OperationKind, id: &OperationId) {
        let options = WorkflowCancelOptions::builder().reason(REASON).build();
        self.handle(kind, id).cancel(options).await.expect("a cancel is taken");
    }

    /// As `temporal workflow terminate` does it.
    pub async fn terminate(&self, kind: OperationKind, id: &OperationId) {
        let options = WorkflowTerminateOptions::builder().reason(REASON).build();
        self.handle(kind, id).terminate(options).await.expect("a run ends");
    }

    /// As `temporal workflow reset` does it, to the workflow task that this event completed.
    pub async fn reset(&self, kind: OperationKind, id: &OperationId, event: i64) {
        let run = self.run_of(kind, id).await;
        let request = ResetWorkflowExecutionRequest {
            namespace: "default".to_owned(),
            workflow_execution: Some(WorkflowExecution { workflow_id: run.workflow_id, run_id: run.run_id }),
            reason: REASON.to_owned(),
            workflow_task_finish_event_id: event,
            request_id: OperationId::random().to_string(),
            ..Default::default()
        };
        let mut service = self.temporal.connection().workflow_service();
        service.reset_workflow_execution(Request::new(request)).await.expect("a run is reset");
    }

    /// The events that completed a workflow task of the latest run: what it can be reset to.
    pub async fn completed_tasks(&self, kind: OperationKind, id: &OperationId) -> Vec<i64> {
        let history = self.handle(kind, id).fetch_history(Default::default());
        let events: Vec<HistoryEvent> = history.try_collect().await.expect("the server keeps the history");
        let completed = events.iter().filter(|event| event.event_type() == EventType::WorkflowTaskCompleted);
        completed.map(|event| event.event_id).collect()
    }

    fn handle(&self, kind: OperationKind, id: &OperationId) -> WorkflowHandle<temporalio_client::Client, UntypedWorkflow> {
        self.temporal.get_workflow_handle::<UntypedWorkflow>(self.reference(kind, id).workflow_id())
    }
}
