//! One generated record under construction, and the small pieces that several objects share.

use super::dice::Dice;
use super::vocabulary as words;
use crate::ids::RecordId;
use crate::org::cells::{double_text, instant_text};
use crate::org::row::RowBuilder;
use crate::schema::ObjectDef;
use crate::schema::standard as system;
use chrono::{DateTime, Duration, NaiveDate, TimeZone, Utc};
use std::collections::HashMap;

/// The moment at which the generated org was left alone: every base record is older.
pub(crate) fn as_of() -> DateTime<Utc> {
    Utc.with_ymd_and_hms(2025, 6, 30, 0, 0, 0).single().expect("a fixed and valid time")
}

/// A moment in the `days` before [`as_of`], evenly.
pub(crate) fn moment(dice: &mut Dice, days: i64) -> DateTime<Utc> {
    as_of() - Duration::seconds(dice.between(60, days * 86_400))
}

pub(crate) struct Record {
    cells: Vec<String>,
    index: HashMap<String, usize>,
}

impl Record {
    pub fn new(def: &ObjectDef) -> Self {
        let index = def.fields.iter().filter_map(|field| field.cell().map(|cell| (field.name.clone(), cell))).collect();
        Self { cells: vec![String::new(); def.width], index }
    }

    /// Empties the record and fills its system fields.
    pub fn begin(&mut self, id: RecordId, created: DateTime<Utc>, modified: DateTime<Utc>, author: RecordId) {
        self.cells.iter_mut().for_each(String::clear);
        let modified = instant_text(modified.max(created).min(as_of()));
        self.cells[system::ID].push_str(id.as_str());
        self.cells[system::IS_DELETED].push_str("false");
        self.cells[system::CREATED_DATE] = instant_text(created);
        self.cells[system::CREATED_BY].push_str(author.as_str());
        self.cells[system::LAST_MODIFIED_DATE].push_str(&modified);
        self.cells[system::LAST_MODIFIED_BY].push_str(author.as_str());
        self.cells[system::SYSTEM_MODSTAMP] = modified;
    }

    pub fn text(&mut self, field: &str, value: impl Into<String>) {
        let cell = self.index[field];
        self.cells[cell] = value.into();
    }

    pub fn flag(&mut self, field: &str, value: bool) {
        self.text(field, if value { "true" } else { "false" });
    }

    pub fn count(&mut self, field: &str, value: u64) {
        self.text(field, value.to_string());
    }

    /// Rounded to `digits` after the point.
    pub fn number(&mut self, field: &str, value: f64, digits: u8) {
        let scale = 10_f64.powi(i32::from(digits));
        self.text(field, double_text((value * scale).round() / scale));
    }

    pub fn day(&mut self, field: &str, value: NaiveDate) {
        self.text(field, value.to_string());
    }

    pub fn id(&mut self, field: &str, value: RecordId) {
        self.text(field, value.as_str());
    }

    pub fn write<'a>(&self, row: &'a mut RowBuilder) -> &'a [u8] {
        row.clear();
        for cell in &self.cells {
            row.push(cell);
        }
        row.bytes()
    }
}

pub(crate) fn company(dice: &mut Dice) -> String {
    let (head, tail, form) = (dice.pick(words::COMPANY_HEADS), dice.pick(words::COMPANY_TAILS), dice.pick(words::COMPANY_FORMS));
    format!("{head} {tail} {form}")
}

pub(crate) fn web_name(company: &str) -> String {
    company.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_lowercase()
}

pub(crate) fn phone(dice: &mut Dice) -> String {
    // 555-01xx numbers are set aside for fiction.
    format!("+1 {} 555 01{:02}", dice.between(201, 989), dice.below(100))
}

pub(crate) fn person(record: &mut Record, dice: &mut Dice) -> (String, String) {
    let (first, last) = (*dice.pick(words::FIRST_NAMES), *dice.pick(words::LAST_NAMES));
    record.text("FirstName", first);
    record.text("LastName", last);
    if dice.chance(0.4) {
        record.text("Salutation", *dice.pick(&["Mr.", "Ms.", "Mrs.", "Dr."]));
    }
    (first.to_lowercase(), last.to_lowercase())
}

/// Fills `{prefix}Street` and its fellows; one address in eight is incomplete. Gives the country.
pub(crate) fn address(record: &mut Record, dice: &mut Dice, prefix: &str) -> &'static str {
    let (city, state, country) = *dice.pick(words::PLACES);
    let street = format!("{} {}", dice.between(1, 240), dice.pick(words::STREETS));
    let postal_code = format!("{:05}", dice.between(1_000, 99_999));
    record.text(&format!("{prefix}Country"), country);
    if !dice.chance(0.125) {
        record.text(&format!("{prefix}Street"), street);
        record.text(&format!("{prefix}City"), city);
        record.text(&format!("{prefix}State"), state);
        record.text(&format!("{prefix}PostalCode"), postal_code);
    }
    country
}
