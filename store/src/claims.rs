//! Claim checks: fields sent with an asynchronous prediction, and its answer until it is delivered. They are rows and not
//! workflow inputs because a history cannot be erased, and they expire.

use std::time::Duration;

use leadline_domain::{Code, OperationId};
use serde_json::Value as Json;

use crate::{OperatorTx, Result, StoreError, TenantTx, Transact as _};

/// What a claim holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClaimPurpose {
    /// Fields by API name, as the request sent them.
    RequestFields,
    /// The answer of a prediction whose tenant does not allow it to be kept, until it is delivered.
    Answer,
}

impl ClaimPurpose {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::RequestFields => "request_fields",
            Self::Answer => "answer",
        }
    }
}

/// Keeps `content` for `time_to_live`, over an earlier claim of the same purpose.
pub async fn put(
    tx: &mut TenantTx,
    operation: &OperationId,
    purpose: ClaimPurpose,
    content: &Json,
    time_to_live: Duration,
) -> Result<()> {
    let tenant = tx.tenant().clone();
    sqlx::query(
        "INSERT INTO claims (tenant_id, operation_id, purpose, content, expires_at)
         VALUES ($1, $2, $3, $4, now() + make_interval(secs => $5))
         ON CONFLICT (operation_id, purpose) DO UPDATE SET content = excluded.content, expires_at = excluded.expires_at",
    )
    .bind(tenant.as_str())
    .bind(operation.as_str())
    .bind(purpose.as_str())
    .bind(content)
    .bind(time_to_live.as_secs_f64())
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// # Errors
/// `CLAIM_EXPIRED` when it is not there any more, or never was.
pub async fn get(tx: &mut TenantTx, operation: &OperationId, purpose: ClaimPurpose) -> Result<Json> {
    sqlx::query_scalar("SELECT content FROM claims WHERE operation_id = $1 AND purpose = $2 AND expires_at > now()")
        .bind(operation.as_str())
        .bind(purpose.as_str())
        .fetch_optional(tx.connection())
        .await?
        .ok_or_else(|| {
            StoreError::refused(Code::ClaimExpired, format!("the {} of {operation} are not kept any more", purpose.as_str()))
        })
}

/// Says whether there was one.
pub async fn delete(tx: &mut TenantTx, operation: &OperationId, purpose: ClaimPurpose) -> Result<bool> {
    let deleted = sqlx::query("DELETE FROM claims WHERE operation_id = $1 AND purpose = $2")
        .bind(operation.as_str())
        .bind(purpose.as_str())
        .execute(tx.connection())
        .await?;
    Ok(deleted.rows_affected() > 0)
}

/// Deletes what has expired, of all tenants; returns how many.
pub async fn purge(tx: &mut OperatorTx) -> Result<u64> {
    let deleted = sqlx::query("DELETE FROM claims WHERE expires_at <= now()").execute(tx.connection()).await?;
    Ok(deleted.rows_affected())
}
