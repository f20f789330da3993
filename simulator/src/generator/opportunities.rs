//! Products, opportunities and their line items, and whether each opportunity was won.
//!
//! Line `i` belongs to opportunity `i` modulo the number of opportunities; an amount is the sum of its lines.

use super::accounts::{self, level};
use super::dice::{Dice, logistic};
use super::record::{Record, as_of, moment};
use super::vocabulary as words;
use super::{World, user_id};
use crate::ids::RecordId;
use crate::schema::standard::{key_prefix, owner_field, score_fields};
use crate::schema::{FieldDef, FieldKind, ObjectDef};
use chrono::Duration;

/// Open stage and its probability in percent.
const OPEN_STAGES: &[(&str, f64)] = &[
    ("Prospecting", 10.0),
    ("Qualification", 20.0),
    ("Needs Analysis", 35.0),
    ("Proposal/Price Quote", 60.0),
    ("Negotiation/Review", 85.0),
];
const COMPETITORS: &[(&str, f64, f64)] =
    &[("None", 0.45, 0.45), ("Northwind CRM", 0.25, -0.2), ("Bluepeak", 0.2, -0.45), ("In-house", 0.1, -0.9)];
const TYPES: &[(&str, f64, f64)] =
    &[("New Customer", 0.6, -0.35), ("Existing Customer - Upgrade", 0.3, 0.45), ("Existing Customer - Replacement", 0.1, 0.1)];

pub(super) fn product() -> ObjectDef {
    let families = ["Platform", "Add-on", "Integration", "Service"].map(str::to_owned).to_vec();
    let fields = vec![
        FieldDef::new("Name", "Product Name", FieldKind::String { length: 255 }).required(),
        FieldDef::new("ProductCode", "Product Code", FieldKind::String { length: 255 }),
        FieldDef::new("Family", "Product Family", FieldKind::Picklist { values: families }),
        FieldDef::new("IsActive", "Active", FieldKind::Boolean),
        FieldDef::new("List_Price__c", "List Price", FieldKind::Currency),
    ];
    ObjectDef::new("Product2", "Product", "Products", &key_prefix("Product2", 0), fields)
}

pub(super) fn opportunity() -> ObjectDef {
    let levels = |levels: &[(&str, f64, f64)]| FieldKind::Picklist {
        values: levels.iter().map(|(name, ..)| (*name).to_owned()).collect(),
    };
    let account = FieldKind::Reference { to: vec!["Account".into()], relationship: "Account".into() };
    let mut stages = words::names_of(OPEN_STAGES);
    stages.extend(["Closed Won".to_owned(), "Closed Lost".to_owned()]);
    let forecasts = ["Pipeline", "Best Case", "Commit", "Closed", "Omitted"].map(str::to_owned).to_vec();
    let mut fields = vec![
        FieldDef::new("Name", "Name", FieldKind::String { length: 120 }).required(),
        FieldDef::new("AccountId", "Account ID", account),
        FieldDef::new("StageName", "Stage", FieldKind::Picklist { values: stages }).required(),
        FieldDef::new("CloseDate", "Close Date", FieldKind::Date).required(),
        FieldDef::new("Amount", "Amount", FieldKind::Currency),
        FieldDef::new("Probability", "Probability (%)", FieldKind::Percent),
        FieldDef::new("ExpectedRevenue", "Expected Amount", FieldKind::Currency).read_only(),
        FieldDef::new("Type", "Opportunity Type", levels(TYPES)),
        FieldDef::new("LeadSource", "Lead Source", levels(words::LEAD_SOURCES)),
        FieldDef::new("NextStep", "Next Step", FieldKind::String { length: 255 }),
        FieldDef::new("Description", "Description", FieldKind::TextArea { length: 32_000 }),
        FieldDef::new("ForecastCategoryName", "Forecast Category", FieldKind::Picklist { values: forecasts }),
        FieldDef::new("HasOpportunityLineItem", "Has Line Item", FieldKind::Boolean).read_only(),
        FieldDef::new("IsClosed", "Closed", FieldKind::Boolean).read_only(),
        FieldDef::new("IsWon", "Won", FieldKind::Boolean).read_only(),
        owner_field(),
        FieldDef::new("Competitor__c", "Main Competitor", levels(COMPETITORS)),
        FieldDef::new("Discount__c", "Discount Asked", FieldKind::Percent),
        FieldDef::new("Meetings_Held__c", "Meetings Held", FieldKind::Int),
        FieldDef::new("Stakeholders__c", "Stakeholders", FieldKind::Int),
        FieldDef::new("Decision_Maker_Engaged__c", "Decision Maker Engaged", FieldKind::Boolean),
        FieldDef::new("Proposal_Sent__c", "Proposal Sent", FieldKind::Date),
        FieldDef::new("External_Id__c", "External Id", FieldKind::String { length: 36 }).external_id(),
    ];
    fields.extend(score_fields());
    ObjectDef::new("Opportunity", "Opportunity", "Opportunities", &key_prefix("Opportunity", 0), fields)
}

