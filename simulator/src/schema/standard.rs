//! What every object of this org has: system fields with fixed cells, and the fields that scores are written to.

use super::{FieldDef, FieldKind};

/// Cells of the system fields, the same in every object because they come first.
pub(crate) const ID: usize = 0;
pub(crate) const IS_DELETED: usize = 1;
pub(crate) const CREATED_DATE: usize = 2;
pub(crate) const CREATED_BY: usize = 3;
pub(crate) const LAST_MODIFIED_DATE: usize = 4;
pub(crate) const LAST_MODIFIED_BY: usize = 5;
pub(crate) const SYSTEM_MODSTAMP: usize = 6;
pub(crate) const SYSTEM_WIDTH: usize = 7;

pub(crate) fn system_fields() -> Vec<FieldDef> {
    let user = |relationship: &str| FieldKind::Reference { to: vec!["User".into()], relationship: relationship.into() };
    vec![
        FieldDef::new("Id", "Record ID", FieldKind::Id).read_only(),
        FieldDef::new("IsDeleted", "Deleted", FieldKind::Boolean).read_only(),
        FieldDef::new("CreatedDate", "Created Date", FieldKind::DateTime).read_only(),
        FieldDef::new("CreatedById", "Created By ID", user("CreatedBy")).read_only(),
        FieldDef::new("LastModifiedDate", "Last Modified Date", FieldKind::DateTime).read_only(),
        FieldDef::new("LastModifiedById", "Last Modified By ID", user("LastModifiedBy")).read_only(),
        FieldDef::new("SystemModstamp", "System Modstamp", FieldKind::DateTime).read_only(),
    ]
}

/// The custom fields that an admin makes for scores: the only ones that leadline writes.
pub(crate) fn score_fields() -> Vec<FieldDef> {
    vec![
        FieldDef::new("Leadline_Score__c", "Leadline Score", FieldKind::Double { scale: 6 }),
        FieldDef::new("Leadline_Reasons__c", "Leadline Reasons", FieldKind::TextArea { length: 32_768 }),
        FieldDef::new("Leadline_Model__c", "Leadline Model", FieldKind::String { length: 255 }),
        FieldDef::new("Leadline_Scored_At__c", "Leadline Scored At", FieldKind::DateTime),
    ]
}

/// The key prefix of a standard object, and a custom one (`a00`, `a01`, ...) for every other name.
pub(crate) fn key_prefix(object: &str, custom_index: usize) -> String {
    match object {
        "Account" => "001",
        "Contact" => "003",
        "Opportunity" => "006",
        "OpportunityLineItem" => "00k",
        "Lead" => "00Q",
        "Task" => "00T",
        "User" => "005",
        "Product2" => "01t",
        "Case" => "500",
        "Campaign" => "701",
        "Event" => "00U",
        _ => return format!("a{custom_index:02}"),
    }
    .to_owned()
}

pub(crate) fn plural(label: &str) -> String {
    match label.strip_suffix('y') {
        Some(stem) if !stem.ends_with(['a', 'e', 'i', 'o', 'u']) => format!("{stem}ies"),
        _ => format!("{label}s"),
    }
}

/// The five stored parts of an address and the compound that shows them as one.
pub(crate) fn address_fields(prefix: &str, label_prefix: &str) -> Vec<FieldDef> {
    let compound = format!("{prefix}Address");
    let part = |name: &str, kind: FieldKind| {
        FieldDef::new(&format!("{prefix}{name}"), &format!("{label_prefix}{name}"), kind).part_of(&compound)
    };
    let text = |length| FieldKind::String { length };
    let mut fields = vec![
        part("Street", FieldKind::TextArea { length: 255 }),
        part("City", text(40)),
        part("State", text(80)),
        part("PostalCode", text(20)),
        part("Country", text(80)),
    ];
    fields[3].label = format!("{label_prefix}Zip/Postal Code");
    let source = super::Source::Address(prefix.to_owned());
    fields.push(FieldDef::new(&compound, &format!("{label_prefix}Address"), FieldKind::Address).computed(source));
    fields
}

/// Salutation, first and last name, and the full name that is computed from them.
pub(crate) fn person_name_fields() -> Vec<FieldDef> {
    let salutations = ["Mr.", "Ms.", "Mrs.", "Dr.", "Prof."].map(String::from).to_vec();
    vec![
        FieldDef::new("LastName", "Last Name", FieldKind::String { length: 80 }).required().part_of("Name"),
        FieldDef::new("FirstName", "First Name", FieldKind::String { length: 40 }).part_of("Name"),
        FieldDef::new("Salutation", "Salutation", FieldKind::Picklist { values: salutations }).part_of("Name"),
        FieldDef::new("Name", "Full Name", FieldKind::String { length: 121 }).computed(super::Source::FullName),
    ]
}

pub(crate) fn owner_field() -> FieldDef {
    let kind = FieldKind::Reference { to: vec!["User".into()], relationship: "Owner".into() };
    FieldDef::new("OwnerId", "Owner ID", kind)
}
