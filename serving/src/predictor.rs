//! The way from a question to its answer.

use leadline_domain::{Code, Failure, TenantId, record_id::full_id, value::ObjectSchema};
use leadline_lake::Lake;
use leadline_learning::Artifact;
use leadline_store::{
    Store, TenantTx, object_schemas,
    serving::{AnswerBasis, answer_basis},
};
use moka::sync::Cache;

use crate::{
    Answer, Question, ServingError,
    models::Models,
    question::{check_unread, record, unknown},
};

/// Enough for every model in production of thousands of tenants.
const FITTING_PAIRS: u64 = 10_000;

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
    /// Artifact digests with schema hashes that were found to fit.
    fitting: Cache<(String, String), ()>,
    reasons: usize,
}

impl Predictor {
    pub fn new(store: Store, lake: Lake, config: ServingConfig) -> Self {
        let models = Models::new(lake, config.model_cache_bytes);
        Self { store, models, fitting: Cache::new(FITTING_PAIRS), reasons: config.reasons }
    }

    /// Answers a question of a tenant: one statement in a read-only transaction; the lake only for a model that was not used
    /// lately, and the object's schema only for fields that the model does not read or when it has changed since training.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` when nothing is asked, or when no definition is named and several have a production model;
    /// `TENANT_NOT_FOUND`, `TENANT_NOT_READY`, `CONSENT_MISSING`, `CONSENT_WITHDRAWN`, `NO_ACTIVE_MODEL`, `RECORD_NOT_FOUND`,
    /// `UNKNOWN_FIELD`, `FIELD_TYPE_MISMATCH`, `SCHEMA_MISMATCH`, `ARTIFACT_UNREADABLE`, and those of database and lake.
    pub async fn predict(&self, tenant: &TenantId, question: &Question) -> Result<Answer, Failure> {
        let answered_by = question.answered_by()?;
        let mut tx = self.store.tenant_read(tenant).await?;
        let basis = self.basis(&mut tx, question).await?;
        // A model may have to be fetched from the lake; the connection is not held meanwhile.
        drop(tx);
        let artifact = self.models.get(tenant, &basis.model).await.map_err(|error| error.failure())?;
        self.check_fields(tenant, question, &artifact, &basis).await?;
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

    /// The model knows the fields that it reads; for others the object's schema is asked. And current state must still have what
    /// the model reads: a field that was deleted in the org since would be read as null, and the score be silently wrong.
    async fn check_fields(
        &self,
        tenant: &TenantId,
        question: &Question,
        artifact: &Artifact,
        basis: &AnswerBasis,
    ) -> Result<(), ServingError> {
        let unread = question.not_read_by(artifact);
        let compared = match &basis.current_schema_hash {
            Some(current) if basis.fields.is_some() && *current != basis.model.schema_hash => {
                Some((basis.model.artifact_digest.clone(), current.clone()))
            }
            _ => None,
        };
        let compared = compared.filter(|pair| !self.fitting.contains_key(pair));
        if unread.is_empty() && compared.is_none() {
            return Ok(());
        }
        let stored = self.schema(tenant, &basis.model.object).await?;
        if let Some(pair) = compared {
            let Some(schema) = &stored else { return Ok(()) };
            artifact.check_schema(schema).map_err(ServingError::Scoring)?;
            self.fitting.insert(pair, ());
        }
        match (unread.first(), stored) {
            (None, _) => Ok(()),
            (Some(_), Some(schema)) => check_unread(&unread, &question.fields, &schema),
            // Nothing was exported yet: the model's own fields are all that is known.
            (Some(first), None) => Err(unknown(&basis.model.object, first)),
        }
    }

    async fn schema(&self, tenant: &TenantId, object: &str) -> Result<Option<ObjectSchema>, ServingError> {
        let mut tx = self.store.tenant_read(tenant).await?;
        match object_schemas::get(&mut tx, object).await {
            Ok(stored) => Ok(Some(stored.schema)),
            Err(error) if error.code() == Some(Code::ObjectNotFound) => Ok(None),
            Err(error) => Err(error.into()),
        }
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
