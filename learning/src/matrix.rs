//! A dense matrix by columns, the form in which trees and linear models read their input.

/// `rows` x `columns` values, column after column. NaN is missing.
#[derive(Debug, Clone, PartialEq)]
pub struct Matrix {
    pub values: Vec<f64>,
    pub rows: usize,
    pub columns: usize,
}

impl Matrix {
    pub fn zeroed(rows: usize, columns: usize) -> Self {
        Self { values: vec![0.0; rows * columns], rows, columns }
    }

    pub fn column(&self, column: usize) -> &[f64] {
        &self.values[column * self.rows..(column + 1) * self.rows]
    }

    pub(crate) fn column_mut(&mut self, column: usize) -> &mut [f64] {
        &mut self.values[column * self.rows..(column + 1) * self.rows]
    }

    /// Copies row `row` into `into`, which has one place for each column.
    pub fn read_row(&self, row: usize, into: &mut [f64]) {
        for (column, value) in into.iter_mut().enumerate() {
            *value = self.values[column * self.rows + row];
        }
    }
}
