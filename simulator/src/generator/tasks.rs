//! Tasks: calls and mails logged on leads, contacts, accounts and opportunities. They carry no signal of their own.

use super::record::{Record, moment};
use super::vocabulary as words;
use super::{World, user_id};
use crate::ids::RecordId;
use crate::schema::standard::{key_prefix, owner_field};
use crate::schema::{FieldDef, FieldKind, ObjectDef};
use chrono::Duration;

const SUBJECTS: &[&str] = &["Call", "Send letter", "Send quote", "Follow up", "Demo", "Check in"];
const STATUSES: &[&str] = &["Not Started", "In Progress", "Completed", "Waiting on someone else", "Deferred"];
const PRIORITIES: &[(&str, f64)] = &[("Normal", 0.7), ("High", 0.2), ("Low", 0.1)];

pub(super) fn task() -> ObjectDef {
    let reference = |to: [&str; 2], relationship: &str| FieldKind::Reference {
        to: to.map(str::to_owned).to_vec(),
        relationship: relationship.to_owned(),
    };
    let fields = vec![
        FieldDef::new("Subject", "Subject", FieldKind::String { length: 255 }),
        FieldDef::new("WhoId", "Name ID", reference(["Contact", "Lead"], "Who")),
        FieldDef::new("WhatId", "Related To ID", reference(["Account", "Opportunity"], "What")),
        FieldDef::new("Status", "Status", FieldKind::Picklist { values: words::texts(STATUSES) }),
        FieldDef::new("Priority", "Priority", FieldKind::Picklist { values: words::names_of(PRIORITIES) }),
        FieldDef::new("ActivityDate", "Due Date Only", FieldKind::Date),
        FieldDef::new("Description", "Description", FieldKind::TextArea { length: 32_000 }),
        FieldDef::new("IsClosed", "Closed", FieldKind::Boolean).read_only(),
        owner_field(),
    ];
    ObjectDef::new("Task", "Task", "Tasks", &key_prefix("Task", 0), fields)
}

pub(super) fn fill_task(world: &World, row: u64, record: &mut Record) {
    let mut dice = world.dice("Task", row);
    let created = moment(&mut dice, 730);
    let due = created + Duration::days(dice.between(0, 30));
    let owner = world.owner(&mut dice);
    record.begin(RecordId::new("00T", row), created, due, user_id(owner));
    let subject = *dice.pick(SUBJECTS);
    let status = *dice.pick(STATUSES);
    record.text("Subject", subject);
    record.text("Status", status);
    record.flag("IsClosed", status == "Completed");
    record.text("Priority", *dice.weighted(PRIORITIES));
    record.day("ActivityDate", due.date_naive());
    record.id("OwnerId", user_id(owner));
    let sizes = &world.sizes;
    if dice.chance(0.6) && sizes.leads > 0 {
        record.id("WhoId", RecordId::new("00Q", dice.below(sizes.leads)));
        return;
    }
    let contact = dice.below(sizes.contacts);
    if sizes.contacts > 0 {
        record.id("WhoId", RecordId::new("003", contact));
    }
    if let Some(account) = world.account_of_contact(contact) {
        record.id("WhatId", RecordId::new("001", account));
    }
}
