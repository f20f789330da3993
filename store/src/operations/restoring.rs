//! Operations that PostgreSQL has lost, as a restore of an older state loses them, and that Temporal still remembers.

use chrono::{DateTime, Utc};
use leadline_domain::{Code, OperationId, OperationRef};
use serde_json::{Value as Json, json};

use super::Closing;
use crate::{
    OperatorTx, Result, TenantTx, Transact as _,
    audit::{self, AuditEntry},
};

/// Who an operation was written down by that nobody remembers the caller of.
const REQUESTED_BY: &str = "restore-operations";

/// An operation as its run's history tells it.
#[derive(Debug, Clone, PartialEq)]
pub struct Remembered {
    pub operation: OperationRef,
    pub params: Json,
    pub run_id: String,
    pub started_at: DateTime<Utc>,
    pub closing: Closing,
    pub ended_at: DateTime<Utc>,
}

/// Those of the operations that have no row.
pub async fn unknown(tx: &mut OperatorTx, ids: &[OperationId]) -> Result<Vec<OperationId>> {
    let asked: Vec<&str> = ids.iter().map(OperationId::as_str).collect();
    let known: Vec<String> = sqlx::query_scalar("SELECT operation_id FROM operations WHERE operation_id = ANY($1)")
        .bind(asked)
        .fetch_all(tx.connection())
        .await?;
    Ok(ids.iter().filter(|id| !known.iter().any(|known| known == id.as_str())).cloned().collect())
}

/// Writes the operation down again, as ended; `false` when it has a row. Its idempotency key is gone for good: a call that is repeated
/// starts another operation.
pub async fn reinsert(tx: &mut TenantTx, remembered: &Remembered) -> Result<bool> {
    let Remembered { operation, params, run_id, started_at, closing, ended_at } = remembered;
    debug_assert!(closing.state.is_ended(), "nothing is there that would carry it on");
    let written = sqlx::query(
        "INSERT INTO operations (operation_id, tenant_id, kind, params, requested_by, workflow_id, run_id, created_at, started_at,
                                 ended_at, state, result, code, message)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $8, $9, $10, $11, $12, $13) ON CONFLICT (operation_id) DO NOTHING",
    )
    .bind(operation.operation.as_str())
    .bind(operation.tenant.as_str())
    .bind(operation.kind.as_str())
    .bind(params)
    .bind(REQUESTED_BY)
    .bind(operation.workflow_id())
    .bind(run_id)
    .bind(started_at)
    .bind(ended_at)
    .bind(closing.state.as_str())
    .bind(&closing.result)
    .bind(closing.code.map(Code::as_str))
    .bind(&closing.message)
    .execute(tx.connection())
    .await?;
    if written.rows_affected() == 0 {
        return Ok(false);
    }
    let entry = AuditEntry {
        tenant: &operation.tenant,
        operation: Some(&operation.operation),
        actor: REQUESTED_BY,
        action: "operation.reinsert",
        detail: json!({ "state": closing.state, "run": run_id }),
    };
    audit::append(tx, &entry).await?;
    Ok(true)
}
