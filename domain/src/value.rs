//! The one canonical value type that training and serving share, and the schema that gives it meaning.
//!
//! Whatever the road a field takes (Bulk CSV -> Parquet, or PostgreSQL `jsonb`, or an API request), it becomes the same
//! [`Value`] for the same [`FieldType`], so that one encoder gives one score on every path.

use chrono::{DateTime, NaiveDate, NaiveDateTime, SecondsFormat, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use sha2::{Digest, Sha256};
use thiserror::Error;

/// The canonical kinds of CRM field. Vendor types are mapped to these once, where a describe is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FieldType {
    /// Free text.
    Text,
    /// One of a list of labels.
    Picklist,
    /// The id of another record, or of the record itself.
    Reference,
    Boolean,
    /// Integers, doubles, currencies and percentages.
    Number,
    /// A calendar day without a zone.
    Date,
    /// An instant, kept to the millisecond, UTC.
    DateTime,
}

impl FieldType {
    /// The name that schema hashes and stored schemas go by.
    fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Picklist => "picklist",
            Self::Reference => "reference",
            Self::Boolean => "boolean",
            Self::Number => "number",
            Self::Date => "date",
            Self::DateTime => "date_time",
        }
    }
}

/// One field of one record.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    Null,
    Boolean(bool),
    /// Always finite.
    Number(f64),
    /// Never empty: an empty text is `Null`, as on the vendor's wire.
    Text(String),
    Date(NaiveDate),
    DateTime(DateTime<Utc>),
}

/// A text or JSON value that is not of the type its schema names.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("a {expected:?} field cannot hold a value like {shape}")]
pub struct ValueError {
    pub expected: FieldType,
    /// The shape of what was found (`text of 12 characters`, `number`), never the value itself: it may be personal data.
    pub shape: String,
}

impl Value {
    /// Reads the text of a CSV cell. Empty is null.
    ///
    /// # Errors
    /// [`ValueError`] when the text is not of `field_type`; non-finite numbers count as not of the type.
    pub fn parse(field_type: FieldType, text: &str) -> Result<Self, ValueError> {
        if text.is_empty() {
            return Ok(Self::Null);
        }
        let mismatch = || ValueError { expected: field_type, shape: format!("text of {} characters", text.chars().count()) };
        match field_type {
            // PostgreSQL keeps every character but this one.
            FieldType::Text | FieldType::Picklist | FieldType::Reference if text.contains('\0') => {
                Err(ValueError { expected: field_type, shape: "text with a NUL character".to_owned() })
            }
            FieldType::Text | FieldType::Picklist | FieldType::Reference => Ok(Self::Text(text.to_owned())),
            FieldType::Boolean => match text {
                "true" | "TRUE" | "True" | "1" => Ok(Self::Boolean(true)),
                "false" | "FALSE" | "False" | "0" => Ok(Self::Boolean(false)),
                _ => Err(mismatch()),
            },
            FieldType::Number => {
                let number: f64 = text.parse().map_err(|_| mismatch())?;
                if number.is_finite() { Ok(Self::Number(number)) } else { Err(mismatch()) }
            }
            FieldType::Date => parse_date(text).map(Self::Date).ok_or_else(mismatch),
            FieldType::DateTime => parse_instant(text).map(Self::DateTime).ok_or_else(mismatch),
        }
    }

    /// Reads the JSON form that [`Value::to_json`] writes, and the JSON that Salesforce's REST API sends.
    ///
    /// # Errors
    /// [`ValueError`] when the JSON is not of `field_type`.
    pub fn from_json(field_type: FieldType, json: &Json) -> Result<Self, ValueError> {
        let mismatch = |shape: &str| Err(ValueError { expected: field_type, shape: shape.to_owned() });
        match (field_type, json) {
            (_, Json::Null) => Ok(Self::Null),
            (FieldType::Boolean, Json::Bool(b)) => Ok(Self::Boolean(*b)),
            (FieldType::Number, Json::Number(n)) => match n.as_f64() {
                Some(f) if f.is_finite() => Ok(Self::Number(f)),
                _ => mismatch("number out of range"),
            },
            (FieldType::Boolean | FieldType::Number, Json::String(_)) => mismatch("text"),
            (_, Json::String(text)) => Self::parse(field_type, text),
            (_, Json::Bool(_)) => mismatch("boolean"),
            (_, Json::Number(_)) => mismatch("number"),
            (_, Json::Array(_)) => mismatch("array"),
            (_, Json::Object(_)) => mismatch("object"),
        }
    }

    /// The JSON form kept in `jsonb` and shown by the API: dates `YYYY-MM-DD`, instants RFC 3339 with milliseconds and Z.
    pub fn to_json(&self) -> Json {
        match self {
            Self::Null => Json::Null,
            Self::Boolean(b) => Json::Bool(*b),
            Self::Number(n) => serde_json::Number::from_f64(*n).map_or(Json::Null, Json::Number),
            Self::Text(t) => Json::String(t.clone()),
            Self::Date(d) => Json::String(d.to_string()),
            Self::DateTime(t) => Json::String(t.to_rfc3339_opts(SecondsFormat::Millis, true)),
        }
    }

    pub fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }
}

