//! The way from a question to its answer.

use std::sync::Arc;

use leadline_domain::{Code, Failure, TenantId, record_id::full_id};
use leadline_lake::Lake;
use leadline_learning::Artifact;
use leadline_store::{
    Store, TenantTx, object_schemas,
    serving::{AnswerBasis, answer_basis},
};

use crate::{
    Answer, Question, ServingError,
    models::Models,
    question::{check_unread, record, unknown},
};

/// What can be set about serving.
#[derive(Debug, Clone, Copy)]
pub struct ServingConfig {
    /// Artifacts kept in memory, in bytes of their serialized form.
    pub model_cache_bytes: u64,
    /// Reasons given with an answer.
    pub reasons: usize,
}

impl Default for ServingConfig {
    fn default() -> Self {
        Self { model_cache_bytes: 512 << 20, reasons: 5 }
    }
}

/// Answers predictions. One for each process; shared by reference.
pub struct Predictor {
    store: Store,
    models: Models,
    reasons: usize,
}

impl Predictor {
    pub fn new(store: Store, lake: Lake, config: ServingConfig) -> Self {
        Self { store, models: Models::new(lake, config.model_cache_bytes), reasons: config.reasons }
    }

    /// Answers a question of a tenant: one read-only transaction, and the lake only for a model that was not used lately.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` when nothing is asked, or when no definition is named and several have a production model;
    /// `TENANT_NOT_FOUND`, `TENANT_NOT_READY`, `CONSENT_MISSING`, `CONSENT_WITHDRAWN`, `NO_ACTIVE_MODEL`, `RECORD_NOT_FOUND`,
    /// `UNKNOWN_FIELD`, `FIELD_TYPE_MISMATCH`, `SCHEMA_MISMATCH`, `ARTIFACT_UNREADABLE`, and those of database and lake.
    pub async fn predict(&self, tenant: &TenantId, question: &Question) -> Result<Answer, Failure> {
        let answered_by = question.answered_by()?;
        let mut tx = self.store.tenant_read(tenant).await?;
        let basis = self.basis(&mut tx, question).await?;
        let artifact = self.models.get(tenant, &basis.model).await.map_err(|error| error.failure())?;
        check_fields(&mut tx, question, &artifact, &basis.model.object).await?;
        drop(tx);
        let record = record(&artifact, basis.fields.as_ref(), &question.fields)?;
        let score = artifact.score(&record).map_err(ServingError::Scoring)?;
        Ok(Answer::new(&artifact, basis.model, score, answered_by, self.reasons))
    }

    /// Consent, model and record, each as the same moment has it.
    async fn basis(&self, tx: &mut TenantTx, question: &Question) -> Result<AnswerBasis, ServingError> {
        // Current state goes by the long form.
        let record_id = question.record_id.as_deref().map(|id| full_id(id).unwrap_or_else(|| id.to_owned()));
        let basis = answer_basis(tx, question.definition.as_deref(), record_id.as_deref()).await?;
        require_consent(&basis)?;
        if question.record_id.is_some() && basis.fields.is_none() {
            return Err(ServingError::RecordNotFound { object: basis.model.object });
        }
        Ok(basis)
    }
}

/// Also for whoever accepts a prediction to be made later: what `basis` says must allow it.
///
/// # Errors
/// [`ServingError::ConsentMissing`], [`ServingError::ConsentWithdrawn`].
pub fn require_consent(basis: &AnswerBasis) -> Result<(), ServingError> {
    match basis.consent {
        Some(grant) if grant.allow_training => Ok(()),
        _ if basis.training_was_allowed => Err(ServingError::ConsentWithdrawn),
        _ => Err(ServingError::ConsentMissing),
    }
}

/// The model knows the fields that it reads; for others the object's schema is asked.
async fn check_fields(
    tx: &mut TenantTx,
    question: &Question,
    artifact: &Arc<Artifact>,
    object: &str,
) -> Result<(), ServingError> {
    let unread = question.not_read_by(artifact);
    let Some(first) = unread.first() else { return Ok(()) };
    match object_schemas::get(tx, object).await {
        Ok(stored) => check_unread(&unread, &question.fields, &stored.schema),
        // Nothing was exported yet: the model's own fields are all that is known.
        Err(error) if error.code() == Some(Code::ObjectNotFound) => Err(unknown(object, first)),
        Err(error) => Err(error.into()),
    }
}
