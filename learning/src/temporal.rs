//! Would a model that learnt from earlier records have held on later ones?
//!
//! The hold-out is random in time, so it cannot show drift, and it flatters a model that leans on a date: between two known
//! days lies always a third, but a new record lies after all of them. This check can show it: the chosen configuration is
//! fitted on the earlier four fifths of the training part and tested on the latest fifth. The gate that reads it asks little
//! (better than chance, better than the base rate), because on young records it also measures outcomes that are not ripe
//! yet; a large fall is a warning in the card.
//!
//! Time is the definition's time field; without one, the date that the model itself leans on, if it carries at least
//! [`LEANING_SHARE`] of the model's importance; else `CreatedDate`, if there is one that varies.

use leadline_domain::value::FieldType;
use serde::{Deserialize, Serialize};

use crate::artifact::Artifact;
use crate::definition::PredictionDefinition;
use crate::encoder::{Encoder, FeatureForm};
use crate::error::LearningError;
use crate::frame::Frame;
use crate::metrics::{Estimate, auc_with_interval, log_loss, log_loss_of, sigmoid};
use crate::population::{MIN_CLASS_ROWS, Population, Sample};
use crate::progress::silent;
use crate::record::Cell;
use crate::search::Selection;

/// A fall of the AUC, from the search's cross-validation to later records, that the card warns of.
pub const WARNING_FALL: f64 = 0.05;
/// Share of all importance from which on a date counts as leant on.
pub const LEANING_SHARE: f64 = 0.2;
/// The name under which Salesforce keeps a record's beginning.
const CREATED: &str = "CreatedDate";

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TemporalCheck {
    pub field: String,
    pub earlier_rows: usize,
    pub earlier_base_rate: f64,
    pub later_rows: usize,
    pub later_base_rate: f64,
    /// On the later rows.
    pub auc: Estimate,
    pub log_loss: f64,
    /// On the later rows, of always saying the earlier base rate.
    pub base_log_loss: f64,
    /// Of the same configuration in the search, on rows of all times.
    pub cross_validated_auc: f64,
    pub warning: Option<String>,
}

/// The column of the date at which a record begins, if it is known.
pub fn beginning_of_records(frame: &Frame, definition: &PredictionDefinition) -> Option<usize> {
    let name = definition.time_field.as_deref().unwrap_or(CREATED);
    frame.schema().position(name).filter(|&column| is_date(frame, column))
}

/// The column by which records are earlier or later, if there is one to check the model by.
pub fn time_axis(frame: &Frame, definition: &PredictionDefinition, artifact: &Artifact, importances: &[f64]) -> Option<usize> {
    let varies = |column: &usize| {
        let first = frame.cell(*column, 0);
        (1..frame.rows()).any(|row| frame.cell(*column, row) != first)
    };
    let leant_on = || {
        let total: f64 = importances.iter().sum();
        let columns = artifact.encoder.fields.iter().filter_map(|f| frame.schema().position(&f.field.name));
        let dates = columns.zip(importances).filter(|(column, _)| is_date(frame, *column));
        let (column, importance) = dates.max_by(|a, b| a.1.total_cmp(b.1))?;
        (*importance >= LEANING_SHARE * total).then_some(column)
    };
    let beginning = beginning_of_records(frame, definition).filter(varies);
    if definition.time_field.is_some() { beginning } else { leant_on().or(beginning) }
}

fn is_date(frame: &Frame, column: usize) -> bool {
    matches!(frame.schema().fields[column].field_type, FieldType::Date | FieldType::DateTime)
}

/// Fits the selected configuration on the earlier rows by `axis`, and tests it on the later ones. `None` when a side lacks
/// rows of a class.
///
/// # Errors
/// An error of the tree learner.
pub fn check_forward_in_time(
    frame: &Frame,
    axis: usize,
    population: &Population,
    features: &[(usize, FeatureForm)],
    selection: &Selection,
    seed: u64,
) -> Result<Option<TemporalCheck>, LearningError> {
    let sample = &population.training;
    let time = |i: usize| time_of(frame, axis, sample.rows[i]);
    let mut times: Vec<f64> = (0..sample.len()).filter_map(time).collect();
    times.sort_by(f64::total_cmp);
    let Some(&border) = times.get(times.len() * 4 / 5) else { return Ok(None) };
    let is_earlier = |i: usize| time(i).is_some_and(|t| t < border);
    let (earlier, later) = (sample.select(is_earlier), sample.select(|i| time(i).is_some_and(|t| t >= border)));
    if [&earlier, &later].into_iter().any(|s| s.positives().min(s.len() - s.positives()) < MIN_CLASS_ROWS) {
        return Ok(None);
    }
    let folds: Vec<u8> = (0..sample.len()).filter(|&i| is_earlier(i)).map(|i| population.folds[i]).collect();
    let margins = later_margins(frame, &earlier, &folds, &later, features, selection, seed)?;
    let auc = auc_with_interval(&margins, &later.labels);
    let cross_validated_auc = selection.candidates.iter().find(|c| c.chosen).map_or(0.5, |c| c.auc);
    let rate = |s: &Sample| s.positives() as f64 / s.len() as f64;
    let base_rate = rate(&earlier);
    let warning = (auc.value < cross_validated_auc - WARNING_FALL).then(|| {
        format!(
            "on the latest fifth by {} the AUC falls from {cross_validated_auc:.3} to {:.3}: \
             what was learnt may not hold for new records",
            frame.schema().fields[axis].name,
            auc.value
        )
    });
    Ok(Some(TemporalCheck {
        field: frame.schema().fields[axis].name.clone(),
        earlier_rows: earlier.len(),
        earlier_base_rate: base_rate,
        later_rows: later.len(),
        later_base_rate: rate(&later),
        auc,
        log_loss: log_loss(&margins.iter().map(|&m| sigmoid(m)).collect::<Vec<_>>(), &later.labels),
        base_log_loss: later.labels.iter().map(|&y| log_loss_of(base_rate, y)).sum::<f64>() / later.len() as f64,
        cross_validated_auc,
        warning,
    }))
}

fn later_margins(
    frame: &Frame,
    earlier: &Sample,
    folds: &[u8],
    later: &Sample,
    features: &[(usize, FeatureForm)],
    selection: &Selection,
    seed: u64,
) -> Result<Vec<f64>, LearningError> {
    let (encoder, matrix) = Encoder::fit(frame, earlier, folds, features);
    let (trees, linear) = selection.refit(&matrix, &encoder.kinds(), &earlier.labels, seed, &silent)?;
    let tested = encoder.encode_frame(frame, &later.rows)?;
    let mut margins = vec![0.0; later.len()];
    let mut add = |part: Vec<f64>, weight: f64| margins.iter_mut().zip(part).for_each(|(sum, m)| *sum += weight * m);
    if let Some(trees) = trees {
        add(trees.margins(&tested, trees.trees.len()), selection.tree_weight);
    }
    if let Some(linear) = linear {
        add(linear.margins(&tested), 1.0 - selection.tree_weight);
    }
    Ok(margins)
}

fn time_of(frame: &Frame, column: usize, row: u32) -> Option<f64> {
    match frame.cell(column, row as usize) {
        Cell::Day(day) => Some(f64::from(day)),
        Cell::Instant(ms) => Some(ms as f64),
        Cell::Null | Cell::Boolean(_) | Cell::Number(_) | Cell::Text(_) | Cell::Length(_) => None,
    }
}
