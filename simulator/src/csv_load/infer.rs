//! A column's type from its values.
//!
//! In this order: a boolean when all values are `true` or `false` (`yes` and `no` stay a picklist: they are the file's own
//! words); an integer when all are whole, without leading zeros, and fit 32 bits; a double; a date (`2024-03-05`); a datetime; a picklist when
//! there are at most 100 different values and each occurs twice on average; else text, or a text area when longer than 255.

use crate::org::cells::{double_text, instant_text, parse_instant};
use crate::schema::FieldKind;
use chrono::{NaiveDate, NaiveDateTime};
use std::collections::{BTreeSet, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};

const MOST_PICKLIST_VALUES: usize = 100;

/// What has been seen of a column so far.
pub(super) struct ColumnShape {
    filled: u64,
    empty: u64,
    boolean: bool,
    int: bool,
    double: bool,
    date: bool,
    datetime: bool,
    longest: usize,
    /// Up to one more than a picklist may have.
    levels: BTreeSet<String>,
    /// Hashes of all values for as long as none came twice: such a column is a key.
    distinct: Option<HashSet<u64>>,
}

impl Default for ColumnShape {
    fn default() -> Self {
        Self {
            filled: 0,
            empty: 0,
            boolean: true,
            int: true,
            double: true,
            date: true,
            datetime: true,
            longest: 0,
            levels: BTreeSet::new(),
            distinct: Some(HashSet::new()),
        }
    }
}

impl ColumnShape {
    pub fn see(&mut self, cell: &str) {
        if cell.is_empty() {
            self.empty += 1;
            return;
        }
        self.filled += 1;
        self.boolean &= cell.eq_ignore_ascii_case("true") || cell.eq_ignore_ascii_case("false");
        self.int = self.int && is_int(cell);
        self.double = self.double && is_double(cell);
        self.date = self.date && parse_day(cell).is_some();
        self.datetime = self.datetime && (self.date || parse_moment(cell).is_some());
        self.longest = self.longest.max(cell.chars().count());
        if self.levels.len() <= MOST_PICKLIST_VALUES && !self.levels.contains(cell) {
            self.levels.insert(cell.to_owned());
        }
        if let Some(distinct) = &mut self.distinct {
            let mut hasher = DefaultHasher::new();
            cell.hash(&mut hasher);
            if !distinct.insert(hasher.finish()) {
                self.distinct = None;
            }
        }
    }

    pub fn kind(&self) -> FieldKind {
        if self.filled == 0 {
            return FieldKind::String { length: 255 };
        }
        if self.boolean {
            return FieldKind::Boolean;
        }
        if self.int {
            return FieldKind::Int;
        }
        if self.double {
            return FieldKind::Double { scale: 8 };
        }
        if self.date {
            return FieldKind::Date;
        }
        if self.datetime {
            return FieldKind::DateTime;
        }
        let few = self.levels.len() <= MOST_PICKLIST_VALUES && self.filled >= 2 * self.levels.len() as u64;
        if few && self.longest <= 255 {
            return FieldKind::Picklist { values: self.levels.iter().cloned().collect() };
        }
        match self.longest {
            0..=255 => FieldKind::String { length: 255 },
            _ => FieldKind::TextArea { length: 131_072 },
        }
    }

    /// A text column in which every row has a value of its own can be the key of an upsert.
    pub fn is_key(&self) -> bool {
        self.empty == 0 && self.filled > 1 && self.distinct.is_some() && matches!(self.kind(), FieldKind::String { .. })
    }
}

/// The stored form of a cell of this type.
pub(super) fn canonical(kind: &FieldKind, cell: &str) -> String {
    if cell.is_empty() {
        return String::new();
    }
    match kind {
        FieldKind::Boolean => cell.to_ascii_lowercase(),
        FieldKind::Int => cell.trim().parse::<i64>().map_or_else(|_| cell.to_owned(), |number| number.to_string()),
        FieldKind::Double { .. } => cell.trim().parse::<f64>().map_or_else(|_| cell.to_owned(), double_text),
        FieldKind::Date => parse_day(cell).map_or_else(|| cell.to_owned(), |day| day.to_string()),
        FieldKind::DateTime => parse_moment(cell).unwrap_or_else(|| cell.to_owned()),
        _ => cell.to_owned(),
    }
}

fn is_int(cell: &str) -> bool {
    let digits = cell.trim().trim_start_matches(['-', '+']);
    let leading_zero = digits.len() > 1 && digits.starts_with('0');
    !leading_zero && cell.trim().parse::<i32>().is_ok()
}

fn is_double(cell: &str) -> bool {
    let text = cell.trim();
    let digits = text.trim_start_matches(['-', '+']);
    let leading_zero = digits.len() > 1 && digits.starts_with('0') && !digits.starts_with("0.") && !digits.starts_with("0e");
    let plain = text.chars().all(|c| c.is_ascii_digit() || matches!(c, '-' | '+' | '.' | 'e' | 'E'));
    plain && !leading_zero && text.parse::<f64>().is_ok_and(f64::is_finite)
}

fn parse_day(cell: &str) -> Option<NaiveDate> {
    NaiveDate::parse_from_str(cell.trim(), "%Y-%m-%d").ok()
}

fn parse_moment(cell: &str) -> Option<String> {
    let text = cell.trim();
    let spaced = ["%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%d %H:%M"];
    parse_instant(text)
        .or_else(|| spaced.iter().find_map(|form| NaiveDateTime::parse_from_str(text, form).ok()).map(|moment| moment.and_utc()))
        .or_else(|| parse_day(text).and_then(|day| day.and_hms_opt(0, 0, 0)).map(|moment| moment.and_utc()))
        .map(instant_text)
}
