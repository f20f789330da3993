//! Rows of the store as messages of the API.

use chrono::{DateTime, Utc};
use leadline_domain::{Code, Failure, ModelState, OperationKind, OperationState, Verb, parking::AtDeadline};
use leadline_proto::{
    v1,
    wkt::{Struct, Timestamp},
};
use leadline_store::{
    PageRequest,
    audit::AuditRow,
    consents::Consent,
    operations::{Operation, Parking, Stuck},
    tenants,
};
use serde_json::Value as Json;

use crate::reference::suggestions;

pub fn operation(row: Operation) -> v1::Operation {
    let step = row.step.clone().unwrap_or_default();
    v1::Operation {
        operation_id: row.id.to_string(),
        tenant_id: row.tenant.to_string(),
        kind: operation_kind(row.kind).into(),
        state: operation_state(row.state).into(),
        step: row.step.unwrap_or_default(),
        progress: row.progress.map(|p| v1::Progress { unit: p.unit, done: p.done, total: p.total }),
        error: error(row.code, row.message),
        result: row.result.and_then(structure),
        create_time: Some(row.created_at.into()),
        start_time: stamp(row.started_at),
        end_time: stamp(row.ended_at),
        cancel_request_time: stamp(row.cancel_requested_at),
        requested_by: row.requested_by,
        workflow_id: row.workflow_id,
        run_id: row.run_id.unwrap_or_default(),
        parking: row.parking.map(|parked| v1::Parking { undoing: row.undoing, ..parking(parked, row.code, step) }),
        stuck: row.stuck.map(stuck),
    }
}

fn stuck(row: Stuck) -> v1::Stuck {
    let (event_id, message) = row.failure.map(|failure| (failure.event_id, failure.message)).unwrap_or_default();
    v1::Stuck { since_time: Some(row.since.into()), event_id, message }
}

fn parking(row: Parking, code: Option<Code>, step: String) -> v1::Parking {
    let at_deadline = match row.at_deadline {
        AtDeadline::Compensate => v1::AtDeadline::Compensate,
        AtDeadline::Retry => v1::AtDeadline::TryAgain,
    };
    let mut shown = v1::Parking {
        step,
        what_to_do: code.and_then(suggestions).unwrap_or_default(),
        since_time: Some(row.since.into()),
        deadline_time: Some(row.deadline.into()),
        at_deadline: at_deadline.into(),
        verbs: row.verbs.into_iter().map(|allowed| verb(allowed).into()).collect(),
        ..v1::Parking::default()
    };
    if let Some(decision) = row.decision {
        shown.decided = verb(decision.verb).into();
        shown.decided_by = decision.instruction.actor.unwrap_or_default();
    }
    shown
}

pub fn verb(verb: Verb) -> v1::OperationVerb {
    match verb {
        Verb::Retry => v1::OperationVerb::Retry,
        Verb::Skip => v1::OperationVerb::Skip,
        Verb::Abandon => v1::OperationVerb::Abandon,
    }
}

pub fn tenant(row: tenants::Tenant) -> v1::Tenant {
    v1::Tenant {
        tenant_id: row.id.to_string(),
        name: row.name,
        display_name: row.display_name,
        state: tenant_state(row.state).into(),
        org_id: row.org_id.unwrap_or_default(),
        create_time: Some(row.created_at.into()),
    }
}

pub fn tenant_state(state: tenants::TenantState) -> v1::TenantState {
    match state {
        tenants::TenantState::Onboarding => v1::TenantState::Onboarding,
        tenants::TenantState::Active => v1::TenantState::Active,
    }
}

pub fn consent(tenant_id: &str, row: Consent) -> v1::Consent {
    v1::Consent {
        tenant_id: tenant_id.to_owned(),
        version: row.version,
        allow_export: row.grant.allow_export,
        allow_training: row.grant.allow_training,
        allow_store_predictions: row.grant.allow_store_predictions,
        allow_write_back: row.grant.allow_write_back,
        recorded_by: row.recorded_by,
        record_time: Some(row.recorded_at.into()),
        note: row.note,
    }
}

pub fn audit_entry(row: AuditRow) -> v1::AuditEntry {
    v1::AuditEntry { time: Some(row.at.into()), actor: row.actor, action: row.action, detail: structure(row.detail) }
}

pub fn error(code: Option<Code>, message: Option<String>) -> Option<v1::OperationError> {
    code.map(|code| v1::OperationError { code: code.to_string(), message: message.unwrap_or_default() })
}

