//! Intervals by resampling rows (Efron, 1979), with a fixed seed.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::Estimate;
use super::curves::{Ranked, Scalars};

const REPLICATES: usize = 200;
const SEED: u64 = 0x1ead_11e5;

/// The metrics without an analytic interval.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bootstrapped {
    pub average_precision: Estimate,
    pub lift_10: Estimate,
    pub lift_20: Estimate,
    pub calibration_error: Estimate,
}

/// Percentile intervals, shifted by the estimated bias, from [`REPLICATES`] draws with replacement. A replicate counts how often each row is drawn, so no
/// replicate sorts. The shift matters for the calibration error: a replicate adds noise to every bin, and a mean of
/// distances can only grow by it, so that the plain interval may lie wholly above the value. Rows are given in any order; the result depends on that order only through the draws.
pub fn bootstrap_intervals(scores: &[f64], probabilities: &[f64], labels: &[f64]) -> Bootstrapped {
    let ranked = Ranked::new(scores, probabilities, labels);
    let rows = labels.len();
    let found = ranked.scalars(&vec![1.0; rows]);
    let mut rng = ChaCha8Rng::seed_from_u64(SEED);
    let mut weights = vec![0.0; rows];
    let replicates: Vec<Scalars> = (0..REPLICATES)
        .map(|_| {
            weights.fill(0.0);
            (0..rows).for_each(|_| weights[rng.random_range(0..rows)] += 1.0);
            ranked.scalars(&weights)
        })
        .collect();
    let interval = |read: fn(&Scalars) -> f64| {
        let mut values: Vec<f64> = replicates.iter().map(read).collect();
        values.sort_by(f64::total_cmp);
        let value = read(&found);
        let bias = values.iter().sum::<f64>() / REPLICATES as f64 - value;
        let (lower, upper) = (values[REPLICATES / 40], values[REPLICATES - 1 - REPLICATES / 40]);
        Estimate { value, lower: (lower - bias).max(0.0), upper: upper - bias }
    };
    Bootstrapped {
        average_precision: interval(|s| s.average_precision),
        lift_10: interval(|s| s.lift_10),
        lift_20: interval(|s| s.lift_20),
        calibration_error: interval(|s| s.calibration_error),
    }
}
