//! The steps of a model's life. Each locks the row first, so that of two at once the second sees what the first has made.

use leadline_domain::{Code, DatasetId, ModelId, ModelState};
use serde_json::Value as Json;

use super::{Model, columns, get, not_found};
use crate::{Result, StoreError, TenantTx, Transact as _};

/// What training has staged in the lake.
#[derive(Debug, Clone, PartialEq)]
pub struct StagedArtifact {
    pub schema_hash: String,
    pub artifact_key: String,
    /// SHA-256 of the artifact's bytes, hex.
    pub artifact_digest: String,
    pub card: Json,
    pub gates: Json,
    /// The model in production that the gates compared it with.
    pub compared_with: Option<ModelId>,
}

/// Takes one step of the life. A model that is there already stays there, so a repeated step does no harm.
///
/// # Errors
/// `MODEL_NOT_FOUND`, `MODEL_STATE_FORBIDS`.
pub async fn transition(tx: &mut TenantTx, id: &ModelId, to: ModelState) -> Result<()> {
    let from = lock_state(tx, id).await?;
    if from == to {
        return Ok(());
    }
    set_state(tx, id, from, to).await
}

/// Names the data set that a run without one has exported.
///
/// # Errors
/// `MODEL_NOT_FOUND`.
pub async fn set_dataset(tx: &mut TenantTx, id: &ModelId, dataset: &DatasetId) -> Result<()> {
    let updated = sqlx::query("UPDATE models SET dataset_id = $2 WHERE model_id = $1")
        .bind(id.as_str())
        .bind(dataset.as_str())
        .execute(tx.connection())
        .await?;
    if updated.rows_affected() == 0 { Err(not_found(id)) } else { Ok(()) }
}

/// Training > Trained, with what was staged.
///
/// # Errors
/// `MODEL_NOT_FOUND`, `MODEL_STATE_FORBIDS`.
pub async fn stage_artifact(tx: &mut TenantTx, id: &ModelId, staged: &StagedArtifact) -> Result<()> {
    transition(tx, id, ModelState::Trained).await?;
    sqlx::query(
        "UPDATE models SET schema_hash = $2, artifact_key = $3, artifact_digest = $4, card = $5, gates = $6, compared_with = $7,
                           trained_at = coalesce(trained_at, now())
         WHERE model_id = $1",
    )
    .bind(id.as_str())
    .bind(&staged.schema_hash)
    .bind(&staged.artifact_key)
    .bind(&staged.artifact_digest)
    .bind(&staged.card)
    .bind(&staged.gates)
    .bind(staged.compared_with.as_ref().map(ModelId::as_str))
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// Ends a run that registers nothing. What it staged, a data set of its own included, is named no more, but card and gates
/// stay, so that a person can read why. The first reason stands.
///
/// # Errors
/// `MODEL_NOT_FOUND`; `MODEL_STATE_FORBIDS` from registration on.
pub async fn reject(tx: &mut TenantTx, id: &ModelId, code: Code, message: &str) -> Result<()> {
    let from = lock_state(tx, id).await?;
    if from == ModelState::Rejected {
        return Ok(());
    }
    set_state(tx, id, from, ModelState::Rejected).await?;
    sqlx::query(
        "UPDATE models SET artifact_key = NULL, artifact_digest = NULL, code = $2, message = $3,
                dataset_id = (SELECT d.dataset_id FROM datasets d WHERE d.dataset_id = models.dataset_id AND d.state = 'committed')
         WHERE model_id = $1",
    )
    .bind(id.as_str())
    .bind(code.as_str())
    .bind(message)
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// Puts a staged or archived model into production, in place of the one that is there, and returns that one, archived
/// now. A model that is in production stays so.
///
/// # Errors
/// `MODEL_NOT_FOUND`, `MODEL_STATE_FORBIDS`; `COMPARISON_OUTDATED` when a staged model was compared with another one than it would
/// replace. (An archived one was in production before, and its return is a person's choice.)
pub async fn activate(tx: &mut TenantTx, id: &ModelId) -> Result<Option<ModelId>> {
    let model = get(tx, id).await?;
    lock_definition(tx, &model.definition_name).await?;
    let was = lock_state(tx, id).await?;
    if was == ModelState::Production {
        return Ok(None);
    }
    let tenant = tx.tenant().clone();
    let previous: Option<String> = sqlx::query_scalar(
        "UPDATE models SET state = 'archived' WHERE tenant_id = $1 AND definition_name = $2 AND state = 'production'
         RETURNING model_id",
    )
    .bind(tenant.as_str())
    .bind(&model.definition_name)
    .fetch_optional(tx.connection())
    .await?;
    set_state(tx, id, was, ModelState::Production).await?;
    let previous: Option<ModelId> = previous.map(|id| id.parse()).transpose().map_err(|_| not_found(id))?;
    if was == ModelState::Staged && previous != model.compared_with {
        let name = |model: &Option<ModelId>| model.as_ref().map_or_else(|| "none".to_owned(), ToString::to_string);
        return Err(StoreError::refused(
            Code::ComparisonOutdated,
            format!(
                "model {id} was compared with the model in production at its training ({}), and {} is there now",
                name(&model.compared_with),
                name(&previous)
            ),
        ));
    }
    Ok(previous)
}

/// One activation at a time for a tenant and definition, until the transaction ends. Row locks would not do: the model in
/// production is another row each time.
async fn lock_definition(tx: &mut TenantTx, definition_name: &str) -> Result<()> {
    let tenant = tx.tenant().clone();
    sqlx::query("SELECT pg_advisory_xact_lock(hashtextextended($1 || '/' || $2, 0))")
        .bind(tenant.as_str())
        .bind(definition_name)
        .execute(tx.connection())
        .await?;
    Ok(())
}

async fn lock_state(tx: &mut TenantTx, id: &ModelId) -> Result<ModelState> {
    let model: Option<Model> =
        sqlx::query_as(concat!("SELECT ", columns!("NULL::jsonb AS card"), " FROM models WHERE model_id = $1 FOR UPDATE"))
            .bind(id.as_str())
            .fetch_optional(tx.connection())
            .await?;
    Ok(model.ok_or_else(|| not_found(id))?.state)
}

async fn set_state(tx: &mut TenantTx, id: &ModelId, from: ModelState, to: ModelState) -> Result<()> {
    from.become_state(to)
        .map_err(|forbidden| StoreError::refused(Code::ModelStateForbids, format!("{forbidden} (model {id})")))?;
    sqlx::query(
        "UPDATE models SET state = $2, promoted_at = CASE $2 WHEN 'production' THEN now() ELSE promoted_at END
         WHERE model_id = $1",
    )
    .bind(id.as_str())
    .bind(to.as_str())
    .execute(tx.connection())
    .await?;
    Ok(())
}