pub fn stamp(instant: Option<DateTime<Utc>>) -> Option<Timestamp> {
    instant.map(Timestamp::from)
}

/// A JSON object as a Struct; anything else is none.
pub fn structure(json: Json) -> Option<Struct> {
    serde_json::from_value(json).ok()
}

pub fn operation_kind(kind: OperationKind) -> v1::OperationKind {
    match kind {
        OperationKind::OnboardTenant => v1::OperationKind::OnboardTenant,
        OperationKind::ExportDataset => v1::OperationKind::ExportDataset,
        OperationKind::TrainModel => v1::OperationKind::TrainModel,
        OperationKind::PromoteModel => v1::OperationKind::PromoteModel,
        OperationKind::PredictAsync => v1::OperationKind::PredictAsync,
        OperationKind::RunDrill => v1::OperationKind::RunDrill,
    }
}

pub fn operation_state(state: OperationState) -> v1::OperationState {
    match state {
        OperationState::Accepted => v1::OperationState::Accepted,
        OperationState::Running => v1::OperationState::Running,
        OperationState::Parked => v1::OperationState::Parked,
        OperationState::Compensating => v1::OperationState::Compensating,
        OperationState::Succeeded => v1::OperationState::Succeeded,
        OperationState::Failed => v1::OperationState::Failed,
        OperationState::Cancelled => v1::OperationState::Cancelled,
    }
}

pub fn model_state(state: ModelState) -> v1::ModelState {
    match state {
        ModelState::Draft => v1::ModelState::Draft,
        ModelState::Training => v1::ModelState::Training,
        ModelState::Trained => v1::ModelState::Trained,
        ModelState::Validated => v1::ModelState::Validated,
        ModelState::Staged => v1::ModelState::Staged,
        ModelState::Production => v1::ModelState::Production,
        ModelState::Archived => v1::ModelState::Archived,
        ModelState::Rejected => v1::ModelState::Rejected,
    }
}

/// The filter that an enum field of a request stands for: its unspecified value filters nothing.
///
/// # Errors
/// [`Code::InvalidArgument`] for a number that is no value of the enum, as only gRPC can send it.
pub fn filter<P: TryFrom<i32> + PartialEq + Copy, D: Copy>(
    number: i32,
    all: &[D],
    name: &str,
    of: fn(D) -> P,
) -> Result<Option<D>, Failure> {
    let invalid = || Failure::new(Code::InvalidArgument, format!("{name} has no value {number}"));
    if number == 0 {
        return Ok(None);
    }
    let wanted = P::try_from(number).map_err(|_| invalid())?;
    all.iter().copied().find(|candidate| of(*candidate) == wanted).map(Some).ok_or_else(invalid)
}

/// # Errors
/// [`Code::InvalidArgument`] for a negative size or one above what a list answers.
pub fn page(size: i32, token: String) -> Result<PageRequest, Failure> {
    let allowed = leadline_store::paging::MAX_PAGE;
    match u32::try_from(size) {
        Ok(size) if size <= allowed => Ok(PageRequest { size, token }),
        _ => Err(Failure::new(Code::InvalidArgument, format!("pageSize is 1 to {allowed}, or absent"))),
    }
}

/// # Errors
/// [`Code::InvalidArgument`] for an instant outside the years 1 to 9999, as only gRPC can send it.
pub fn instant(stamp: Option<Timestamp>, name: &str) -> Result<Option<DateTime<Utc>>, Failure> {
    stamp.map(DateTime::try_from).transpose().map_err(|e| Failure::new(Code::InvalidArgument, format!("{name}: {e}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_enum_filter_knows_absent_known_and_unknown() {
        let kind = |n| filter(n, &OperationKind::ALL, "kind", operation_kind);
        assert_eq!(kind(0), Ok(None));
        assert_eq!(kind(v1::OperationKind::TrainModel as i32), Ok(Some(OperationKind::TrainModel)));
        assert_eq!(kind(99).unwrap_err().code, Code::InvalidArgument);
    }

    #[test]
    fn a_page_is_bounded() {
        assert!(page(0, String::new()).is_ok());
        assert_eq!(page(-1, String::new()).unwrap_err().code, Code::InvalidArgument);
        assert_eq!(page(501, String::new()).unwrap_err().code, Code::InvalidArgument);
    }
}
