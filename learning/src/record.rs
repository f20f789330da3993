//! One record to be scored, and the cell form in which training and serving meet.

use std::collections::HashMap;

use chrono::{DateTime, Datelike, NaiveDate};
use leadline_domain::value::{FieldType, Value};

use crate::error::LearningError;

/// Days from 0001-01-01 to 1970-01-01 in the proleptic Gregorian calendar, as chrono counts them.
const EPOCH_DAY: i32 = 719_163;

/// The one form of a field that the encoder reads, whether it comes from a [`crate::Frame`] or from a [`Record`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Cell<'a> {
    Null,
    Boolean(bool),
    Number(f64),
    Text(&'a str),
    /// A text whose content was not kept, by its length in characters.
    Length(u32),
    /// Days since 1970-01-01.
    Day(i32),
    /// Milliseconds since 1970-01-01T00:00:00Z.
    Instant(i64),
}

impl<'a> Cell<'a> {
    /// # Errors
    /// [`LearningError::TypeMismatch`] when `value` is not of `field_type`.
    pub fn from_value(field: &str, field_type: FieldType, value: &'a Value) -> Result<Self, LearningError> {
        match (field_type, value) {
            (_, Value::Null) => Ok(Self::Null),
            (FieldType::Text | FieldType::Picklist | FieldType::Reference, Value::Text(text)) => Ok(Self::Text(text)),
            (FieldType::Boolean, Value::Boolean(b)) => Ok(Self::Boolean(*b)),
            (FieldType::Number, Value::Number(n)) => Ok(Self::Number(*n)),
            (FieldType::Date, Value::Date(day)) => Ok(Self::Day(day.num_days_from_ce() - EPOCH_DAY)),
            (FieldType::DateTime, Value::DateTime(instant)) => Ok(Self::Instant(instant.timestamp_millis())),
            (expected, other) => Err(LearningError::TypeMismatch { field: field.to_owned(), expected, found: shape(other) }),
        }
    }

    /// A text by its length only.
    pub fn without_content(self) -> Self {
        match self {
            Self::Text(text) => Self::Length(length(text)),
            other => other,
        }
    }

    /// The cell on a line of numbers: days for a date, milliseconds for an instant. `None` for a null and for a text.
    pub(crate) fn number(self) -> Option<f64> {
        match self {
            Self::Null | Self::Text(_) => None,
            Self::Boolean(b) => Some(f64::from(u8::from(b))),
            Self::Number(n) => Some(n),
            Self::Length(n) => Some(f64::from(n)),
            Self::Day(day) => Some(f64::from(day)),
            Self::Instant(ms) => Some(ms as f64),
        }
    }

    /// What a person reads: ISO dates, plain numbers, `(empty)` for null.
    pub fn display(self) -> String {
        match self {
            Self::Null => "(empty)".to_owned(),
            Self::Boolean(b) => b.to_string(),
            Self::Number(n) => n.to_string(),
            Self::Text(text) => text.to_owned(),
            Self::Length(n) => format!("text of {n} characters"),
            Self::Day(day) => date(day).map_or_else(|| day.to_string(), |d| d.to_string()),
            Self::Instant(ms) => {
                DateTime::from_timestamp_millis(ms).map_or_else(|| ms.to_string(), |t| t.format("%Y-%m-%dT%H:%M:%SZ").to_string())
            }
        }
    }
}

/// In characters.
pub(crate) fn length(text: &str) -> u32 {
    u32::try_from(text.chars().count()).unwrap_or(u32::MAX - 1)
}

/// Whether a text says something in words: two of them at least, each with a letter. An e-mail address, a URL, a key or a
/// telephone number, with blanks or without, is none.
pub(crate) fn is_prose(text: &str) -> bool {
    text.split_whitespace().filter(|word| word.chars().any(char::is_alphabetic)).nth(1).is_some()
}

pub(crate) fn date(day: i32) -> Option<NaiveDate> {
    NaiveDate::from_num_days_from_ce_opt(day.checked_add(EPOCH_DAY)?)
}

fn shape(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Boolean(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::Text(_) => "a text",
        Value::Date(_) => "a date",
        Value::DateTime(_) => "an instant",
    }
}

/// A record by field name. A field that is not there is null; whoever builds the record refuses unknown names.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Record {
    values: HashMap<String, Value>,
}

impl Record {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn get(&self, field: &str) -> &Value {
        self.values.get(field).unwrap_or(&Value::Null)
    }

    pub fn set(&mut self, field: impl Into<String>, value: Value) {
        self.values.insert(field.into(), value);
    }
}

impl<K: Into<String>> FromIterator<(K, Value)> for Record {
    fn from_iter<I: IntoIterator<Item = (K, Value)>>(pairs: I) -> Self {
        Self { values: pairs.into_iter().map(|(field, value)| (field.into(), value)).collect() }
    }
}
