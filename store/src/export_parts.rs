//! The committed cursor of an export: one row for each part that lies in the lake. After a crash an export goes on from the
//! last row's `next_locator`, and reads no committed page again.

use leadline_domain::OperationId;
use sqlx::{FromRow, Row as _, postgres::PgRow};

use crate::{
    Result, TenantTx, Transact as _,
    ledger::{self, StepKey},
};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExportPart {
    /// From 0 on, without gaps.
    pub part: i32,
    /// The locator that the part was read from; `None` for the first page.
    pub locator: Option<String>,
    /// The locator to go on from; `None` after the last page.
    pub next_locator: Option<String>,
    /// Where the part lies in the lake.
    pub key: String,
    pub rows: i64,
    pub bytes: i64,
    /// Of the file's bytes, hex.
    pub sha256: String,
    /// The part's share of the data set's content address.
    pub rows_digest: String,
}

impl FromRow<'_, PgRow> for ExportPart {
    fn from_row(row: &PgRow) -> sqlx::Result<Self> {
        Ok(Self {
            part: row.try_get("part")?,
            locator: row.try_get("locator")?,
            next_locator: row.try_get("next_locator")?,
            key: row.try_get("key")?,
            rows: row.try_get("rows")?,
            bytes: row.try_get("bytes")?,
            sha256: row.try_get("sha256")?,
            rows_digest: row.try_get("rows_digest")?,
        })
    }
}

/// Commits one part to the cursor, under the step's open epoch. Returns the part that stands: when another attempt of the
/// same epoch has committed this number before, that one, and it is to be gone on from.
///
/// # Errors
/// `EPOCH_CLOSED`.
pub async fn commit_part(tx: &mut TenantTx, step: &StepKey, part: &ExportPart) -> Result<ExportPart> {
    ledger::require_open(tx, step).await?;
    let tenant = tx.tenant().clone();
    sqlx::query(
        "INSERT INTO export_parts (tenant_id, operation_id, epoch, part, locator, next_locator, key, rows, bytes, sha256, rows_digest)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) ON CONFLICT (operation_id, epoch, part) DO NOTHING",
    )
    .bind(tenant.as_str())
    .bind(step.operation.as_str())
    .bind(i64::from(step.epoch))
    .bind(part.part)
    .bind(&part.locator)
    .bind(&part.next_locator)
    .bind(&part.key)
    .bind(part.rows)
    .bind(part.bytes)
    .bind(&part.sha256)
    .bind(&part.rows_digest)
    .execute(tx.connection())
    .await?;
    let standing = sqlx::query_as(
        "SELECT part, locator, next_locator, key, rows, bytes, sha256, rows_digest FROM export_parts
         WHERE operation_id = $1 AND epoch = $2 AND part = $3",
    )
    .bind(step.operation.as_str())
    .bind(i64::from(step.epoch))
    .bind(part.part)
    .fetch_one(tx.connection())
    .await?;
    Ok(standing)
}

/// The committed parts of one epoch, in order.
pub async fn parts(tx: &mut TenantTx, operation: &OperationId, epoch: u32) -> Result<Vec<ExportPart>> {
    let rows = sqlx::query_as(
        "SELECT part, locator, next_locator, key, rows, bytes, sha256, rows_digest FROM export_parts
         WHERE operation_id = $1 AND epoch = $2 ORDER BY part",
    )
    .bind(operation.as_str())
    .bind(i64::from(epoch))
    .fetch_all(tx.connection())
    .await?;
    Ok(rows)
}

/// Deletes the cursor of one epoch; returns how many parts it had.
pub async fn discard(tx: &mut TenantTx, operation: &OperationId, epoch: u32) -> Result<u64> {
    let deleted = sqlx::query("DELETE FROM export_parts WHERE operation_id = $1 AND epoch = $2")
        .bind(operation.as_str())
        .bind(i64::from(epoch))
        .execute(tx.connection())
        .await?;
    Ok(deleted.rows_affected())
}
