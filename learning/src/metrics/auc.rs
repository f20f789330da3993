//! The area under the ROC curve and its variance.

use super::{Estimate, Z95};

/// The AUC of groups of rows that share a score: `(score, positives, negatives)`. Ties count half.
pub fn group_auc(mut groups: Vec<(f64, f64, f64)>) -> f64 {
    groups.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (mut wins, mut negatives_below, mut positives) = (0.0, 0.0, 0.0);
    for tied in groups.chunk_by(|a, b| a.0 == b.0) {
        let (pos, neg) = tied.iter().fold((0.0, 0.0), |sum, group| (sum.0 + group.1, sum.1 + group.2));
        wins += pos * (negatives_below + neg / 2.0);
        negatives_below += neg;
        positives += pos;
    }
    let pairs = positives * negatives_below;
    if pairs > 0.0 { wins / pairs } else { 0.5 }
}

/// The AUC of `scores` for `labels` in {0, 1}; `0.5` when a class is absent.
pub fn auc(scores: &[f64], labels: &[f64]) -> f64 {
    group_auc(scores.iter().zip(labels).map(|(&score, &label)| (score, label, 1.0 - label)).collect())
}

/// The AUC with DeLong's 95 % interval, formed on the logit scale so that it stays inside (0, 1). Where every pair is ordered
/// alike the variance is zero, and the bound is the share of rows of the rarer class that could be ordered otherwise without
/// one being found with a probability of 2.5 %.
pub fn auc_with_interval(scores: &[f64], labels: &[f64]) -> Estimate {
    let placements = Placements::of(scores, labels);
    let value = placements.auc;
    let variance = covariance(&placements.positives, &placements.positives) / placements.positives.len().max(1) as f64
        + covariance(&placements.negatives, &placements.negatives) / placements.negatives.len().max(1) as f64;
    let rarer = placements.positives.len().min(placements.negatives.len());
    if rarer == 0 {
        return Estimate { value, lower: 0.0, upper: 1.0 };
    }
    let alike = 0.025_f64.powf(1.0 / rarer as f64);
    if value >= 1.0 {
        return Estimate { value, lower: alike, upper: 1.0 };
    }
    if value <= 0.0 {
        return Estimate { value, lower: 0.0, upper: 1.0 - alike };
    }
    let half = Z95 * variance.sqrt() / (value * (1.0 - value));
    let logit = (value / (1.0 - value)).ln();
    Estimate { value, lower: super::sigmoid(logit - half), upper: super::sigmoid(logit + half) }
}

/// How much better `candidate` orders the same rows than `incumbent`, with the 95 % interval of the paired difference.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AucDifference {
    pub candidate: f64,
    pub incumbent: f64,
    pub difference: Estimate,
}

/// DeLong's test of two correlated AUCs.
pub fn auc_difference(candidate: &[f64], incumbent: &[f64], labels: &[f64]) -> AucDifference {
    let (a, b) = (Placements::of(candidate, labels), Placements::of(incumbent, labels));
    let subtract = |x: &[f64], y: &[f64]| x.iter().zip(y).map(|(x, y)| x - y).collect::<Vec<f64>>();
    let positives = subtract(&a.positives, &b.positives);
    let negatives = subtract(&a.negatives, &b.negatives);
    let variance = covariance(&positives, &positives) / positives.len().max(1) as f64
        + covariance(&negatives, &negatives) / negatives.len().max(1) as f64;
    let (value, half) = (a.auc - b.auc, Z95 * variance.sqrt());
    AucDifference { candidate: a.auc, incumbent: b.auc, difference: Estimate { value, lower: value - half, upper: value + half } }
}

/// The structural components of DeLong: for each positive the share of negatives below it, and the reverse.
struct Placements {
    auc: f64,
    positives: Vec<f64>,
    negatives: Vec<f64>,
}

impl Placements {
    fn of(scores: &[f64], labels: &[f64]) -> Self {
        let all = mid_ranks(scores);
        let split = |positive: bool| -> Vec<usize> { (0..labels.len()).filter(|&i| (labels[i] > 0.5) == positive).collect() };
        let (pos, neg) = (split(true), split(false));
        let own_ranks = |rows: &[usize]| mid_ranks(&rows.iter().map(|&i| scores[i]).collect::<Vec<f64>>());
        let (m, n) = (pos.len() as f64, neg.len() as f64);
        let positives: Vec<f64> = pos.iter().zip(own_ranks(&pos)).map(|(&i, own)| (all[i] - own) / n).collect();
        let negatives: Vec<f64> = neg.iter().zip(own_ranks(&neg)).map(|(&i, own)| 1.0 - (all[i] - own) / m).collect();
        let auc = if pos.is_empty() || neg.is_empty() { 0.5 } else { positives.iter().sum::<f64>() / m };
        Self { auc, positives, negatives }
    }
}

/// Ranks from 1; equal scores share the mean of theirs.
fn mid_ranks(scores: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|&a, &b| scores[a].total_cmp(&scores[b]));
    let mut ranks = vec![0.0; scores.len()];
    let mut before = 0;
    for tied in order.chunk_by(|&a, &b| scores[a] == scores[b]) {
        let mean = before as f64 + (tied.len() as f64 + 1.0) / 2.0;
        tied.iter().for_each(|&i| ranks[i] = mean);
        before += tied.len();
    }
    ranks
}

fn covariance(x: &[f64], y: &[f64]) -> f64 {
    let n = x.len() as f64;
    if n < 2.0 {
        return 0.0;
    }
    let (mean_x, mean_y) = (x.iter().sum::<f64>() / n, y.iter().sum::<f64>() / n);
    x.iter().zip(y).map(|(a, b)| (a - mean_x) * (b - mean_y)).sum::<f64>() / (n - 1.0)
}
