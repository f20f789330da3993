//! Operations that run on paper only: what the reconciler finds, and what it writes down.

use std::time::Duration;

use leadline_domain::OperationId;
use serde_json::json;

use super::{Operation, columns};
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

/// Records that the run lives, and whether it gets on.
pub async fn reconciled(tx: &mut impl Transact, id: &OperationId, stuck: bool) -> Result<()> {
    sqlx::query(
        "UPDATE operations SET reconciled_at = now(), stuck_since = CASE WHEN $2 THEN coalesce(stuck_since, now()) END
         WHERE operation_id = $1 AND ended_at IS NULL",
    )
    .bind(id.as_str())
    .bind(stuck)
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// Records that the run has ended without ending the operation, so that the next run unwinds it. `false` when the operation has
/// ended after all: a run writes that down before it ends.
pub async fn found_terminated(tx: &mut impl Transact, id: &OperationId, how: &str) -> Result<bool> {
    let found: Option<Operation> = sqlx::query_as(concat!(
        "UPDATE operations SET terminated_at = coalesce(terminated_at, now()), reconciled_at = now(), stuck_since = NULL
         WHERE operation_id = $1 AND ended_at IS NULL RETURNING ",
        columns!()
    ))
    .bind(id.as_str())
    .fetch_optional(tx.connection())
    .await?;
    let Some(operation) = found else { return Ok(false) };
    let entry = AuditEntry {
        tenant: &operation.tenant,
        operation: Some(id),
        actor: "reconciler",
        action: "operation.found_terminated",
        detail: json!({ "run": operation.run_id, "how": how }),
    };
    audit::append(tx, &entry).await?;
    Ok(true)
}
