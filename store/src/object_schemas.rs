//! The fields of each object in current state, as its exports have described them: what serving reads current state by.

use chrono::{DateTime, Utc};
use leadline_domain::{Code, DatasetId, value::ObjectSchema};
use sqlx::{FromRow, Row as _, postgres::PgRow, types::Json};

use crate::{
    Result, StoreError, TenantTx, Transact as _,
    records::Snapshot,
    row::{json, parsed},
};

#[derive(Debug, Clone, PartialEq)]
pub struct StoredSchema {
    pub schema: ObjectSchema,
    pub schema_hash: String,
    pub dataset: DatasetId,
}

impl FromRow<'_, PgRow> for StoredSchema {
    fn from_row(row: &PgRow) -> sqlx::Result<Self> {
        Ok(Self { schema: json(row, "schema")?, schema_hash: row.try_get("schema_hash")?, dataset: parsed(row, "dataset_id")? })
    }
}

/// The latest exports that an object's current state was brought up to.
#[derive(FromRow)]
struct Registered {
    exported_at: DateTime<Utc>,
    whole_at: Option<DateTime<Utc>>,
    schema: Json<ObjectSchema>,
}

/// Says that current state is being brought up to an export, and shows its fields: all of them, or for an export of some fields
/// those beside the known ones. `false` when a newer export of every field has begun before: then this one has nothing to add.
pub async fn register(tx: &mut TenantTx, schema: &ObjectSchema, export: &Snapshot<'_>) -> Result<bool> {
    let tenant = tx.tenant().clone();
    let known: Option<Registered> = sqlx::query_as(
        "SELECT exported_at, whole_at, schema FROM object_schemas WHERE tenant_id = $1 AND object = $2 FOR UPDATE",
    )
    .bind(tenant.as_str())
    .bind(&schema.object)
    .fetch_optional(tx.connection())
    .await?;
    let shown = match known {
        Some(Registered { whole_at: Some(at), .. }) if at > export.taken_at => return Ok(false),
        // An older export of other fields: what is shown is newer, and stays.
        Some(known) if known.exported_at > export.taken_at => schema.clone().extended_by(known.schema.0),
        Some(known) if export.fields.is_some() => known.schema.0.extended_by(schema.clone()),
        _ => schema.clone(),
    };
    sqlx::query(
        "INSERT INTO object_schemas AS s (tenant_id, object, schema, schema_hash, dataset_id, exported_at, whole_at)
         VALUES ($1, $2, $3, $4, $5, $6, CASE WHEN $7 THEN $6 END)
         ON CONFLICT (tenant_id, object) DO UPDATE
         SET schema = excluded.schema, schema_hash = excluded.schema_hash, dataset_id = excluded.dataset_id,
             exported_at = greatest(s.exported_at, excluded.exported_at), whole_at = greatest(s.whole_at, excluded.whole_at),
             updated_at = now()",
    )
    .bind(tenant.as_str())
    .bind(&schema.object)
    .bind(Json(&shown))
    .bind(shown.hash())
    .bind(export.dataset.as_str())
    .bind(export.taken_at)
    .bind(export.fields.is_none())
    .execute(tx.connection())
    .await?;
    Ok(true)
}

/// Whether no newer export of every field has been registered. It stays so until the transaction ends.
pub async fn is_current(tx: &mut TenantTx, export: &Snapshot<'_>) -> Result<bool> {
    let tenant = tx.tenant().clone();
    let current: Option<bool> = sqlx::query_scalar(
        "SELECT whole_at IS NULL OR whole_at <= $3 FROM object_schemas WHERE tenant_id = $1 AND object = $2 FOR SHARE",
    )
    .bind(tenant.as_str())
    .bind(export.object)
    .bind(export.taken_at)
    .fetch_optional(tx.connection())
    .await?;
    Ok(current.unwrap_or(true))
}

/// # Errors
/// `OBJECT_NOT_FOUND` when no data set of the object was applied yet.
pub async fn get(tx: &mut TenantTx, object: &str) -> Result<StoredSchema> {
    let tenant = tx.tenant().clone();
    sqlx::query_as("SELECT schema, schema_hash, dataset_id FROM object_schemas WHERE tenant_id = $1 AND object = $2")
        .bind(tenant.as_str())
        .bind(object)
        .fetch_optional(tx.connection())
        .await?
        .ok_or_else(|| StoreError::refused(Code::ObjectNotFound, format!("tenant {tenant} has no exported object {object}")))
}
