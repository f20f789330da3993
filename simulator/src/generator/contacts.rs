//! Contacts: people at the accounts. Contact `i` belongs to account `i` modulo the number of accounts, so each account has some.

use super::record::{Record, address, as_of, moment, person, phone, web_name};
use super::vocabulary as words;
use super::{World, accounts, user_id};
use crate::ids::RecordId;
use crate::schema::standard::{address_fields, key_prefix, owner_field, person_name_fields};
use crate::schema::{FieldDef, FieldKind, ObjectDef};
use chrono::Duration;

pub(super) fn contact() -> ObjectDef {
    let text = |length| FieldKind::String { length };
    let account = FieldKind::Reference { to: vec!["Account".into()], relationship: "Account".into() };
    let sources = words::LEAD_SOURCES.iter().map(|(name, ..)| (*name).to_owned()).collect();
    let mut fields = person_name_fields();
    fields.extend([
        FieldDef::new("AccountId", "Account ID", account),
        FieldDef::new("Email", "Email", FieldKind::Email),
        FieldDef::new("Phone", "Business Phone", FieldKind::Phone),
        FieldDef::new("MobilePhone", "Mobile Phone", FieldKind::Phone),
        FieldDef::new("Title", "Title", text(128)),
        FieldDef::new("Department", "Department", text(80)),
        FieldDef::new("LeadSource", "Lead Source", FieldKind::Picklist { values: sources }),
        FieldDef::new("Birthdate", "Birthdate", FieldKind::Date),
        FieldDef::new("HasOptedOutOfEmail", "Email Opt Out", FieldKind::Boolean),
        FieldDef::new("Description", "Contact Description", FieldKind::TextArea { length: 32_000 }),
        owner_field(),
        FieldDef::new("External_Id__c", "External Id", text(36)).external_id(),
    ]);
    fields.extend(address_fields("Mailing", "Mailing "));
    ObjectDef::new("Contact", "Contact", "Contacts", &key_prefix("Contact", 0), fields)
}

pub(super) fn fill_contact(world: &World, row: u64, record: &mut Record) {
    let mut dice = world.dice("Contact", row);
    let created = moment(&mut dice, 900);
    let modified = created + Duration::hours(dice.between(0, 4_000));
    let owner = world.owner(&mut dice);
    record.begin(RecordId::new("003", row), created, modified, user_id(owner));
    let (first, last) = person(record, &mut dice);
    let account = world.account_of_contact(row);
    let company = account.map_or_else(|| "nowhere".to_owned(), |account| accounts::name(world, account));
    if let Some(account) = account {
        record.id("AccountId", RecordId::new("001", account));
    }
    if dice.chance(0.92) {
        record.text("Email", format!("{first}.{last}@{}.example", web_name(&company)));
    }
    if dice.chance(0.7) {
        record.text("Phone", phone(&mut dice));
    }
    if dice.chance(0.35) {
        record.text("MobilePhone", phone(&mut dice));
    }
    let area = *dice.pick(words::TITLE_AREAS);
    let rank = *dice.weighted(words::TITLE_RANKS);
    record.text("Title", format!("{rank} {area}"));
    record.text("Department", area);
    record.text("LeadSource", words::LEAD_SOURCES[dice.below(words::LEAD_SOURCES.len() as u64) as usize].0);
    if dice.chance(0.3) {
        record.day("Birthdate", as_of().date_naive() - Duration::days(dice.between(8_000, 23_000)));
    }
    record.flag("HasOptedOutOfEmail", dice.chance(0.08));
    record.id("OwnerId", user_id(owner));
    record.text("External_Id__c", format!("CON-{row:07}"));
    address(record, &mut dice, "Mailing");
}
