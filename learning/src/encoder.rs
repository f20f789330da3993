//! From fields to numbers: one encoder, fitted on the training part, used by training and by every prediction.
//!
//! Each field becomes one to four columns. Nothing is one-hot here: trees split better on few ordered columns, and the
//! linear model expands the same columns by itself (see [`crate::logistic`]), so that both read one encoding and a reason
//! can be traced back to one field.
//!
//! - numbers and booleans stand for themselves; null is NaN, and the learners decide where it goes;
//! - a date becomes days since a reference, month and weekday; an instant also its hour (UTC). The date at which a record
//!   begins (see [`crate::temporal`]) has no day count: every new record would lie beyond all that was learnt, and what a day
//!   count learns there is how long outcomes had time to ripen;
//! - a text with few levels becomes the rank of its level by smoothed target rate (Fisher's ordering, 1958, under which the
//!   best split of an unordered factor is a split of ranks); an unseen level stands where the base rate would;
//! - a text with many levels becomes its smoothed target log-odds, computed out of fold for the training rows (Micci-Barreca,
//!   2001; out of fold as in Prokhorenkova et al., 2018, so that the level's own label is not read back), and the logarithm
//!   of its frequency; an unseen level has the base rate's log-odds and frequency zero;
//! - prose becomes its length;
//! - an identifier (an e-mail address, a telephone number) says only whether it is filled.

use leadline_domain::value::{Field, FieldType, ObjectSchema};
use serde::{Deserialize, Serialize};

use crate::error::LearningError;
use crate::frame::Frame;
use crate::matrix::Matrix;
use crate::record::{Cell, Record, date, length};

mod fit;

pub use fit::{FeatureForm, form_of};

const DAY_MS: i64 = 86_400_000;
const HOUR_MS: i64 = 3_600_000;
const EPOCH_WEEKDAY: i64 = 3; // 1970-01-01 was a Thursday; Monday is 0.

/// How one field becomes columns.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Encoding {
    Number,
    Boolean,
    /// Days since `reference` (itself in days since 1970-01-01), month 1-12, weekday 0-6 from Monday.
    Day {
        reference: i32,
    },
    /// As `Day`, in UTC, with fractions of days, and the hour 0-23. `reference` in days.
    Instant {
        reference: i32,
    },
    /// Month, weekday and hour (NaN for a date) without the day count.
    Season,
    /// `ranks[i]` is the rank of `levels[i]`; `levels` are sorted by their bytes.
    Levels {
        levels: Vec<Box<str>>,
        ranks: Vec<f64>,
        unseen: f64,
    },
    /// Smoothed log-odds and log-frequency of each of the sorted `levels`.
    Target {
        levels: Vec<Box<str>>,
        log_odds: Vec<f64>,
        log_counts: Vec<f64>,
        unseen: f64,
    },
    /// The length of a text in characters.
    Length,
    /// 1 where the field is filled, 0 where it is empty.
    Presence,
}

/// What a column holds, as far as a linear model must know it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ColumnKind {
    Continuous,
    /// Ranks of this many levels; the order has no meaning beyond the target rate that made it.
    Ranks(usize),
}

impl Encoding {
    pub fn width(&self) -> usize {
        match self {
            Self::Number | Self::Boolean | Self::Levels { .. } | Self::Length | Self::Presence => 1,
            Self::Target { .. } => 2,
            Self::Day { .. } | Self::Season => 3,
            Self::Instant { .. } => 4,
        }
    }

    fn kinds(&self) -> Vec<ColumnKind> {
        match self {
            Self::Levels { levels, .. } => vec![ColumnKind::Ranks(levels.len())],
            other => vec![ColumnKind::Continuous; other.width()],
        }
    }

