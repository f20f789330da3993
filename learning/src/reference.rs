//! How fields and scores were distributed when the model was trained, for later drift checks.

use serde::{Deserialize, Serialize};

use crate::encoder::{Encoder, Encoding, FieldEncoder};
use crate::error::LearningError;
use crate::frame::Frame;
use crate::leaks::quantile_cuts;
use crate::record::Cell;

const NUMBER_GROUPS: usize = 10;
/// Levels named one by one; the rest count together.
const NAMED_LEVELS: usize = 30;

/// Distributions over the training part.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Reference {
    pub fields: Vec<FieldReference>,
    /// Of the calibrated out-of-fold probabilities.
    pub score: Distribution,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FieldReference {
    pub field: String,
    pub rows: u64,
    pub nulls: u64,
    pub distribution: Distribution,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Distribution {
    /// `counts[i]` values lie at or above `cuts[i - 1]` and below `cuts[i]`. Booleans are 0 and 1, dates days and instants
    /// milliseconds since 1970-01-01, prose its length.
    Numbers { cuts: Vec<f64>, counts: Vec<u64> },
    /// The most frequent levels, and how many rows have another; of an identifier `empty` and `filled`.
    Levels { levels: Vec<(Box<str>, u64)>, others: u64 },
}

impl Distribution {
    /// Counts `values` between their own quantiles.
    pub fn of_numbers(values: &[f64]) -> Self {
        let cuts = quantile_cuts(values.to_vec(), NUMBER_GROUPS);
        let mut counts = vec![0; cuts.len() + 1];
        values.iter().for_each(|v| counts[cuts.partition_point(|cut| cut <= v)] += 1);
        Self::Numbers { cuts, counts }
    }

    /// Counts the levels that the encoding `knows`; a rarer one may name a single person, and is not stored.
    fn of_levels<'a>(knows: &[Box<str>], cells: impl Iterator<Item = &'a str>) -> Self {
        let mut counts: Vec<(usize, u64)> = (0..knows.len()).map(|level| (level, 0)).collect();
        let mut others = 0;
        for text in cells {
            match knows.binary_search_by(|level| level.as_ref().cmp(text)) {
                Ok(level) => counts[level].1 += 1,
                Err(_) => others += 1,
            }
        }
        counts.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(&b.0)));
        others += counts.iter().skip(NAMED_LEVELS).map(|(_, count)| count).sum::<u64>();
        let named = counts.into_iter().take(NAMED_LEVELS).filter(|(_, count)| *count > 0);
        Self::Levels { levels: named.map(|(level, count)| (knows[level].clone(), count)).collect(), others }
    }
}

impl FieldReference {
    fn of(frame: &Frame, column: usize, encoder: &FieldEncoder, rows: &[u32]) -> Self {
        let cells = || rows.iter().map(|&row| frame.cell(column, row as usize));
        let nulls = cells().filter(|cell| *cell == Cell::Null).count() as u64;
        let distribution = match &encoder.encoding {
            Encoding::Levels { levels, .. } | Encoding::Target { levels, .. } => {
                let text = |cell| if let Cell::Text(text) = cell { Some(text) } else { None };
                Distribution::of_levels(levels, cells().filter_map(text))
            }
            Encoding::Presence => {
                let counts = [("empty", nulls), ("filled", rows.len() as u64 - nulls)];
                Distribution::Levels { levels: counts.map(|(level, count)| (level.into(), count)).to_vec(), others: 0 }
            }
            Encoding::Number
            | Encoding::Boolean
            | Encoding::Day { .. }
            | Encoding::Instant { .. }
            | Encoding::Season
            | Encoding::Length => {
                let number = |cell: Cell<'_>| cell.without_content().number();
                Distribution::of_numbers(&cells().filter_map(number).collect::<Vec<_>>())
            }
        };
        Self { field: encoder.field.name.clone(), rows: rows.len() as u64, nulls, distribution }
    }
}

impl Reference {
    /// # Errors
    /// [`LearningError::SchemaMismatch`] when `frame` is not the one that `encoder` was fitted on.
    pub fn of(frame: &Frame, encoder: &Encoder, rows: &[u32], probabilities: &[f64]) -> Result<Self, LearningError> {
        let field = |f: &FieldEncoder| Ok(FieldReference::of(frame, f.column_in(frame.schema())?, f, rows));
        let fields = encoder.fields.iter().map(field).collect::<Result<Vec<_>, LearningError>>()?;
        Ok(Self { fields, score: Distribution::of_numbers(probabilities) })
    }
}
