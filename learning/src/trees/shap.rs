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

type Lanes = [f64; 4];

/// A column's part in the current path: followed (`o`) and share of weight (`z`), over all its edges so far.
#[derive(Clone, Copy)]
struct Edge {
    followed: f64,
    share: f64,
}

impl Edge {
    /// Not on the path: its factor is 1 for every t.
    const ABSENT: Self = Self { followed: 1.0, share: 1.0 };

    fn factor(self) -> Lanes {
        let slope = self.followed - self.share;
        T.map(|t| self.share + t * slope)
    }
}

pub(super) struct Explainer<'a> {
    row: &'a [f64],
    scale: f64,
    contributions: &'a mut [f64],
    path: Vec<Edge>,
}

impl<'a> Explainer<'a> {
    pub fn new(row: &'a [f64], scale: f64, contributions: &'a mut [f64]) -> Self {
        Self { row, scale, contributions, path: vec![Edge::ABSENT; row.len()] }
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
        let recurs = above.share != 1.0;
        let goes_left = node.goes_left(self.row);
        let above_inverse = if recurs { above.factor().map(|f| 1.0 / f) } else { [1.0; 4] };
        let mut sum = [0.0; 4];
        let mut contribution = 0.0;
        let sides = [(node.left, node.left_share, goes_left), (node.right, 1.0 - node.left_share, !goes_left)];
        for (child, share, followed) in sides {
            let edge = Edge { followed: if followed { above.followed } else { 0.0 }, share: above.share * share };
            let factor = edge.factor();
            let mut below = product;
            for k in 0..4 {
                below[k] *= above_inverse[k] * factor[k];
            }
            self.path[column] = edge;
            let leaves = self.descend(nodes, child as usize, below);
            let mut part = 0.0;
            for k in 0..4 {
                part += W[k] * leaves[k] / factor[k];
                sum[k] += leaves[k];
            }
            contribution += (edge.followed - edge.share) * part;
        }
        self.path[column] = above;
        if recurs {
            let part: f64 = (0..4).map(|k| W[k] * sum[k] * above_inverse[k]).sum();
            contribution -= (above.followed - above.share) * part;
        }
        self.contributions[column] += contribution;
        sum
    }
}
