//! How fields and scores were distributed when the model was trained, for later drift checks.

use leadline_domain::value::Field;
use serde::{Deserialize, Serialize};

use crate::encoder::{Encoder, is_text};
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
    /// The most frequent levels, and how many rows have another.
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

    fn of_levels(codes: &[u32], levels: &[Box<str>], rows: &[u32]) -> Self {
        let mut counts: Vec<(usize, u64)> = (0..levels.len()).map(|code| (code, 0)).collect();
        for &row in rows {
            if let Some(count) = counts.get_mut(codes[row as usize] as usize) {
                count.1 += 1;
            }
        }
        counts.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(&b.0)));
        let others = counts.iter().skip(NAMED_LEVELS).map(|(_, count)| count).sum();
        let named = counts.into_iter().take(NAMED_LEVELS).filter(|(_, count)| *count > 0);
        Self::Levels { levels: named.map(|(code, count)| (levels[code].clone(), count)).collect(), others }
    }
}

impl FieldReference {
    fn of(frame: &Frame, column: usize, field: &Field, rows: &[u32]) -> Self {
        let number = |&row: &u32| frame.cell(column, row as usize).number();
        let is_null = |row: &&u32| frame.cell(column, **row as usize) == Cell::Null;
        let distribution = match frame.levels(column).filter(|_| is_text(field.field_type)) {
            Some((codes, levels)) => Distribution::of_levels(codes, levels, rows),
            None => Distribution::of_numbers(&rows.iter().filter_map(number).collect::<Vec<_>>()),
        };
        let nulls = rows.iter().filter(is_null).count() as u64;
        Self { field: field.name.clone(), rows: rows.len() as u64, nulls, distribution }
    }
}

impl Reference {
    /// # Errors
    /// [`LearningError::SchemaMismatch`] when `frame` is not the one that `encoder` was fitted on.
    pub fn of(frame: &Frame, encoder: &Encoder, rows: &[u32], probabilities: &[f64]) -> Result<Self, LearningError> {
        let field =
            |f: &crate::encoder::FieldEncoder| Ok(FieldReference::of(frame, f.column_in(frame.schema())?, &f.field, rows));
        let fields = encoder.fields.iter().map(field).collect::<Result<Vec<_>, LearningError>>()?;
        Ok(Self { fields, score: Distribution::of_numbers(probabilities) })
    }
}
