//! What a budget pays for.
//!
//! The unit is one row seen by one tree: it is what time is proportional to, and unlike time it is the same on every
//! machine, so the budget decides what is tried and the result stays repeatable. A core does about 15 million tree rows a
//! second. The default pays for everything up to about a million rows, and for a smaller search up to two; few rows need
//! far less than it allows.

use serde::{Deserialize, Serialize};
use std::fmt;

use super::{FINALISTS, FIRST_FOLDS};
use crate::error::LearningError;
use crate::population::FOLDS;
use crate::trees::TreeParameters;

/// Fewer rows than this are never searched on, unless there are no more.
const MIN_SEARCH_ROWS: usize = 20_000;
/// More rows than this make a choice no better, and five folds of them would fill the memory.
const MAX_SEARCH_ROWS: usize = 100_000;

/// An upper bound on trials x trees x rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Budget {
    pub tree_rows: u64,
}

impl Default for Budget {
    fn default() -> Self {
        Self { tree_rows: 1_500_000_000 }
    }
}

/// What is tried, on how many rows.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// In the order in which a smaller budget drops them from the end.
    pub candidates: Vec<TreeParameters>,
    /// Rows that the search sees; the chosen model is fitted on all.
    pub search_rows: usize,
}

const BASE: TreeParameters = TreeParameters {
    trees: 400,
    learning_rate: 0.05,
    max_depth: 4,
    max_leaves: 8,
    min_leaf_weight: 5.0,
    l2: 5.0,
    row_sample: 0.8,
    column_sample: 0.6,
};

/// From rich trees for many rows to small, slow ones for few: a budget runs short on many rows.
const SPACE: [TreeParameters; 5] = [
    TreeParameters { max_depth: 8, max_leaves: 31, min_leaf_weight: 10.0, ..BASE },
    TreeParameters { learning_rate: 0.08, max_depth: 8, max_leaves: 48, min_leaf_weight: 10.0, ..BASE },
    TreeParameters { learning_rate: 0.08, max_depth: 6, max_leaves: 16, ..BASE },
    BASE,
    TreeParameters { max_depth: 3, max_leaves: 6, row_sample: 0.6, column_sample: 0.4, ..BASE },
];

impl Plan {
    /// Fits the search into `budget` for `rows` training rows: first candidates are dropped, then rows.
    ///
    /// # Errors
    /// [`LearningError::BudgetExceeded`] when not even the smallest search and the fits on all rows are paid for.
    pub fn within(budget: Budget, rows: usize) -> Result<Self, LearningError> {
        let (least, most) = (MIN_SEARCH_ROWS.min(rows), MAX_SEARCH_ROWS.min(rows));
        for candidates in (1..=SPACE.len()).rev() {
            let plan = Self { candidates: SPACE[..candidates].to_vec(), search_rows: most };
            if plan.cost(rows) <= budget.tree_rows {
                return Ok(plan);
            }
        }
        let smallest = |search_rows| Self { candidates: SPACE[..1].to_vec(), search_rows };
        let needed = smallest(least).cost(rows);
        if needed > budget.tree_rows {
            return Err(LearningError::BudgetExceeded { needed, allowed: budget.tree_rows });
        }
        let per_row = smallest(1).search_cost().max(1);
        let left = budget.tree_rows - smallest(0).cost(rows);
        Ok(smallest(((left / per_row) as usize).clamp(least, most)))
    }

    /// Tree rows of the search, the final fit and the check forward in time, if no fit stops early.
    pub fn cost(&self, rows: usize) -> u64 {
        self.search_cost() + 2 * BASE.trees as u64 * rows as u64
    }

    fn search_cost(&self) -> u64 {
        // A fit sees all folds but its own.
        let fit_rows = (self.search_rows as u64 * u64::from(FOLDS - 1)).div_ceil(u64::from(FOLDS));
        self.tree_fits() * BASE.trees as u64 * fit_rows
    }

    fn tree_fits(&self) -> u64 {
        let candidates = self.candidates.len();
        (candidates * usize::from(FIRST_FOLDS) + candidates.min(FINALISTS) * usize::from(FOLDS - FIRST_FOLDS)) as u64
    }

    /// Fits in all, those of the linear model included.
    pub fn fits(&self) -> u64 {
        self.tree_fits() + u64::from(FOLDS)
    }
}

impl fmt::Display for TreeParameters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} trees, rate {}, depth {}, {} leaves, leaf weight {}, l2 {}, rows {}, columns {}",
            self.trees,
            self.learning_rate,
            self.max_depth,
            self.max_leaves,
            self.min_leaf_weight,
            self.l2,
            self.row_sample,
            self.column_sample
        )
    }
}
