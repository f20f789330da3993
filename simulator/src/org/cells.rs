//! Between the wire and the stored cell: JSON and CSV values in, JSON values out, with the vendor's refusals.

use crate::error::RecordError;
use crate::schema::{FieldDef, FieldKind};
use chrono::{DateTime, NaiveDate, NaiveDateTime, SecondsFormat, Utc};
use serde_json::Value as Json;

/// A datetime cell: UTC, milliseconds, `Z`, so that text order is time order.
pub(crate) fn instant_text(instant: DateTime<Utc>) -> String {
    instant.to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// The form of datetimes in REST JSON, from a cell.
pub(crate) fn rest_instant(cell: &str) -> String {
    format!("{}+0000", cell.trim_end_matches('Z'))
}

pub(crate) fn parse_instant(text: &str) -> Option<DateTime<Utc>> {
    DateTime::parse_from_rfc3339(text)
        .or_else(|_| DateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%.f%z"))
        .map(|instant| instant.with_timezone(&Utc))
        .or_else(|_| NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%.f").map(|instant| instant.and_utc()))
        .ok()
}

/// A double as the vendor prints it: always with a fraction (`5.0`).
pub(crate) fn double_text(number: f64) -> String {
    format!("{number:?}")
}

/// The stored text of a JSON value; empty for null.
pub(crate) fn from_json(field: &FieldDef, value: &Json) -> Result<String, RecordError> {
    match (&field.kind, value) {
        (_, Json::Null) => Ok(String::new()),
        (FieldKind::Boolean, Json::Bool(flag)) => Ok(flag.to_string()),
        (kind, Json::Number(number)) if kind.is_number() => from_text(field, &number.to_string()),
        (kind, Json::String(_)) if kind.is_number() || *kind == FieldKind::Boolean => {
            Err(cannot_deserialize(kind, "VALUE_STRING"))
        }
        (kind, Json::String(text)) if *kind != FieldKind::Address => from_text(field, text),
        (kind, Json::Number(number)) if is_text(kind) => from_text(field, &number.to_string()),
        (kind, Json::Bool(flag)) if is_text(kind) => from_text(field, &flag.to_string()),
        (kind, Json::Number(_)) => Err(cannot_deserialize(kind, "VALUE_NUMBER")),
        (kind, Json::Bool(true)) => Err(cannot_deserialize(kind, "VALUE_TRUE")),
        (kind, Json::Bool(false)) => Err(cannot_deserialize(kind, "VALUE_FALSE")),
        (kind, Json::Array(_)) => Err(cannot_deserialize(kind, "START_ARRAY")),
        (kind, _) => Err(cannot_deserialize(kind, "START_OBJECT")),
    }
}

/// The stored text of a CSV cell or of a JSON string.
pub(crate) fn from_text(field: &FieldDef, text: &str) -> Result<String, RecordError> {
    if text.is_empty() {
        return Ok(String::new());
    }
    let refused = || {
        let message = format!("{}: value not of required type", field.label);
        RecordError::on("INVALID_TYPE_ON_FIELD_IN_RECORD", message, &field.name)
    };
    match &field.kind {
        FieldKind::Boolean => match text.to_ascii_lowercase().as_str() {
            "true" | "1" => Ok("true".into()),
            "false" | "0" => Ok("false".into()),
            _ => Err(refused()),
        },
        FieldKind::Int => match text.parse::<f64>() {
            Ok(number) if number.fract() == 0.0 && number.abs() <= f64::from(i32::MAX) => Ok((number as i64).to_string()),
            _ => Err(refused()),
        },
        FieldKind::Double { .. } | FieldKind::Currency | FieldKind::Percent => match text.parse::<f64>() {
            Ok(number) if number.is_finite() => Ok(double_text(number)),
            _ => Err(refused()),
        },
        FieldKind::Date => {
            let day = text.get(..10).and_then(|day| NaiveDate::parse_from_str(day, "%Y-%m-%d").ok());
            day.map(|day| day.to_string()).ok_or_else(refused)
        }
        FieldKind::DateTime => match parse_instant(text) {
            Some(instant) => Ok(instant_text(instant)),
            None => NaiveDate::parse_from_str(text, "%Y-%m-%d").map(|day| format!("{day}T00:00:00.000Z")).map_err(|_| refused()),
        },
        FieldKind::Address => Err(refused()),
        kind => checked_length(field, kind, text),
    }
}

fn checked_length(field: &FieldDef, kind: &FieldKind, text: &str) -> Result<String, RecordError> {
    let limit = kind.max_length().unwrap_or(u32::MAX) as usize;
    if text.len() > limit && text.chars().count() > limit {
        // The vendor repeats the value here; the first characters are enough, and less is better.
        let message = format!(
            "{}: data value too large: {}... (max length={limit})",
            field.label,
            text.chars().take(8).collect::<String>()
        );
        return Err(RecordError::on("STRING_TOO_LONG", message, &field.name));
    }
    Ok(text.to_owned())
}

fn is_text(kind: &FieldKind) -> bool {
    matches!(
        kind,
        FieldKind::String { .. } | FieldKind::TextArea { .. } | FieldKind::Picklist { .. } | FieldKind::Phone | FieldKind::Url
    )
}

fn cannot_deserialize(kind: &FieldKind, token: &str) -> RecordError {
    let wanted = match kind {
        FieldKind::Boolean => "boolean",
        FieldKind::Int => "int",
        kind if kind.is_number() => "double",
        FieldKind::Date => "date",
        FieldKind::DateTime => "datetime",
        FieldKind::Id | FieldKind::Reference { .. } => "reference",
        FieldKind::Address => "address",
        _ => "string",
    };
    let message =
        format!("Cannot deserialize instance of {wanted} from {token} value or request may be missing a required field");
    RecordError::new("JSON_PARSER_ERROR", message)
}

/// The REST value of a stored cell.
pub(crate) fn to_json(kind: &FieldKind, cell: &str) -> Json {
    if cell.is_empty() {
        return if *kind == FieldKind::Boolean { Json::Bool(false) } else { Json::Null };
    }
    match kind {
        FieldKind::Boolean => Json::Bool(cell == "true"),
        FieldKind::Int => cell.parse::<i64>().map_or(Json::Null, Json::from),
        FieldKind::Double { .. } | FieldKind::Currency | FieldKind::Percent => {
            cell.parse::<f64>().ok().and_then(serde_json::Number::from_f64).map_or(Json::Null, Json::Number)
        }
        FieldKind::DateTime => Json::String(rest_instant(cell)),
        _ => Json::String(cell.to_owned()),
    }
}
