//! A data set in memory: typed columns, about 4 to 12 bytes a cell, in an order of its own.
//!
//! Rows are pushed in whatever order the lake delivers them; [`FrameBuilder::finish`] sorts them by record id and the levels
//! of each text column by their bytes. Everything downstream (folds, sums in floating point, tree growth) therefore sees
//! one order, and the same set of records gives the same model bit for bit however its files were cut.

use std::collections::HashMap;

use leadline_domain::value::{Field, FieldType, ObjectSchema, Value};

use crate::error::LearningError;
use crate::record::{Cell, is_prose, length};

/// A text column with more distinct values than this keeps only their lengths: it is prose or an identifier, and its
/// dictionary would cost more memory than the rest of the frame.
const MAX_LEVELS: usize = 65_536;
/// A value longer than any picklist entry (255 characters in Salesforce) makes its column give up its content.
const MAX_LEVEL_BYTES: usize = 1_024;

/// Why the content of a text column was not kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum GivenUp {
    TooManyValues,
    TooLongValue,
}

const NULL_CODE: u32 = u32::MAX;
const NULL_DAY: i32 = i32::MIN;
const NULL_INSTANT: i64 = i64::MIN;
const NULL_BOOLEAN: u8 = 2;

#[derive(Debug, Clone)]
pub(crate) enum Column {
    /// The record id; it stands in [`Frame::id`].
    Id,
    /// NaN is null.
    Number(Vec<f64>),
    Boolean(Vec<u8>),
    Text {
        codes: Vec<u32>,
        levels: Vec<Box<str>>,
    },
    /// Of texts whose content was not kept.
    Lengths {
        /// In characters.
        lengths: Vec<u32>,
        /// How many of the values are prose.
        prose: u64,
        why: GivenUp,
    },
    Day(Vec<i32>),
    Instant(Vec<i64>),
}

/// Rows of one object, sorted by record id.
#[derive(Debug, Clone)]
pub struct Frame {
    schema: ObjectSchema,
    columns: Vec<Column>,
    ids: Vec<Box<str>>,
}

impl Frame {
    pub fn schema(&self) -> &ObjectSchema {
        &self.schema
    }

    pub fn rows(&self) -> usize {
        self.ids.len()
    }

    pub fn id(&self, row: usize) -> &str {
        &self.ids[row]
    }

    /// # Panics
    /// When `column` or `row` is out of range.
    pub fn cell(&self, column: usize, row: usize) -> Cell<'_> {
        match &self.columns[column] {
            Column::Id => Cell::Text(&self.ids[row]),
            Column::Number(values) if values[row].is_nan() => Cell::Null,
            Column::Number(values) => Cell::Number(values[row]),
            Column::Boolean(values) if values[row] == NULL_BOOLEAN => Cell::Null,
            Column::Boolean(values) => Cell::Boolean(values[row] == 1),
            Column::Text { codes, levels } => levels.get(codes[row] as usize).map_or(Cell::Null, |level| Cell::Text(level)),
            Column::Lengths { lengths, .. } if lengths[row] == NULL_CODE => Cell::Null,
            Column::Lengths { lengths, .. } => Cell::Length(lengths[row]),
            Column::Day(days) if days[row] == NULL_DAY => Cell::Null,
            Column::Day(days) => Cell::Day(days[row]),
            Column::Instant(instants) if instants[row] == NULL_INSTANT => Cell::Null,
            Column::Instant(instants) => Cell::Instant(instants[row]),
        }
    }

    /// A column's dictionary codes and levels, when it is a text whose content was kept. A code past the levels is null.
    pub(crate) fn levels(&self, column: usize) -> Option<(&[u32], &[Box<str>])> {
        match &self.columns[column] {
            Column::Text { codes, levels } => Some((codes, levels)),
            _ => None,
        }
    }

    pub(crate) fn keeps_content(&self, column: usize) -> bool {
        self.given_up(column).is_none()
    }

    pub(crate) fn given_up(&self, column: usize) -> Option<GivenUp> {
        match &self.columns[column] {
            Column::Lengths { why, .. } => Some(*why),
            _ => None,
        }
    }

    /// The share of the filled cells of a text column that hold prose, over all rows.
    pub(crate) fn prose_share(&self, column: usize) -> f64 {
        let (prose, filled) = match &self.columns[column] {
            Column::Text { codes, levels } => {
                let is_prose: Vec<bool> = levels.iter().map(|level| is_prose(level)).collect();
                let filled = || codes.iter().filter_map(|&code| is_prose.get(code as usize));
                (filled().filter(|&&prose| prose).count() as u64, filled().count())
            }
            Column::Lengths { lengths, prose, .. } => (*prose, lengths.iter().filter(|&&l| l != NULL_CODE).count()),
            _ => (0, 0),
        };
        prose as f64 / filled.max(1) as f64
    }
}

