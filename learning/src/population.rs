//! Which rows are learnt from, and which are held out.
//!
//! The hold-out is decided by the record id alone (FNV-1a-64 of its bytes modulo 5), not by time and not by chance: a record
//! stays on its side in every later export, so a new model and the one in production are compared on records that neither
//! has seen. A hold-out by time would show drift better, but its youngest rows have outcomes that are not ripe yet (a lead
//! of yesterday has not failed to convert), and every record would change sides as time goes on. Where records have a time,
//! [`crate::temporal`] adds a check forward in time inside the training part, and a gate reads it.

use leadline_domain::value::{FieldType, Value};
use serde::{Deserialize, Serialize};

use crate::definition::{FieldEquals, PredictionDefinition};
use crate::error::LearningError;
use crate::frame::Frame;
use crate::record::Cell;

/// Parts into which record ids fall; one is held out.
pub const PARTS: u64 = 5;
/// Folds of the cross-validation inside the training part.
pub const FOLDS: u8 = 5;
/// Below this many rows of one class in the training part, some fold would have next to none: no model is fitted at all.
pub const MIN_CLASS_ROWS: usize = 10;

/// FNV-1a, 64 bits (Fowler, Noll, Vo): the documented hash of the record split.
pub fn fnv1a64(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3))
}

/// Rows of a frame with their outcomes (1 positive, 0 negative), in frame order.
#[derive(Debug, Clone, Default)]
pub struct Sample {
    pub rows: Vec<u32>,
    pub labels: Vec<f64>,
}

impl Sample {
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    pub fn positives(&self) -> usize {
        self.labels.iter().filter(|&&label| label > 0.5).count()
    }

    fn push(&mut self, row: u32, label: bool) {
        self.rows.push(row);
        self.labels.push(f64::from(u8::from(label)));
    }

    pub(crate) fn select(&self, keep: impl Fn(usize) -> bool) -> Self {
        let kept: Vec<usize> = (0..self.len()).filter(|&i| keep(i)).collect();
        Self { rows: kept.iter().map(|&i| self.rows[i]).collect(), labels: kept.iter().map(|&i| self.labels[i]).collect() }
    }
}

/// How many rows went where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    pub rows: usize,
    /// Rows whose outcome is not known: the condition fails, the label is null, or it is neither positive nor negative.
    pub outcome_unknown: usize,
    pub training: usize,
    pub training_positives: usize,
    pub holdout: usize,
    pub holdout_positives: usize,
}

/// The labelled rows of a frame, parted.
#[derive(Debug, Clone)]
pub struct Population {
    pub training: Sample,
    pub holdout: Sample,
    /// The cross-validation fold of each training row, stratified by outcome.
    pub folds: Vec<u8>,
    pub counts: Counts,
}

impl Population {
    /// Labels the rows of `frame` and holds out part `holdout_part` (of [`PARTS`]) by record id.
    ///
    /// # Errors
    /// [`LearningError::ColumnMissing`], [`LearningError::LabelMissing`], [`LearningError::LabelNotBinary`] (one class only),
    /// or [`LearningError::TooFewRows`] when a class has fewer than [`MIN_CLASS_ROWS`] rows to learn from.
    pub fn select(frame: &Frame, definition: &PredictionDefinition, holdout_part: u64) -> Result<Self, LearningError> {
        let outcome = Outcome::new(frame, definition)?;
        let (mut training, mut holdout) = (Sample::default(), Sample::default());
        for row in 0..frame.rows() {
            let Some(label) = outcome.of(frame, row) else { continue };
            let held_out = fnv1a64(frame.id(row).as_bytes()) % PARTS == holdout_part;
            let sample = if held_out { &mut holdout } else { &mut training };
            sample.push(row as u32, label);
        }
        let counts = Counts {
            rows: frame.rows(),
            outcome_unknown: frame.rows() - training.len() - holdout.len(),
            training: training.len(),
            training_positives: training.positives(),
            holdout: holdout.len(),
            holdout_positives: holdout.positives(),
        };
        check_label(frame, definition, &counts)?;
        check_classes(&training)?;
        let folds = stratified_folds(frame, &training);
        Ok(Self { training, holdout, folds, counts })
    }
}

