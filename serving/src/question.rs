//! What is asked, and the record that is scored for it.

use leadline_domain::value::{FieldType, ObjectSchema, Value};
use leadline_learning::{Artifact, Record};
use serde_json::{Map, Value as Json};

use crate::{AnsweredBy, ServingError};

/// One prediction that somebody wants.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Question {
    /// Whose production model answers; `None` when the tenant has one in production only.
    pub definition: Option<String>,
    /// The record whose current state is scored.
    pub record_id: Option<String>,
    /// Canonical JSON values by API name. Over the record's own, when both are given.
    pub fields: Map<String, Json>,
}

impl Question {
    /// Where the values come from that are scored.
    ///
    /// # Errors
    /// [`ServingError::NothingAsked`] for a question about nobody.
    pub fn answered_by(&self) -> Result<AnsweredBy, ServingError> {
        match (self.record_id.is_some(), self.fields.is_empty()) {
            (true, true) => Ok(AnsweredBy::CurrentState),
            (true, false) => Ok(AnsweredBy::Both),
            (false, false) => Ok(AnsweredBy::Request),
            (false, true) => Err(ServingError::NothingAsked),
        }
    }

    /// The names among `fields` that the model does not read: whether they exist is for the object's schema to say.
    pub(crate) fn not_read_by<'a>(&'a self, artifact: &Artifact) -> Vec<&'a str> {
        let read = |name: &str| artifact.features().any(|feature| feature == name);
        self.fields.keys().map(String::as_str).filter(|name| !read(name)).collect()
    }
}

/// Checks fields that the model does not read: they must exist, and be of their type, or a typo would go unnoticed.
///
/// # Errors
/// [`ServingError::UnknownField`], [`ServingError::FieldTypeMismatch`].
pub(crate) fn check_unread(names: &[&str], fields: &Map<String, Json>, schema: &ObjectSchema) -> Result<(), ServingError> {
    for name in names {
        let known = schema.field(name).ok_or_else(|| unknown(&schema.object, name))?;
        request_value(name, known.field_type, &fields[*name])?;
    }
    Ok(())
}

/// The values that the model reads: of the record, with those of the request over them.
///
/// # Errors
/// [`ServingError::SchemaMismatch`] for a value of the record, [`ServingError::FieldTypeMismatch`] for one of the request.
pub(crate) fn record(artifact: &Artifact, current: Option<&Json>, fields: &Map<String, Json>) -> Result<Record, ServingError> {
    let mut record = Record::new();
    for feature in &artifact.encoder.fields {
        let (name, field_type) = (&feature.field.name, feature.field.field_type);
        let value = match (fields.get(name), current.and_then(|c| c.get(name))) {
            (Some(sent), _) => request_value(name, field_type, sent)?,
            (None, Some(stored)) => Value::from_json(field_type, stored)
                .map_err(|e| ServingError::SchemaMismatch { field: name.clone(), reason: e.to_string() })?,
            (None, None) => continue,
        };
        record.set(name.clone(), value);
    }
    Ok(record)
}

fn request_value(name: &str, field_type: FieldType, json: &Json) -> Result<Value, ServingError> {
    Value::from_json(field_type, json)
        .map_err(|e| ServingError::FieldTypeMismatch { field: name.to_owned(), reason: e.to_string() })
}

/// A name that is none may be anything, also a value in the wrong place: it is repeated only if it looks like a name.
pub(crate) fn unknown(object: &str, name: &str) -> ServingError {
    let plausible = name.len() <= 80 && !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    let field = if plausible { name.to_owned() } else { "of such a name".to_owned() };
    ServingError::UnknownField { object: object.to_owned(), field }
}

#[cfg(test)]
mod tests {
    use leadline_domain::{Code, value::Field};
    use serde_json::json;

    use super::*;

    fn schema() -> ObjectSchema {
        let field = |name: &str, field_type| Field { name: name.into(), label: name.into(), field_type, nullable: true };
        ObjectSchema {
            object: "Lead".into(),
            fields: vec![field("Rating", FieldType::Picklist), field("Age", FieldType::Number)],
        }
    }

    #[test]
    fn a_field_is_refused_by_name_or_by_type_and_its_value_is_not_repeated() {
        let fields = json!({"Age": "jane@example.org", "Ageing": 3}).as_object().unwrap().clone();
        let mismatch = check_unread(&["Age"], &fields, &schema()).unwrap_err();
        assert_eq!(mismatch.failure().code, Code::FieldTypeMismatch);
        assert!(!mismatch.to_string().contains("jane"), "{mismatch}");
        let unknown = check_unread(&["Ageing"], &fields, &schema()).unwrap_err();
        assert_eq!((unknown.failure().code, unknown.to_string().as_str()), (Code::UnknownField, "Lead has no field Ageing"));
    }

    #[test]
    fn a_name_that_is_no_api_name_is_not_repeated() {
        let error = unknown("Lead", "jane@example.org");
        assert_eq!(error.to_string(), "Lead has no field of such a name");
    }

    #[test]
    fn a_question_says_where_its_values_come_from() {
        let mut question = Question::default();
        assert_eq!(question.answered_by().unwrap_err().failure().code, Code::InvalidArgument);
        question.record_id = Some("00Q".into());
        assert_eq!(question.answered_by().unwrap(), AnsweredBy::CurrentState);
        question.fields.insert("Rating".into(), json!("Hot"));
        assert_eq!(question.answered_by().unwrap(), AnsweredBy::Both);
        question.record_id = None;
        assert_eq!(question.answered_by().unwrap(), AnsweredBy::Request);
    }
}
