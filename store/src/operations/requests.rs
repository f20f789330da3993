//! What people ask of a running operation: a cancel, or a decision about a parking. It is written down with who and why before
//! Temporal hears of it, so that the answer needs neither Temporal nor a worker; the sweeper delivers it.

use std::time::Duration;

use chrono::{DateTime, Utc};
use leadline_domain::{
    Code, OperationId, OperationKind, OperationState, TenantId,
    parking::{Decision, Instruction, Parked},
};
use serde_json::{Value as Json, json};

use super::{Operation, columns, get, not_found};
use crate::{
    OperatorTx, Result, StoreError, Transact,
    audit::{self, AuditEntry},
};

/// Records that somebody asked for a cancel; the first time stands.
///
/// # Errors
/// `OPERATION_NOT_FOUND`, `OPERATION_ENDED`.
pub async fn request_cancel(tx: &mut impl Transact, id: &OperationId, actor: &str, reason: &str) -> Result<Operation> {
    let requested: Option<Operation> = sqlx::query_as(concat!(
        "UPDATE operations SET cancel_requested_at = coalesce(cancel_requested_at, now())
         WHERE operation_id = $1 AND ended_at IS NULL RETURNING ",
        columns!()
    ))
    .bind(id.as_str())
    .fetch_optional(tx.connection())
    .await?;
    let Some(operation) = requested else { return Err(has_ended(&get(tx, id).await?)) };
    append_cancel(tx, &operation, actor, json!({ "reason": reason })).await?;
    Ok(operation)
}

/// Notes that somebody has asked for a cancel in Temporal itself, where anybody can; does nothing if the API was asked for one.
pub async fn note_cancel(tx: &mut impl Transact, operation: &Operation) -> Result<()> {
    let noted = sqlx::query(
        "UPDATE operations SET cancel_requested_at = now(), cancel_delivered_at = now()
         WHERE operation_id = $1 AND cancel_requested_at IS NULL AND ended_at IS NULL",
    )
    .bind(operation.id.as_str())
    .execute(tx.connection())
    .await?;
    if noted.rows_affected() > 0 {
        append_cancel(tx, operation, "temporal", json!({})).await?;
    }
    Ok(())
}

async fn append_cancel(tx: &mut impl Transact, operation: &Operation, actor: &str, detail: Json) -> Result<()> {
    let (tenant, id) = (&operation.tenant, Some(&operation.id));
    audit::append(tx, &AuditEntry { tenant, operation: id, actor, action: "operation.cancel", detail }).await
}

/// Writes a decision about a parked operation down, to be delivered at `due`. The first decision stands: of two that come at once,
/// the second is refused.
///
/// `decision` is what the person said; its actor and the parking that it is about are set here.
///
/// # Errors
/// `OPERATION_NOT_FOUND`, `OPERATION_ENDED`, `OPERATION_NOT_PARKED`, and what [`Parked::check`](leadline_domain::parking::Parked)
/// says of it.
pub async fn decide(
    tx: &mut impl Transact,
    id: &OperationId,
    actor: &str,
    decision: &Decision,
    due: DateTime<Utc>,
) -> Result<Operation> {
    let found: Option<Operation> =
        sqlx::query_as(concat!("SELECT ", columns!(), " FROM operations WHERE operation_id = $1 FOR UPDATE"))
            .bind(id.as_str())
            .fetch_optional(tx.connection())
            .await?;
    let operation = found.ok_or_else(|| not_found(id))?;
    let parked = undecided(&operation, due)?;
    let instruction = Instruction { park: Some(parked.number), actor: Some(actor.to_owned()), ..decision.instruction.clone() };
    parked.check(decision.verb, &decision.instruction).map_err(|failure| StoreError::refused(failure.code, failure.message))?;
    let entry = AuditEntry {
        tenant: &operation.tenant,
        operation: Some(id),
        actor,
        action: &format!("operation.{}", decision.verb),
        detail: json!({ "step": parked.step, "reason": instruction.reason, "correction": instruction.correction }),
    };
    audit::append(tx, &entry).await?;
    let written = Decision { verb: decision.verb, instruction };
    sqlx::query_as(concat!(
        "UPDATE operations SET decision = $2, decision_due_at = $3, decision_delivered_at = NULL WHERE operation_id = $1 RETURNING ",
        columns!()
    ))
    .bind(id.as_str())
    .bind(sqlx::types::Json(&written))
    .bind(due)
    .fetch_one(tx.connection())
    .await
    .map_err(StoreError::from)
}

