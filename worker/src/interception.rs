//! What surrounds every saga and every step of a worker: the trace goes on in them, and steps are counted.
//!
//! A saga's own span is sent when the run ends, by whichever worker has it then; its id follows from the run's id, so that the
//! steps can name it as their parent from the first on, and a replay makes no second one.

use std::{
    cell::OnceCell,
    time::{Instant, SystemTime},
};

use leadline_telemetry::{propagation, traces::EndedSpan};
use metrics::{counter, histogram};
use opentelemetry::{
    Context, KeyValue, SpanId,
    trace::{FutureExt as _, SpanContext, TraceContextExt as _},
};
use temporalio_common::protos::temporal::api::common::v1::Payload;
use temporalio_sdk::{
    activities::ActivityError,
    interceptors::{ActivityInboundInterceptor, ExecuteActivityInput, ExecuteActivityOutput, ExecuteActivityResult, Next},
    workflow_interceptors::{
        CancellableWorkflowOutboundFuture, ExecuteWorkflowInput, ExecuteWorkflowResult, ScheduleActivityInput,
        ScheduleActivityResult, WorkflowInterceptor, WorkflowInterceptorConstructor, WorkflowInterceptorContext,
        WorkflowInterceptorFuture, WorkflowNext,
    },
};

/// Around each step's attempt.
pub(crate) struct Steps;

impl ActivityInboundInterceptor for Steps {
    fn execute_activity<'a>(
        &'a self,
        input: ExecuteActivityInput,
        next: Next<'a, ExecuteActivityInput, ExecuteActivityOutput<'a>>,
    ) -> ExecuteActivityOutput<'a> {
        let context = propagation::of_task(input.headers());
        let step = input.activity_info().activity_type.clone();
        let attempt = async move {
            let begun = Instant::now();
            let result = next.run(input).await;
            count(step, &result, begun);
            result
        };
        Box::pin(attempt.with_context(context))
    }
}

fn count(step: String, result: &ExecuteActivityResult, begun: Instant) {
    let code = match result {
        Ok(_) => "OK".to_owned(),
        Err(ActivityError::Cancelled { .. }) => "CANCELLED".to_owned(),
        Err(ActivityError::Application(failure)) => failure.type_name().unwrap_or("INTERNAL").to_owned(),
        Err(_) => "INTERNAL".to_owned(),
    };
    histogram!("leadline_step_duration_seconds", "step" => step.clone()).record(begun.elapsed());
    counter!("leadline_step_attempts_total", "step" => step, "code" => code).increment(1);
}

/// What surrounds each run, where it is first carried out and where it is replayed.
pub(crate) fn around_runs() -> WorkflowInterceptorConstructor {
    WorkflowInterceptorConstructor::new(|_| Run::default())
}

/// Around one run of a saga, as long as this worker has it in memory.
#[derive(Default)]
struct Run {
    /// What the run's steps are told: its own span.
    own: OnceCell<(String, Payload)>,
}

impl WorkflowInterceptor for Run {
    fn execute<'a>(
        &'a self,
        ctx: WorkflowInterceptorContext,
        input: ExecuteWorkflowInput,
        next: WorkflowNext<'a, ExecuteWorkflowInput, WorkflowInterceptorFuture<'a, ExecuteWorkflowResult>>,
    ) -> WorkflowInterceptorFuture<'a, ExecuteWorkflowResult> {
        let parent = propagation::of_task(input.headers());
        let Some((id, own)) = span_of(ctx.run_id(), &parent) else { return next.run(input) };
        if let Some(entry) = propagation::entry(&own) {
            // It runs once for each instance.
            let _ = self.own.set(entry);
        }
        WorkflowInterceptorFuture::new(async move {
            let began = ctx.workflow_time();
            let result = next.run(input).await;
            if !ctx.is_replaying_history_events() {
                ended(&ctx, id, parent, began, result.is_ok()).record();
            }
            result
        })
    }

    fn schedule_activity(
        &self,
        _: WorkflowInterceptorContext,
        mut input: ScheduleActivityInput,
        next: WorkflowNext<'static, ScheduleActivityInput, CancellableWorkflowOutboundFuture<ScheduleActivityResult>>,
    ) -> CancellableWorkflowOutboundFuture<ScheduleActivityResult> {
        if let Some((name, payload)) = self.own.get() {
            input.headers_mut().insert(name.clone(), payload.clone());
        }
        next.run(input)
    }
}

/// The run's own span within the trace that started it; `None` when that is not traced.
fn span_of(run_id: &str, parent: &Context) -> Option<(SpanId, Context)> {
    let starter = parent.span().span_context().clone();
    if !starter.is_valid() {
        return None;
    }
    let digits: String = run_id.chars().filter(char::is_ascii_hexdigit).collect();
    let id = SpanId::from_hex(digits.get(digits.len().checked_sub(16)?..)?).ok()?;
    let own = SpanContext::new(starter.trace_id(), id, starter.trace_flags(), true, starter.trace_state().clone());
    Some((id, parent.with_remote_span_context(own)))
}

fn ended(ctx: &WorkflowInterceptorContext, id: SpanId, parent: Context, began: Option<SystemTime>, succeeded: bool) -> EndedSpan {
    let ended = ctx.workflow_time().unwrap_or_else(SystemTime::now);
    EndedSpan {
        id,
        parent,
        name: ctx.workflow_type().to_owned(),
        began: began.unwrap_or(ended),
        ended,
        attributes: vec![KeyValue::new("workflow", ctx.workflow_id().to_owned()), KeyValue::new("run", ctx.run_id().to_owned())],
        succeeded,
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry::{TraceFlags, TraceId, trace::TraceState};

    use super::*;

    #[test]
    fn a_run_has_one_span_in_its_starters_trace_whoever_replays_it() {
        let starter = SpanContext::new(TraceId::from(7), SpanId::from(9), TraceFlags::SAMPLED, true, TraceState::default());
        let parent = Context::new().with_remote_span_context(starter);
        let run = "019ab3f2-77aa-7d2e-9c41-0123456789ab";
        let (id, own) = span_of(run, &parent).unwrap();
        assert_eq!(id, SpanId::from_hex("9c410123456789ab").unwrap());
        assert_eq!(own.span().span_context().trace_id(), TraceId::from(7));
        assert_eq!(own.span().span_context().span_id(), id);
        assert!(span_of(run, &Context::new()).is_none(), "nothing is traced that nobody traces");
    }
}
