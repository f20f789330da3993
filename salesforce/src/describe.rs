//! Describes of objects, and their one mapping to leadline's canonical schema.

use std::collections::HashSet;

use leadline_domain::value::{Field, FieldType, ObjectSchema};
use serde::{Deserialize, Serialize};

use crate::call::Call;
use crate::client::OrgClient;
use crate::error::{Missing, SalesforceError};
use crate::soql;

/// The keys of a describe that leadline reads, by the vendor's names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ObjectDescription {
    pub name: String,
    pub label: String,
    #[serde(default)]
    pub label_plural: String,
    #[serde(default)]
    pub key_prefix: Option<String>,
    #[serde(default)]
    pub custom: bool,
    #[serde(default)]
    pub queryable: bool,
    #[serde(default)]
    pub updateable: bool,
    pub fields: Vec<FieldDescription>,
}

/// One field of a describe, by the vendor's names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FieldDescription {
    pub name: String,
    pub label: String,
    #[serde(rename = "type")]
    pub field_type: String,
    #[serde(default)]
    pub length: u32,
    #[serde(default)]
    pub precision: u32,
    #[serde(default)]
    pub scale: u32,
    #[serde(default)]
    pub nillable: bool,
    /// A formula: it changes without moving the record's `SystemModstamp`.
    #[serde(default)]
    pub calculated: bool,
    #[serde(default)]
    pub compound_field_name: Option<String>,
    #[serde(default)]
    pub custom: bool,
    #[serde(default)]
    pub external_id: bool,
    #[serde(default)]
    pub id_lookup: bool,
    #[serde(default)]
    pub filterable: bool,
    #[serde(default)]
    pub createable: bool,
    #[serde(default)]
    pub updateable: bool,
    #[serde(default)]
    pub unique: bool,
    #[serde(default)]
    pub deprecated_and_hidden: bool,
    #[serde(default)]
    pub reference_to: Vec<String>,
    #[serde(default)]
    pub relationship_name: Option<String>,
    #[serde(default)]
    pub picklist_values: Vec<PicklistValue>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PicklistValue {
    pub value: String,
    #[serde(default)]
    pub label: Option<String>,
    #[serde(default)]
    pub active: bool,
    #[serde(default)]
    pub default_value: bool,
}

/// Why a field has no column in the schema.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Exclusion {
    #[error("it is put together from other fields, which are columns of their own")]
    CompoundParent,
    #[error("it holds a file, which the Bulk API does not serve")]
    Base64,
    #[error("it is deprecated and hidden")]
    Hidden,
    #[error("its type {0} has no canonical form")]
    UnmappedType(String),
    #[error("its name is not an API name")]
    UnusableName,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExcludedField {
    pub name: String,
    pub reason: Exclusion,
}

impl ObjectDescription {
    pub fn field(&self, name: &str) -> Option<&FieldDescription> {
        self.fields.iter().find(|f| f.name == name)
    }

    /// The canonical schema, columns in the describe's order, and what was left out of it, with the reason.
    ///
    /// Compound parents are found by what other fields say of themselves, since a parent's own type (`string` for a person's
    /// `Name`) does not always give it away.
    pub fn to_schema(&self) -> (ObjectSchema, Vec<ExcludedField>) {
        let parents: HashSet<&str> =
            self.fields.iter().filter_map(|f| f.compound_field_name.as_deref().filter(|parent| *parent != f.name)).collect();
        let mut fields = Vec::with_capacity(self.fields.len());
        let mut excluded = Vec::new();
        for field in &self.fields {
            match field.canonical_type(&parents) {
                Ok(field_type) => fields.push(Field {
                    name: field.name.clone(),
                    label: field.label.clone(),
                    field_type,
                    nullable: field.nillable,
                }),
                Err(reason) => excluded.push(ExcludedField { name: field.name.clone(), reason }),
            }
        }
        (ObjectSchema { object: self.name.clone(), fields }, excluded)
    }
}

