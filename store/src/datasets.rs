//! Data sets: what an export has made. The rows lie in the lake; here is what they are and where.

use std::str::FromStr;

use chrono::{DateTime, Utc};
use leadline_domain::{Code, DatasetId, OperationId, value::ObjectSchema};
use sqlx::{FromRow, Row as _, postgres::PgRow, types::Json};

use crate::{
    Page, PageRequest, Result, StoreError, TenantTx, Transact as _,
    paging::Cursor,
    row::{json_opt, parsed},
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DatasetState {
    /// Parts are being written; nobody reads them.
    Staging,
    /// The manifest is committed: complete, and it will not change.
    Committed,
}

/// A text that names no state of a data set.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a state of a data set")]
pub struct UnknownDatasetState;

impl FromStr for DatasetState {
    type Err = UnknownDatasetState;

    fn from_str(text: &str) -> Result<Self, UnknownDatasetState> {
        match text {
            "staging" => Ok(Self::Staging),
            "committed" => Ok(Self::Committed),
            _ => Err(UnknownDatasetState),
        }
    }
}

#[derive(Debug, Clone)]
pub struct NewDataset {
    pub id: DatasetId,
    pub operation: OperationId,
    /// API name of the object, such as `Lead`.
    pub object: String,
    pub consent_version: i64,
}

/// What the committed manifest says.
#[derive(Debug, Clone, PartialEq)]
pub struct Manifest {
    pub schema: ObjectSchema,
    /// Hash of the logical rows.
    pub content_address: String,
    pub row_count: i64,
    pub byte_count: i64,
    pub manifest_key: String,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Dataset {
    pub id: DatasetId,
    pub operation: OperationId,
    pub object: String,
    pub state: DatasetState,
    pub schema: Option<ObjectSchema>,
    pub schema_hash: Option<String>,
    pub content_address: Option<String>,
    pub row_count: i64,
    pub byte_count: i64,
    pub manifest_key: Option<String>,
    pub consent_version: i64,
    /// When the current state of records was brought up to this data set.
    pub applied_at: Option<DateTime<Utc>>,
    pub created_at: DateTime<Utc>,
    pub committed_at: Option<DateTime<Utc>>,
}

impl FromRow<'_, PgRow> for Dataset {
    fn from_row(row: &PgRow) -> sqlx::Result<Self> {
        Ok(Self {
            id: parsed(row, "dataset_id")?,
            operation: parsed(row, "operation_id")?,
            object: row.try_get("object")?,
            state: parsed(row, "state")?,
            schema: json_opt(row, "schema")?,
            schema_hash: row.try_get("schema_hash")?,
            content_address: row.try_get("content_address")?,
            row_count: row.try_get("row_count")?,
            byte_count: row.try_get("byte_count")?,
            manifest_key: row.try_get("manifest_key")?,
            consent_version: row.try_get("consent_version")?,
            applied_at: row.try_get("applied_at")?,
            created_at: row.try_get("created_at")?,
            committed_at: row.try_get("committed_at")?,
        })
    }
}

macro_rules! columns {
    () => {
        "dataset_id, operation_id, object, state, schema, schema_hash, content_address, row_count, byte_count, manifest_key, \
         consent_version, applied_at, created_at, committed_at"
    };
}

/// Writes the row of a data set that is being staged. A repetition changes nothing.
///
/// # Errors
/// `TENANT_NOT_FOUND`.
pub async fn begin(tx: &mut TenantTx, new: &NewDataset) -> Result<()> {
    let tenant = tx.tenant().clone();
    sqlx::query(
        "INSERT INTO datasets (tenant_id, dataset_id, operation_id, object, state, consent_version)
         VALUES ($1, $2, $3, $4, 'staging', $5) ON CONFLICT (dataset_id) DO NOTHING",
    )
    .bind(tenant.as_str())
    .bind(new.id.as_str())
    .bind(new.operation.as_str())
    .bind(&new.object)
    .bind(new.consent_version)
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// Records that the manifest is committed. A repetition with the same content changes nothing.
///
/// # Errors
/// `DATASET_NOT_FOUND`; `STORAGE_CONFLICT` when it is committed with other content.
pub async fn commit(tx: &mut TenantTx, id: &DatasetId, manifest: &Manifest) -> Result<Dataset> {
    let committed: Option<Dataset> = sqlx::query_as(concat!(
        "UPDATE datasets SET state = 'committed', schema = $2, schema_hash = $3, content_address = $4, row_count = $5,
                             byte_count = $6, manifest_key = $7, committed_at = now()
         WHERE dataset_id = $1 AND state = 'staging' RETURNING ",
        columns!()
    ))
    .bind(id.as_str())
    .bind(Json(&manifest.schema))
    .bind(manifest.schema.hash())
    .bind(&manifest.content_address)
    .bind(manifest.row_count)
    .bind(manifest.byte_count)
    .bind(&manifest.manifest_key)
    .fetch_optional(tx.connection())
    .await?;
    if let Some(dataset) = committed {
        return Ok(dataset);
    }
    let standing = get(tx, id).await?;
    if standing.content_address.as_ref() == Some(&manifest.content_address) {
        Ok(standing)
    } else {
        Err(StoreError::refused(Code::StorageConflict, format!("data set {id} is committed with other content")))
    }
}

/// Records that the current state in PostgreSQL holds this data set's records.
pub async fn mark_applied(tx: &mut TenantTx, id: &DatasetId) -> Result<()> {
    sqlx::query("UPDATE datasets SET applied_at = coalesce(applied_at, now()) WHERE dataset_id = $1")
        .bind(id.as_str())
        .execute(tx.connection())
        .await?;
    Ok(())
}

/// Undoes [`begin`]: deletes the row with the cursor of its export, unless it is committed. Says whether there was one.
pub async fn discard_staging(tx: &mut TenantTx, id: &DatasetId) -> Result<bool> {
    let operation: Option<String> =
        sqlx::query_scalar("DELETE FROM datasets WHERE dataset_id = $1 AND state = 'staging' RETURNING operation_id")
            .bind(id.as_str())
            .fetch_optional(tx.connection())
            .await?;
    let Some(operation) = operation else { return Ok(false) };
    sqlx::query("DELETE FROM export_parts WHERE operation_id = $1").bind(operation).execute(tx.connection()).await?;
    Ok(true)
}

pub async fn find(tx: &mut TenantTx, id: &DatasetId) -> Result<Option<Dataset>> {
    let found = sqlx::query_as(concat!("SELECT ", columns!(), " FROM datasets WHERE dataset_id = $1"))
        .bind(id.as_str())
        .fetch_optional(tx.connection())
        .await?;
    Ok(found)
}

/// # Errors
/// `DATASET_NOT_FOUND`, also for another tenant's.
pub async fn get(tx: &mut TenantTx, id: &DatasetId) -> Result<Dataset> {
    find(tx, id).await?.ok_or_else(|| StoreError::refused(Code::DatasetNotFound, format!("there is no data set {id}")))
}

/// Newest first, staged ones included.
pub async fn list(tx: &mut TenantTx, page: &PageRequest) -> Result<Page<Dataset>> {
    let tenant = tx.tenant().clone();
    let cursor = page.cursor()?;
    let rows = sqlx::query_as(concat!(
        "SELECT ",
        columns!(),
        " FROM datasets WHERE tenant_id = $1 AND ($2::timestamptz IS NULL OR (created_at, dataset_id) < ($2, $3))
          ORDER BY created_at DESC, dataset_id DESC LIMIT $4"
    ))
    .bind(tenant.as_str())
    .bind(cursor.as_ref().map(|c| c.at))
    .bind(cursor.as_ref().map(|c| c.id.as_str()))
    .bind(page.fetch())
    .fetch_all(tx.connection())
    .await?;
    Ok(Page::cut(rows, page, |dataset: &Dataset| Cursor::new(dataset.created_at, dataset.id.as_str())))
}
