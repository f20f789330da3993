//! What the model is worth on records that it has not seen.

use serde::{Deserialize, Serialize};

use crate::artifact::Artifact;
use crate::encoder::Encoding;
use crate::error::LearningError;
use crate::frame::Frame;
use crate::metrics::{Confusion, Curves, Estimate, auc_with_interval, bootstrap_intervals, curves, log_loss_of};
use crate::population::Sample;

/// A segment with fewer rows of one class than this is not reported: its AUC would say nothing.
const MIN_SEGMENT_CLASS_ROWS: usize = 10;
const MAX_SEGMENTS: usize = 30;
const SCORE_BINS: usize = 20;

/// Metrics on the hold-out. Intervals are 95 %.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    pub rows: usize,
    pub positives: usize,
    /// DeLong.
    pub auc: Estimate,
    /// Average precision; bootstrapped.
    pub pr_auc: Estimate,
    pub log_loss: Estimate,
    /// Of always saying the training part's base rate.
    pub base_log_loss: f64,
    pub brier: Estimate,
    /// Expected calibration error over ten bins of equal row counts; bootstrapped.
    pub calibration_error: Estimate,
    /// How many times more positives than by chance among the best-scored 10 and 20 %; bootstrapped.
    pub lift_10: Estimate,
    pub lift_20: Estimate,
    /// At the artifact's threshold, which was chosen on validation data.
    pub confusion: Confusion,
    pub precision: f64,
    pub recall: f64,
    pub f1: f64,
    pub curves: Curves,
    /// Rows by probability, in twenty equal bins: negatives and positives.
    pub score_histogram: Vec<(u64, u64)>,
    pub segments: Vec<Segment>,
}

/// Skill among the rows with one value of a field.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Segment {
    pub field: String,
    pub value: String,
    pub rows: usize,
    pub positives: usize,
    pub auc: Estimate,
    /// Mean probability, to be compared with `positives / rows`.
    pub mean_probability: f64,
}

/// Evaluates `artifact` on the rows of `sample`, by segments of `segment_fields`.
///
/// # Errors
/// [`LearningError::SchemaMismatch`] when the frame does not have what the model reads, [`LearningError::TooFewRows`] when
/// the sample lacks a class.
pub fn evaluate(
    artifact: &Artifact,
    frame: &Frame,
    sample: &Sample,
    segment_fields: &[String],
) -> Result<Evaluation, LearningError> {
    let positives = sample.positives();
    for (what, found) in [("positive rows held out", positives), ("negative rows held out", sample.len() - positives)] {
        if found == 0 {
            return Err(LearningError::TooFewRows { what, needed: 1, found });
        }
    }
    let margins = artifact.margins(frame, &sample.rows)?;
    let probabilities: Vec<f64> = margins.iter().map(|&m| artifact.calibrator.probability(m)).collect();
    let labels = &sample.labels;
    let losses = |loss: fn(f64, f64) -> f64| {
        Estimate::of_mean(&probabilities.iter().zip(labels).map(|(&p, &y)| loss(p, y)).collect::<Vec<_>>())
    };
    let bootstrapped = bootstrap_intervals(&margins, &probabilities, labels);
    let confusion = Confusion::at(artifact.threshold, &probabilities, labels);
    Ok(Evaluation {
        rows: sample.len(),
        positives,
        auc: auc_with_interval(&margins, labels),
        pr_auc: bootstrapped.average_precision,
        log_loss: losses(log_loss_of),
        base_log_loss: labels.iter().map(|&y| log_loss_of(artifact.base_rate, y)).sum::<f64>() / labels.len() as f64,
        brier: losses(|p, y| (p - y) * (p - y)),
        calibration_error: bootstrapped.calibration_error,
        lift_10: bootstrapped.lift_10,
        lift_20: bootstrapped.lift_20,
        confusion,
        precision: confusion.precision(),
        recall: confusion.recall(),
        f1: confusion.f1(),
        curves: curves(&margins, &probabilities, labels),
        score_histogram: score_histogram(&probabilities, labels),
        segments: segments(frame, sample, segment_fields, &margins, &probabilities),
    })
}

fn score_histogram(probabilities: &[f64], labels: &[f64]) -> Vec<(u64, u64)> {
    let mut bins = vec![(0, 0); SCORE_BINS];
    for (&p, &label) in probabilities.iter().zip(labels) {
        let bin = &mut bins[((p * SCORE_BINS as f64) as usize).min(SCORE_BINS - 1)];
        if label > 0.5 { bin.1 += 1 } else { bin.0 += 1 }
    }
    bins
}

fn segments(frame: &Frame, sample: &Sample, fields: &[String], margins: &[f64], probabilities: &[f64]) -> Vec<Segment> {
    let mut segments = Vec::new();
    for field in fields {
        let Some(column) = frame.schema().position(field) else { continue };
        let value = |i: usize| frame.cell(column, sample.rows[i] as usize).display();
        let mut groups: std::collections::BTreeMap<String, Vec<usize>> = std::collections::BTreeMap::new();
        (0..sample.len()).for_each(|i| groups.entry(value(i)).or_default().push(i));
        let mut found: Vec<Segment> =
            groups.into_iter().filter_map(|(value, rows)| segment(field, value, &rows, sample, margins, probabilities)).collect();
        found.sort_by_key(|segment| std::cmp::Reverse(segment.rows));
        found.truncate(MAX_SEGMENTS);
        segments.append(&mut found);
    }
    segments
}

fn segment(
    field: &str,
    value: String,
    rows: &[usize],
    sample: &Sample,
    margins: &[f64],
    probabilities: &[f64],
) -> Option<Segment> {
    let read = |values: &[f64]| rows.iter().map(|&i| values[i]).collect::<Vec<f64>>();
    let labels = read(&sample.labels);
    let positives = labels.iter().filter(|&&y| y > 0.5).count();
    if positives.min(rows.len() - positives) < MIN_SEGMENT_CLASS_ROWS {
        return None;
    }
    Some(Segment {
        field: field.to_owned(),
        value,
        rows: rows.len(),
        positives,
        auc: auc_with_interval(&read(margins), &labels),
        mean_probability: read(probabilities).iter().sum::<f64>() / rows.len() as f64,
    })
}

/// The fields to segment by when the definition names none: the most important one with few levels.
pub(crate) fn default_segment_field(artifact: &Artifact, importances: &[f64]) -> Vec<String> {
    let few_levels = |e: &Encoding| matches!(e, Encoding::Levels { .. } | Encoding::Boolean);
    let fields = artifact.encoder.fields.iter().zip(importances).filter(|(f, _)| few_levels(&f.encoding));
    fields.max_by(|a, b| a.1.total_cmp(b.1)).map(|(f, _)| f.field.name.clone()).into_iter().collect()
}