fn parse_date(text: &str) -> Option<NaiveDate> {
    NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()
}

/// Accepts the forms that the vendor and RFC 3339 use: `.000Z`, `.000+0000`, `+00:00`, and no zone as UTC.
fn parse_instant(text: &str) -> Option<DateTime<Utc>> {
    let instant = DateTime::parse_from_rfc3339(text)
        .or_else(|_| DateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%.f%z"))
        .map(|t| t.with_timezone(&Utc))
        .or_else(|_| NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%.f").map(|t| t.and_utc()))
        .ok()?;
    DateTime::from_timestamp_millis(instant.timestamp_millis())
}

/// A field as its schema describes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Field {
    /// API name, unique in its object, compared as written.
    pub name: String,
    /// What a person calls it; shown in reasons.
    pub label: String,
    pub field_type: FieldType,
    pub nullable: bool,
}

/// The fields of one object, in column order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectSchema {
    /// API name of the object, such as `Lead`.
    pub object: String,
    pub fields: Vec<Field>,
}

impl ObjectSchema {
    pub fn field(&self, name: &str) -> Option<&Field> {
        self.fields.iter().find(|f| f.name == name)
    }

    pub fn position(&self, name: &str) -> Option<usize> {
        self.fields.iter().position(|f| f.name == name)
    }

    /// With the fields of `other` in place of its own of the same name, and behind them.
    #[must_use]
    pub fn extended_by(mut self, other: Self) -> Self {
        for field in other.fields {
            match self.position(&field.name) {
                Some(at) => self.fields[at] = field,
                None => self.fields.push(field),
            }
        }
        self
    }

    /// SHA-256, in hex, over object, names and types, whatever the column order. Labels do not count: relabelling a field
    /// does not change what a model reads.
    pub fn hash(&self) -> String {
        let mut lines: Vec<String> = self.fields.iter().map(|f| format!("{}\u{1f}{}", f.name, f.field_type.name())).collect();
        lines.sort();
        let mut hasher = Sha256::new();
        hasher.update(self.object.as_bytes());
        for line in lines {
            hasher.update([0x1e]);
            hasher.update(line.as_bytes());
        }
        hex::encode(hasher.finalize())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instant_is_the_same_value_in_every_notation_the_vendor_uses() {
        let bulk = Value::parse(FieldType::DateTime, "2024-03-05T10:11:12.345Z").unwrap();
        let rest = Value::parse(FieldType::DateTime, "2024-03-05T10:11:12.345+0000").unwrap();
        let zoned = Value::parse(FieldType::DateTime, "2024-03-05T12:11:12.345678+02:00").unwrap();
        assert_eq!(bulk, rest);
        assert_eq!(bulk, zoned);
        assert_eq!(Value::from_json(FieldType::DateTime, &bulk.to_json()).unwrap(), bulk);
    }

    #[test]
    fn numbers_survive_json_bit_for_bit() {
        for n in [0.1 + 0.2, f64::MIN_POSITIVE, 1.797e308, -0.0, 9_007_199_254_740_993.0] {
            let text = Value::Number(n).to_json().to_string();
            let back = Value::from_json(FieldType::Number, &serde_json::from_str(&text).unwrap()).unwrap();
            assert_eq!(back, Value::Number(n));
        }
    }

    #[test]
    fn a_mismatch_names_the_shape_and_never_the_value() {
        let error = Value::parse(FieldType::Number, "alice@example.org").unwrap_err();
        assert!(!error.to_string().contains("alice"), "{error}");
        assert!(Value::parse(FieldType::Number, "NaN").is_err());
        assert!(Value::from_json(FieldType::Text, &Json::Bool(true)).is_err());
        assert_eq!(Value::parse(FieldType::Number, "").unwrap(), Value::Null);
        let nul = Value::parse(FieldType::Text, "Ber\0gen").unwrap_err();
        assert_eq!(nul.shape, "text with a NUL character", "which jsonb cannot hold");
    }

    #[test]
    fn the_schema_hash_ignores_column_order_and_labels() {
        let field = |name: &str, label: &str| Field {
            name: name.into(),
            label: label.into(),
            field_type: FieldType::Text,
            nullable: true,
        };
        let a = ObjectSchema { object: "Lead".into(), fields: vec![field("A", "one"), field("B", "two")] };
        let b = ObjectSchema { object: "Lead".into(), fields: vec![field("B", "zwei"), field("A", "eins")] };
        assert_eq!(a.hash(), b.hash());
        let mut c = a.clone();
        c.fields[0].field_type = FieldType::Number;
        assert_ne!(a.hash(), c.hash());
        // Stored with every data set and model: another value means that none of them is recognised any more.
        assert_eq!(c.hash(), "77a1f015ca44055542fa069c2bc993fa8b7ff61b9bb98ea49a4b07f0e608b80a");
        let types = [
            FieldType::Text,
            FieldType::Picklist,
            FieldType::Reference,
            FieldType::Boolean,
            FieldType::Number,
            FieldType::Date,
            FieldType::DateTime,
        ];
        for field_type in types {
            assert_eq!(serde_json::to_value(field_type).unwrap(), field_type.name());
        }
    }
}
