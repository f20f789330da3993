//! What a prediction answers. Its JSON form is what PostgreSQL keeps of an asynchronous prediction.

use leadline_domain::ModelId;
use leadline_learning::{Artifact, Score};
use leadline_store::serving::ActiveModel;
use serde::{Deserialize, Serialize};

/// A score with its reasons.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    /// Calibrated probability of the positive outcome.
    pub probability: f64,
    /// The probability in per cent, rounded: 0 to 100.
    pub score: u8,
    /// At or above the threshold that training chose.
    pub positive: bool,
    /// Strongest first; fields without any influence are left out.
    pub reasons: Vec<Reason>,
    pub model: ModelId,
    pub definition: String,
    pub answered_by: AnsweredBy,
}

/// What one field did to the score.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Reason {
    /// API name.
    pub field: String,
    /// What people call the field.
    pub label: String,
    /// The field's value as a person reads it.
    pub value: String,
    /// Log-odds.
    pub contribution: f64,
}

/// Where the values came from that the production model scored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AnsweredBy {
    CurrentState,
    Request,
    /// Current state with values of the request over it.
    Both,
}

impl Answer {
    pub(crate) fn new(artifact: &Artifact, model: ActiveModel, score: Score, answered_by: AnsweredBy, reasons: usize) -> Self {
        let told = score.reasons.into_iter().filter(|r| r.contribution != 0.0).take(reasons);
        Self {
            probability: score.probability,
            // Probabilities lie within 0 and 1, so the product lies within 0 and 100.
            score: (score.probability * 100.0).round() as u8,
            positive: score.probability >= artifact.threshold,
            reasons: told
                .map(|r| Reason { field: r.field, label: r.label, value: r.value, contribution: r.contribution })
                .collect(),
            model: model.id,
            definition: model.definition_name,
            answered_by,
        }
    }
}
