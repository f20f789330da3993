//! Curves and the scalars read off them, in one pass over rows by descending score. Rows may carry weights, so that a
//! bootstrap replicate is the same pass with other weights.

use serde::{Deserialize, Serialize};

use super::CALIBRATION_BINS;

/// Points kept of a curve for the card.
const CURVE_POINTS: usize = 100;
/// Depths at which gains are reported, as shares of all rows.
const GAINS_DEPTHS: [f64; 12] = [0.01, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0];

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Point {
    pub x: f64,
    pub y: f64,
}

/// Of the best-scored `depth` of all rows: the share of all positives among them, and how many times more than by chance.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct GainsPoint {
    pub depth: f64,
    pub captured: f64,
    pub lift: f64,
}

/// A group of rows with similar probabilities.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct CalibrationBin {
    pub predicted: f64,
    pub observed: f64,
    pub rows: usize,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Curves {
    /// False positive rate against true positive rate.
    pub roc: Vec<Point>,
    /// Recall against precision.
    pub precision_recall: Vec<Point>,
    pub gains: Vec<GainsPoint>,
    pub calibration: Vec<CalibrationBin>,
}

/// The scalars that a bootstrap replicates.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Scalars {
    pub average_precision: f64,
    pub lift_10: f64,
    pub lift_20: f64,
    pub calibration_error: f64,
}

/// Rows sorted by descending score.
pub(crate) struct Ranked {
    pub probabilities: Vec<f64>,
    pub labels: Vec<f64>,
    /// The index after the last row of each run of equal scores.
    ends: Vec<usize>,
}

impl Ranked {
    pub fn new(scores: &[f64], probabilities: &[f64], labels: &[f64]) -> Self {
        let order = super::descending(scores);
        let ends = (1..=order.len()).filter(|&i| i == order.len() || scores[order[i]] != scores[order[i - 1]]).collect();
        Self {
            probabilities: order.iter().map(|&i| probabilities[i]).collect(),
            labels: order.iter().map(|&i| labels[i]).collect(),
            ends,
        }
    }

    /// `weights[i]` is how often row `i` (by rank) is drawn.
    pub fn scalars(&self, weights: &[f64]) -> Scalars {
        let total: f64 = weights.iter().sum();
        let positives: f64 = weights.iter().zip(&self.labels).map(|(w, y)| w * y).sum();
        Scalars {
            average_precision: self.average_precision(weights, positives),
            lift_10: self.captured(weights, total, positives, 0.1) / 0.1,
            lift_20: self.captured(weights, total, positives, 0.2) / 0.2,
            calibration_error: calibration_error(&self.bins(weights, total)),
        }
    }

    fn average_precision(&self, weights: &[f64], positives: f64) -> f64 {
        let (mut seen, mut found, mut area, mut start) = (0.0, 0.0, 0.0, 0);
        for &end in &self.ends {
            let before = found;
            for (weight, label) in weights[start..end].iter().zip(&self.labels[start..end]) {
                seen += weight;
                found += weight * label;
            }
            if seen > 0.0 && found > before {
                area += (found - before) * found / seen;
            }
            start = end;
        }
        if positives > 0.0 { area / positives } else { 0.0 }
    }

    /// The share of positives among the best-scored `depth`; a run of ties at the border counts in proportion.
    fn captured(&self, weights: &[f64], total: f64, positives: f64, depth: f64) -> f64 {
        let wanted = depth * total;
        let (mut seen, mut found, mut start) = (0.0, 0.0, 0);
        for &end in &self.ends {
            let run = (start..end).fold((0.0, 0.0), |s, i| (s.0 + weights[i], s.1 + weights[i] * self.labels[i]));
            if seen + run.0 >= wanted {
                let share = if run.0 > 0.0 { (wanted - seen) / run.0 } else { 0.0 };
                found += run.1 * share;
                break;
            }
            seen += run.0;
            found += run.1;
            start = end;
        }
        if positives > 0.0 { found / positives } else { 0.0 }
    }

    /// Bins of equal weight, in descending order: `(weight, mean probability, share of positives)`.
    fn bins(&self, weights: &[f64], total: f64) -> Vec<(f64, f64, f64)> {
        let mut sums = vec![(0.0, 0.0, 0.0); CALIBRATION_BINS];
        let mut seen = 0.0;
        for (i, &weight) in weights.iter().enumerate() {
            let middle = (seen + weight / 2.0) / total;
            let bin = &mut sums[((middle * CALIBRATION_BINS as f64) as usize).min(CALIBRATION_BINS - 1)];
            *bin = (bin.0 + weight, bin.1 + weight * self.probabilities[i], bin.2 + weight * self.labels[i]);
            seen += weight;
        }
        sums.into_iter().filter(|bin| bin.0 > 0.0).map(|(w, p, y)| (w, p / w, y / w)).collect()
    }
}

/// The weighted mean distance between predicted and observed.
fn calibration_error(bins: &[(f64, f64, f64)]) -> f64 {
    let total: f64 = bins.iter().map(|bin| bin.0).sum();
    bins.iter().map(|(w, p, y)| w * (p - y).abs()).sum::<f64>() / total
}

/// The curves of `scores` (for order) and `probabilities` (for calibration).
pub fn curves(scores: &[f64], probabilities: &[f64], labels: &[f64]) -> Curves {
    let ranked = Ranked::new(scores, probabilities, labels);
    let weights = vec![1.0; labels.len()];
    let (total, positives) = (labels.len() as f64, labels.iter().sum::<f64>());
    let negatives = total - positives;
    let (mut roc, mut precision_recall) = (vec![Point { x: 0.0, y: 0.0 }], Vec::new());
    let (mut found, mut start) = (0.0, 0);
    let step = (labels.len() / CURVE_POINTS).max(1);
    let mut next = step;
    for &end in &ranked.ends {
        found += ranked.labels[start..end].iter().sum::<f64>();
        start = end;
        if end >= next || end == labels.len() {
            next = end + step;
            let recall = found / positives.max(1.0);
            roc.push(Point { x: (end as f64 - found) / negatives.max(1.0), y: recall });
            precision_recall.push(Point { x: recall, y: found / end as f64 });
        }
    }
    let gain = |depth: f64| {
        let captured = ranked.captured(&weights, total, positives, depth);
        GainsPoint { depth, captured, lift: captured / depth }
    };
    let bin = |(rows, predicted, observed): (f64, f64, f64)| CalibrationBin { predicted, observed, rows: rows as usize };
    let calibration = ranked.bins(&weights, total).into_iter().rev().map(bin).collect();
    Curves { roc, precision_recall, gains: GAINS_DEPTHS.into_iter().map(gain).collect(), calibration }
}
