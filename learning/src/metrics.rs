//! How good a model is, with intervals.
//!
//! AUC with DeLong's interval (DeLong et al., 1988, by the ranks of Sun and Xu, 2014); average precision (the step-wise area
//! under the precision-recall curve); log loss and Brier score with normal intervals, since both are means; expected
//! calibration error over [`CALIBRATION_BINS`] bins of equal row counts; lift and gains at fixed depths. What has no
//! analytic interval is bootstrapped over rows, with a fixed seed (see [`bootstrap`]).

use serde::{Deserialize, Serialize};

mod auc;
mod bootstrap;
mod curves;

pub use auc::{AucDifference, auc, auc_difference, auc_with_interval, group_auc};
pub use bootstrap::bootstrap_intervals;
pub use curves::{Curves, GainsPoint, Point, curves};

/// The normal quantile of a two-sided 95 % interval.
pub(crate) const Z95: f64 = 1.959_963_984_540_054;
pub const CALIBRATION_BINS: usize = 10;
/// A probability is moved this far from 0 and 1 before its logarithm is taken.
const PROBABILITY_MARGIN: f64 = 1e-12;

/// A value with its two-sided 95 % interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    pub value: f64,
    pub lower: f64,
    pub upper: f64,
}

impl Estimate {
    /// The mean of `losses` with its normal interval.
    pub fn of_mean(losses: &[f64]) -> Self {
        let n = losses.len() as f64;
        let value = losses.iter().sum::<f64>() / n;
        let variance = losses.iter().map(|l| (l - value).powi(2)).sum::<f64>() / (n - 1.0).max(1.0);
        let half = Z95 * (variance / n).sqrt();
        Self { value, lower: value - half, upper: value + half }
    }
}

/// The log loss of one row, in nats.
pub fn log_loss_of(probability: f64, label: f64) -> f64 {
    let p = probability.clamp(PROBABILITY_MARGIN, 1.0 - PROBABILITY_MARGIN);
    -(label * p.ln() + (1.0 - label) * (1.0 - p).ln())
}

/// The mean log loss, in nats.
pub fn log_loss(probabilities: &[f64], labels: &[f64]) -> f64 {
    let losses = probabilities.iter().zip(labels).map(|(&p, &y)| log_loss_of(p, y));
    losses.sum::<f64>() / labels.len() as f64
}

pub fn sigmoid(log_odds: f64) -> f64 {
    1.0 / (1.0 + (-log_odds).exp())
}

/// Predicted against found, at a threshold.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Confusion {
    pub threshold: f64,
    pub true_positives: usize,
    pub false_positives: usize,
    pub true_negatives: usize,
    pub false_negatives: usize,
}

impl Confusion {
    pub fn at(threshold: f64, probabilities: &[f64], labels: &[f64]) -> Self {
        let mut confusion = Self { threshold, true_positives: 0, false_positives: 0, true_negatives: 0, false_negatives: 0 };
        for (&p, &label) in probabilities.iter().zip(labels) {
            let count = match (p >= threshold, label > 0.5) {
                (true, true) => &mut confusion.true_positives,
                (true, false) => &mut confusion.false_positives,
                (false, false) => &mut confusion.true_negatives,
                (false, true) => &mut confusion.false_negatives,
            };
            *count += 1;
        }
        confusion
    }

    pub fn precision(&self) -> f64 {
        ratio(self.true_positives, self.true_positives + self.false_positives)
    }

    pub fn recall(&self) -> f64 {
        ratio(self.true_positives, self.true_positives + self.false_negatives)
    }

    pub fn f1(&self) -> f64 {
        ratio(2 * self.true_positives, 2 * self.true_positives + self.false_positives + self.false_negatives)
    }
}

fn ratio(part: usize, whole: usize) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

/// The threshold with the greatest F1, the lowest of several: the choice a sales team makes when a missed deal and a
/// useless call weigh about the same. `0.5` when no row is positive.
pub fn best_f1_threshold(probabilities: &[f64], labels: &[f64]) -> f64 {
    let order = descending(probabilities);
    let positives: f64 = labels.iter().sum();
    let (mut best, mut threshold, mut found) = (0.0, 0.5, 0.0);
    for (rank, &i) in order.iter().enumerate() {
        found += labels[i];
        let last_of_ties = order.get(rank + 1).is_none_or(|&next| probabilities[next] < probabilities[i]);
        let f1 = 2.0 * found / (rank as f64 + 1.0 + positives);
        if last_of_ties && f1 >= best && found > 0.0 {
            (best, threshold) = (f1, probabilities[i]);
        }
    }
    threshold
}

/// Row numbers by descending score; ties stay in row order.
pub(crate) fn descending(scores: &[f64]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]));
    order
}