/// Writes down that somebody moves an operation to another build of the workers, and why.
///
/// # Errors
/// `OPERATION_NOT_FOUND`, `OPERATION_ENDED`, and `OPERATION_NOT_PARKED` when it is neither parked nor stuck: a run that gets on ends
/// on its own build.
pub async fn request_move(tx: &mut impl Transact, id: &OperationId, actor: &str, detail: Json) -> Result<()> {
    let operation = get(tx, id).await?;
    movable(&operation)?;
    let entry = AuditEntry { tenant: &operation.tenant, operation: Some(id), actor, action: "operation.move", detail };
    audit::append(tx, &entry).await
}

/// # Errors
/// `OPERATION_ENDED`, `OPERATION_NOT_PARKED`.
pub fn movable(operation: &Operation) -> Result<()> {
    if operation.state.is_ended() {
        return Err(has_ended(operation));
    }
    if operation.parking.is_none() && operation.stuck.is_none() {
        let why =
            format!("operation {} is {}, neither parked nor stuck: it ends on its own build", operation.id, operation.state);
        return Err(StoreError::refused(Code::OperationNotParked, why));
    }
    Ok(())
}

/// Writes down that an operation was not moved after all.
pub async fn record_move_refused(tx: &mut impl Transact, operation: &Operation, detail: Json) -> Result<()> {
    let entry = AuditEntry {
        tenant: &operation.tenant,
        operation: Some(&operation.id),
        actor: "api",
        action: "operation.move_refused",
        detail,
    };
    audit::append(tx, &entry).await
}

/// Which parked operations are meant.
#[derive(Debug, Clone)]
pub struct ParkedFilter {
    /// For operators; a tenant sees its own whatever this says.
    pub tenant: Option<TenantId>,
    pub kind: Option<OperationKind>,
    pub code: Code,
}

/// Those that wait for somebody's decision, the longest parked first.
pub async fn parked(tx: &mut impl Transact, filter: &ParkedFilter, limit: u32) -> Result<Vec<Operation>> {
    let rows = sqlx::query_as(concat!(
        "SELECT ",
        columns!(),
        " FROM operations WHERE state = 'parked' AND decision IS NULL AND code = $1
            AND ($2::text IS NULL OR tenant_id = $2) AND ($3::text IS NULL OR kind = $3)
          ORDER BY parked_at, operation_id LIMIT $4"
    ))
    .bind(filter.code.as_str())
    .bind(filter.tenant.as_ref().map(TenantId::as_str))
    .bind(filter.kind.map(OperationKind::as_str))
    .bind(i64::from(limit))
    .fetch_all(tx.connection())
    .await?;
    Ok(rows)
}

fn undecided(operation: &Operation, due: DateTime<Utc>) -> Result<Parked> {
    if operation.state.is_ended() {
        return Err(has_ended(operation));
    }
    let not_parked = |why: String| StoreError::refused(Code::OperationNotParked, why);
    let Some(parking) = &operation.parking else {
        return Err(not_parked(format!("operation {} is {}, and waits for nobody's decision", operation.id, operation.state)));
    };
    if let Some(decision) = &parking.decision {
        let by = decision.instruction.actor.as_deref().unwrap_or("somebody");
        return Err(not_parked(format!("{by} has decided to {} operation {} already", decision.verb, operation.id)));
    }
    if due >= parking.deadline {
        return Err(not_parked(format!("the parking of operation {} ends before the decision would reach it", operation.id)));
    }
    debug_assert!(operation.state == OperationState::Parked, "a check of the table");
    Ok(parking.parked(operation))
}

fn has_ended(operation: &Operation) -> StoreError {
    StoreError::refused(Code::OperationEnded, format!("operation {} has ended as {}", operation.id, operation.state))
}

