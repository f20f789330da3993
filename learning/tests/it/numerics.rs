//! The numerical parts against brute force and against known answers.

use leadline_learning::calibration::Calibrator;
use leadline_learning::encoder::ColumnKind;
use leadline_learning::logistic::Logistic;
use leadline_learning::matrix::Matrix;
use leadline_learning::metrics::{
    Confusion, auc, auc_difference, auc_with_interval, best_f1_threshold, bootstrap_intervals, curves, log_loss, sigmoid,
};
use leadline_learning::population::fnv1a64;
use leadline_learning::trees::{Ensemble, TreeParameters, fit_trees};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

const DEEP: TreeParameters = TreeParameters {
    trees: 12,
    learning_rate: 0.3,
    max_depth: 8,
    max_leaves: 40,
    min_leaf_weight: 1.0,
    l2: 1.0,
    row_sample: 0.8,
    column_sample: 1.0,
};

/// At least five columns, the first with interactions and missing values; the outcome follows from them with noise.
fn sample(rows: usize, columns: usize, seed: u64) -> (Matrix, Vec<f64>) {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut matrix = Matrix { values: Vec::new(), rows, columns };
    matrix.values = (0..rows * columns).map(|_| rng.random_range(-2.0..2.0)).collect();
    let labels = (0..rows)
        .map(|i| {
            let at = |column: usize| matrix.values[column * rows + i];
            let others: f64 = (5..columns).map(|column| 0.7 * at(column)).product();
            let odds = 1.5 * at(0) * at(1) + at(2) - 0.5 * at(3).abs() + if columns > 5 { others } else { 0.0 };
            f64::from(u8::from(rng.random_range(0.0..1.0) < sigmoid(odds)))
        })
        .collect();
    for value in matrix.values.iter_mut().filter(|v| **v > 1.8) {
        *value = f64::NAN;
    }
    (matrix, labels)
}

/// The stored form of a tree, walked in the slowest and plainest way.
struct PlainTree(serde_json::Value);

impl PlainTree {
    /// The mean over the training weight of the leaves that `row` may reach when only `known` columns are known.
    fn expect(&self, row: &[f64], known: u32, node: usize) -> f64 {
        let number = |list: &str| self.0[list][node].as_f64().unwrap();
        if number("feature") < 0.0 {
            return number("value");
        }
        let column = number("feature") as usize;
        let (left, right) = (number("left") as usize, number("right") as usize);
        if known >> column & 1 == 0 {
            let share = number("left_share");
            return share * self.expect(row, known, left) + (1.0 - share) * self.expect(row, known, right);
        }
        let value = row[column];
        let goes_left = if value.is_nan() { number("missing_left") == 1.0 } else { value < number("value") };
        self.expect(row, known, if goes_left { left } else { right })
    }
}

/// The columns on the path with the most different ones.
fn most_columns(tree: &PlainTree, node: usize, above: u32) -> u32 {
    let number = |list: &str| tree.0[list][node].as_f64().unwrap();
    if number("feature") < 0.0 {
        return above.count_ones();
    }
    let path = above | 1 << number("feature") as u32;
    ["left", "right"].map(|side| most_columns(tree, number(side) as usize, path)).into_iter().max().unwrap()
}

/// Shapley values by their definition, over all coalitions of columns.
fn brute_force(trees: &[PlainTree], row: &[f64]) -> Vec<f64> {
    let columns = row.len() as u32;
    let game: Vec<f64> = (0..1 << columns).map(|known| trees.iter().map(|tree| tree.expect(row, known, 0)).sum()).collect();
    let factorial = |n: u32| (1..=n).map(f64::from).product::<f64>();
    let weight = |size: u32| factorial(size) * factorial(columns - 1 - size) / factorial(columns);
    let value = |column: u32| -> f64 {
        let without = (0..1_u32 << columns).filter(|s| s >> column & 1 == 0);
        without.map(|s| weight(s.count_ones()) * (game[(s | 1 << column) as usize] - game[s as usize])).sum()
    };
    (0..columns).map(value).collect()
}