fn check_label(frame: &Frame, definition: &PredictionDefinition, counts: &Counts) -> Result<(), LearningError> {
    let labelled = counts.training + counts.holdout;
    let positives = counts.training_positives + counts.holdout_positives;
    let field = definition.label_field.clone();
    if labelled == 0 {
        return Err(LearningError::LabelMissing { object: frame.schema().object.clone(), field });
    }
    if positives == 0 || positives == labelled {
        let found = if positives == 0 { "negative" } else { "positive" };
        return Err(LearningError::LabelNotBinary { field, reason: format!("every known outcome is {found}") });
    }
    Ok(())
}

/// # Errors
/// [`LearningError::TooFewRows`] when a class has fewer than [`MIN_CLASS_ROWS`] rows to learn from.
pub(crate) fn check_classes(sample: &Sample) -> Result<(), LearningError> {
    let positives = sample.positives();
    for (what, found) in [("positive rows", positives), ("negative rows", sample.len() - positives)] {
        if found < MIN_CLASS_ROWS {
            return Err(LearningError::TooFewRows { what, needed: MIN_CLASS_ROWS, found });
        }
    }
    Ok(())
}

/// Deals the rows of each class, ordered by the hash of their ids, round-robin into [`FOLDS`].
fn stratified_folds(frame: &Frame, sample: &Sample) -> Vec<u8> {
    // The hold-out used the hash modulo PARTS; what remains of it is independent of that.
    let hash = |i: usize| fnv1a64(frame.id(sample.rows[i] as usize).as_bytes()) / PARTS;
    let mut order: Vec<(bool, u64, usize)> = (0..sample.len()).map(|i| (sample.labels[i] > 0.5, hash(i), i)).collect();
    order.sort_unstable();
    let mut folds = vec![0; sample.len()];
    for (rank, (_, _, i)) in order.into_iter().enumerate() {
        folds[i] = (rank % usize::from(FOLDS)) as u8;
    }
    folds
}

/// Reads the outcome of a row.
struct Outcome<'a> {
    label: usize,
    definition: &'a PredictionDefinition,
    condition: Option<(usize, &'a FieldEquals)>,
}

impl<'a> Outcome<'a> {
    fn new(frame: &Frame, definition: &'a PredictionDefinition) -> Result<Self, LearningError> {
        definition.check(frame.schema())?;
        let position = |field: &str| frame.schema().position(field).expect("the definition was checked against the schema");
        if definition.positive_values.is_empty() {
            let reason = "the definition names no positive value".to_owned();
            return Err(LearningError::LabelNotBinary { field: definition.label_field.clone(), reason });
        }
        let condition = definition.known_outcome.as_ref().map(|c| (position(&c.field), c));
        Ok(Self { label: position(&definition.label_field), definition, condition })
    }

    fn of(&self, frame: &Frame, row: usize) -> Option<bool> {
        if let Some((column, condition)) = self.condition
            && !equals(frame, column, row, &condition.value)
        {
            return None;
        }
        if frame.cell(self.label, row) == Cell::Null {
            return None;
        }
        let is_one_of = |texts: &[String]| texts.iter().any(|text| equals(frame, self.label, row, text));
        if is_one_of(&self.definition.positive_values) {
            return Some(true);
        }
        let negatives = &self.definition.negative_values;
        (negatives.is_empty() || is_one_of(negatives)).then_some(false)
    }
}

/// Whether a cell's value is the one that `text` writes for a field of its type.
fn equals(frame: &Frame, column: usize, row: usize, text: &str) -> bool {
    match frame.cell(column, row) {
        Cell::Null | Cell::Length(_) => false,
        Cell::Text(found) => found == text,
        Cell::Boolean(found) => Value::parse(FieldType::Boolean, text).is_ok_and(|v| v == Value::Boolean(found)),
        Cell::Number(found) => Value::parse(FieldType::Number, text).is_ok_and(|v| v == Value::Number(found)),
        cell @ (Cell::Day(_) | Cell::Instant(_)) => cell.display() == text,
    }
}
