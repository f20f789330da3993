//! Users: who owns and writes the records. Row 0 is the integration user, as which leadline connects.

use super::record::{Record, moment, person};
use super::{World, user_id};
use crate::schema::standard::{key_prefix, person_name_fields};
use crate::schema::{FieldDef, FieldKind, ObjectDef};

pub(crate) const INTEGRATION_USERNAME: &str = "integration@leadline.example";

pub(super) fn user() -> ObjectDef {
    let text = |length| FieldKind::String { length };
    let mut fields = person_name_fields();
    fields.extend([
        FieldDef::new("Username", "Username", text(80)).required().external_id(),
        FieldDef::new("Email", "Email", FieldKind::Email).required(),
        FieldDef::new("Title", "Title", text(80)),
        FieldDef::new("Department", "Department", text(80)),
        FieldDef::new("CompanyName", "Company Name", text(80)),
        FieldDef::new("IsActive", "Active", FieldKind::Boolean),
    ]);
    ObjectDef::new("User", "User", "Users", &key_prefix("User", 0), fields)
}

pub(super) fn fill_user(world: &World, row: u64, record: &mut Record) {
    let mut dice = world.dice("User", row);
    let created = moment(&mut dice, 2_000);
    record.begin(user_id(row), created, created, user_id(0));
    let (first, last) = person(record, &mut dice);
    record.text("CompanyName", "Leadwell");
    record.flag("IsActive", row < 3 || dice.chance(0.93));
    if row == 0 {
        record.text("FirstName", "Integration");
        record.text("LastName", "User");
        record.text("Salutation", "");
        record.text("Username", INTEGRATION_USERNAME);
        record.text("Email", INTEGRATION_USERNAME);
        return;
    }
    let username = format!("{first}.{last}.{row}@leadwell.example");
    record.text("Email", username.as_str());
    record.text("Username", username);
    record.text("Title", *dice.pick(&["Account Executive", "Sales Development", "Sales Manager", "Customer Success"]));
    record.text("Department", *dice.pick(&["Sales", "Sales", "Customer Success"]));
}
