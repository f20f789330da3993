//! Current state: the latest version of each record, whatever the order of arrival.
//!
//! Versions are ordered by (modified at, commit number, commit sequence). Bulk exports know the first only and write 0 for the
//! others, so that a change event of the same instant, which has both, wins over them. Among exports that saw the same version, the
//! later one wins: a formula or a new field changes a record's values without touching `SystemModstamp`.
//!
//! An export of some fields writes those and leaves the others. A record that an export did not have has gone from the org: it is
//! marked as deleted, and comes back when a later export has it again, even with its old version.

use chrono::{DateTime, Utc};
use leadline_domain::DatasetId;
use serde_json::Value as Json;
use sqlx::{FromRow, Row as _, postgres::PgRow, types::Json as Jsonb};

use crate::{Result, TenantTx, Transact as _, row::parsed_opt};

/// One version of one record, as a Bulk export has it.
#[derive(Debug, Clone, PartialEq)]
pub struct RecordVersion {
    pub record_id: String,
    /// `SystemModstamp`.
    pub modified_at: DateTime<Utc>,
    /// An object of canonical JSON values ([`leadline_domain::value::Value::to_json`]) by API name.
    pub fields: Json,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    pub record_id: String,
    pub modified_at: DateTime<Utc>,
    pub fields: Json,
    /// The data set that brought this version.
    pub dataset: Option<DatasetId>,
}

impl FromRow<'_, PgRow> for Record {
    fn from_row(row: &PgRow) -> sqlx::Result<Self> {
        Ok(Self {
            record_id: row.try_get("record_id")?,
            modified_at: row.try_get("modified_at")?,
            fields: row.try_get("fields")?,
            dataset: parsed_opt(row, "dataset_id")?,
        })
    }
}

/// What an export says about an object: its records as the org had them at one moment.
#[derive(Debug, Clone, Copy)]
pub struct Snapshot<'a> {
    pub object: &'a str,
    pub dataset: &'a DatasetId,
    /// By the org's clock; a record that was modified later may be missing.
    pub taken_at: DateTime<Utc>,
    /// API names of the fields; `None` when it has every field of the object.
    pub fields: Option<&'a [String]>,
}

/// Writes what is newer than what is there; returns how many records changed. The order of `rows` does not matter, and a record may
/// come twice. A few thousand rows at a time are about as fast as any number.
pub async fn upsert_batch(tx: &mut TenantTx, export: &Snapshot<'_>, rows: &[RecordVersion]) -> Result<u64> {
    let tenant = tx.tenant().clone();
    let ids: Vec<&str> = rows.iter().map(|row| row.record_id.as_str()).collect();
    let instants: Vec<DateTime<Utc>> = rows.iter().map(|row| row.modified_at).collect();
    let fields: Vec<Jsonb<&Json>> = rows.iter().map(|row| Jsonb(&row.fields)).collect();
    // Sorted by id: two batches that touch the same records lock them in the same order. $8 names the exported fields: a null is
    // left out of a row, so what is exported is cleared first.
    let written = sqlx::query(
        "INSERT INTO records AS r (tenant_id, object, record_id, fields, modified_at, exported_at, dataset_id)
         SELECT DISTINCT ON (v.record_id) $1, $2, v.record_id, v.fields, v.modified_at, $7, $6
         FROM unnest($3::text[], $4::timestamptz[], $5::jsonb[]) AS v (record_id, modified_at, fields)
         ORDER BY v.record_id, v.modified_at DESC
         ON CONFLICT (tenant_id, object, record_id) DO UPDATE
         SET fields = CASE
                 WHEN r.modified_at = excluded.modified_at AND r.exported_at > excluded.exported_at THEN excluded.fields || r.fields
                 WHEN $8::text[] IS NULL THEN excluded.fields
                 ELSE (r.fields - $8::text[]) || excluded.fields END,
             modified_at = excluded.modified_at, exported_at = greatest(r.exported_at, excluded.exported_at),
             dataset_id = excluded.dataset_id, commit_number = excluded.commit_number,
             commit_sequence = excluded.commit_sequence, is_deleted = false, absent_since = NULL
         WHERE (r.modified_at, r.commit_number, r.commit_sequence)
            <= (excluded.modified_at, excluded.commit_number, excluded.commit_sequence)
           AND CASE
                 WHEN NOT r.is_deleted THEN r.modified_at < excluded.modified_at OR r.fields <> CASE
                     WHEN r.exported_at > excluded.exported_at THEN excluded.fields || r.fields
                     WHEN $8::text[] IS NULL THEN excluded.fields
                     ELSE (r.fields - $8::text[]) || excluded.fields END
                 WHEN r.absent_since IS NOT NULL THEN r.absent_since < excluded.exported_at
                 ELSE r.modified_at < excluded.modified_at END",
    )
    .bind(tenant.as_str())
    .bind(export.object)
    .bind(ids)
    .bind(instants)
    .bind(fields)
    .bind(export.dataset.as_str())
    .bind(export.taken_at)
    .bind(export.fields)
    .execute(tx.connection())
    .await?;
    Ok(written.rows_affected())
}

