//! The course of an operation: its row follows its workflow.

use std::time::Duration;

use leadline_domain::{Code, OperationId, OperationState};
use serde_json::{Value as Json, json};

use super::{Operation, Progress, columns, get, not_found};
use crate::{
    OperatorTx, Result, StoreError, Transact,
    audit::{self, AuditEntry},
};

/// What a workflow says about itself while it runs. It holds the whole: a code that is absent is cleared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CourseUpdate {
    /// Grows with every update of one workflow.
    pub sequence: i64,
    /// Not an ended one: that is [`close`]'s.
    pub state: OperationState,
    pub step: Option<String>,
    pub code: Option<Code>,
    pub message: Option<String>,
}

/// How an operation ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Closing {
    pub state: OperationState,
    /// What it made: ids and counts.
    pub result: Option<Json>,
    pub code: Option<Code>,
    pub message: Option<String>,
}

/// Records that Temporal has the run. A repeated start keeps the first run and time.
///
/// # Errors
/// `OPERATION_NOT_FOUND`.
pub async fn record_start(tx: &mut impl Transact, id: &OperationId, run_id: &str) -> Result<()> {
    let updated = sqlx::query(
        "UPDATE operations SET run_id = coalesce(run_id, $2), started_at = coalesce(started_at, now()) WHERE operation_id = $1",
    )
    .bind(id.as_str())
    .bind(run_id)
    .execute(tx.connection())
    .await?;
    if updated.rows_affected() == 0 { Err(not_found(id)) } else { Ok(()) }
}

/// Applies an update unless a newer one was applied or the operation has ended; says whether it did.
pub async fn update_state(tx: &mut impl Transact, id: &OperationId, update: &CourseUpdate) -> Result<bool> {
    debug_assert!(!update.state.is_ended(), "an operation is ended by close");
    let updated = sqlx::query(
        "UPDATE operations SET state = $3, sequence = $2, step = coalesce($4, step), code = $5, message = $6,
                               started_at = coalesce(started_at, now())
         WHERE operation_id = $1 AND sequence < $2 AND ended_at IS NULL",
    )
    .bind(id.as_str())
    .bind(update.sequence)
    .bind(update.state.as_str())
    .bind(&update.step)
    .bind(update.code.map(Code::as_str))
    .bind(&update.message)
    .execute(tx.connection())
    .await?;
    Ok(updated.rows_affected() > 0)
}

/// Shows how far `step` is, until the operation ends. For eyes only: nothing is resumed from it.
pub async fn progress(tx: &mut impl Transact, id: &OperationId, step: &str, progress: &Progress) -> Result<()> {
    sqlx::query("UPDATE operations SET step = $2, progress = $3 WHERE operation_id = $1 AND ended_at IS NULL")
        .bind(id.as_str())
        .bind(step)
        .bind(sqlx::types::Json(progress))
        .execute(tx.connection())
        .await?;
    Ok(())
}

/// The closing write. May be repeated: an operation that has ended stays as it ended, and is returned so.
///
/// # Errors
/// `OPERATION_NOT_FOUND`.
pub async fn close(tx: &mut impl Transact, id: &OperationId, closing: &Closing) -> Result<Operation> {
    debug_assert!(closing.state.is_ended(), "close writes an ended state");
    let closed: Option<Operation> = sqlx::query_as(concat!(
        "UPDATE operations SET state = $2, result = $3, code = $4, message = $5, ended_at = now()
         WHERE operation_id = $1 AND ended_at IS NULL RETURNING ",
        columns!()
    ))
    .bind(id.as_str())
    .bind(closing.state.as_str())
    .bind(&closing.result)
    .bind(closing.code.map(Code::as_str))
    .bind(&closing.message)
    .fetch_optional(tx.connection())
    .await?;
    let Some(operation) = closed else { return get(tx, id).await };
    let entry = AuditEntry {
        tenant: &operation.tenant,
        operation: Some(id),
        actor: "worker",
        action: "operation.close",
        detail: json!({ "state": operation.state, "code": operation.code }),
    };
    audit::append(tx, &entry).await?;
    Ok(operation)
}

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
    let Some(operation) = requested else {
        let ended = get(tx, id).await?;
        return Err(StoreError::refused(Code::OperationEnded, format!("operation {id} has ended as {}", ended.state)));
    };
    let entry = AuditEntry {
        tenant: &operation.tenant,
        operation: Some(id),
        actor,
        action: "operation.cancel",
        detail: json!({ "reason": reason }),
    };
    audit::append(tx, &entry).await?;
    Ok(operation)
}

/// Notes that a cancel came after the effect had been seen, where nobody had written down that it was asked for: in Temporal
/// itself, anybody can ask.
pub async fn note_late_cancel(tx: &mut impl Transact, id: &OperationId) -> Result<()> {
    sqlx::query("UPDATE operations SET cancel_requested_at = coalesce(cancel_requested_at, now()) WHERE operation_id = $1")
        .bind(id.as_str())
        .execute(tx.connection())
        .await?;
    Ok(())
}

/// Records that Temporal has the cancel that was asked for.
pub async fn record_cancel(tx: &mut impl Transact, id: &OperationId) -> Result<()> {
    sqlx::query("UPDATE operations SET cancel_delivered_at = coalesce(cancel_delivered_at, now()) WHERE operation_id = $1")
        .bind(id.as_str())
        .execute(tx.connection())
        .await?;
    Ok(())
}

/// What has to be told to Temporal still, older than `age`, oldest first: accepted operations whose start may have been lost, and
/// cancels that were asked for and not delivered. Two sweepers may find the same; both calls can be repeated.
pub async fn undelivered(tx: &mut OperatorTx, age: Duration, limit: u32) -> Result<Vec<Operation>> {
    let rows = sqlx::query_as(concat!(
        "SELECT ",
        columns!(),
        " FROM operations
          WHERE ended_at IS NULL AND (
              (state = 'accepted' AND run_id IS NULL AND created_at <= now() - make_interval(secs => $1))
              OR (cancel_delivered_at IS NULL AND cancel_requested_at <= now() - make_interval(secs => $1)))
          ORDER BY created_at LIMIT $2"
    ))
    .bind(age.as_secs_f64())
    .bind(i64::from(limit))
    .fetch_all(tx.connection())
    .await?;
    Ok(rows)
}
