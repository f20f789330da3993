//! A symmetric positive definite system, solved by Cholesky's factorisation (Golub, Van Loan, 4th ed., section 4.2).

/// Solves `matrix * x = vector`. `matrix` holds n x n values row by row, of which the lower triangle is read. `None` when it
/// is not positive definite.
pub(super) fn solve(mut matrix: Vec<f64>, mut vector: Vec<f64>) -> Option<Vec<f64>> {
    let n = vector.len();
    for i in 0..n {
        let (above, line) = matrix.split_at_mut(i * n);
        for j in 0..i {
            let other = &above[j * n..j * n + n];
            let dot: f64 = line[..j].iter().zip(&other[..j]).map(|(a, b)| a * b).sum();
            line[j] = (line[j] - dot) / other[j];
        }
        let dot: f64 = line[..i].iter().map(|a| a * a).sum();
        let pivot = line[i] - dot;
        if pivot.is_nan() || pivot <= 0.0 {
            return None;
        }
        line[i] = pivot.sqrt();
    }
    for i in 0..n {
        let dot: f64 = (0..i).map(|j| matrix[i * n + j] * vector[j]).sum();
        vector[i] = (vector[i] - dot) / matrix[i * n + i];
    }
    for i in (0..n).rev() {
        let dot: f64 = (i + 1..n).map(|j| matrix[j * n + i] * vector[j]).sum();
        vector[i] = (vector[i] - dot) / matrix[i * n + i];
    }
    Some(vector)
}
