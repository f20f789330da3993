//! Why a run's workflow task keeps failing, out of its history.

use leadline_domain::{Failure, operation::OperationRef};
use leadline_store::operations::TaskFailure;
use serde::Deserialize;
use temporalio_common::{
    data_converters::{SerializationContextData, WorkflowSerializationContext},
    payload_visitor::decode_payloads,
    protos::temporal::api::{
        common::v1::WorkflowExecution, failure::v1, history::v1::history_event::Attributes,
        workflowservice::v1::GetWorkflowExecutionHistoryReverseRequest,
    },
};
use tonic::Request;

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
    /// The failed workflow task that the run's history ends with; `None` where it ends otherwise. Later attempts at the same task leave
    /// no event.
    ///
    /// # Errors
    /// `TEMPORAL_UNAVAILABLE`.
    pub(crate) async fn failing_task(&self, operation: &OperationRef) -> Result<Option<TaskFailure>, Failure> {
        let mut service = self.client().await?.connection().workflow_service();
        let request = GetWorkflowExecutionHistoryReverseRequest {
            namespace: self.namespace().to_owned(),
            execution: Some(WorkflowExecution { workflow_id: operation.workflow_id(), run_id: String::new() }),
            maximum_page_size: LAST_EVENTS,
            ..Default::default()
        };
        let history = match within(service.get_workflow_execution_history_reverse(Request::new(request))).await? {
            Ok(answer) => answer.into_inner().history.unwrap_or_default(),
            // It has gone since it was described.
            Err(status) if status.code() == tonic::Code::NotFound => return Ok(None),
            Err(status) => return Err(unavailable("read the history", &status)),
        };
        let failed = history.events.into_iter().find_map(|event| match event.attributes {
            Some(Attributes::WorkflowTaskFailedEventAttributes(failed)) => Some((event.event_id, failed.failure)),
            _ => None,
        });
        let Some((event_id, failure)) = failed else { return Ok(None) };
        let message = match failure {
            Some(failure) => self.message_of(failure).await,
            None => String::new(),
        };
        Ok(Some(TaskFailure { event_id, message: message.chars().take(LONGEST_MESSAGE).collect() }))
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
