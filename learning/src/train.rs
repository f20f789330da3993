//! A training run from frame to model card.
//!
//! Population, leak checks, choice of fields, search by cross-validation, calibration and threshold on out-of-fold
//! predictions, a fit on the whole training part, evaluation on the hold-out, gates. The hold-out is read by the last two
//! steps only. The result depends on frame, definition and options alone: not on threads, time or the order of files.

use serde::{Deserialize, Serialize};

use crate::artifact::{Artifact, FORMAT_VERSION};
use crate::calibration::Calibrator;
use crate::card::{CardParts, ModelCard};
use crate::definition::PredictionDefinition;
use crate::encoder::Encoder;
use crate::error::LearningError;
use crate::evaluation::{default_segment_field, evaluate};
use crate::features::{FieldChoices, choose_fields};
use crate::frame::Frame;
use crate::gates::judge;
use crate::leaks::check_leaks;
use crate::matrix::Matrix;
use crate::metrics::best_f1_threshold;
use crate::population::{Population, Sample, check_classes, fnv1a64};
use crate::progress::{Progress, Stage, report};
use crate::reference::Reference;
use crate::search::{Budget, Plan, Selection, search};
use crate::temporal::{check_forward_in_time, time_axis};

/// Training rows over which a field's importance is averaged.
const IMPORTANCE_ROWS: usize = 2_000;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrainingOptions {
    pub seed: u64,
    /// Which of the [`crate::population::PARTS`] parts of the record ids is held out.
    pub holdout_part: u64,
    pub budget: Budget,
}

impl Default for TrainingOptions {
    fn default() -> Self {
        Self { seed: 42, holdout_part: 0, budget: Budget::default() }
    }
}

/// A model and all that is known of it. The gates stand in the card.
#[derive(Debug, Clone, PartialEq)]
pub struct Trained {
    pub artifact: Artifact,
    pub card: ModelCard,
}

/// Trains on `frame`, and compares with `incumbent`, the model in production, if there is one.
///
/// # Errors
/// Any [`LearningError`] but those of artifacts. A model without skill is no error: its gates refuse it.
pub fn train(
    frame: &Frame,
    definition: &PredictionDefinition,
    options: &TrainingOptions,
    incumbent: Option<&Artifact>,
    progress: &Progress<'_>,
) -> Result<Trained, LearningError> {
    let population = Population::select(frame, definition, options.holdout_part)?;
    let training = &population.training;
    let plan = Plan::within(options.budget, training.len())?;
    report(progress, Stage::LeakChecks, 0, 1)?;
    let leaks = check_leaks(frame, definition, &population);
    let choices = choose_fields(frame, definition, &leaks, training);
    if choices.features.is_empty() {
        return Err(LearningError::NoFeatures);
    }
    report(progress, Stage::LeakChecks, 1, 1)?;

    let (searched, folds) = thin(frame, training, &population.folds, plan.search_rows);
    check_classes(&searched)?;
    let selection = search(frame, &searched, &folds, &choices.features, &plan, options.seed, progress)?;
    let (artifact, matrix) = fit(frame, definition, options, &population, &choices, &selection, progress)?;

    report(progress, Stage::Evaluating, 0, 1)?;
    let importances = artifact.importances(&every_nth_row(&matrix, IMPORTANCE_ROWS));
    drop(matrix);
    let segment_fields = match definition.segment_fields.as_slice() {
        [] => default_segment_field(&artifact, &importances),
        named => named.to_vec(),
    };
    let evaluation = evaluate(&artifact, frame, &population.holdout, &segment_fields)?;
    let temporal = match time_axis(frame, definition, &artifact, &importances) {
        Some(axis) => check_forward_in_time(frame, axis, &population, &choices.features, &selection, options.seed)?,
        None => None,
    };
    let gates = judge(&artifact, &evaluation, temporal.as_ref(), frame, &population, incumbent)?;
    report(progress, Stage::Evaluating, 1, 1)?;
    let parts = CardParts {
        frame,
        definition,
        options,
        population: &population,
        leaks,
        choices,
        selection,
        artifact: &artifact,
        importances,
        searched_rows: searched.len(),
    };
    let card = ModelCard::new(parts, evaluation, temporal, gates);
    Ok(Trained { artifact, card })
}

/// Calibrates on the search's out-of-fold margins, and fits the chosen learners on the whole training part.
fn fit(
    frame: &Frame,
    definition: &PredictionDefinition,
    options: &TrainingOptions,
    population: &Population,
    choices: &FieldChoices,
    selection: &Selection,
    progress: &Progress<'_>,
) -> Result<(Artifact, Matrix), LearningError> {
    let training = &population.training;
    let calibrator = Calibrator::fit(&selection.margins, &selection.labels, &selection.folds).calibrator;
    let probabilities: Vec<f64> = selection.margins.iter().map(|&m| calibrator.probability(m)).collect();
    let threshold = best_f1_threshold(&probabilities, &selection.labels);
    let (encoder, matrix) = Encoder::fit(frame, training, &population.folds, &choices.features);
    let (trees, linear) = selection.refit(&matrix, &encoder.kinds(), &training.labels, options.seed, progress)?;
    let reference = Reference::of(frame, &encoder, &training.rows, &probabilities)?;
    let artifact = Artifact {
        format_version: FORMAT_VERSION,
        definition: definition.clone(),
        schema_hash: frame.schema().hash(),
        seed: options.seed,
        holdout_part: options.holdout_part,
        base_rate: training.positives() as f64 / training.len() as f64,
        encoder,
        trees,
        linear,
        tree_weight: selection.tree_weight,
        calibrator,
        threshold,
        reference,
    };
    Ok((artifact, matrix))
}

/// About `rows` of the sample's rows, chosen by the hash of their ids.
fn thin(frame: &Frame, sample: &Sample, folds: &[u8], rows: usize) -> (Sample, Vec<u8>) {
    if rows >= sample.len() {
        return (sample.clone(), folds.to_vec());
    }
    // The low digits chose hold-out and folds; the high half of the hash is independent of them.
    let limit = (rows as f64 / sample.len() as f64 * f64::from(u32::MAX)) as u64;
    let keep = |i: usize| fnv1a64(frame.id(sample.rows[i] as usize).as_bytes()) >> 32 <= limit;
    let kept_folds = (0..sample.len()).filter(|&i| keep(i)).map(|i| folds[i]).collect();
    (sample.select(keep), kept_folds)
}

fn every_nth_row(matrix: &Matrix, rows: usize) -> Matrix {
    let step = matrix.rows.div_ceil(rows).max(1);
    let picked: Vec<usize> = (0..matrix.rows).step_by(step).collect();
    let values = (0..matrix.columns).flat_map(|c| picked.iter().map(move |&i| matrix.column(c)[i])).collect();
    Matrix { values, rows: picked.len(), columns: matrix.columns }
}
