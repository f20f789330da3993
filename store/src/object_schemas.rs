//! The fields of each object, as the latest applied data set has them: what serving reads current state by.

use leadline_domain::{Code, DatasetId, value::ObjectSchema};
use sqlx::{FromRow, Row as _, postgres::PgRow, types::Json};

use crate::{
    Result, StoreError, TenantTx, Transact as _,
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

/// Writes the schema of its object, over an earlier one.
pub async fn upsert(tx: &mut TenantTx, schema: &ObjectSchema, dataset: &DatasetId) -> Result<()> {
    let tenant = tx.tenant().clone();
    sqlx::query(
        "INSERT INTO object_schemas (tenant_id, object, schema, schema_hash, dataset_id) VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT (tenant_id, object) DO UPDATE
         SET schema = excluded.schema, schema_hash = excluded.schema_hash, dataset_id = excluded.dataset_id, updated_at = now()",
    )
    .bind(tenant.as_str())
    .bind(&schema.object)
    .bind(Json(schema))
    .bind(schema.hash())
    .bind(dataset.as_str())
    .execute(tx.connection())
    .await?;
    Ok(())
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
