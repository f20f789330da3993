//! From raw log-odds to probabilities that mean what they say.
//!
//! Two calibrators are fitted on out-of-fold margins and the one with the smaller cross-validated log loss is kept: Platt's
//! sigmoid (1999; two parameters, safe on little data) and isotonic regression by pooling adjacent violators (Ayer et al.,
//! 1955; Zadrozny and Elkan, 2002), made continuous by interpolating between the pools, so that it hardly ties scores.

use serde::{Deserialize, Serialize};

use crate::metrics::{log_loss_of, sigmoid};
use crate::population::FOLDS;

/// Fewer of one class than this, and isotonic regression is not tried: its pools would be noise.
const MIN_ISOTONIC_ROWS: f64 = 100.0;
const MAX_ITERATIONS: usize = 50;
/// Keeps Platt's Hessian invertible when the margins already separate the classes.
const RIDGE: f64 = 1e-3;

/// A non-decreasing map from margin to probability.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Calibrator {
    Platt {
        slope: f64,
        intercept: f64,
    },
    /// Linear between the points, constant outside.
    Isotonic {
        margins: Vec<f64>,
        probabilities: Vec<f64>,
    },
}

/// The chosen calibrator and what it was chosen by.
#[derive(Debug, Clone, PartialEq)]
pub struct Calibration {
    pub calibrator: Calibrator,
    /// Cross-validated log loss of each kind that was tried.
    pub platt_loss: f64,
    pub isotonic_loss: Option<f64>,
}

impl Calibrator {
    pub fn probability(&self, margin: f64) -> f64 {
        match self {
            Self::Platt { slope, intercept } => sigmoid(slope * margin + intercept),
            Self::Isotonic { margins, probabilities } => interpolate(margins, probabilities, margin),
        }
    }

    pub fn name(&self) -> &'static str {
        match self {
            Self::Platt { .. } => "platt",
            Self::Isotonic { .. } => "isotonic",
        }
    }

    /// Whether it is a non-decreasing map into [0, 1].
    pub(crate) fn is_sound(&self) -> bool {
        match self {
            Self::Platt { slope, intercept } => *slope >= 0.0 && intercept.is_finite(),
            Self::Isotonic { margins, probabilities } => {
                !margins.is_empty()
                    && margins.len() == probabilities.len()
                    && margins.windows(2).all(|w| w[0] < w[1])
                    && probabilities.windows(2).all(|w| w[0] <= w[1])
                    && probabilities.iter().all(|p| (0.0..=1.0).contains(p))
            }
        }
    }

    /// Chooses and fits. `folds` parts the rows for the choice.
    pub fn fit(margins: &[f64], labels: &[f64], folds: &[u8]) -> Calibration {
        let platt_loss = cross_validated(margins, labels, folds, fit_platt);
        let positives: f64 = labels.iter().sum();
        let enough = positives.min(labels.len() as f64 - positives) >= MIN_ISOTONIC_ROWS;
        let isotonic_loss = enough.then(|| cross_validated(margins, labels, folds, fit_isotonic));
        let calibrator = match isotonic_loss {
            Some(loss) if loss < platt_loss => fit_isotonic(margins, labels),
            _ => fit_platt(margins, labels),
        };
        Calibration { calibrator, platt_loss, isotonic_loss }
    }
}

fn cross_validated(margins: &[f64], labels: &[f64], folds: &[u8], fit: fn(&[f64], &[f64]) -> Calibrator) -> f64 {
    let mut loss = 0.0;
    for fold in 0..FOLDS {
        let part = |values: &[f64], inside: bool| -> Vec<f64> {
            values.iter().zip(folds).filter(|(_, f)| (**f == fold) == inside).map(|(v, _)| *v).collect()
        };
        let calibrator = fit(&part(margins, false), &part(labels, false));
        let tested = part(margins, true).into_iter().zip(part(labels, true));
        loss += tested.map(|(m, y)| log_loss_of(calibrator.probability(m), y)).sum::<f64>();
    }
    loss / labels.len() as f64
}

/// Two-parameter logistic regression by Newton's method, towards Platt's smoothed targets.
fn fit_platt(margins: &[f64], labels: &[f64]) -> Calibrator {
    let positives: f64 = labels.iter().sum();
    let negatives = labels.len() as f64 - positives;
    let (high, low) = ((positives + 1.0) / (positives + 2.0), 1.0 / (negatives + 2.0));
    let (mut slope, mut intercept) = (1.0, 0.0);
    for _ in 0..MAX_ITERATIONS {
        let (mut g, mut h) = ([RIDGE * (slope - 1.0), RIDGE * intercept], [RIDGE, 0.0, RIDGE]);
        for (&m, &label) in margins.iter().zip(labels) {
            let p = sigmoid(slope * m + intercept);
            let (error, curvature) = (p - if label > 0.5 { high } else { low }, p * (1.0 - p));
            g = [g[0] + error * m, g[1] + error];
            h = [h[0] + curvature * m * m, h[1] + curvature * m, h[2] + curvature];
        }
        let determinant = h[0] * h[2] - h[1] * h[1];
        if determinant.is_nan() || determinant <= 0.0 {
            break;
        }
        let step = [(h[2] * g[0] - h[1] * g[1]) / determinant, (h[0] * g[1] - h[1] * g[0]) / determinant];
        (slope, intercept) = (slope - step[0], intercept - step[1]);
        if step[0].abs() + step[1].abs() < 1e-9 {
            break;
        }
    }
    // Margins that order the outcomes backwards carry no skill; a falling calibrator would only hide it.
    Calibrator::Platt { slope: slope.max(0.0), intercept }
}

struct Pool {
    rows: f64,
    margins: f64,
    positives: f64,
}

fn fit_isotonic(margins: &[f64], labels: &[f64]) -> Calibrator {
    let mut order: Vec<usize> = (0..margins.len()).collect();
    order.sort_by(|&a, &b| margins[a].total_cmp(&margins[b]));
    let mut pools: Vec<Pool> = Vec::new();
    for tied in order.chunk_by(|&a, &b| margins[a] == margins[b]) {
        let rows = tied.len() as f64;
        let positives = tied.iter().map(|&i| labels[i]).sum();
        pools.push(Pool { rows, margins: rows * margins[tied[0]], positives });
        while let [.., before, last] = &mut pools[..]
            && before.positives * last.rows >= last.positives * before.rows
        {
            before.rows += last.rows;
            before.margins += last.margins;
            before.positives += last.positives;
            pools.pop();
        }
    }
    // Never quite 0 or 1: no finite sample shows certainty.
    let margin = 0.5 / labels.len() as f64;
    Calibrator::Isotonic {
        margins: pools.iter().map(|pool| pool.margins / pool.rows).collect(),
        probabilities: pools.iter().map(|pool| (pool.positives / pool.rows).clamp(margin, 1.0 - margin)).collect(),
    }
}

fn interpolate(xs: &[f64], ys: &[f64], x: f64) -> f64 {
    let after = xs.partition_point(|&at| at <= x);
    if after == 0 {
        return ys[0];
    }
    if after == xs.len() {
        return ys[after - 1];
    }
    let share = (x - xs[after - 1]) / (xs[after] - xs[after - 1]);
    ys[after - 1] + share * (ys[after] - ys[after - 1])
}