#[test]
fn tree_contributions_are_the_shapley_values() {
    for (columns, rows) in [(5, 60), (8, 20)] {
        let (matrix, labels) = sample(1_500, columns, 51);
        let ensemble = fit_trees(&DEEP, 7, &matrix, &labels, None).unwrap().ensemble;
        let plain: Vec<PlainTree> = ensemble.trees.iter().map(|t| PlainTree(serde_json::to_value(t).unwrap())).collect();
        let widest = plain.iter().map(|tree| most_columns(tree, 0, 0)).max().unwrap();
        assert!(widest as usize >= columns.min(7), "paths of {widest} columns: the quadrature is asked for little");
        let mut row = vec![0.0; columns];
        for i in 0..rows {
            matrix.read_row(i, &mut row);
            let mut found = vec![0.0; columns];
            ensemble.add_contributions(&row, 1.0, &mut found);
            for (column, (found, wanted)) in found.iter().zip(brute_force(&plain, &row)).enumerate() {
                assert!((found - wanted).abs() < 1e-10, "row {i} column {column}: {found} against {wanted}");
            }
            let sum = ensemble.expected() + found.iter().sum::<f64>();
            assert!((sum - ensemble.margin(&row)).abs() < 1e-10);
        }
    }
}

#[test]
fn a_value_missing_where_none_was_in_training_goes_where_most_rows_went() {
    let rows = 1_000;
    // A tenth of the rows lies high, and is positive.
    let values: Vec<f64> = (0..rows).map(|i| i as f64).collect();
    let labels: Vec<f64> = (0..rows).map(|i| f64::from(u8::from(i >= 900))).collect();
    let matrix = Matrix { values, rows, columns: 1 };
    let ensemble = fit_trees(&TreeParameters { row_sample: 1.0, ..DEEP }, 7, &matrix, &labels, None).unwrap().ensemble;
    let (missing, low, high) = (ensemble.margin(&[f64::NAN]), ensemble.margin(&[100.0]), ensemble.margin(&[990.0]));
    assert!((missing - low).abs() < 0.5 && high - low > 3.0, "{missing} is {low}, not {high}");
}

#[test]
fn copied_trees_predict_what_the_learner_predicted() {
    let ((matrix, labels), (other, other_labels)) = (sample(1_500, 5, 52), sample(700, 5, 53));
    let boosted = fit_trees(&DEEP, 7, &matrix, &labels, Some((&other, &other_labels, 100))).unwrap();
    assert_eq!(boosted.validation_loss.len(), boosted.ensemble.trees.len());
    for (i, learner) in boosted.validation_loss.iter().enumerate() {
        let margins = boosted.ensemble.margins(&other, i + 1);
        let copied = log_loss(&margins.into_iter().map(sigmoid).collect::<Vec<_>>(), &other_labels);
        assert!((copied - learner).abs() < 1e-6, "after {} trees: {copied} against {learner}", i + 1);
    }
    let json = serde_json::to_string(&boosted.ensemble).unwrap();
    assert_eq!(serde_json::from_str::<Ensemble>(&json).unwrap(), boosted.ensemble);
}

