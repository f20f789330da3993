//! Would a model that learnt from earlier records have held on later ones?
//!
//! The hold-out is random in time, so it cannot show drift. This check can: the chosen configuration is fitted on the
//! earlier four fifths of the training part by the definition's time field, and tested on the latest fifth. Its result
//! stands in the card as information, not as a gate: on young records it also measures outcomes that are not ripe yet.

use serde::{Deserialize, Serialize};

use crate::definition::PredictionDefinition;
use crate::encoder::{Encoder, FeatureForm};
use crate::error::LearningError;
use crate::frame::Frame;
use crate::metrics::{Estimate, auc_with_interval};
use crate::population::{MIN_CLASS_ROWS, Population, Sample};
use crate::progress::silent;
use crate::record::Cell;
use crate::search::Selection;

/// A fall of the AUC, from the search's cross-validation to later records, that the card warns of.
pub const WARNING_FALL: f64 = 0.05;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TemporalCheck {
    pub field: String,
    pub earlier_rows: usize,
    pub earlier_base_rate: f64,
    pub later_rows: usize,
    pub later_base_rate: f64,
    /// On the later rows.
    pub auc: Estimate,
    /// Of the same configuration in the search, on rows of all times.
    pub cross_validated_auc: f64,
    pub warning: Option<String>,
}

/// `None` when the definition has no time field, or when a side lacks rows of a class.
///
/// # Errors
/// An error of the tree learner.
pub fn check_forward_in_time(
    frame: &Frame,
    definition: &PredictionDefinition,
    population: &Population,
    features: &[(usize, FeatureForm)],
    selection: &Selection,
    seed: u64,
) -> Result<Option<TemporalCheck>, LearningError> {
    let Some(field) = &definition.time_field else { return Ok(None) };
    let Some(border) = border_in_time(frame, field, &population.training) else { return Ok(None) };
    let (column, border) = border;
    let sample = &population.training;
    let time = |i: usize| time_of(frame, column, sample.rows[i]);
    let is_earlier = |i: usize| time(i).is_some_and(|t| t < border);
    let earlier = sample.select(is_earlier);
    let later = sample.select(|i| time(i).is_some_and(|t| t >= border));
    if [&earlier, &later].into_iter().any(|s| s.positives().min(s.len() - s.positives()) < MIN_CLASS_ROWS) {
        return Ok(None);
    }
    let folds: Vec<u8> = (0..sample.len()).filter(|&i| is_earlier(i)).map(|i| population.folds[i]).collect();
    let (encoder, matrix) = Encoder::fit(frame, &earlier, &folds, features);
    let (trees, linear) = selection.refit(&matrix, &encoder.kinds(), &earlier.labels, seed, &silent)?;
    let tested = encoder.encode_frame(frame, &later.rows)?;
    let tree_margins = trees.map(|trees| trees.margins(&tested, trees.trees.len()));
    let linear_margins = linear.map(|linear| linear.margins(&tested));
    let blend = |i: usize| {
        let part = |margins: &Option<Vec<f64>>| margins.as_ref().map_or(0.0, |m| m[i]);
        selection.tree_weight * part(&tree_margins) + (1.0 - selection.tree_weight) * part(&linear_margins)
    };
    let auc = auc_with_interval(&(0..later.len()).map(blend).collect::<Vec<_>>(), &later.labels);
    let chosen = selection.candidates.iter().find(|candidate| candidate.chosen);
    let cross_validated_auc = chosen.map_or(0.5, |candidate| candidate.auc);
    let warning = (auc.value < cross_validated_auc - WARNING_FALL).then(|| {
        format!(
            "on the latest fifth the AUC falls from {cross_validated_auc:.3} to {:.3}: what was learnt may not hold for new records",
            auc.value
        )
    });
    let rate = |s: &Sample| s.positives() as f64 / s.len() as f64;
    Ok(Some(TemporalCheck {
        field: field.clone(),
        earlier_rows: earlier.len(),
        earlier_base_rate: rate(&earlier),
        later_rows: later.len(),
        later_base_rate: rate(&later),
        auc,
        cross_validated_auc,
        warning,
    }))
}

/// The column of the time field, and the time at which its latest fifth begins.
fn border_in_time(frame: &Frame, field: &str, sample: &Sample) -> Option<(usize, f64)> {
    let column = frame.schema().position(field)?;
    let mut times: Vec<f64> = sample.rows.iter().filter_map(|&row| time_of(frame, column, row)).collect();
    times.sort_by(f64::total_cmp);
    Some((column, *times.get(times.len() * 4 / 5)?))
}

fn time_of(frame: &Frame, column: usize, row: u32) -> Option<f64> {
    match frame.cell(column, row as usize) {
        Cell::Day(day) => Some(f64::from(day)),
        Cell::Instant(ms) => Some(ms as f64),
        Cell::Number(n) => Some(n),
        Cell::Null | Cell::Boolean(_) | Cell::Text(_) | Cell::Length(_) => None,
    }
}
