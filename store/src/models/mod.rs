//! Models, from the training run's first row to production and after. A training run and its model are one row: the run is the
//! first half of the model's life.
//!
//! States change along [`ModelState`]'s machine only; a trigger refuses what the machine refuses.

mod lifecycle;

pub use lifecycle::{StagedArtifact, activate, reject, set_dataset, stage_artifact, transition};

use chrono::{DateTime, Utc};
use leadline_domain::{Code, DatasetId, ModelId, ModelState, OperationId};
use serde_json::Value as Json;
use sqlx::{FromRow, Row as _, postgres::PgRow};

use crate::{
    Page, PageRequest, Result, StoreError, TenantTx, Transact as _,
    paging::Cursor,
    row::{parsed, parsed_opt},
};

#[derive(Debug, Clone)]
pub struct NewModel {
    pub id: ModelId,
    pub operation: OperationId,
    pub definition_name: String,
    /// API name of the object whose records are scored.
    pub object: String,
    /// The prediction definition, as learning/ writes it.
    pub definition: Json,
    /// Seed, budget and other settings of the run.
    pub training: Json,
    /// `None`: the run exports first.
    pub dataset: Option<DatasetId>,
    pub consent_version: i64,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Model {
    pub id: ModelId,
    pub operation: OperationId,
    pub definition_name: String,
    pub object: String,
    pub definition: Json,
    pub training: Json,
    pub state: ModelState,
    pub dataset: Option<DatasetId>,
    pub consent_version: i64,
    pub schema_hash: Option<String>,
    pub artifact_key: Option<String>,
    /// SHA-256 of the artifact's bytes, hex.
    pub artifact_digest: Option<String>,
    /// `None` also in lists: cards are long.
    pub card: Option<Json>,
    pub gates: Option<Json>,
    /// The model in production that the gates compared it with.
    pub compared_with: Option<ModelId>,
    pub code: Option<Code>,
    pub message: Option<String>,
    pub created_at: DateTime<Utc>,
    pub trained_at: Option<DateTime<Utc>>,
    pub promoted_at: Option<DateTime<Utc>>,
}

impl FromRow<'_, PgRow> for Model {
    fn from_row(row: &PgRow) -> sqlx::Result<Self> {
        Ok(Self {
            id: parsed(row, "model_id")?,
            operation: parsed(row, "operation_id")?,
            definition_name: row.try_get("definition_name")?,
            object: row.try_get("object")?,
            definition: row.try_get("definition")?,
            training: row.try_get("training")?,
            state: parsed(row, "state")?,
            dataset: parsed_opt(row, "dataset_id")?,
            consent_version: row.try_get("consent_version")?,
            schema_hash: row.try_get("schema_hash")?,
            artifact_key: row.try_get("artifact_key")?,
            artifact_digest: row.try_get("artifact_digest")?,
            card: row.try_get("card")?,
            gates: row.try_get("gates")?,
            compared_with: parsed_opt(row, "compared_with")?,
            code: parsed_opt(row, "code")?,
            message: row.try_get("message")?,
            created_at: row.try_get("created_at")?,
            trained_at: row.try_get("trained_at")?,
            promoted_at: row.try_get("promoted_at")?,
        })
    }
}

macro_rules! columns {
    ($card:literal) => {
        concat!(
            "model_id, operation_id, definition_name, object, definition, training, state, dataset_id, consent_version, \
             schema_hash, artifact_key, artifact_digest, ",
            $card,
            ", gates, compared_with, code, message, created_at, trained_at, promoted_at"
        )
    };
    () => {
        columns!("card")
    };
}
use columns;

/// Writes the row of an accepted training run, in state draft. A repetition changes nothing.
///
/// # Errors
/// `TENANT_NOT_FOUND`.
pub async fn create_draft(tx: &mut TenantTx, new: &NewModel) -> Result<()> {
    let tenant = tx.tenant().clone();
    sqlx::query(
        "INSERT INTO models (tenant_id, model_id, operation_id, definition_name, object, definition, training, dataset_id,
                             consent_version)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT (model_id) DO NOTHING",
    )
    .bind(tenant.as_str())
    .bind(new.id.as_str())
    .bind(new.operation.as_str())
    .bind(&new.definition_name)
    .bind(&new.object)
    .bind(&new.definition)
    .bind(&new.training)
    .bind(new.dataset.as_ref().map(DatasetId::as_str))
    .bind(new.consent_version)
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// # Errors
/// `MODEL_NOT_FOUND`, also for another tenant's.
pub async fn get(tx: &mut TenantTx, id: &ModelId) -> Result<Model> {
    sqlx::query_as(concat!("SELECT ", columns!(), " FROM models WHERE model_id = $1"))
        .bind(id.as_str())
        .fetch_optional(tx.connection())
        .await?
        .ok_or_else(|| not_found(id))
}

/// The model that answers for a definition.
pub async fn active(tx: &mut TenantTx, definition_name: &str) -> Result<Option<Model>> {
    let tenant = tx.tenant().clone();
    let found = sqlx::query_as(concat!(
        "SELECT ",
        columns!(),
        " FROM models WHERE tenant_id = $1 AND definition_name = $2 AND state = 'production'"
    ))
    .bind(tenant.as_str())
    .bind(definition_name)
    .fetch_optional(tx.connection())
    .await?;
    Ok(found)
}

/// The production model of each definition, by name, without cards.
pub async fn all_active(tx: &mut TenantTx) -> Result<Vec<Model>> {
    let tenant = tx.tenant().clone();
    let rows = sqlx::query_as(concat!(
        "SELECT ",
        columns!("NULL::jsonb AS card"),
        " FROM models WHERE tenant_id = $1 AND state = 'production' ORDER BY definition_name"
    ))
    .bind(tenant.as_str())
    .fetch_all(tx.connection())
    .await?;
    Ok(rows)
}

/// What a list is narrowed to.
#[derive(Debug, Clone, Default)]
pub struct ModelFilter {
    pub definition_name: Option<String>,
    pub state: Option<ModelState>,
}

/// Newest first, without cards.
pub async fn list(tx: &mut TenantTx, filter: &ModelFilter, page: &PageRequest) -> Result<Page<Model>> {
    let tenant = tx.tenant().clone();
    let cursor = page.cursor()?;
    let rows = sqlx::query_as(concat!(
        "SELECT ",
        columns!("NULL::jsonb AS card"),
        " FROM models
          WHERE tenant_id = $1 AND ($2::text IS NULL OR definition_name = $2) AND ($3::text IS NULL OR state = $3)
            AND ($4::timestamptz IS NULL OR (created_at, model_id) < ($4, $5))
          ORDER BY created_at DESC, model_id DESC LIMIT $6"
    ))
    .bind(tenant.as_str())
    .bind(&filter.definition_name)
    .bind(filter.state.map(ModelState::as_str))
    .bind(cursor.as_ref().map(|c| c.at))
    .bind(cursor.as_ref().map(|c| c.id.as_str()))
    .bind(page.fetch())
    .fetch_all(tx.connection())
    .await?;
    Ok(Page::cut(rows, page, |model: &Model| Cursor::new(model.created_at, model.id.as_str())))
}

fn not_found(id: &ModelId) -> StoreError {
    StoreError::refused(Code::ModelNotFound, format!("there is no model {id}"))
}
