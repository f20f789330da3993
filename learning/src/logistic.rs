//! L2-regularised logistic regression on the encoder's columns.
//!
//! Ranked levels are expanded to one indicator each, with one for null; a continuous column becomes its standardised value,
//! clipped to the central 99 % of the training values, plus indicators of its quantile bins, so that the model is additive
//! but not bound to straight lines. Fitted by Newton's method (iteratively reweighted least squares: Hastie, Tibshirani,
//! Friedman, 2nd ed., section 4.4.1) with step halving; the penalty is lambda / 2 times the squared weights, without the
//! intercept. Rows are sparse (a few indicators each), the Hessian is dense.

use serde::{Deserialize, Serialize};

use crate::encoder::ColumnKind;
use crate::matrix::Matrix;
use crate::metrics::sigmoid;

mod cholesky;
mod design;

use design::Design;

const MAX_ITERATIONS: usize = 30;
const MAX_HALVINGS: usize = 12;
/// Converged when no weight moves by more than this.
const TOLERANCE: f64 = 1e-7;
/// Wider designs cost more than they bring: the Hessian alone would have this number squared.
pub const MAX_WEIGHTS: usize = 1_500;

/// A fitted model. The log-odds of a row are the intercept plus the effect of each term.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Logistic {
    pub lambda: f64,
    pub intercept: f64,
    pub terms: Vec<Term>,
}

/// One column's part, with its weights.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Term {
    pub column: usize,
    pub shape: Shape,
    /// One for each indicator or slope of the shape, in its order.
    pub weights: Vec<f64>,
    /// The term's mean over the training rows, from which contributions are measured.
    pub mean_effect: f64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Shape {
    /// An indicator for each rank, then one for null. A fractional rank (an unseen level) has none.
    Levels { levels: usize },
    /// The slope, an indicator for null, and one for each bin between `cuts`.
    Continuous { low: f64, high: f64, center: f64, scale: f64, cuts: Vec<f64> },
}

impl Shape {
    fn width(&self) -> usize {
        match self {
            Self::Levels { levels } => levels + 1,
            Self::Continuous { cuts, .. } if cuts.is_empty() => 2,
            Self::Continuous { cuts, .. } => cuts.len() + 3,
        }
    }

    /// Calls `visit` with each non-zero feature of `value`: its index within the term, and its value.
    fn visit(&self, value: f64, mut visit: impl FnMut(usize, f64)) {
        match self {
            Self::Levels { levels } if value.is_nan() => visit(*levels, 1.0),
            Self::Levels { levels } => {
                if value >= 0.0 && value.fract() == 0.0 && value < *levels as f64 {
                    visit(value as usize, 1.0);
                }
            }
            Self::Continuous { .. } if value.is_nan() => visit(1, 1.0),
            Self::Continuous { low, high, center, scale, cuts } => {
                visit(0, (value.clamp(*low, *high) - center) / scale);
                if !cuts.is_empty() {
                    visit(2 + cuts.partition_point(|&cut| cut <= value), 1.0);
                }
            }
        }
    }
}

impl Term {
    fn effect(&self, row: &[f64]) -> f64 {
        let mut effect = 0.0;
        self.shape.visit(row[self.column], |i, value| effect += self.weights[i] * value);
        effect
    }
}

impl Logistic {
    /// Fits by penalised maximum likelihood. `None` when the design would have more than [`MAX_WEIGHTS`] weights.
    pub fn fit(matrix: &Matrix, kinds: &[ColumnKind], labels: &[f64], lambda: f64) -> Option<Self> {
        let design = Design::of(matrix, kinds)?;
        Some(design.fit(labels, &[lambda]).remove(0))
    }

    /// Fits one model for each of `lambdas`, each starting where the one before ended.
    pub fn fit_path(matrix: &Matrix, kinds: &[ColumnKind], labels: &[f64], lambdas: &[f64]) -> Option<Vec<Self>> {
        Some(Design::of(matrix, kinds)?.fit(labels, lambdas))
    }

    /// The log-odds of one encoded row.
    pub fn margin(&self, row: &[f64]) -> f64 {
        self.terms.iter().fold(self.intercept, |sum, term| sum + term.effect(row))
    }

    pub fn margins(&self, matrix: &Matrix) -> Vec<f64> {
        let mut row = vec![0.0; matrix.columns];
        (0..matrix.rows)
            .map(|i| {
                matrix.read_row(i, &mut row);
                self.margin(&row)
            })
            .collect()
    }

    /// The margin of the average training row, from which contributions are measured.
    pub fn expected(&self) -> f64 {
        self.terms.iter().fold(self.intercept, |sum, term| sum + term.mean_effect)
    }

