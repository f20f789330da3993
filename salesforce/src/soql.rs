//! The little SOQL that leadline writes itself. Names and ids are checked, never quoted into a query on trust.

use leadline_domain::value::ObjectSchema;

use crate::error::SalesforceError;

/// `SELECT` of all of a schema's columns, in its order (which is the order of a Bulk page's columns from API 50.0 on).
///
/// # Errors
/// [`SalesforceError::InvalidRequest`] if the object or a field is not an API name, or there is no field.
pub fn select(schema: &ObjectSchema) -> Result<String, SalesforceError> {
    let names: Vec<&str> = schema.fields.iter().map(|f| f.name.as_str()).collect();
    select_fields(&schema.object, &names)
}

/// `SELECT` of the named fields; a field may be a path over one parent (`Owner.Name`).
///
/// # Errors
/// As [`select`].
pub fn select_fields(object: &str, fields: &[&str]) -> Result<String, SalesforceError> {
    let invalid = |reason: &str| SalesforceError::InvalidRequest { what: "select".to_owned(), reason: reason.to_owned() };
    if !is_name(object) {
        return Err(invalid("the object is not an API name"));
    }
    if fields.is_empty() {
        return Err(invalid("no field is named"));
    }
    if !fields.iter().all(|f| is_path(f)) {
        return Err(invalid("a field is not an API name"));
    }
    Ok(format!("SELECT {} FROM {object}", fields.join(", ")))
}

/// Whether the text is an API name: a letter, then letters, digits and underscores.
pub fn is_name(text: &str) -> bool {
    text.len() <= 255
        && text.bytes().next().is_some_and(|b| b.is_ascii_alphabetic())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

pub(crate) fn is_path(text: &str) -> bool {
    text.split('.').all(is_name)
}

/// Whether the text has the form of a record id.
pub fn is_id(text: &str) -> bool {
    matches!(text.len(), 15 | 18) && text.bytes().all(|b| b.is_ascii_alphanumeric())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_get_into_a_query() {
        assert_eq!(select_fields("Lead", &["Id", "Owner.Name", "A__c"]).unwrap(), "SELECT Id, Owner.Name, A__c FROM Lead");
        for (object, field) in [("Lead WHERE", "Id"), ("Lead", "Id FROM User"), ("Lead", ""), ("", "Id"), ("Lead", "Owner.")] {
            assert!(select_fields(object, &[field]).is_err(), "{object}, {field}");
        }
        assert!(is_id("00QE0000000Hq5dMAC") && !is_id("00Q' OR Id != '1234"));
    }
}
