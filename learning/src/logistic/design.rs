//! The sparse design matrix of the linear model.

use super::{MAX_WEIGHTS, Shape};
use crate::encoder::ColumnKind;
use crate::leaks::quantile_cuts;
use crate::matrix::Matrix;

/// Quantile bins of a continuous column.
const BINS: usize = 10;
/// The central part of the training values inside which the slope acts.
const CLIPPED_TAIL: f64 = 0.005;

/// A model of at most [`MAX_WEIGHTS`] weights gains nothing from more rows than this, and its design would fill the memory;
/// rows stand in the order of their ids, so every n-th of them is a fair sample.
const MAX_ROWS: usize = 200_000;

pub(super) struct PlacedTerm {
    pub column: usize,
    pub shape: Shape,
    /// Index of the term's first weight.
    pub first: usize,
}

/// Rows of `(weight index, value)`, indices ascending. The intercept is not among them.
pub(super) struct Design {
    pub terms: Vec<PlacedTerm>,
    pub width: usize,
    /// The mean of each feature over the rows.
    pub means: Vec<f64>,
    /// Every how many-th row of the matrix is read.
    stride: usize,
    entries: Vec<(u32, f64)>,
    ends: Vec<usize>,
}

impl Design {
    /// `None` when it would have more than [`MAX_WEIGHTS`] weights even without bins.
    pub fn of(matrix: &Matrix, kinds: &[ColumnKind]) -> Option<Self> {
        let place = |bins: usize| {
            let mut width = 0;
            let mut terms = Vec::new();
            for (column, kind) in kinds.iter().enumerate() {
                let Some(shape) = shape_of(matrix.column(column), *kind, bins) else { continue };
                terms.push(PlacedTerm { column, first: width, shape });
                width += terms.last().map_or(0, |t| t.shape.width());
            }
            (width <= MAX_WEIGHTS).then_some((terms, width))
        };
        let (terms, width) = place(BINS).or_else(|| place(1))?;
        let stride = matrix.rows.div_ceil(MAX_ROWS).max(1);
        let mut design = Self { terms, width, means: vec![0.0; width], stride, entries: Vec::new(), ends: Vec::new() };
        for row in (0..matrix.rows).step_by(stride) {
            for term in &design.terms {
                let value = matrix.values[term.column * matrix.rows + row];
                term.shape.visit(value, |i, v| design.entries.push(((term.first + i) as u32, v)));
            }
            design.ends.push(design.entries.len());
        }
        let rows = design.ends.len() as f64;
        for &(at, value) in &design.entries {
            design.means[at as usize] += value / rows;
        }
        Some(design)
    }

    /// The labels of the rows that are read.
    pub fn labels(&self, labels: &[f64]) -> Vec<f64> {
        labels.iter().copied().step_by(self.stride).collect()
    }

    pub fn row(&self, row: usize) -> &[(u32, f64)] {
        let start = if row == 0 { 0 } else { self.ends[row - 1] };
        &self.entries[start..self.ends[row]]
    }
}

/// `None` for a column that says nothing: constant where it is not null, and never null.
fn shape_of(values: &[f64], kind: ColumnKind, bins: usize) -> Option<Shape> {
    if let ColumnKind::Ranks(levels) = kind {
        return Some(Shape::Levels { levels });
    }
    let mut present: Vec<f64> = values.iter().copied().filter(|v| !v.is_nan()).collect();
    present.sort_by(f64::total_cmp);
    let last = present.len().checked_sub(1)?;
    let tail = (last as f64 * CLIPPED_TAIL) as usize;
    let (mut low, mut high) = (present[tail], present[last - tail]);
    if low == high {
        (low, high) = (present[0], present[last]);
    }
    if low == high && present.len() == values.len() {
        return None;
    }
    let clipped = present.iter().map(|v| v.clamp(low, high));
    let center = clipped.clone().sum::<f64>() / present.len() as f64;
    let variance = clipped.map(|v| (v - center).powi(2)).sum::<f64>() / present.len() as f64;
    if !variance.is_finite() {
        // Squares beyond the range of floats; the trees still read the column.
        return None;
    }
    let scale = if variance > 0.0 { variance.sqrt() } else { 1.0 };
    let mut cuts = quantile_cuts(present, bins);
    if cuts.len() < 2 {
        // Two values: the slope says all.
        cuts.clear();
    }
    Some(Shape::Continuous { low, high, center, scale, cuts })
}