#[derive(Debug, Default)]
struct TextColumn {
    codes: Vec<u32>,
    /// Byte-wise distinct values, and their codes in order of arrival.
    lookup: HashMap<Box<str>, u32>,
    /// Set once the content is given up; `codes` then holds lengths.
    given_up: Option<GivenUp>,
    /// Values of prose, counted from then on.
    prose: u64,
}

impl TextColumn {
    fn push(&mut self, text: Option<&str>) {
        let Some(text) = text else {
            self.codes.push(NULL_CODE);
            return;
        };
        if self.given_up.is_none() && text.len() > MAX_LEVEL_BYTES {
            self.give_up_content(GivenUp::TooLongValue);
        }
        if self.given_up.is_some() {
            self.push_length(text);
            return;
        }
        if let Some(&code) = self.lookup.get(text) {
            self.codes.push(code);
            return;
        }
        if self.lookup.len() == MAX_LEVELS {
            self.give_up_content(GivenUp::TooManyValues);
            self.push_length(text);
            return;
        }
        let code = self.lookup.len() as u32;
        self.lookup.insert(text.into(), code);
        self.codes.push(code);
    }

    fn push_length(&mut self, text: &str) {
        self.codes.push(length(text));
        self.prose += u64::from(is_prose(text));
    }

    fn give_up_content(&mut self, why: GivenUp) {
        let mut levels = vec![(0, false); self.lookup.len()];
        for (text, code) in self.lookup.drain() {
            levels[code as usize] = (length(&text), is_prose(&text));
        }
        for code in &mut self.codes {
            let (length, is_prose) = levels.get(*code as usize).copied().unwrap_or((NULL_CODE, false));
            *code = length;
            self.prose += u64::from(is_prose);
        }
        self.lookup.shrink_to_fit();
        self.given_up = Some(why);
    }

    fn finish(self, order: &[u32]) -> Column {
        let codes = permuted(&self.codes, order);
        if let Some(why) = self.given_up {
            return Column::Lengths { lengths: codes, prose: self.prose, why };
        }
        let mut levels: Vec<(Box<str>, u32)> = self.lookup.into_iter().collect();
        levels.sort_unstable();
        let mut sorted_code = vec![0; levels.len()];
        for (sorted, (_, arrival)) in levels.iter().enumerate() {
            sorted_code[*arrival as usize] = sorted as u32;
        }
        let codes = codes.into_iter().map(|c| sorted_code.get(c as usize).copied().unwrap_or(NULL_CODE)).collect();
        Column::Text { codes, levels: levels.into_iter().map(|(text, _)| text).collect() }
    }
}

fn permuted<T: Copy>(values: &[T], order: &[u32]) -> Vec<T> {
    order.iter().map(|&row| values[row as usize]).collect()
}

#[derive(Debug)]
enum Growing {
    Id,
    Number(Vec<f64>),
    Boolean(Vec<u8>),
    Text(TextColumn),
    Day(Vec<i32>),
    Instant(Vec<i64>),
}

impl Growing {
    fn new(field_type: FieldType) -> Self {
        match field_type {
            FieldType::Text | FieldType::Picklist | FieldType::Reference => Self::Text(TextColumn::default()),
            FieldType::Boolean => Self::Boolean(Vec::new()),
            FieldType::Number => Self::Number(Vec::new()),
            FieldType::Date => Self::Day(Vec::new()),
            FieldType::DateTime => Self::Instant(Vec::new()),
        }
    }

