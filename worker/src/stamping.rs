//! Says of what a saga and its steps give back whose it is, so that the codec encrypts it under that tenant's key.
//!
//! Input is stamped where it is made. Results and failures are turned into payloads after the interceptors, by the SDK, so that
//! here they are wrapped in what writes the stamp along. The tenant is the one in the workflow's id.

use leadline_codec::{stamp, stamp_failure, tenant_of};
use leadline_domain::TenantId;
use temporalio_common::{
    data_converters::{GenericPayloadConverter as _, PayloadConversionError, SerializationContext, TemporalSerializable},
    error::OutgoingWorkflowError,
    protos::temporal::api::common::v1::Payload,
};
use temporalio_sdk::{
    WorkflowTermination,
    activities::ActivityError,
    interceptors::{ActivityExecutionValue, ActivityInboundInterceptor, ExecuteActivityInput, ExecuteActivityOutput, Next},
    workflow_interceptors::{
        CancellableWorkflowOutboundFuture, ExecuteWorkflowInput, ExecuteWorkflowResult, HandleQueryInput, HandleQueryResult,
        HandleUpdateInput, HandleUpdateResult, ScheduleActivityInput, ScheduleActivityResult, SyncWorkflowInterceptorContext,
        WorkflowInterceptor, WorkflowInterceptorContext, WorkflowInterceptorFuture, WorkflowNext, WorkflowOutputValue,
    },
};

/// A result of a type that only its step or saga knows.
struct Output<V: ?Sized> {
    tenant: Option<TenantId>,
    value: Box<V>,
}

impl<V: TemporalSerializable + ?Sized + 'static> TemporalSerializable for Output<V> {
    fn to_payload(&self, context: &SerializationContext<'_>) -> Result<Payload, PayloadConversionError> {
        let mut payload = match self.value.as_serde() {
            Ok(value) => {
                let value = serde_json::to_value(value).map_err(|e| PayloadConversionError::EncodingError(Box::new(e)))?;
                context.converter.to_payload(context, &value)?
            }
            // A value that writes its payload by itself.
            Err(_) => self.value.to_payload(context)?,
        };
        stamp(&mut payload, self.tenant.as_ref());
        Ok(payload)
    }
}

/// Around each step's attempt.
pub(crate) struct StampSteps;

impl ActivityInboundInterceptor for StampSteps {
    fn execute_activity<'a>(
        &'a self,
        input: ExecuteActivityInput,
        next: Next<'a, ExecuteActivityInput, ExecuteActivityOutput<'a>>,
    ) -> ExecuteActivityOutput<'a> {
        let tenant = input.activity_info().workflow_id.as_deref().and_then(tenant_of);
        Box::pin(async move {
            match next.run(input).await {
                Ok(value) => Ok(Box::new(Output { tenant, value }) as Box<dyn ActivityExecutionValue>),
                Err(ActivityError::Application(failure)) => {
                    Err(ActivityError::Application(stamp_failure(failure, tenant.as_ref())))
                }
                Err(other) => Err(other),
            }
        })
    }
}

/// Around one run of a saga.
pub(crate) struct StampRun;

impl WorkflowInterceptor for StampRun {
    fn execute<'a>(
        &'a self,
        ctx: WorkflowInterceptorContext,
        input: ExecuteWorkflowInput,
        next: WorkflowNext<'a, ExecuteWorkflowInput, WorkflowInterceptorFuture<'a, ExecuteWorkflowResult>>,
    ) -> WorkflowInterceptorFuture<'a, ExecuteWorkflowResult> {
        let tenant = tenant_of(ctx.workflow_id());
        WorkflowInterceptorFuture::new(async move {
            match next.run(input).await {
                Ok(value) => Ok(stamped(tenant, value)),
                Err(WorkflowTermination::Failed(OutgoingWorkflowError::Application(failure))) => {
                    let failure = stamp_failure(failure, tenant.as_ref());
                    Err(WorkflowTermination::Failed(OutgoingWorkflowError::Application(failure)))
                }
                Err(other) => Err(other),
            }
        })
    }

    fn handle_update<'a>(
        &'a self,
        ctx: WorkflowInterceptorContext,
        input: HandleUpdateInput,
        next: WorkflowNext<'a, HandleUpdateInput, WorkflowInterceptorFuture<'a, HandleUpdateResult>>,
    ) -> WorkflowInterceptorFuture<'a, HandleUpdateResult> {
        let tenant = tenant_of(ctx.workflow_id());
        WorkflowInterceptorFuture::new(async move { next.run(input).await.map(|value| stamped(tenant, value)) })
    }

    fn handle_query(
        &self,
        ctx: SyncWorkflowInterceptorContext,
        input: HandleQueryInput,
        next: WorkflowNext<'_, HandleQueryInput, HandleQueryResult>,
    ) -> HandleQueryResult {
        let tenant = tenant_of(ctx.workflow_id());
        next.run(input).map(|value| stamped(tenant, value))
    }

    /// Headers: the trace context.
    fn schedule_activity(
        &self,
        ctx: WorkflowInterceptorContext,
        mut input: ScheduleActivityInput,
        next: WorkflowNext<'static, ScheduleActivityInput, CancellableWorkflowOutboundFuture<ScheduleActivityResult>>,
    ) -> CancellableWorkflowOutboundFuture<ScheduleActivityResult> {
        let tenant = tenant_of(ctx.workflow_id());
        input.headers_mut().values_mut().for_each(|payload| stamp(payload, tenant.as_ref()));
        next.run(input)
    }
}

fn stamped(tenant: Option<TenantId>, value: Box<dyn WorkflowOutputValue>) -> Box<dyn WorkflowOutputValue> {
    Box::new(Output { tenant, value })
}
