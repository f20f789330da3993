//! Accounts, and whether each one churned.

use super::dice::{Dice, logistic};
use super::record::{Record, address, as_of, company, moment, phone, web_name};
use super::vocabulary as words;
use super::{World, user_id};
use crate::ids::RecordId;
use crate::schema::standard::{address_fields, key_prefix, owner_field, score_fields};
use crate::schema::{FieldDef, FieldKind, ObjectDef};
use chrono::Duration;

/// Contract, its share, its effect on the log-odds of churn.
const CONTRACTS: &[(&str, f64, f64)] = &[("Month-to-month", 0.5, 1.0), ("One year", 0.3, -0.3), ("Two years", 0.2, -1.3)];
const PAYMENTS: &[(&str, f64, f64)] =
    &[("Invoice", 0.45, 0.0), ("Direct debit", 0.30, -0.35), ("Credit card", 0.20, 0.25), ("Cheque", 0.05, 0.7)];
const TYPES: &[&str] = &["Customer - Direct", "Customer - Channel", "Prospect", "Partner"];
const RATINGS: &[&str] = &["Hot", "Warm", "Cold"];

pub(super) fn account() -> ObjectDef {
    let text = |length| FieldKind::String { length };
    let industries = words::INDUSTRIES.iter().map(|(name, ..)| (*name).to_owned()).collect();
    let effects = |levels: &[(&str, f64, f64)]| FieldKind::Picklist {
        values: levels.iter().map(|(name, ..)| (*name).to_owned()).collect(),
    };
    let mut fields = vec![
        FieldDef::new("Name", "Account Name", text(255)).required(),
        FieldDef::new("Type", "Account Type", FieldKind::Picklist { values: words::texts(TYPES) }),
        FieldDef::new("Industry", "Industry", FieldKind::Picklist { values: industries }),
        FieldDef::new("AnnualRevenue", "Annual Revenue", FieldKind::Currency),
        FieldDef::new("NumberOfEmployees", "Employees", FieldKind::Int),
        FieldDef::new("Rating", "Account Rating", FieldKind::Picklist { values: words::texts(RATINGS) }),
        FieldDef::new("Phone", "Account Phone", FieldKind::Phone),
        FieldDef::new("Website", "Website", FieldKind::Url),
        FieldDef::new("Description", "Account Description", FieldKind::TextArea { length: 32_000 }),
        owner_field(),
        FieldDef::new("Contract_Type__c", "Contract Type", effects(CONTRACTS)),
        FieldDef::new("Payment_Method__c", "Payment Method", effects(PAYMENTS)),
        FieldDef::new("Contract_Start__c", "Contract Start", FieldKind::Date),
        FieldDef::new("Tenure_Months__c", "Tenure (Months)", FieldKind::Int),
        FieldDef::new("Monthly_Spend__c", "Monthly Spend", FieldKind::Currency),
        FieldDef::new("Seats_Used__c", "Seats Used", FieldKind::Percent),
        FieldDef::new("Support_Tickets_90d__c", "Support Tickets (90 Days)", FieldKind::Int),
        FieldDef::new("Days_Since_Login__c", "Days Since Last Login", FieldKind::Int),
        FieldDef::new("NPS__c", "Net Promoter Score", FieldKind::Double { scale: 0 }),
        FieldDef::new("Churned__c", "Churned", FieldKind::Boolean),
        FieldDef::new("External_Id__c", "External Id", text(36)).external_id(),
    ];
    fields.extend(address_fields("Billing", "Billing "));
    fields.extend(score_fields());
    ObjectDef::new("Account", "Account", "Accounts", &key_prefix("Account", 0), fields)
}

/// The account's name, which contacts and opportunities repeat.
pub(super) fn name(world: &World, row: u64) -> String {
    company(&mut world.dice("Account.Name", row))
}

/// Position in [`words::INDUSTRIES`].
pub(super) fn industry(world: &World, row: u64) -> usize {
    industry_of(&mut world.dice("Account.Industry", row))
}