    /// The cell has been checked to be of the column's type.
    fn push(&mut self, cell: Cell<'_>) {
        match (self, cell) {
            (Self::Number(values), Cell::Number(n)) => values.push(n),
            (Self::Number(values), _) => values.push(f64::NAN),
            (Self::Boolean(values), Cell::Boolean(b)) => values.push(u8::from(b)),
            (Self::Boolean(values), _) => values.push(NULL_BOOLEAN),
            (Self::Text(column), Cell::Text(text)) => column.push(Some(text)),
            (Self::Text(column), _) => column.push(None),
            (Self::Day(days), Cell::Day(day)) => days.push(day),
            (Self::Day(days), _) => days.push(NULL_DAY),
            (Self::Instant(instants), Cell::Instant(ms)) => instants.push(ms),
            (Self::Instant(instants), _) => instants.push(NULL_INSTANT),
            (Self::Id, _) => {}
        }
    }

    fn finish(self, order: &[u32]) -> Column {
        match self {
            Self::Id => Column::Id,
            Self::Number(values) => Column::Number(permuted(&values, order)),
            Self::Boolean(values) => Column::Boolean(permuted(&values, order)),
            Self::Text(column) => column.finish(order),
            Self::Day(days) => Column::Day(permuted(&days, order)),
            Self::Instant(instants) => Column::Instant(permuted(&instants, order)),
        }
    }
}

/// Collects rows into a [`Frame`].
#[derive(Debug)]
pub struct FrameBuilder {
    schema: ObjectSchema,
    id_column: usize,
    columns: Vec<Growing>,
    ids: Vec<Box<str>>,
}

impl FrameBuilder {
    /// # Errors
    /// [`LearningError::ColumnMissing`] when `schema` has no field `id_field`.
    pub fn new(schema: &ObjectSchema, id_field: &str) -> Result<Self, LearningError> {
        let id_column = schema.position(id_field).ok_or_else(|| LearningError::ColumnMissing {
            object: schema.object.clone(),
            field: id_field.to_owned(),
            role: "record id",
        })?;
        let growing = |(i, field): (usize, &Field)| if i == id_column { Growing::Id } else { Growing::new(field.field_type) };
        let columns = schema.fields.iter().enumerate().map(growing).collect();
        Ok(Self { schema: schema.clone(), id_column, columns, ids: Vec::new() })
    }

    /// Adds one row: one value for each field of the schema, in its order. A refused row leaves the builder as it was.
    ///
    /// # Errors
    /// [`LearningError::RowWidth`], [`LearningError::TypeMismatch`] or [`LearningError::RecordIdMissing`].
    pub fn push(&mut self, row: &[Value]) -> Result<(), LearningError> {
        let fields = &self.schema.fields;
        if row.len() != fields.len() {
            return Err(LearningError::RowWidth { expected: fields.len(), found: row.len() });
        }
        let cell = |(field, value)| {
            let field: &Field = field;
            Cell::from_value(&field.name, field.field_type, value)
        };
        let cells = fields.iter().zip(row).map(cell).collect::<Result<Vec<_>, _>>()?;
        let Cell::Text(id) = cells[self.id_column] else {
            let field = fields[self.id_column].name.clone();
            return Err(LearningError::RecordIdMissing { field, row: self.ids.len() });
        };
        self.ids.push(id.into());
        for (column, cell) in self.columns.iter_mut().zip(cells) {
            column.push(cell);
        }
        Ok(())
    }

    pub fn rows(&self) -> usize {
        self.ids.len()
    }

    /// # Errors
    /// [`LearningError::EmptyDataSet`], or [`LearningError::DuplicateRecords`]: a record that stands in the set twice could
    /// be counted twice, and which of its versions is true is not this crate's to say.
    pub fn finish(self) -> Result<Frame, LearningError> {
        if self.ids.is_empty() {
            return Err(LearningError::EmptyDataSet { object: self.schema.object });
        }
        let mut order: Vec<u32> = (0..self.ids.len() as u32).collect();
        order.sort_unstable_by(|&a, &b| self.ids[a as usize].cmp(&self.ids[b as usize]));
        let count = order.windows(2).filter(|w| self.ids[w[0] as usize] == self.ids[w[1] as usize]).count();
        if count > 0 {
            return Err(LearningError::DuplicateRecords { count });
        }
        let mut arrived: Vec<Option<Box<str>>> = self.ids.into_iter().map(Some).collect();
        let take = |&row: &u32| arrived[row as usize].take().expect("an order visits each row once");
        let ids = order.iter().map(take).collect();
        let columns = self.columns.into_iter().map(|column| column.finish(&order)).collect();
        Ok(Frame { schema: self.schema, columns, ids })
    }
}