    /// Writes the columns of `cell`. `false` when the cell is not of a kind that this encoding reads.
    fn encode(&self, cell: Cell<'_>, into: &mut [f64]) -> bool {
        match (self, cell) {
            (Self::Presence, cell) => into[0] = f64::from(u8::from(cell != Cell::Null)),
            (Self::Target { unseen, .. }, Cell::Null) => into.copy_from_slice(&[*unseen, f64::NAN]),
            (_, Cell::Null) => into.fill(f64::NAN),
            (Self::Number, Cell::Number(n)) => into[0] = n,
            (Self::Boolean, Cell::Boolean(b)) => into[0] = f64::from(u8::from(b)),
            (Self::Day { reference }, Cell::Day(day)) => {
                into[0] = f64::from(day) - f64::from(*reference);
                write_calendar(i64::from(day), &mut into[1..3]);
            }
            (Self::Instant { reference }, Cell::Instant(ms)) => {
                into[0] = ms as f64 / DAY_MS as f64 - f64::from(*reference);
                write_calendar(ms.div_euclid(DAY_MS), &mut into[1..3]);
                into[3] = hour(ms);
            }
            (Self::Season, Cell::Day(day)) => {
                write_calendar(i64::from(day), &mut into[..2]);
                into[2] = f64::NAN;
            }
            (Self::Season, Cell::Instant(ms)) => {
                write_calendar(ms.div_euclid(DAY_MS), &mut into[..2]);
                into[2] = hour(ms);
            }
            (Self::Levels { levels, ranks, unseen }, Cell::Text(text)) => {
                into[0] = position(levels, text).map_or(*unseen, |i| ranks[i]);
            }
            (Self::Target { levels, log_odds, log_counts, unseen }, Cell::Text(text)) => {
                let columns = position(levels, text).map_or([*unseen, 0.0], |i| [log_odds[i], log_counts[i]]);
                into.copy_from_slice(&columns);
            }
            (Self::Length, Cell::Text(text)) => into[0] = f64::from(length(text)),
            (Self::Length, Cell::Length(length)) => into[0] = f64::from(length),
            // A column of prose that had few and short values when the model was trained.
            (Self::Levels { unseen, .. }, Cell::Length(_)) => into[0] = *unseen,
            (Self::Target { unseen, .. }, Cell::Length(_)) => into.copy_from_slice(&[*unseen, 0.0]),
            _ => return false,
        }
        true
    }
}

fn position(levels: &[Box<str>], text: &str) -> Option<usize> {
    levels.binary_search_by(|level| level.as_ref().cmp(text)).ok()
}

fn hour(ms: i64) -> f64 {
    ms.rem_euclid(DAY_MS).div_euclid(HOUR_MS) as f64
}

fn write_calendar(day: i64, into: &mut [f64]) {
    use chrono::Datelike;
    let month = i32::try_from(day).ok().and_then(date).map_or(f64::NAN, |d| f64::from(d.month()));
    into[0] = month;
    into[1] = (day + EPOCH_WEEKDAY).rem_euclid(7) as f64;
}

/// One field and its encoding.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FieldEncoder {
    pub field: Field,
    pub encoding: Encoding,
}

/// The fitted encoding of a definition's fields, in the order of the schema it was fitted on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Encoder {
    pub fields: Vec<FieldEncoder>,
}

impl Encoder {
    /// Columns in all.
    pub fn width(&self) -> usize {
        self.fields.iter().map(|f| f.encoding.width()).sum()
    }

    /// The kind of each column.
    pub fn kinds(&self) -> Vec<ColumnKind> {
        self.fields.iter().flat_map(|f| f.encoding.kinds()).collect()
    }

    /// The index into `fields` of each column.
    pub fn owners(&self) -> Vec<usize> {
        let owner = |(i, f): (usize, &FieldEncoder)| std::iter::repeat_n(i, f.encoding.width());
        self.fields.iter().enumerate().flat_map(owner).collect()
    }

    /// Encodes one record, [`Encoder::width`] values.
    ///
    /// # Errors
    /// [`LearningError::TypeMismatch`] when a value is not of its field's type.
    pub fn encode(&self, record: &Record) -> Result<Vec<f64>, LearningError> {
        let mut columns = vec![f64::NAN; self.width()];
        let mut start = 0;
        for FieldEncoder { field, encoding } in &self.fields {
            let cell = Cell::from_value(&field.name, field.field_type, record.get(&field.name))?;
            let end = start + encoding.width();
            let accepted = encoding.encode(cell, &mut columns[start..end]);
            debug_assert!(accepted, "an encoding reads every cell of its field's type");
            start = end;
        }
        Ok(columns)
    }

