//! Shapley values of a tree's columns, exactly, in one walk with four numbers at each node.
//!
//! The game is TreeSHAP's (Lundberg et al., 2020, "path-dependent"): a column outside the coalition sends a row down both
//! sides in proportion to the training weight. A leaf's part in that game is a product over the distinct columns on its
//! path, with factor `o` (the row follows this path: 1 or 0) when the column is in the coalition and `z` (share of weight)
//! when not. The Shapley value is the integral over t in [0, 1] of the partial derivative of the game's multilinear
//! extension along the diagonal (Owen, 1972), hence for column i and one leaf
//!
//! ```text
//! phi_i = leaf * (o_i - z_i) * integral of  product over j != i of (z_j + t (o_j - z_j))  dt
//! ```
//!
//! The integrand is a polynomial of degree at most depth - 1, so Gauss-Legendre quadrature with four nodes is exact up to
//! eight distinct columns on a path: [`MAX_DEPTH`]. Products are carried down and leaf sums up as in Linear TreeShap (Yu et
//! al., NeurIPS 2022); where a column recurs on a path, the part counted for its upper edge is taken back below its lower
//! one. The cost is linear in the number of nodes, and nothing is allocated for a tree.

use super::{LEAF, Node, Tree};

/// The deepest path that is explained exactly.
pub const MAX_DEPTH: usize = 8;

/// Nodes and weights of four-point Gauss-Legendre quadrature on [0, 1].
const T: [f64; 4] = [0.069_431_844_202_973_71, 0.330_009_478_207_571_87, 0.669_990_521_792_428_1, 0.930_568_155_797_026_3];
const W: [f64; 4] = [0.173_927_422_568_726_93, 0.326_072_577_431_273_07, 0.326_072_577_431_273_07, 0.173_927_422_568_726_93];

/// `W / (1 - T)`: what a side that the row does not take contributes, once its share of weight has cancelled out.
const COLD: [f64; 4] = [W[0] / (1.0 - T[0]), W[1] / (1.0 - T[1]), W[2] / (1.0 - T[2]), W[3] / (1.0 - T[3])];

type Lanes = [f64; 4];

/// A column's part in the current path, over all its edges so far.
#[derive(Clone, Copy)]
enum Edge {
    Absent,
    /// The row takes every edge of the column; they hold this share of weight together.
    Followed(f64),
    /// The row leaves the path at one of them. The factor is `z (1 - t)` from there on.
    Left,
}

/// The factor of a followed column that holds `share` of the weight.
fn followed_factor(share: f64) -> Lanes {
    T.map(|t| share + t * (1.0 - share))
}

pub(super) struct Explainer<'a> {
    row: &'a [f64],
    scale: f64,
    contributions: &'a mut [f64],
    path: Vec<Edge>,
}

impl<'a> Explainer<'a> {
    pub fn new(row: &'a [f64], scale: f64, contributions: &'a mut [f64]) -> Self {
        Self { row, scale, contributions, path: vec![Edge::Absent; row.len()] }
    }

    pub fn explain(&mut self, tree: &Tree) {
        self.descend(&tree.nodes, 0, [self.scale; 4]);
    }

    /// Returns the sum over the leaves below `at` of value times product of factors, at the four nodes of the quadrature.
    fn descend(&mut self, nodes: &[Node], at: usize, product: Lanes) -> Lanes {
        let node = &nodes[at];
        if node.feature == LEAF {
            return product.map(|p| p * node.value);
        }
        let column = node.feature as usize;
        let above = self.path[column];
        let (taken, other, share) = if node.goes_left(self.row) {
            (node.left, node.right, node.left_share)
        } else {
            (node.right, node.left, 1.0 - node.left_share)
        };
        if let Edge::Left = above {
            // Both sides keep the factor's shape, so the parts of the column's edges here cancel: only the mean goes on.
            let taken = self.descend(nodes, taken as usize, product.map(|p| p * share));
            let other = self.descend(nodes, other as usize, product.map(|p| p * (1.0 - share)));
            return sum(taken, other);
        }
        let (held, before) = match above {
            Edge::Followed(held) => (held, followed_factor(held).map(|f| 1.0 / f)),
            _ => (1.0, [1.0; 4]),
        };
        let inverse = followed_factor(held * share).map(|f| 1.0 / f);
        let (mut product_taken, mut product_other) = (product, product);
        for k in 0..4 {
            let rest = product[k] * before[k];
            product_taken[k] = rest * (held * share + T[k] * (1.0 - held * share));
            product_other[k] = rest * held * (1.0 - share) * (1.0 - T[k]);
        }
        self.path[column] = Edge::Followed(held * share);
        let taken = self.descend(nodes, taken as usize, product_taken);
        self.path[column] = Edge::Left;
        let other = self.descend(nodes, other as usize, product_other);
        self.path[column] = above;
        let all = sum(taken, other);
        let (mut followed, mut cold, mut upper) = (0.0, 0.0, 0.0);
        for k in 0..4 {
            followed += W[k] * taken[k] * inverse[k];
            cold += COLD[k] * other[k];
            upper += W[k] * all[k] * before[k];
        }
        // `1 - held` is 0 where the column has no edge above.
        self.contributions[column] += (1.0 - held * share) * followed - cold - (1.0 - held) * upper;
        all
    }
}

fn sum(a: Lanes, b: Lanes) -> Lanes {
    [a[0] + b[0], a[1] + b[1], a[2] + b[2], a[3] + b[3]]
}