/// Marks those of `record_ids` as gone that the export should have had and had not; returns how many.
pub async fn mark_absent(tx: &mut TenantTx, export: &Snapshot<'_>, record_ids: &[String]) -> Result<u64> {
    let tenant = tx.tenant().clone();
    let marked = sqlx::query(
        "UPDATE records SET is_deleted = true, absent_since = $4
         WHERE tenant_id = $1 AND object = $2 AND record_id = ANY($3) AND NOT is_deleted AND modified_at < $4
           AND coalesce(exported_at, '-infinity') < $4",
    )
    .bind(tenant.as_str())
    .bind(export.object)
    .bind(record_ids)
    .bind(export.taken_at)
    .execute(tx.connection())
    .await?;
    Ok(marked.rows_affected())
}

/// Ids of up to `limit` records after `after` (empty: from the first), in order.
pub async fn ids(tx: &mut TenantTx, object: &str, after: &str, limit: u32) -> Result<Vec<String>> {
    let tenant = tx.tenant().clone();
    let ids = sqlx::query_scalar(
        "SELECT record_id FROM records
         WHERE tenant_id = $1 AND object = $2 AND record_id > $3 AND NOT is_deleted ORDER BY record_id LIMIT $4",
    )
    .bind(tenant.as_str())
    .bind(object)
    .bind(after)
    .bind(i64::from(limit))
    .fetch_all(tx.connection())
    .await?;
    Ok(ids)
}

pub async fn get(tx: &mut TenantTx, object: &str, record_id: &str) -> Result<Option<Record>> {
    let tenant = tx.tenant().clone();
    let found = sqlx::query_as(
        "SELECT record_id, modified_at, fields, dataset_id FROM records
         WHERE tenant_id = $1 AND object = $2 AND record_id = $3 AND NOT is_deleted",
    )
    .bind(tenant.as_str())
    .bind(object)
    .bind(record_id)
    .fetch_optional(tx.connection())
    .await?;
    Ok(found)
}

/// Up to `limit` records after `after` (empty: from the first), by id.
pub async fn list(tx: &mut TenantTx, object: &str, after: &str, limit: u32) -> Result<Vec<Record>> {
    let tenant = tx.tenant().clone();
    let rows = sqlx::query_as(
        "SELECT record_id, modified_at, fields, dataset_id FROM records
         WHERE tenant_id = $1 AND object = $2 AND record_id > $3 AND NOT is_deleted ORDER BY record_id LIMIT $4",
    )
    .bind(tenant.as_str())
    .bind(object)
    .bind(after)
    .bind(i64::from(limit))
    .fetch_all(tx.connection())
    .await?;
    Ok(rows)
}

pub async fn count(tx: &mut TenantTx, object: &str) -> Result<i64> {
    let tenant = tx.tenant().clone();
    let count = sqlx::query_scalar("SELECT count(*) FROM records WHERE tenant_id = $1 AND object = $2 AND NOT is_deleted")
        .bind(tenant.as_str())
        .bind(object)
        .fetch_one(tx.connection())
        .await?;
    Ok(count)
}