pub(super) fn line_item() -> ObjectDef {
    let to =
        |object: &str, relationship: &str| FieldKind::Reference { to: vec![object.into()], relationship: relationship.into() };
    let fields = vec![
        FieldDef::new("OpportunityId", "Opportunity ID", to("Opportunity", "Opportunity")).required(),
        FieldDef::new("Product2Id", "Product ID", to("Product2", "Product2")),
        FieldDef::new("Name", "Opportunity Product Name", FieldKind::String { length: 376 }).read_only(),
        FieldDef::new("Quantity", "Quantity", FieldKind::Double { scale: 2 }).required(),
        FieldDef::new("UnitPrice", "Sales Price", FieldKind::Currency).required(),
        FieldDef::new("TotalPrice", "Total Price", FieldKind::Currency).read_only(),
        FieldDef::new("ServiceDate", "Date", FieldKind::Date),
        FieldDef::new("Description", "Line Description", FieldKind::String { length: 255 }),
    ];
    let (label, plural) = ("Opportunity Product", "Opportunity Line Items");
    ObjectDef::new("OpportunityLineItem", label, plural, &key_prefix("OpportunityLineItem", 0), fields)
}

pub(super) fn fill_product(_: &World, row: u64, record: &mut Record) {
    let (name, family, price) = words::PRODUCTS[(row as usize) % words::PRODUCTS.len()];
    let created = as_of() - Duration::days(1_500);
    record.begin(RecordId::new("01t", row), created, created, user_id(0));
    record.text("Name", name);
    record.text("ProductCode", format!("LW-{row:03}"));
    record.text("Family", family);
    record.flag("IsActive", true);
    record.number("List_Price__c", price, 2);
}

/// What a line sells: product, quantity, unit price.
struct Line {
    product: u64,
    quantity: f64,
    unit_price: f64,
}

fn line(world: &World, row: u64) -> Line {
    let mut dice = world.dice("OpportunityLineItem", row);
    let product = dice.below(words::PRODUCTS.len() as u64);
    let (.., list_price) = words::PRODUCTS[product as usize];
    let quantity = (1 + dice.poisson(2.0)) as f64;
    let unit_price = (list_price * (1.0 - 0.3 * dice.unit()) * 100.0).round() / 100.0;
    Line { product, quantity, unit_price }
}

fn total(line: &Line) -> f64 {
    (line.quantity * line.unit_price * 100.0).round() / 100.0
}

pub(super) fn fill_line_item(world: &World, row: u64, record: &mut Record) {
    let opportunities = world.sizes.opportunities.max(1);
    let opportunity = row % opportunities;
    let line = line(world, row);
    let created = created_at(world, opportunity);
    record.begin(RecordId::new("00k", row), created, created + Duration::hours(2), user_id(0));
    record.id("OpportunityId", RecordId::new("006", opportunity));
    if world.sizes.products > 0 {
        record.id("Product2Id", RecordId::new("01t", line.product % world.sizes.products));
    }
    record.text("Name", words::PRODUCTS[line.product as usize].0);
    record.number("Quantity", line.quantity, 2);
    record.number("UnitPrice", line.unit_price, 2);
    record.number("TotalPrice", total(&line), 2);
}

fn created_at(world: &World, opportunity: u64) -> chrono::DateTime<chrono::Utc> {
    moment(&mut world.dice("Opportunity.CreatedDate", opportunity), 730)
}