pub(super) fn industry_of(dice: &mut Dice) -> usize {
    let mut left = dice.unit() * words::INDUSTRIES.iter().map(|(_, share, ..)| share).sum::<f64>();
    for (position, (_, share, ..)) in words::INDUSTRIES.iter().enumerate() {
        left -= share;
        if left < 0.0 {
            return position;
        }
    }
    0
}

/// A level by its share, with its effect.
pub(super) fn level(dice: &mut Dice, levels: &'static [(&'static str, f64, f64)]) -> (&'static str, f64) {
    let mut left = dice.unit() * levels.iter().map(|(_, share, _)| share).sum::<f64>();
    for (name, share, effect) in levels {
        left -= share;
        if left < 0.0 {
            return (name, *effect);
        }
    }
    (levels[0].0, levels[0].2)
}

pub(super) fn fill_account(world: &World, row: u64, record: &mut Record) {
    let mut dice = world.dice("Account", row);
    let tenure = dice.exponential(22.0).min(70.0).floor();
    let start = as_of() - Duration::days((tenure * 30.4) as i64 + dice.between(0, 29));
    let created = start - Duration::seconds(dice.between(3_600, 90 * 86_400));
    let owner = world.owner(&mut dice);
    let modified = moment(&mut dice, 120);
    record.begin(RecordId::new("001", row), created, modified, user_id(owner));
    let name = name(world, row);
    record.text("Website", format!("https://www.{}.example", web_name(&name)));
    record.text("Name", name);
    record.text("Type", *dice.pick(TYPES));
    record.text("Rating", *dice.pick(RATINGS));
    record.text("Industry", words::INDUSTRIES[industry(world, row)].0);
    let employees = dice.normal(4.6, 1.4).exp().clamp(1.0, 80_000.0).floor();
    if dice.chance(0.8) {
        record.count("NumberOfEmployees", employees as u64);
    }
    if dice.chance(0.7) {
        record.number("AnnualRevenue", employees * dice.normal(11.6, 0.6).exp(), 0);
    }
    if dice.chance(0.85) {
        record.text("Phone", phone(&mut dice));
    }
    record.id("OwnerId", user_id(owner));
    record.text("External_Id__c", format!("ACC-{row:07}"));
    address(record, &mut dice, "Billing");
    record.day("Contract_Start__c", start.date_naive());
    record.count("Tenure_Months__c", tenure as u64);
    churn(record, &mut dice, tenure, employees);
}

fn churn(record: &mut Record, dice: &mut Dice, tenure: f64, employees: f64) {
    let (contract, contract_effect) = level(dice, CONTRACTS);
    let (payment, payment_effect) = level(dice, PAYMENTS);
    let tickets = dice.poisson(1.6);
    let login = dice.exponential(14.0).min(180.0).floor();
    let seats = dice.normal(68.0, 22.0).clamp(2.0, 100.0);
    let nps = dice.normal(24.0, 34.0).clamp(-100.0, 100.0).round();
    let spend = 60.0 + employees.powf(0.6) * dice.normal(3.1, 0.4).exp();
    let mut odds = -2.1 + contract_effect + payment_effect;
    odds += 0.38 * tickets as f64 + 0.03 * login.min(60.0);
    odds -= 0.028 * tenure + 0.016 * (seats - 68.0) + 0.011 * (nps - 24.0);
    // Many tickets hurt most when nobody is bound by contract.
    odds += if contract == "Month-to-month" && tickets >= 4 { 0.6 } else { 0.0 };
    odds = 1.3 * odds - 0.1 + dice.normal(0.0, 0.4);
    record.text("Contract_Type__c", contract);
    record.text("Payment_Method__c", payment);
    record.count("Support_Tickets_90d__c", tickets);
    record.count("Days_Since_Login__c", login as u64);
    if dice.chance(0.9) {
        record.number("Seats_Used__c", seats, 1);
    }
    // The unhappy answer surveys less often.
    if dice.chance(if nps < 0.0 { 0.4 } else { 0.65 }) {
        record.number("NPS__c", nps, 0);
    }
    record.number("Monthly_Spend__c", spend, 2);
    record.flag("Churned__c", dice.chance(logistic(odds)));
}
