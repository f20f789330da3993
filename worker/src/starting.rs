//! How a saga is started: under which id, for whom it counts, and what Temporal can find it by.

use leadline_domain::operation::{OperationRef, OperationState};
use leadline_telemetry::propagation;
use leadline_workflows::course::{KIND_ATTRIBUTE, STATE_ATTRIBUTE, TENANT_ATTRIBUTE};
use temporalio_client::{WorkflowIdConflictPolicy, WorkflowIdReusePolicy, WorkflowStartOptions};
use temporalio_common::{Priority, search_attributes::SearchAttributes};

/// The options of an operation's run on `queue`. While one of its runs is open there is no other; `reuse` says whether one that has
/// ended may be followed by another.
pub fn start_options(queue: &str, operation: &OperationRef, reuse: WorkflowIdReusePolicy) -> WorkflowStartOptions {
    let tenant = operation.tenant.to_string();
    let attributes = SearchAttributes::new([
        TENANT_ATTRIBUTE.value_set(tenant.clone()),
        KIND_ATTRIBUTE.value_set(operation.kind.to_string()),
        STATE_ATTRIBUTE.value_set(OperationState::Accepted.to_string()),
    ]);
    let mut priority = Priority::default();
    priority.fairness_key = Some(tenant);
    WorkflowStartOptions::new(queue, operation.workflow_id())
        .id_reuse_policy(reuse)
        .id_conflict_policy(WorkflowIdConflictPolicy::Fail)
        .search_attributes(attributes)
        .priority(priority)
        .maybe_header(propagation::current())
        .build()
}