pub(super) fn fill_opportunity(world: &World, row: u64, record: &mut Record) {
    let mut dice = world.dice("Opportunity", row);
    let created = created_at(world, row);
    let close = created + Duration::days(20 + dice.exponential(55.0) as i64);
    let closed = close < as_of();
    let owner = world.owner(&mut dice);
    let modified = if closed { close } else { created + Duration::days(dice.between(0, 40)) };
    record.begin(RecordId::new("006", row), created, modified, user_id(owner));
    record.id("OwnerId", user_id(owner));
    record.text("External_Id__c", format!("OPP-{row:07}"));
    record.day("CloseDate", close.date_naive());
    let opportunities = world.sizes.opportunities.max(1);
    let lines: Vec<Line> =
        (row..world.sizes.line_items).step_by(opportunities as usize).map(|line_row| line(world, line_row)).collect();
    let amount: f64 = lines.iter().map(total).sum();
    let first_product = lines.first().map_or("Leadwell Core", |line| words::PRODUCTS[line.product as usize].0);
    record.flag("HasOpportunityLineItem", !lines.is_empty());
    if !lines.is_empty() {
        record.number("Amount", amount, 2);
    }
    let account = world.account_of_opportunity(row);
    let industry = account.map(|account| accounts::industry(world, account));
    let company = account.map_or_else(|| "Unknown".to_owned(), |account| accounts::name(world, account));
    if let Some(account) = account {
        record.id("AccountId", RecordId::new("001", account));
    }
    record.text("Name", format!("{company} - {first_product}"));
    let mut odds = course(record, &mut dice, created);
    odds += industry.map_or(0.0, |industry| 1.6 * words::INDUSTRIES[industry].3);
    odds += world.dice("User.Skill", owner).normal(0.0, 0.45);
    odds -= 0.3 * ((amount + 1.0).ln() - 9.3);
    odds = 1.6 * odds + dice.normal(0.0, 0.4) - 0.3;
    let won = closed && dice.chance(logistic(odds));
    stage(record, &mut dice, closed, won, amount);
}

/// How the deal went; gives its part of the log-odds.
fn course(record: &mut Record, dice: &mut Dice, created: chrono::DateTime<chrono::Utc>) -> f64 {
    let (kind, kind_effect) = level(dice, TYPES);
    let (competitor, competitor_effect) = level(dice, COMPETITORS);
    let (source, source_effect) = level(dice, words::LEAD_SOURCES);
    let meetings = dice.poisson(3.2);
    let stakeholders = 1 + dice.poisson(1.8);
    let decision_maker = dice.chance(0.45);
    let discount = dice.exponential(9.0).min(45.0).round();
    let mut odds = kind_effect + competitor_effect + 0.5 * source_effect;
    odds += 0.24 * (meetings as f64 - 3.2) + if decision_maker { 0.75 } else { -0.45 };
    // A little discount helps; asking for much is a sign of trouble. Many stakeholders without the decision maker stall a deal.
    odds += 0.35 - 0.006 * (discount - 8.0).powi(2).min(250.0);
    odds -= if decision_maker { 0.0 } else { 0.2 * (stakeholders as f64 - 2.0) };
    record.text("Type", kind);
    record.text("LeadSource", source);
    if dice.chance(0.7) {
        record.text("Competitor__c", competitor);
    }
    if dice.chance(0.9) {
        record.number("Discount__c", discount, 0);
    }
    record.count("Meetings_Held__c", meetings);
    record.count("Stakeholders__c", stakeholders);
    record.flag("Decision_Maker_Engaged__c", decision_maker);
    if dice.chance(0.6) {
        record.day("Proposal_Sent__c", (created + Duration::days(dice.between(3, 20))).date_naive());
    }
    odds
}

fn stage(record: &mut Record, dice: &mut Dice, closed: bool, won: bool, amount: f64) {
    let (name, probability, forecast) = match (closed, won) {
        (true, true) => ("Closed Won", 100.0, "Closed"),
        (true, false) => ("Closed Lost", 0.0, "Omitted"),
        (false, _) => {
            let (name, probability) = *dice.pick(OPEN_STAGES);
            let forecast = if probability >= 80.0 {
                "Commit"
            } else if probability >= 50.0 {
                "Best Case"
            } else {
                "Pipeline"
            };
            (name, probability, forecast)
        }
    };
    record.text("StageName", name);
    record.flag("IsClosed", closed);
    record.flag("IsWon", won);
    record.number("Probability", probability, 0);
    record.text("ForecastCategoryName", forecast);
    if amount > 0.0 {
        record.number("ExpectedRevenue", amount * probability / 100.0, 2);
    }
}
