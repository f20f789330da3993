//! Fitting boosted trees with forust.

use forust_ml::GradientBooster;
use forust_ml::data::Matrix as ForustMatrix;
use forust_ml::errors::ForustError;
use forust_ml::gradientbooster::GrowPolicy;
use forust_ml::metric::Metric;
use forust_ml::objective::ObjectiveType;
use forust_ml::sampler::SampleMethod;
use serde::{Deserialize, Serialize};

use super::{Ensemble, LEAF, Node, Tree};
use crate::error::LearningError;
use crate::matrix::Matrix;

/// Histogram bins of each column.
const BINS: u16 = 256;

/// One point of the search space.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct TreeParameters {
    pub trees: usize,
    pub learning_rate: f32,
    /// At most [`super::MAX_DEPTH`].
    pub max_depth: usize,
    pub max_leaves: usize,
    /// Least sum of second derivatives in a leaf; about a quarter of the rows that it needs at even odds.
    pub min_leaf_weight: f32,
    pub l2: f32,
    /// Shares of rows and of columns that each tree sees.
    pub row_sample: f32,
    pub column_sample: f64,
}

/// What fitting gives.
pub struct Boosted {
    pub ensemble: Ensemble,
    /// Log loss on the validation rows after each tree; empty without them.
    pub validation_loss: Vec<f64>,
}

/// Fits trees to log-odds of `labels`, on one thread: the search runs many fits side by side, and one that does not share
/// its sums among threads cannot depend on their number.
///
/// With `validation`, fitting stops when its log loss has not fallen for `patience` trees.
///
/// # Errors
/// [`LearningError::Trees`] when forust refuses the data or the parameters.
pub fn fit_trees(
    parameters: &TreeParameters,
    seed: u64,
    matrix: &Matrix,
    labels: &[f64],
    validation: Option<(&Matrix, &[f64], usize)>,
) -> Result<Boosted, LearningError> {
    // forust rounds the number of columns down, and a tree of none learns nothing.
    let column_sample = if matrix.columns as f64 * parameters.column_sample < 2.0 { 1.0 } else { parameters.column_sample };
    let refused = |e: ForustError| LearningError::Trees { reason: e.to_string() };
    let mut booster = GradientBooster::default()
        .set_objective_type(ObjectiveType::LogLoss)
        .set_iterations(parameters.trees)
        .set_learning_rate(parameters.learning_rate)
        .set_max_depth(parameters.max_depth.min(super::MAX_DEPTH))
        .set_max_leaves(parameters.max_leaves)
        .set_min_leaf_weight(parameters.min_leaf_weight)
        .set_l2(parameters.l2)
        .set_nbins(BINS)
        .set_subsample(parameters.row_sample)
        .set_sample_method(if parameters.row_sample < 1.0 { SampleMethod::Random } else { SampleMethod::None })
        .set_colsample_bytree(column_sample)
        .set_initialize_base_score(true)
        .set_seed(seed)
        .set_parallel(false)
        .set_tiled_histograms(true)
        .set_evaluation_metric(Some(Metric::LogLoss))
        .set_early_stopping_rounds(validation.map(|(_, _, patience)| patience));
    booster.grow_policy = GrowPolicy::LossGuide;
    let data = ForustMatrix::new(&matrix.values, matrix.rows, matrix.columns);
    let weights = vec![1.0; matrix.rows];
    let validation_weights = vec![1.0; validation.map_or(0, |(m, ..)| m.rows)];
    let evaluation = validation
        .map(|(m, labels, _)| vec![(ForustMatrix::new(&m.values, m.rows, m.columns), labels, validation_weights.as_slice())]);
    booster.fit(&data, labels, &weights, evaluation).map_err(refused)?;
    let validation_loss = booster.evaluation_history.as_ref().map(|h| h.data.clone()).unwrap_or_default();
    let has_missing: Vec<bool> = (0..matrix.columns).map(|c| matrix.column(c).iter().any(|v| v.is_nan())).collect();
    let trees = booster.trees.iter().map(|tree| copy_tree(tree, &has_missing)).collect();
    Ok(Boosted { ensemble: Ensemble { base: booster.base_score, trees }, validation_loss })
}

/// The share of weight is kept inside (0, 1), where the explanation divides by it. A column without missing values has taught
/// nothing about them, and forust sends them to the right, as if they were large: they go where most rows went.
fn copy_tree(tree: &forust_ml::tree::Tree, has_missing: &[bool]) -> Tree {
    const MARGIN: f64 = 1e-6;
    let left_share = |left: usize, right: usize| {
        let (left, right) = (f64::from(tree.nodes[left].hessian_sum), f64::from(tree.nodes[right].hessian_sum));
        (left / (left + right)).clamp(MARGIN, 1.0 - MARGIN)
    };
    let nodes = tree.nodes.iter().map(|n| {
        if n.is_leaf {
            return Node { feature: LEAF, value: f64::from(n.weight_value), ..Node::BLANK };
        }
        let left_share = left_share(n.left_child, n.right_child);
        let missing_left = if has_missing[n.split_feature] { n.missing_node == n.left_child } else { left_share >= 0.5 };
        Node {
            feature: n.split_feature as u32,
            left: n.left_child as u32,
            right: n.right_child as u32,
            missing_left,
            threshold: n.split_value,
            left_share,
            value: 0.0,
        }
    });
    Tree::new(nodes.collect())
}
