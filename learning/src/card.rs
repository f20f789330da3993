//! The model card: everything that was decided and found, as JSON for programs and (see [`crate::card_html`]) as a page.
//!
//! After "Model Cards for Model Reporting" (Mitchell et al., 2019). It holds levels of categorical fields but no record.

use serde::{Deserialize, Serialize};

use crate::artifact::Artifact;
use crate::definition::PredictionDefinition;
use crate::evaluation::Evaluation;
use crate::features::{ExcludedField, FieldChoices, LeakDecision};
use crate::frame::Frame;
use crate::gates::GateReport;
use crate::leaks::LeakCheck;
use crate::population::{Counts, Population};
use crate::search::{Candidate, Selection};
use crate::temporal::TemporalCheck;
use crate::train::TrainingOptions;

pub const CARD_VERSION: u32 = 1;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ModelCard {
    pub card_version: u32,
    /// [`Artifact::digest`].
    pub artifact_digest: String,
    pub schema_hash: String,
    pub definition: PredictionDefinition,
    pub options: TrainingOptions,
    pub counts: Counts,
    /// Share of positives in the training part.
    pub base_rate: f64,
    pub model: ModelSummary,
    /// The fields that the model reads, most important first.
    pub features: Vec<Feature>,
    pub excluded: Vec<ExcludedField>,
    /// What the leak checks found, and what was decided, by whom.
    pub leaks: Vec<LeakDecision>,
    pub candidates: Vec<Candidate>,
    /// On the hold-out.
    pub evaluation: Evaluation,
    /// On later records, when the definition has a time field.
    pub temporal: Option<TemporalCheck>,
    pub gates: GateReport,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ModelSummary {
    pub trees: usize,
    /// Penalty of the linear part.
    pub lambda: Option<f64>,
    pub tree_weight: f64,
    pub calibration: String,
    pub threshold: f64,
    /// Training rows that the search saw; the model is fitted on all.
    pub searched_rows: usize,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Feature {
    pub field: String,
    pub label: String,
    pub encoding: String,
    /// Share of nulls in the training part.
    pub null_share: f64,
    /// Out-of-fold AUC of the field alone.
    pub single_field_auc: f64,
    /// Mean absolute contribution to the raw score, in log-odds.
    pub importance: f64,
}

/// What a training run knows when it writes the card.
pub(crate) struct CardParts<'a> {
    pub frame: &'a Frame,
    pub definition: &'a PredictionDefinition,
    pub options: &'a TrainingOptions,
    pub population: &'a Population,
    pub leaks: Vec<LeakCheck>,
    pub choices: FieldChoices,
    pub selection: Selection,
    pub artifact: &'a Artifact,
    pub importances: Vec<f64>,
    pub searched_rows: usize,
}

impl ModelCard {
    pub(crate) fn new(parts: CardParts<'_>, evaluation: Evaluation, temporal: Option<TemporalCheck>, gates: GateReport) -> Self {
        let artifact = parts.artifact;
        Self {
            card_version: CARD_VERSION,
            artifact_digest: artifact.digest(),
            schema_hash: parts.frame.schema().hash(),
            definition: parts.definition.clone(),
            options: parts.options.clone(),
            counts: parts.population.counts.clone(),
            base_rate: artifact.base_rate,
            model: ModelSummary {
                trees: artifact.trees.as_ref().map_or(0, |e| e.trees.len()),
                lambda: artifact.linear.as_ref().map(|l| l.lambda),
                tree_weight: artifact.tree_weight,
                calibration: artifact.calibrator.name().to_owned(),
                threshold: artifact.threshold,
                searched_rows: parts.searched_rows,
            },
            features: features(&parts),
            excluded: parts.choices.excluded,
            leaks: parts.choices.leaks,
            candidates: parts.selection.candidates,
            evaluation,
            temporal,
            gates,
        }
    }

    pub fn to_json(&self) -> serde_json::Value {
        serde_json::to_value(self).expect("the card has no map keys but strings")
    }
}

fn features(parts: &CardParts<'_>) -> Vec<Feature> {
    let encoded = parts.artifact.encoder.fields.iter().zip(&parts.artifact.reference.fields).zip(&parts.importances);
    let feature =
        |((encoder, reference), &importance): ((&crate::encoder::FieldEncoder, &crate::reference::FieldReference), &f64)| {
            let name = &encoder.field.name;
            let alone = parts.leaks.iter().find(|check| check.field == *name);
            Feature {
                field: name.clone(),
                label: encoder.field.label.clone(),
                encoding: encoder.encoding.describe(),
                null_share: reference.nulls as f64 / reference.rows.max(1) as f64,
                single_field_auc: alone.map_or(0.5, |check| check.single_field_auc),
                importance,
            }
        };
    let mut features: Vec<Feature> = encoded.map(feature).collect();
    features.sort_by(|a, b| b.importance.total_cmp(&a.importance));
    features
}