#[test]
fn logistic_regression_finds_the_process_and_shrinks_under_its_penalty() {
    let rows = 20_000;
    let mut rng = ChaCha8Rng::seed_from_u64(54);
    let mut matrix = Matrix::zeroed(rows, 3);
    let mut labels = Vec::new();
    for i in 0..rows {
        let (x, level): (f64, usize) = (rng.random_range(-1.0..1.0), rng.random_range(0..3));
        let missing = rng.random_range(0.0..1.0) < 0.1;
        matrix.values[i] = x;
        matrix.values[rows + i] = level as f64;
        matrix.values[2 * rows + i] = if missing { f64::NAN } else { 1.0 };
        let odds = 0.5 + 1.5 * x + [-1.0, 0.0, 1.0][level] - if missing { 2.0 } else { 0.0 };
        labels.push(f64::from(u8::from(rng.random_range(0.0..1.0) < sigmoid(odds))));
    }
    let kinds = [ColumnKind::Continuous, ColumnKind::Ranks(3), ColumnKind::Continuous];
    let model = Logistic::fit(&matrix, &kinds, &labels, 1.0).unwrap();
    for (row, wanted) in [([0.5, 2.0, 1.0], 2.25), ([-0.5, 0.0, 1.0], -1.25), ([0.0, 1.0, f64::NAN], -1.5)] {
        let found = model.margin(&row);
        assert!((found - wanted).abs() < 0.3, "{row:?}: {found} against {wanted}");
        let mut contributions = vec![0.0; 3];
        model.add_contributions(&row, 1.0, &mut contributions);
        assert!((model.expected() + contributions.iter().sum::<f64>() - found).abs() < 1e-9);
    }
    let mean = model.margins(&matrix).iter().map(|&m| sigmoid(m)).sum::<f64>() / rows as f64;
    let base = labels.iter().sum::<f64>() / rows as f64;
    assert!((mean - base).abs() < 1e-6, "an unpenalised intercept predicts the base rate on average: {mean} against {base}");
    let flat = Logistic::fit(&matrix, &kinds, &labels, 1e9).unwrap();
    assert!((flat.margin(&[0.9, 0.0, 1.0]) - (base / (1.0 - base)).ln()).abs() < 1e-3);
    let separable: Vec<f64> = matrix.column(0).iter().map(|&x| f64::from(u8::from(x > 0.0))).collect();
    let steep = Logistic::fit(&matrix, &kinds, &separable, 1.0).unwrap();
    assert!(steep.margin(&[0.5, 0.0, 1.0]).is_finite() && steep.margin(&[0.5, 0.0, 1.0]) > 2.0);
}

#[test]
fn auc_and_its_interval_agree_with_their_definitions() {
    let scores = [0.1, 0.4, 0.35, 0.8, 0.4, 0.7, 0.2, 0.4];
    let labels = [0.0, 0.0, 1.0, 1.0, 1.0, 0.0, 0.0, 1.0];
    let wins = |p: f64, n: f64| {
        if p > n {
            1.0
        } else if p == n {
            0.5
        } else {
            0.0
        }
    };
    let part = |wanted: f64| scores.iter().zip(labels).filter(move |(_, y)| *y == wanted).map(|(s, _)| *s).collect::<Vec<f64>>();
    let (pos, neg) = (part(1.0), part(0.0));
    let v10: Vec<f64> = pos.iter().map(|&p| neg.iter().map(|&n| wins(p, n)).sum::<f64>() / 4.0).collect();
    let v01: Vec<f64> = neg.iter().map(|&n| pos.iter().map(|&p| wins(p, n)).sum::<f64>() / 4.0).collect();
    let mean = v10.iter().sum::<f64>() / 4.0;
    assert!((auc(&scores, &labels) - mean).abs() < 1e-12);
    let variance = |v: &[f64]| v.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / 3.0 / 4.0;
    let half = 1.959_963_984_540_054 * (variance(&v10) + variance(&v01)).sqrt() / (mean * (1.0 - mean));
    let interval = auc_with_interval(&scores, &labels);
    assert!((interval.lower - sigmoid((mean / (1.0 - mean)).ln() - half)).abs() < 1e-12, "{interval:?}");
    let same = auc_difference(&scores, &scores, &labels).difference;
    assert_eq!((same.value, same.lower, same.upper), (0.0, 0.0, 0.0));
    let orders = |positive: fn(usize) -> bool| {
        let labels: Vec<f64> = (0..100).map(|i| f64::from(u8::from(positive(i)))).collect();
        auc_with_interval(&(0..100).map(|i| i as f64).collect::<Vec<_>>(), &labels)
    };
    let (all, none) = (orders(|i| i >= 70), orders(|i| i < 70));
    assert!(all.lower > 0.88 && all.lower < 0.89 && all.upper == 1.0, "thirty of thirty: 0.025^(1/30), {all:?}");
    assert!((none.upper - (1.0 - all.lower)).abs() < 1e-12 && none.lower == 0.0, "{none:?}");
    assert_eq!(auc(&[0.3, 0.3], &[1.0, 0.0]), 0.5);
    assert_eq!(auc(&[0.3, 0.4], &[1.0, 1.0]), 0.5, "without a negative there is nothing to order");
}