impl FieldDescription {
    /// A multi-select picklist stays one label: the vendor writes its choices in a fixed order, joined by semicolons, so equal
    /// choices are equal texts.
    fn canonical_type(&self, compound_parents: &HashSet<&str>) -> Result<FieldType, Exclusion> {
        if !soql::is_name(&self.name) {
            return Err(Exclusion::UnusableName);
        }
        if self.deprecated_and_hidden {
            return Err(Exclusion::Hidden);
        }
        if compound_parents.contains(self.name.as_str()) {
            return Err(Exclusion::CompoundParent);
        }
        match self.field_type.as_str() {
            "string"
            | "textarea"
            | "email"
            | "phone"
            | "url"
            | "encryptedstring"
            | "combobox"
            | "anyType"
            | "time"
            | "DataCategoryGroupReference" => Ok(FieldType::Text),
            "picklist" | "multipicklist" => Ok(FieldType::Picklist),
            "id" | "reference" => Ok(FieldType::Reference),
            "boolean" => Ok(FieldType::Boolean),
            "int" | "long" | "double" | "currency" | "percent" => Ok(FieldType::Number),
            "date" => Ok(FieldType::Date),
            "datetime" => Ok(FieldType::DateTime),
            "address" | "location" => Err(Exclusion::CompoundParent),
            "base64" => Err(Exclusion::Base64),
            other => Err(Exclusion::UnmappedType(other.to_owned())),
        }
    }
}

impl OrgClient {
    /// # Errors
    /// [`SalesforceError::NotFound`] for an object the org, or the user, does not know; otherwise as any call.
    pub async fn describe(&self, object: &str) -> Result<ObjectDescription, SalesforceError> {
        let what = format!("describe of {}", if soql::is_name(object) { object } else { "an object" });
        if !soql::is_name(object) {
            return Err(SalesforceError::InvalidRequest { what, reason: "the object is not an API name".to_owned() });
        }
        let path = self.data_path(&format!("/sobjects/{object}/describe"));
        self.send_for_json(&Call::get(what, path).about(Missing::Object)).await
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_describe_becomes_typed_columns_and_says_what_it_left_out() {
        let field = |name: &str, kind: &str, compound: Option<&str>| {
            json!({ "name": name, "label": format!("The {name}"), "type": kind, "nillable": true, "compoundFieldName": compound,
                    "soapType": "xsd:string", "aiPredictionField": false })
        };
        let mut hidden = field("Old__c", "string", None);
        hidden["deprecatedAndHidden"] = json!(true);
        let description: ObjectDescription = serde_json::from_value(json!({
            "name": "Contact", "label": "Contact", "queryable": true, "urls": {},
            "fields": [
                field("Id", "id", None),
                field("Name", "string", Some("Name")),
                field("LastName", "string", Some("Name")),
                field("MailingCity", "string", Some("MailingAddress")),
                field("MailingAddress", "address", None),
                field("Where__c", "location", None),
                field("Body", "base64", None),
                field("AnnualRevenue", "currency", None),
                field("Interests__c", "multipicklist", None),
                field("DoNotCall", "boolean", None),
                field("Birthdate", "date", None),
                field("SystemModstamp", "datetime", None),
                field("AccountId", "reference", None),
                field("Notes__c", "textarea", None),
                field("Blob__c", "complexvalue", None),
                hidden,
            ],
        }))
        .unwrap();
        let (schema, excluded) = description.to_schema();
        let columns: Vec<_> = schema.fields.iter().map(|f| (f.name.as_str(), f.field_type)).collect();
        assert_eq!(
            columns,
            [
                ("Id", FieldType::Reference),
                ("LastName", FieldType::Text),
                ("MailingCity", FieldType::Text),
                ("AnnualRevenue", FieldType::Number),
                ("Interests__c", FieldType::Picklist),
                ("DoNotCall", FieldType::Boolean),
                ("Birthdate", FieldType::Date),
                ("SystemModstamp", FieldType::DateTime),
                ("AccountId", FieldType::Reference),
                ("Notes__c", FieldType::Text),
            ]
        );
        assert_eq!(schema.fields[1].label, "The LastName");
        let reasons: Vec<_> = excluded.iter().map(|e| (e.name.as_str(), e.reason.clone())).collect();
        assert_eq!(
            reasons,
            [
                ("Name", Exclusion::CompoundParent),
                ("MailingAddress", Exclusion::CompoundParent),
                ("Where__c", Exclusion::CompoundParent),
                ("Body", Exclusion::Base64),
                ("Blob__c", Exclusion::UnmappedType("complexvalue".into())),
                ("Old__c", Exclusion::Hidden),
            ]
        );
    }
}
