//! Why a run's workflow task keeps failing, out of its history.

use leadline_domain::{Failure, operation::OperationRef};
use leadline_store::operations::TaskFailure;
use serde::Deserialize;
use temporalio_common::{
    data_converters::{SerializationContextData, WorkflowSerializationContext},
    payload_visitor::decode_payloads,
    protos::temporal::api::{
        common::v1::WorkflowExecution,
        enums::v1::{EventType, WorkflowTaskFailedCause},
        failure::v1,
        history::v1::{HistoryEvent, history_event::Attributes},
        workflowservice::v1::GetWorkflowExecutionHistoryReverseRequest,
    },
};
use tonic::Request;
use tracing::warn;

use crate::temporal::{Temporal, unavailable, within};

/// The failed task is the last thing that has happened to a run, but for signals and the like: one page is enough.
const LAST_EVENTS: i32 = 50;
const LONGEST_MESSAGE: usize = 2_000;

/// What the codec has put away of a failure (see `leadline_codec`).
#[derive(Deserialize)]
struct Hidden {
    message: String,
}

impl Temporal {
    /// The failed workflow task that the run's history ends with; `None` where it ends otherwise, or cannot be read. Later attempts at
    /// the same task leave no event.
    pub(crate) async fn failing_task(&self, operation: &OperationRef) -> Option<TaskFailure> {
        let events = match self.last_events(operation).await {
            Ok(events) => events,
            Err(failure) => {
                warn!(operation = %operation.operation, code = %failure.code, reason = failure.message, "its history cannot be read");
                return None;
            }
        };
        let since_success = events.into_iter().take_while(|event| event.event_type() != EventType::WorkflowTaskCompleted);
        let (event_id, failure) = since_success.filter_map(failed_task).next()?;
        let message = match failure {
            Some(failure) => self.message_of(failure).await,
            None => String::new(),
        };
        Some(TaskFailure { event_id, message: message.chars().take(LONGEST_MESSAGE).collect() })
    }

    /// Newest first.
    async fn last_events(&self, operation: &OperationRef) -> Result<Vec<HistoryEvent>, Failure> {
        let mut service = self.client().await?.connection().workflow_service();
        let request = GetWorkflowExecutionHistoryReverseRequest {
            namespace: self.namespace().to_owned(),
            execution: Some(WorkflowExecution { workflow_id: operation.workflow_id(), run_id: String::new() }),
            maximum_page_size: LAST_EVENTS,
            ..Default::default()
        };
        let answer = within(service.get_workflow_execution_history_reverse(Request::new(request))).await?;
        let history = answer.map_err(|status| unavailable("read the history", &status))?.into_inner().history;
        Ok(history.unwrap_or_default().events)
    }

    /// What cannot be decoded, as after its keys have gone, is shown as Temporal has it.
    async fn message_of(&self, mut failure: v1::Failure) -> String {
        let context = SerializationContextData::Workflow(WorkflowSerializationContext::new());
        let shown = failure.message.clone();
        if decode_payloads(&mut failure, self.converter().codec(), &context).await.is_err() {
            return shown;
        }
        let hidden = failure.encoded_attributes.and_then(|payload| serde_json::from_slice::<Hidden>(&payload.data).ok());
        hidden.map_or(shown, |hidden| hidden.message)
    }
}

/// A reset fails the task that it takes the place of; that says nothing of the worker.
fn failed_task(event: HistoryEvent) -> Option<(i64, Option<v1::Failure>)> {
    match event.attributes {
        Some(Attributes::WorkflowTaskFailedEventAttributes(failed))
            if failed.cause() != WorkflowTaskFailedCause::ResetWorkflow =>
        {
            Some((event.event_id, failed.failure))
        }
        _ => None,
    }
}