    /// Encodes rows of a frame exactly as [`Encoder::encode`] would encode the same records.
    ///
    /// # Errors
    /// [`LearningError::SchemaMismatch`] when the frame lacks a field or has it as another type.
    pub fn encode_frame(&self, frame: &Frame, rows: &[u32]) -> Result<Matrix, LearningError> {
        let mut matrix = Matrix::zeroed(rows.len(), self.width());
        let mut start = 0;
        for FieldEncoder { field, encoding } in &self.fields {
            let column = column_of(frame.schema(), field)?;
            encode_column(encoding, frame, column, rows, &mut matrix, start);
            start += encoding.width();
        }
        Ok(matrix)
    }

    /// Whether its lists agree in length and can be searched.
    pub(crate) fn is_sound(&self) -> bool {
        let sorted = |levels: &[Box<str>]| levels.windows(2).all(|w| w[0] < w[1]);
        self.fields.iter().all(|f| match &f.encoding {
            Encoding::Levels { levels, ranks, .. } => sorted(levels) && levels.len() == ranks.len(),
            Encoding::Target { levels, log_odds, log_counts, .. } => {
                sorted(levels) && levels.len() == log_odds.len() && levels.len() == log_counts.len()
            }
            _ => true,
        })
    }
}

impl FieldEncoder {
    /// The position of the field in `schema`.
    ///
    /// # Errors
    /// [`LearningError::SchemaMismatch`] when it is not there, or of another type.
    pub fn column_in(&self, schema: &ObjectSchema) -> Result<usize, LearningError> {
        column_of(schema, &self.field)
    }
}

fn column_of(schema: &ObjectSchema, field: &Field) -> Result<usize, LearningError> {
    match schema.position(&field.name) {
        Some(column) if schema.fields[column].field_type == field.field_type => Ok(column),
        found => Err(LearningError::SchemaMismatch {
            object: schema.object.clone(),
            field: field.name.clone(),
            expected: field.field_type,
            found: found.map_or("no such field".to_owned(), |c| format!("{:?}", schema.fields[c].field_type)),
        }),
    }
}

/// Text columns are encoded once for each level, not for each row.
fn encode_column(encoding: &Encoding, frame: &Frame, column: usize, rows: &[u32], matrix: &mut Matrix, start: usize) {
    let width = encoding.width();
    let mut cell = vec![0.0; width];
    if let Some((codes, levels)) = frame.levels(column) {
        let mut table = Vec::with_capacity((levels.len() + 1) * width);
        for level in levels {
            encoding.encode(Cell::Text(level), &mut cell);
            table.extend_from_slice(&cell);
        }
        encoding.encode(Cell::Null, &mut cell);
        table.extend_from_slice(&cell);
        for part in 0..width {
            let into = matrix.column_mut(start + part);
            for (value, &row) in into.iter_mut().zip(rows) {
                let level = (codes[row as usize] as usize).min(levels.len());
                *value = table[level * width + part];
            }
        }
        return;
    }
    for (i, &row) in rows.iter().enumerate() {
        encoding.encode(frame.cell(column, row as usize), &mut cell);
        for (part, &value) in cell.iter().enumerate() {
            matrix.column_mut(start + part)[i] = value;
        }
    }
}

impl Encoding {
    /// In a word, for the model card.
    pub fn describe(&self) -> String {
        match self {
            Self::Number => "number".to_owned(),
            Self::Boolean => "boolean".to_owned(),
            Self::Day { .. } => "date: days, month, weekday".to_owned(),
            Self::Instant { .. } => "instant: days, month, weekday, hour".to_owned(),
            Self::Season => "season: month, weekday, hour".to_owned(),
            Self::Levels { levels, .. } => format!("{} levels, ranked by target rate", levels.len()),
            Self::Target { levels, .. } => format!("{} levels, target rate and frequency", levels.len()),
            Self::Length => "length of the text".to_owned(),
            Self::Presence => "whether it is filled".to_owned(),
        }
    }

    /// A cell as a person reads it, without what this encoding does not look at.
    pub fn display(&self, cell: Cell<'_>) -> String {
        match (self, cell) {
            (Self::Presence, Cell::Null) => "empty".to_owned(),
            (Self::Presence, _) => "filled".to_owned(),
            (Self::Length, cell) => cell.without_content().display(),
            (_, cell) => cell.display(),
        }
    }
}

/// Whether a field of this type can hold text.
pub(crate) fn is_text(field_type: FieldType) -> bool {
    matches!(field_type, FieldType::Text | FieldType::Picklist | FieldType::Reference)
}
