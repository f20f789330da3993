//! What a synchronous prediction needs, in one statement: consent, the model that answers, and the record's current state, all
//! as of one moment.

use leadline_domain::{Code, ConsentGrant, ModelId};
use serde_json::Value as Json;
use sqlx::{FromRow, Row as _, postgres::PgRow};

use crate::{Result, StoreError, TenantTx, Transact as _, row::parsed_opt, tenants::TenantState};

/// The model that answers for a definition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActiveModel {
    pub id: ModelId,
    pub definition_name: String,
    /// API name of the object that it scores.
    pub object: String,
    pub schema_hash: String,
    pub artifact_key: String,
    /// SHA-256 of the artifact's bytes, hex: the key of every cache.
    pub artifact_digest: String,
}

#[derive(Debug, Clone, PartialEq)]
pub struct AnswerBasis {
    /// The permissions in force; `None` when consent was never recorded.
    pub consent: Option<ConsentGrant>,
    /// Whether any version ever allowed training, which tells withdrawn from never given.
    pub training_was_allowed: bool,
    pub model: ActiveModel,
    /// Canonical JSON values by API name; `None` when no record was asked for, or it is unknown.
    pub fields: Option<Json>,
    /// Of the object's fields in current state; `None` before its first export.
    pub current_schema_hash: Option<String>,
}

/// `definition` may be `None` when the tenant has one production model only.
///
/// # Errors
/// `TENANT_NOT_FOUND`, `TENANT_NOT_READY`, `NO_ACTIVE_MODEL`; `INVALID_ARGUMENT` when `definition` is `None` and several models
/// are in production.
pub async fn answer_basis(tx: &mut TenantTx, definition: Option<&str>, record_id: Option<&str>) -> Result<AnswerBasis> {
    let tenant = tx.tenant().clone();
    let mut rows: Vec<BasisRow> = sqlx::query_as(
        "SELECT t.state, c.version, c.allow_export, c.allow_training, c.allow_store_predictions, c.allow_write_back,
                EXISTS (SELECT 1 FROM consents e WHERE e.tenant_id = $1 AND e.allow_training) AS training_was_allowed,
                m.model_id, m.definition_name, m.object, m.schema_hash, m.artifact_key, m.artifact_digest, r.fields,
                s.schema_hash AS current_schema_hash
         FROM tenants t
         LEFT JOIN LATERAL (SELECT * FROM consents WHERE tenant_id = $1 ORDER BY version DESC LIMIT 1) c ON true
         LEFT JOIN models m ON m.tenant_id = $1 AND m.state = 'production' AND ($2::text IS NULL OR m.definition_name = $2)
         LEFT JOIN object_schemas s ON s.tenant_id = $1 AND s.object = m.object
         LEFT JOIN records r ON r.tenant_id = $1 AND r.object = m.object AND r.record_id = $3 AND NOT r.is_deleted
         WHERE t.tenant_id = $1 LIMIT 2",
    )
    .bind(tenant.as_str())
    .bind(definition)
    .bind(record_id)
    .fetch_all(tx.connection())
    .await?;
    if rows.len() > 1 {
        let message = "several definitions have a model in production: name one";
        return Err(StoreError::refused(Code::InvalidArgument, message));
    }
    let Some(row) = rows.pop() else {
        return Err(StoreError::refused(Code::TenantNotFound, format!("there is no tenant {tenant}")));
    };
    if row.state != TenantState::Active {
        return Err(StoreError::refused(Code::TenantNotReady, format!("tenant {tenant} is still being onboarded")));
    }
    let model = row.model.ok_or_else(|| match definition {
        Some(name) => StoreError::refused(Code::NoActiveModel, format!("no model of definition {name} is in production")),
        None => StoreError::refused(Code::NoActiveModel, "the tenant has no model in production"),
    })?;
    Ok(AnswerBasis {
        consent: row.consent,
        training_was_allowed: row.training_was_allowed,
        model,
        fields: row.fields,
        current_schema_hash: row.current_schema_hash,
    })
}

struct BasisRow {
    state: TenantState,
    consent: Option<ConsentGrant>,
    training_was_allowed: bool,
    model: Option<ActiveModel>,
    fields: Option<Json>,
    current_schema_hash: Option<String>,
}

impl FromRow<'_, PgRow> for BasisRow {
    fn from_row(row: &PgRow) -> sqlx::Result<Self> {
        let consent = match row.try_get::<Option<i64>, _>("version")? {
            None => None,
            Some(_) => Some(ConsentGrant {
                allow_export: row.try_get("allow_export")?,
                allow_training: row.try_get("allow_training")?,
                allow_store_predictions: row.try_get("allow_store_predictions")?,
                allow_write_back: row.try_get("allow_write_back")?,
            }),
        };
        let model = match parsed_opt(row, "model_id")? {
            None => None,
            Some(id) => Some(ActiveModel {
                id,
                definition_name: row.try_get("definition_name")?,
                object: row.try_get("object")?,
                schema_hash: row.try_get("schema_hash")?,
                artifact_key: row.try_get("artifact_key")?,
                artifact_digest: row.try_get("artifact_digest")?,
            }),
        };
        Ok(Self {
            state: crate::row::parsed(row, "state")?,
            consent,
            training_was_allowed: row.try_get("training_was_allowed")?,
            model,
            fields: row.try_get("fields")?,
            current_schema_hash: row.try_get("current_schema_hash")?,
        })
    }
}