/// Records that Temporal has the cancel that was asked for.
pub async fn record_cancel(tx: &mut impl Transact, id: &OperationId) -> Result<()> {
    sqlx::query("UPDATE operations SET cancel_delivered_at = coalesce(cancel_delivered_at, now()) WHERE operation_id = $1")
        .bind(id.as_str())
        .execute(tx.connection())
        .await?;
    Ok(())
}

/// Takes a decision away that the run did not take: if the parking still stands, somebody can decide anew.
pub async fn withdraw_decision(tx: &mut impl Transact, operation: &Operation, decision: &Decision, why: &str) -> Result<()> {
    let withdrawn = sqlx::query(
        "UPDATE operations SET decision = NULL, decision_due_at = NULL, decision_delivered_at = NULL
         WHERE operation_id = $1 AND decision = $2",
    )
    .bind(operation.id.as_str())
    .bind(sqlx::types::Json(decision))
    .execute(tx.connection())
    .await?;
    if withdrawn.rows_affected() > 0 {
        let entry = AuditEntry {
            tenant: &operation.tenant,
            operation: Some(&operation.id),
            actor: "sweeper",
            action: "operation.decision_refused",
            detail: json!({ "verb": decision.verb, "by": decision.instruction.actor, "why": why }),
        };
        audit::append(tx, &entry).await?;
    }
    Ok(())
}

/// Puts a decision that could not be delivered behind the others that are due.
pub async fn put_off_decision(tx: &mut impl Transact, id: &OperationId) -> Result<()> {
    sqlx::query("UPDATE operations SET decision_due_at = now() WHERE operation_id = $1 AND decision IS NOT NULL")
        .bind(id.as_str())
        .execute(tx.connection())
        .await?;
    Ok(())
}

/// Records that the workflow has the decision about its parking of that number.
pub async fn record_decision(tx: &mut impl Transact, id: &OperationId, park: u64) -> Result<()> {
    sqlx::query(
        "UPDATE operations SET decision_delivered_at = now() WHERE operation_id = $1 AND park = $2 AND decision IS NOT NULL",
    )
    .bind(id.as_str())
    .bind(i64::try_from(park).unwrap_or(i64::MAX))
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// What has to be told to Temporal still, older than `age`: accepted operations whose start may have been lost, and cancels that were
/// asked for and not delivered. Each tenant's oldest first, tenant by tenant, so that none fills the batch. Two sweepers may find
/// the same; both calls can be repeated.
pub async fn undelivered(tx: &mut OperatorTx, age: Duration, limit: u32) -> Result<Vec<Operation>> {
    let rows = sqlx::query_as(concat!(
        "SELECT ",
        columns!(),
        " FROM operations JOIN (
              SELECT operation_id, row_number() OVER (PARTITION BY tenant_id ORDER BY created_at) AS place
              FROM operations
              WHERE ended_at IS NULL AND (
                  (state = 'accepted' AND run_id IS NULL AND created_at <= now() - make_interval(secs => $1))
                  OR (cancel_delivered_at IS NULL AND cancel_requested_at <= now() - make_interval(secs => $1)))
              ORDER BY place, created_at LIMIT $2
          ) waiting USING (operation_id) ORDER BY place, created_at"
    ))
    .bind(age.as_secs_f64())
    .bind(i64::from(limit))
    .fetch_all(tx.connection())
    .await?;
    Ok(rows)
}

/// Decisions that are due and not delivered, the longest due first. Apart from [`undelivered`], since a decision needs a living
/// worker, and starts must not wait for one.
pub async fn undelivered_decisions(tx: &mut OperatorTx, limit: u32) -> Result<Vec<Operation>> {
    let rows = sqlx::query_as(concat!(
        "SELECT ",
        columns!(),
        " FROM operations WHERE decision IS NOT NULL AND decision_delivered_at IS NULL AND decision_due_at <= now()
          ORDER BY decision_due_at LIMIT $1"
    ))
    .bind(i64::from(limit))
    .fetch_all(tx.connection())
    .await?;
    Ok(rows)
}
