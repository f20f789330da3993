//! The course of an operation: its row follows its workflow.

use std::time::Duration;

use leadline_domain::{
    Code, OperationId, OperationState, Verb,
    parking::{AtDeadline, Correction},
};
use serde_json::{Value as Json, json};

use super::{Operation, Progress, columns, get, not_found};
use crate::{
    Result, StoreError, Transact,
    audit::{self, AuditEntry},
};

/// What a workflow says about itself while it runs. It holds the whole: a code that is absent is cleared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CourseUpdate {
    /// Orders the updates of all runs of an operation: when Temporal scheduled the update's step, in microseconds since 1970.
    pub sequence: i64,
    /// Not an ended one: that is [`close`]'s.
    pub state: OperationState,
    pub step: Option<String>,
    pub code: Option<Code>,
    pub message: Option<String>,
    /// What it waits for; with the state `Parked`, and only then.
    pub parking: Option<NewParking>,
}

/// A parking that begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewParking {
    pub number: u64,
    pub verbs: Vec<Verb>,
    pub deadline: Duration,
    pub at_deadline: AtDeadline,
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

/// Records that Temporal has the run. A start that is repeated keeps the first run and time.
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

/// Records that this run carries the operation on: after a reset, or after a run that was terminated, it is another than before.
pub async fn record_run(tx: &mut impl Transact, id: &OperationId, run_id: &str) -> Result<()> {
    sqlx::query("UPDATE operations SET run_id = $2, started_at = coalesce(started_at, now()) WHERE operation_id = $1")
        .bind(id.as_str())
        .bind(run_id)
        .execute(tx.connection())
        .await?;
    Ok(())
}

/// Applies an update unless a newer one was applied or the operation has ended; says whether it did. What was decided about a
/// parking goes with it.
pub async fn update_state(tx: &mut impl Transact, id: &OperationId, update: &CourseUpdate) -> Result<bool> {
    debug_assert!(!update.state.is_ended(), "an operation is ended by close");
    let parking = update.parking.as_ref();
    let verbs: Vec<&str> = parking.map_or_else(Vec::new, |parking| parking.verbs.iter().map(|verb| verb.as_str()).collect());
    let updated = sqlx::query(
        "UPDATE operations SET state = $3, sequence = $2, step = coalesce($4, step), code = $5, message = $6,
                               started_at = coalesce(started_at, now()),
                               park = coalesce($7, park), verbs = $8, at_deadline = $10,
                               parked_at = CASE WHEN $7::bigint IS NULL THEN NULL ELSE now() END,
                               park_deadline = now() + make_interval(secs => $9),
                               decision = NULL, decision_due_at = NULL, decision_delivered_at = NULL
         WHERE operation_id = $1 AND sequence < $2 AND ended_at IS NULL",
    )
    .bind(id.as_str())
    .bind(update.sequence)
    .bind(update.state.as_str())
    .bind(&update.step)
    .bind(update.code.map(Code::as_str))
    .bind(&update.message)
    .bind(parking.map(|parking| i64::try_from(parking.number).unwrap_or(i64::MAX)))
    .bind(verbs)
    .bind(parking.map(|parking| parking.deadline.as_secs_f64()))
    .bind(parking.map(|parking| parking.at_deadline.as_str()))
    .execute(tx.connection())
    .await?;
    Ok(updated.rows_affected() > 0)
}

/// Shows that this run tries a step now, also where the row still has the parking of a run that was reset meanwhile.
pub async fn begin_step(
    tx: &mut impl Transact,
    id: &OperationId,
    (step, progress): (&str, &Progress),
    (run_id, sequence): (&str, i64),
) -> Result<()> {
    let parked: Option<bool> = sqlx::query_scalar(
        "UPDATE operations SET step = $2, progress = $3 WHERE operation_id = $1 AND ended_at IS NULL
         RETURNING state = 'parked' AND sequence < $4",
    )
    .bind(id.as_str())
    .bind(step)
    .bind(sqlx::types::Json(progress))
    .bind(sequence)
    .fetch_optional(tx.connection())
    .await?;
    if parked == Some(true) { leave_parking(tx, id, run_id, sequence).await } else { Ok(()) }
}

async fn leave_parking(tx: &mut impl Transact, id: &OperationId, run_id: &str, sequence: i64) -> Result<()> {
    sqlx::query(
        "UPDATE operations SET state = 'running', sequence = $3, run_id = $2, code = NULL, message = NULL, parked_at = NULL,
                               park_deadline = NULL, at_deadline = NULL, verbs = '{}', decision = NULL, decision_due_at = NULL
         WHERE operation_id = $1",
    )
    .bind(id.as_str())
    .bind(run_id)
    .bind(sequence)
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// Keeps a correction with what the operation was started with, so that every later run has it.
pub async fn correct(tx: &mut impl Transact, id: &OperationId, correction: &Correction) -> Result<()> {
    sqlx::query("UPDATE operations SET params = params || $2 WHERE operation_id = $1")
        .bind(id.as_str())
        .bind(sqlx::types::Json(correction))
        .execute(tx.connection())
        .await?;
    Ok(())
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

/// Notes that the effect has been seen, in the transaction that makes it so. From then on nothing of the operation is undone.
///
/// # Errors
/// `EPOCH_CLOSED` when its undoing has begun; nothing may be committed then.
pub async fn pass_pivot(tx: &mut impl Transact, id: &OperationId) -> Result<()> {
    let passed = sqlx::query(
        "UPDATE operations SET pivot_passed_at = coalesce(pivot_passed_at, now())
         WHERE operation_id = $1 AND undo_began_at IS NULL",
    )
    .bind(id.as_str())
    .execute(tx.connection())
    .await?;
    match passed.rows_affected() {
        0 => Err(StoreError::refused(Code::EpochClosed, format!("operation {id} is being undone"))),
        _ => Ok(()),
    }
}

/// Notes that something of the operation is undone, in the transaction that begins to. From then on it cannot pass its pivot.
///
/// # Errors
/// `PIVOT_PASSED` when its effect has been seen; nothing may be undone then.
pub async fn begin_undo(tx: &mut impl Transact, id: &OperationId) -> Result<()> {
    let begun = sqlx::query(
        "UPDATE operations SET undo_began_at = coalesce(undo_began_at, now())
         WHERE operation_id = $1 AND pivot_passed_at IS NULL",
    )
    .bind(id.as_str())
    .execute(tx.connection())
    .await?;
    match begun.rows_affected() {
        0 => {
            Err(StoreError::refused(Code::PivotPassed, format!("operation {id} has passed its pivot: its effect has been seen")))
        }
        _ => Ok(()),
    }
}

/// The closing write. May be repeated: an operation that has ended stays as it ended, and is returned so.
///
/// # Errors
/// `OPERATION_NOT_FOUND`.
pub async fn close(tx: &mut impl Transact, id: &OperationId, closing: &Closing) -> Result<Operation> {
    debug_assert!(closing.state.is_ended(), "close writes an ended state");
    let closed: Option<Operation> = sqlx::query_as(concat!(
        "UPDATE operations SET state = $2, result = $3, code = $4, message = $5, ended_at = now(), parked_at = NULL,
                               park_deadline = NULL, at_deadline = NULL, verbs = '{}', decision = NULL,
                               stuck_since = NULL, stuck_event = NULL, stuck_why = NULL
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
