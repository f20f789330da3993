//! Starting sagas, cancelling them, deciding about parked ones, and how their runs stand. Untyped: the API knows the names of workflows and the shape of their input, not their code.
//!
//! The connection is made when it is first needed: the API accepts operations while Temporal is away.

use std::{sync::Arc, time::Duration};

use leadline_codec::{Stamped, data_converter};
use leadline_domain::{
    Code, Failure, Verb,
    operation::{OperationRef, SAGA_QUEUE, SagaInput},
    parking::{Decision, Instruction},
};
use leadline_secrets::Keyring;
use leadline_worker::start_options;
use serde_json::Value as Json;
use temporalio_client::{
    Client, ClientOptions, ConnectionOptions, RpcOptions, UntypedWorkflow, WorkflowCancelOptions, WorkflowIdReusePolicy,
    WorkflowStartUpdateOptions,
    errors::{WorkflowInteractionError, WorkflowStartError, WorkflowUpdateError},
};
use temporalio_common::{
    HasWorkflowDefinition, UpdateDefinition, WorkflowDefinition,
    data_converters::DataConverter,
    protos::temporal::api::{
        common::v1::WorkflowExecution,
        enums::v1::WorkflowExecutionStatus,
        workflowservice::v1::{DescribeNamespaceRequest, DescribeWorkflowExecutionRequest},
    },
};
use tokio::sync::OnceCell;

/// Longest wait for one call to Temporal. What does not come through is repeated by the sweeper.
const CALL_TIMEOUT: Duration = Duration::from_secs(5);

/// A Temporal namespace, connected to when first used.
#[derive(Clone)]
pub struct Temporal {
    connection: ConnectionOptions,
    namespace: String,
    converter: DataConverter,
    client: Arc<OnceCell<Client>>,
}

/// What Temporal knows about a run after a start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Started {
    /// Absent when the run was there before and the server did not name it.
    pub run_id: Option<String>,
}

/// What became of a decision that was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Delivered {
    Taken,
    /// The run does not wait for it any more, or cannot take it.
    Refused(String),
}

/// How a run stands in Temporal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RunStatus {
    Open {
        /// Attempts at the workflow task that is pending.
        task_attempts: i32,
    },
    /// It has ended; how, in the server's word.
    Closed(&'static str),
    /// The server keeps nothing of it.
    Unknown,
}

/// A workflow known by its type's name; its result is read from the operation row, not from Temporal.
struct Saga {
    name: &'static str,
}

impl WorkflowDefinition for Saga {
    type Input = Stamped<SagaInput<Json>>;
    type Output = Json;

    fn name(&self) -> &str {
        self.name
    }
}

impl HasWorkflowDefinition for Saga {
    type Run = Self;
}

/// The update by which a decision reaches a run.
struct Resolve {
    verb: Verb,
}

impl UpdateDefinition for Resolve {
    type Workflow = Saga;
    type Input = Stamped<Instruction>;
    type Output = ();

    fn name(&self) -> &str {
        self.verb.as_str()
    }
}

impl Temporal {
    pub fn lazy(connection: ConnectionOptions, namespace: impl Into<String>, keyring: &Keyring) -> Self {
        Self { connection, namespace: namespace.into(), converter: data_converter(keyring), client: Arc::default() }
    }

    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// Starts the saga of an operation. An operation has one run for ever: a start that is repeated finds the first one,
    /// running or ended.
    ///
    /// # Errors
    /// [`Code::TemporalUnavailable`]; [`Code::Internal`] when the input cannot be encoded.
    pub async fn start(&self, operation: &OperationRef, params: Json) -> Result<Started, Failure> {
        self.start_as(operation, params, WorkflowIdReusePolicy::RejectDuplicate).await
    }

    async fn start_as(&self, operation: &OperationRef, params: Json, reuse: WorkflowIdReusePolicy) -> Result<Started, Failure> {
        let options = start_options(SAGA_QUEUE, operation, reuse);
        let value = SagaInput { operation: operation.clone(), params };
        let input = Stamped { tenant: Some(operation.tenant.clone()), value };
        let client = self.client().await?;
        let start = client.start_workflow(Saga { name: operation.kind.as_str() }, input, options);
        match within(start).await? {
            Ok(handle) => Ok(Started { run_id: handle.run_id().map(str::to_owned) }),
            Err(WorkflowStartError::AlreadyStarted { run_id, .. }) => Ok(Started { run_id }),
            Err(WorkflowStartError::Rpc(status)) => Err(unavailable("start the workflow", &status)),
            Err(error) => Err(Failure::new(Code::Internal, format!("cannot start the workflow: {error}"))),
        }
    }

    /// Starts the saga again whose last run has ended without ending the operation.
    ///
    /// # Errors
    /// As [`Temporal::start`].
    pub async fn start_anew(&self, operation: &OperationRef, params: Json) -> Result<Started, Failure> {
        self.start_as(operation, params, WorkflowIdReusePolicy::AllowDuplicate).await
    }

