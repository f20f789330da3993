//! Boosted trees in a form of our own: small to store, quick to score and to explain, checked when read.
//!
//! Fitting is forust's (see [`fit_trees`]); what it grows is copied into [`Tree`], because its JSON carries every learner
//! setting, and because its TreeSHAP works in single precision, copies its path at each node, and costs the square of the
//! depth where [`shap`] costs one pass.

use serde::{Deserialize, Serialize};

use crate::matrix::Matrix;

mod boosting;
mod shap;

pub use boosting::{Boosted, TreeParameters, fit_trees};
pub use shap::MAX_DEPTH;

/// The `feature` of a leaf.
const LEAF: u32 = u32::MAX;

#[derive(Debug, Clone, Copy, PartialEq)]
struct Node {
    /// Column to compare; [`LEAF`] ends the path.
    feature: u32,
    left: u32,
    right: u32,
    missing_left: bool,
    /// Below goes left.
    threshold: f64,
    /// Share of the node's training weight that went left.
    left_share: f64,
    /// Log-odds that a leaf adds.
    value: f64,
}

impl Node {
    const BLANK: Self =
        Self { feature: LEAF, left: 0, right: 0, missing_left: false, threshold: 0.0, left_share: 0.5, value: 0.0 };

    fn goes_left(&self, row: &[f64]) -> bool {
        let value = row[self.feature as usize];
        if value.is_nan() { self.missing_left } else { value < self.threshold }
    }
}

/// One tree. Children stand after their parents, which the reading side checks: every path ends.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "TreeColumns", into = "TreeColumns")]
pub struct Tree {
    nodes: Vec<Node>,
    /// What the tree adds on average over its training rows.
    expected: f64,
}

/// A sum of trees, in log-odds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Ensemble {
    pub base: f64,
    pub trees: Vec<Tree>,
}

impl Tree {
    fn new(nodes: Vec<Node>) -> Self {
        let expected = expectation(&nodes, 0);
        Self { nodes, expected }
    }

    fn value(&self, row: &[f64]) -> f64 {
        let mut node = &self.nodes[0];
        while node.feature != LEAF {
            node = &self.nodes[if node.goes_left(row) { node.left } else { node.right } as usize];
        }
        node.value
    }
}

fn expectation(nodes: &[Node], at: usize) -> f64 {
    let node = nodes[at];
    if node.feature == LEAF {
        return node.value;
    }
    node.left_share * expectation(nodes, node.left as usize) + (1.0 - node.left_share) * expectation(nodes, node.right as usize)
}

impl Ensemble {
    /// The log-odds of one encoded row.
    pub fn margin(&self, row: &[f64]) -> f64 {
        self.trees.iter().fold(self.base, |sum, tree| sum + tree.value(row))
    }

    /// The log-odds of every row by the first `trees` trees.
    pub fn margins(&self, matrix: &Matrix, trees: usize) -> Vec<f64> {
        let mut row = vec![0.0; matrix.columns];
        let trees = &self.trees[..trees.min(self.trees.len())];
        (0..matrix.rows)
            .map(|i| {
                matrix.read_row(i, &mut row);
                trees.iter().fold(self.base, |sum, tree| sum + tree.value(&row))
            })
            .collect()
    }

    /// The mean margin over the training weight: what [`Ensemble::add_contributions`] measures from.
    pub fn expected(&self) -> f64 {
        self.trees.iter().fold(self.base, |sum, tree| sum + tree.expected)
    }

    /// Adds each column's Shapley value for `row`, times `scale`. Together with [`Ensemble::expected`] they sum to
    /// [`Ensemble::margin`].
    pub fn add_contributions(&self, row: &[f64], scale: f64, contributions: &mut [f64]) {
        let mut explainer = shap::Explainer::new(row, scale, contributions);
        for tree in &self.trees {
            explainer.explain(tree);
        }
    }

    /// Whether every split reads one of `columns` columns and no path is deeper than can be explained exactly.
    pub(crate) fn fits(&self, columns: usize) -> bool {
        let reads = |node: &Node| node.feature == LEAF || (node.feature as usize) < columns;
        self.trees.iter().all(|tree| tree.nodes.iter().all(reads) && depth(&tree.nodes, 0) <= MAX_DEPTH)
    }
}

fn depth(nodes: &[Node], at: usize) -> usize {
    let node = nodes[at];
    if node.feature == LEAF { 0 } else { 1 + depth(nodes, node.left as usize).max(depth(nodes, node.right as usize)) }
}

/// The stored form: one list for each attribute, much smaller in JSON than a list of nodes.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct TreeColumns {
    /// -1 for a leaf.
    feature: Vec<i64>,
    left: Vec<u32>,
    right: Vec<u32>,
    missing_left: Vec<u8>,
    /// A split's threshold, or a leaf's value.
    value: Vec<f64>,
    left_share: Vec<f64>,
}

impl From<Tree> for TreeColumns {
    fn from(tree: Tree) -> Self {
        let nodes = &tree.nodes;
        let is_leaf = |n: &Node| n.feature == LEAF;
        Self {
            feature: nodes.iter().map(|n| if is_leaf(n) { -1 } else { i64::from(n.feature) }).collect(),
            left: nodes.iter().map(|n| n.left).collect(),
            right: nodes.iter().map(|n| n.right).collect(),
            missing_left: nodes.iter().map(|n| u8::from(n.missing_left)).collect(),
            value: nodes.iter().map(|n| if is_leaf(n) { n.value } else { n.threshold }).collect(),
            left_share: nodes.iter().map(|n| n.left_share).collect(),
        }
    }
}

impl TryFrom<TreeColumns> for Tree {
    type Error = &'static str;

    fn try_from(c: TreeColumns) -> Result<Self, Self::Error> {
        let n = c.feature.len();
        let lengths = [c.left.len(), c.right.len(), c.missing_left.len(), c.value.len(), c.left_share.len()];
        if n == 0 || lengths.iter().any(|&length| length != n) {
            return Err("a tree's lists differ in length");
        }
        let node = |i: usize| {
            if c.feature[i] < 0 {
                return Ok(Node { value: c.value[i], ..Node::BLANK });
            }
            let is_after = |child: u32| (i + 1..n).contains(&(child as usize));
            if !is_after(c.left[i]) || !is_after(c.right[i]) {
                return Err("a tree's child does not stand after its parent");
            }
            if c.left_share[i] <= 0.0 || c.left_share[i] >= 1.0 {
                return Err("a tree's share of weight is not between 0 and 1");
            }
            Ok(Node {
                feature: u32::try_from(c.feature[i]).map_err(|_| "a tree's column is out of range")?,
                left: c.left[i],
                right: c.right[i],
                missing_left: c.missing_left[i] == 1,
                threshold: c.value[i],
                left_share: c.left_share[i],
                value: 0.0,
            })
        };
        let nodes = (0..n).map(node).collect::<Result<Vec<_>, _>>()?;
        // Before the expectation recurses: a chain of nodes could be as long as the list.
        let mut depths = vec![0_usize; n];
        for (i, node) in nodes.iter().enumerate().filter(|(_, node)| node.feature != LEAF) {
            for child in [node.left, node.right] {
                depths[child as usize] = depths[child as usize].max(depths[i] + 1);
            }
        }
        if depths.iter().any(|&d| d > MAX_DEPTH) {
            return Err("a tree is deeper than can be explained exactly");
        }
        Ok(Self::new(nodes))
    }
}