#[test]
fn curves_threshold_and_bootstrap_are_those_of_a_small_example() {
    // Ranked: positive, negative, positive, negative, negative, ... ten rows, two positives.
    let scores = [0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.15, 0.1];
    let labels = [1.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0];
    let found = curves(&scores, &scores, &labels);
    let gain = |depth: f64| *found.gains.iter().find(|g| g.depth == depth).unwrap();
    assert_eq!((gain(0.1).captured, gain(0.1).lift), (0.5, 5.0));
    assert_eq!(gain(0.3).captured, 1.0);
    assert_eq!(found.roc.last().map(|p| (p.x, p.y)), Some((1.0, 1.0)));
    let metrics = bootstrap_intervals(&scores, &scores, &labels);
    assert!((metrics.average_precision.value - (1.0 + 2.0 / 3.0) / 2.0).abs() < 1e-12);
    assert_eq!(metrics.lift_10.value, 5.0);
    assert_eq!(bootstrap_intervals(&scores, &scores, &labels), metrics, "the seed is fixed");
    let threshold = best_f1_threshold(&scores, &labels);
    let confusion = Confusion::at(threshold, &scores, &labels);
    assert_eq!((threshold, confusion.true_positives, confusion.false_positives, confusion.false_negatives), (0.7, 2, 1, 0));
    assert_eq!(confusion.f1(), 0.8);
}

#[test]
fn the_calibrator_that_fits_the_distortion_is_chosen_and_never_reverses_an_order() {
    let mut rng = ChaCha8Rng::seed_from_u64(55);
    let margins: Vec<f64> = (0..6_000).map(|_| rng.random_range(-3.0..3.0)).collect();
    let folds: Vec<u8> = (0..6_000).map(|i| (i % 5) as u8).collect();
    let mut labelled = |truth: fn(f64) -> f64| -> Vec<f64> {
        margins.iter().map(|&m| f64::from(u8::from(rng.random_range(0.0..1.0) < truth(m)))).collect()
    };
    let overconfident = Calibrator::fit(&margins, &labelled(|m| sigmoid(0.5 * m - 1.0)), &folds).calibrator;
    let Calibrator::Platt { slope, intercept } = overconfident else { panic!("a sigmoid asks for Platt: {overconfident:?}") };
    assert!((slope - 0.5).abs() < 0.1 && (intercept + 1.0).abs() < 0.1, "{slope} {intercept}");
    let stepped = Calibrator::fit(&margins, &labelled(|m| if m < 0.0 { 0.1 } else { 0.4 }), &folds).calibrator;
    assert_eq!(stepped.name(), "isotonic");
    let grid: Vec<f64> = (-400..=400).map(|i| stepped.probability(f64::from(i) / 100.0)).collect();
    assert!(grid.windows(2).all(|w| w[0] <= w[1]), "non-decreasing");
    assert!(grid.iter().all(|p| (0.0..1.0).contains(p) && *p > 0.0), "never certain");
    assert!((stepped.probability(-1.5) - 0.1).abs() < 0.03 && (stepped.probability(1.5) - 0.4).abs() < 0.05);
}

#[test]
fn the_record_split_is_the_documented_hash() {
    assert_eq!(fnv1a64(b""), 0xcbf2_9ce4_8422_2325);
    assert_eq!(fnv1a64(b"a"), 0xaf63_dc4c_8601_ec8c);
    assert_eq!(fnv1a64(b"foobar"), 0x8594_4171_f739_67e8);
}