    /// Sends a decision about a parking to its run. Sent again, it is one decision.
    ///
    /// # Errors
    /// [`Code::TemporalUnavailable`], also while no worker is there to take it.
    pub async fn decide(&self, operation: &OperationRef, decision: &Decision) -> Result<Delivered, Failure> {
        let park = decision.instruction.park.unwrap_or_default();
        let instruction = Instruction {
            // The caller's own words stay in the audit log: a history cannot be edited, and people write names.
            reason: decision.instruction.reason.as_ref().map(|_| "see the audit log".to_owned()),
            ..decision.instruction.clone()
        };
        let instruction = Stamped { tenant: Some(operation.tenant.clone()), value: instruction };
        let client = self.client().await?;
        let handle = client.get_workflow_handle::<Saga>(operation.workflow_id());
        let options = WorkflowStartUpdateOptions::builder().update_id(format!("{}-{park}", decision.verb)).build();
        let sent = handle.start_update(Resolve { verb: decision.verb }, instruction, options);
        let accepted = match within(sent).await? {
            Ok(accepted) => accepted,
            Err(WorkflowUpdateError::NotFound(_)) => return Ok(Delivered::Refused("the run has ended".to_owned())),
            Err(WorkflowUpdateError::Rpc(status)) => return Err(unavailable("send the decision", &status)),
            Err(error) => return Err(Failure::new(Code::Internal, format!("cannot send the decision: {error}"))),
        };
        match within(accepted.get_result(RpcOptions::default())).await? {
            Ok(()) => Ok(Delivered::Taken),
            Err(WorkflowUpdateError::Failed(refused)) => Ok(Delivered::Refused(refused.message.clone())),
            Err(WorkflowUpdateError::NotFound(_)) => Ok(Delivered::Refused("the run has ended".to_owned())),
            Err(error) => Err(Failure::new(Code::TemporalUnavailable, format!("cannot learn of the decision: {error}"))),
        }
    }

    /// # Errors
    /// [`Code::TemporalUnavailable`].
    pub async fn status(&self, operation: &OperationRef) -> Result<RunStatus, Failure> {
        let mut service = self.client().await?.connection().workflow_service();
        let execution = WorkflowExecution { workflow_id: operation.workflow_id(), run_id: String::new() };
        let request = DescribeWorkflowExecutionRequest { namespace: self.namespace.clone(), execution: Some(execution) };
        let described = match within(service.describe_workflow_execution(tonic::Request::new(request))).await? {
            Ok(described) => described.into_inner(),
            Err(status) if status.code() == tonic::Code::NotFound => {
                // A namespace that is not there would make every run look lost.
                self.check().await?;
                return Ok(RunStatus::Unknown);
            }
            Err(status) => return Err(unavailable("describe the workflow", &status)),
        };
        let nothing = || Failure::new(Code::TemporalUnavailable, "the server describes a workflow without saying anything of it");
        let status = described.workflow_execution_info.map(|info| info.status()).ok_or_else(nothing)?;
        Ok(match status {
            WorkflowExecutionStatus::Unspecified => return Err(nothing()),
            WorkflowExecutionStatus::Running | WorkflowExecutionStatus::ContinuedAsNew | WorkflowExecutionStatus::Paused => {
                RunStatus::Open { task_attempts: described.pending_workflow_task.map_or(0, |task| task.attempt) }
            }
            ended => RunStatus::Closed(ended.as_str_name()),
        })
    }

    /// Asks a run to cancel. A run that has ended, or that the server no longer keeps, is no error.
    ///
    /// # Errors
    /// [`Code::TemporalUnavailable`].
    pub async fn cancel(&self, operation: &OperationRef, reason: &str) -> Result<(), Failure> {
        let client = self.client().await?;
        let handle = client.get_workflow_handle::<UntypedWorkflow>(operation.workflow_id());
        // The operation's id as request id: a repeated request is one request.
        let options = WorkflowCancelOptions::builder().reason(reason).request_id(operation.operation.as_str()).build();
        match within(handle.cancel(options)).await? {
            Ok(()) | Err(WorkflowInteractionError::NotFound(_)) => Ok(()),
            Err(WorkflowInteractionError::Rpc(status)) => Err(unavailable("cancel the workflow", &status)),
            Err(error) => Err(Failure::new(Code::TemporalUnavailable, format!("cannot cancel the workflow: {error}"))),
        }
    }

    /// Whether the server answers and has the namespace.
    ///
    /// # Errors
    /// [`Code::TemporalUnavailable`].
    pub async fn check(&self) -> Result<(), Failure> {
        let mut service = self.client().await?.connection().workflow_service();
        let request = DescribeNamespaceRequest { namespace: self.namespace.clone(), ..Default::default() };
        let described = within(service.describe_namespace(tonic::Request::new(request))).await?;
        described.map(drop).map_err(|status| unavailable("describe the namespace", &status))
    }

    pub(crate) fn converter(&self) -> &DataConverter {
        &self.converter
    }

    pub(crate) async fn client(&self) -> Result<&Client, Failure> {
        self.client.get_or_try_init(|| self.connect()).await
    }

    async fn connect(&self) -> Result<Client, Failure> {
        let refused = |error: &dyn std::fmt::Display| {
            Failure::new(Code::TemporalUnavailable, format!("cannot connect to Temporal: {error}"))
        };
        let connected = within(leadline_worker::open_connection(self.connection.clone())).await?.map_err(|e| refused(&e))?;
        let options = ClientOptions::new(&self.namespace).data_converter(self.converter.clone()).build();
        Client::new(connected, options).map_err(|e| refused(&e))
    }
}

pub(crate) async fn within<F: Future>(call: F) -> Result<F::Output, Failure> {
    tokio::time::timeout(CALL_TIMEOUT, call).await.map_err(|_| {
        Failure::new(Code::TemporalUnavailable, format!("Temporal did not answer within {} s", CALL_TIMEOUT.as_secs()))
    })
}

/// What the server says of one request is a defect of that request; everything else may pass.
pub(crate) fn unavailable(action: &str, status: &tonic::Status) -> Failure {
    let code = match status.code() {
        tonic::Code::InvalidArgument | tonic::Code::FailedPrecondition | tonic::Code::OutOfRange => Code::Internal,
        _ => Code::TemporalUnavailable,
    };
    Failure::new(code, format!("cannot {action}: {}: {}", status.code(), status.message()))
}
