//! Operations that run on paper only: what the reconciler finds, and what it writes down.

use std::time::Duration;

use leadline_domain::OperationId;
use serde_json::{Value as Json, json};

use super::{Operation, TaskFailure, columns};
use crate::{
    OperatorTx, Result, Transact,
    audit::{self, AuditEntry},
};

/// Operations that should be running, and have not been compared with their run for `age`; the longest first.
pub async fn unreconciled(tx: &mut OperatorTx, age: Duration, limit: u32) -> Result<Vec<Operation>> {
    let rows = sqlx::query_as(concat!(
        "SELECT ",
        columns!(),
        " FROM operations WHERE ended_at IS NULL AND run_id IS NOT NULL AND reconciled_at <= now() - make_interval(secs => $1)
          ORDER BY reconciled_at LIMIT $2"
    ))
    .bind(age.as_secs_f64())
    .bind(i64::from(limit))
    .fetch_all(tx.connection())
    .await?;
    Ok(rows)
}

/// Records that the run lives and gets on.
pub async fn found_alive(tx: &mut impl Transact, id: &OperationId) -> Result<()> {
    sqlx::query(
        "UPDATE operations SET reconciled_at = now(), stuck_since = NULL, stuck_event = NULL, stuck_why = NULL
         WHERE operation_id = $1 AND ended_at IS NULL",
    )
    .bind(id.as_str())
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// Records that the run lives and its workflow task keeps failing; the first time stands.
pub async fn found_stuck(tx: &mut impl Transact, id: &OperationId, failure: Option<&TaskFailure>) -> Result<()> {
    sqlx::query(
        "UPDATE operations SET reconciled_at = now(), stuck_since = coalesce(stuck_since, now()), stuck_event = $2, stuck_why = $3
         WHERE operation_id = $1 AND ended_at IS NULL",
    )
    .bind(id.as_str())
    .bind(failure.map(|failure| failure.event_id))
    .bind(failure.map(|failure| &failure.message))
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// Records that the run has ended without ending the operation, so that the next run unwinds it. `None` when the operation has
/// ended after all: a run writes that down before it ends.
pub async fn found_terminated(tx: &mut impl Transact, id: &OperationId, how: &str) -> Result<Option<Operation>> {
    let found: Option<Operation> = sqlx::query_as(concat!(
        "UPDATE operations SET terminated_at = coalesce(terminated_at, now()), reconciled_at = now(), stuck_since = NULL,
                               stuck_event = NULL, stuck_why = NULL
         WHERE operation_id = $1 AND ended_at IS NULL RETURNING ",
        columns!()
    ))
    .bind(id.as_str())
    .fetch_optional(tx.connection())
    .await?;
    note(tx, found, "operation.found_terminated", json!({ "how": how })).await
}

/// Records that the server knows nothing of the run, so that the next one goes on from the ledger; or undoes the rest, where the undoing
/// had begun. A cancel that the lost run had been told of is told to the next one. `None` when the operation has ended after all.
pub async fn found_lost(tx: &mut impl Transact, id: &OperationId) -> Result<Option<Operation>> {
    let found: Option<Operation> = sqlx::query_as(concat!(
        "UPDATE operations SET reconciled_at = now(), cancel_delivered_at = NULL,
                               stuck_since = NULL, stuck_event = NULL, stuck_why = NULL,
                               terminated_at = CASE WHEN undo_began_at IS NULL THEN terminated_at ELSE coalesce(terminated_at, now()) END
         WHERE operation_id = $1 AND ended_at IS NULL RETURNING ",
        columns!()
    ))
    .bind(id.as_str())
    .fetch_optional(tx.connection())
    .await?;
    note(tx, found, "operation.found_lost", json!({})).await
}

async fn note(tx: &mut impl Transact, found: Option<Operation>, action: &str, mut detail: Json) -> Result<Option<Operation>> {
    let Some(operation) = found else { return Ok(None) };
    detail["run"] = json!(operation.run_id);
    let entry = AuditEntry { tenant: &operation.tenant, operation: Some(&operation.id), actor: "reconciler", action, detail };
    audit::append(tx, &entry).await?;
    Ok(Some(operation))
}

/// Puts an operation that cannot be compared behind the others.
pub async fn put_off_comparing(tx: &mut impl Transact, id: &OperationId) -> Result<()> {
    sqlx::query("UPDATE operations SET reconciled_at = now() WHERE operation_id = $1 AND ended_at IS NULL")
        .bind(id.as_str())
        .execute(tx.connection())
        .await?;
    Ok(())
}