    /// Adds each column's distance from its mean effect, times `scale`: the Shapley value of an additive model whose columns
    /// are taken as independent.
    pub fn add_contributions(&self, row: &[f64], scale: f64, contributions: &mut [f64]) {
        for term in &self.terms {
            contributions[term.column] += scale * (term.effect(row) - term.mean_effect);
        }
    }

    /// Whether every term reads one of `columns` columns and has the weights its shape needs.
    pub(crate) fn fits(&self, columns: usize) -> bool {
        self.terms.iter().all(|term| term.column < columns && term.weights.len() == term.shape.width())
    }
}

impl Design {
    fn fit(&self, labels: &[f64], lambdas: &[f64]) -> Vec<Logistic> {
        let labels = &self.labels(labels);
        let base = labels.iter().sum::<f64>() / labels.len() as f64;
        let mut weights = vec![0.0; self.width + 1];
        // The intercept stands last.
        weights[self.width] = (base / (1.0 - base)).ln();
        lambdas
            .iter()
            .map(|&lambda| {
                self.newton(labels, lambda, &mut weights);
                self.model(lambda, &weights)
            })
            .collect()
    }

    fn newton(&self, labels: &[f64], lambda: f64, weights: &mut Vec<f64>) {
        let mut loss = self.loss(labels, lambda, weights);
        for _ in 0..MAX_ITERATIONS {
            let (gradient, hessian) = self.derivatives(labels, lambda, weights);
            let Some(step) = cholesky::solve(hessian, gradient) else { return };
            let mut scale = 1.0;
            let mut halvings = 0;
            let moved = loop {
                let moved: Vec<f64> = weights.iter().zip(&step).map(|(w, s)| w - scale * s).collect();
                let moved_loss = self.loss(labels, lambda, &moved);
                if moved_loss <= loss {
                    loss = moved_loss;
                    break moved;
                }
                halvings += 1;
                if halvings > MAX_HALVINGS {
                    return;
                }
                scale /= 2.0;
            };
            *weights = moved;
            if step.iter().all(|s| (scale * s).abs() < TOLERANCE) {
                return;
            }
        }
    }

    fn loss(&self, labels: &[f64], lambda: f64, weights: &[f64]) -> f64 {
        let penalty: f64 = weights[..self.width].iter().map(|w| w * w).sum();
        let row_loss = |(i, &label): (usize, &f64)| {
            let margin = self.margin(i, weights);
            // ln(1 + e^m) - y m, without overflow.
            margin.max(0.0) + (-margin.abs()).exp().ln_1p() - label * margin
        };
        labels.iter().enumerate().map(row_loss).sum::<f64>() + lambda / 2.0 * penalty
    }

    fn margin(&self, row: usize, weights: &[f64]) -> f64 {
        self.row(row).iter().fold(weights[self.width], |sum, &(at, value)| sum + weights[at as usize] * value)
    }

    /// The gradient, and the lower triangle of the Hessian, row by row.
    fn derivatives(&self, labels: &[f64], lambda: f64, weights: &[f64]) -> (Vec<f64>, Vec<f64>) {
        let n = self.width + 1;
        let (mut gradient, mut hessian) = (vec![0.0; n], vec![0.0; n * n]);
        for (i, &label) in labels.iter().enumerate() {
            let p = sigmoid(self.margin(i, weights));
            let (error, curvature) = (p - label, p * (1.0 - p));
            let row = self.row(i);
            for (k, &(at, value)) in row.iter().enumerate() {
                let at = at as usize;
                gradient[at] += error * value;
                let line = &mut hessian[at * n..at * n + n];
                // Indices ascend within a row, so this fills the lower triangle.
                row[..=k].iter().for_each(|&(other, v)| line[other as usize] += curvature * value * v);
                hessian[self.width * n + at] += curvature * value;
            }
            gradient[self.width] += error;
            hessian[n * n - 1] += curvature;
        }
        for at in 0..self.width {
            gradient[at] += lambda * weights[at];
            hessian[at * n + at] += lambda;
        }
        (gradient, hessian)
    }

    fn model(&self, lambda: f64, weights: &[f64]) -> Logistic {
        let terms = self.terms.iter().map(|term| {
            let own = &weights[term.first..term.first + term.shape.width()];
            let means = &self.means[term.first..term.first + term.shape.width()];
            Term {
                column: term.column,
                shape: term.shape.clone(),
                weights: own.to_vec(),
                mean_effect: own.iter().zip(means).map(|(w, m)| w * m).sum(),
            }
        });
        Logistic { lambda, intercept: weights[self.width], terms: terms.collect() }
    }
}
