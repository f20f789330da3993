//! Leads, whether each one converted, and the planted leak.

use super::accounts::{industry_of, level};
use super::dice::{Dice, logistic};
use super::record::{Record, address, as_of, company, moment, person, phone, web_name};
use super::vocabulary as words;
use super::{World, user_id};
use crate::ids::RecordId;
use crate::schema::standard::{address_fields, key_prefix, owner_field, person_name_fields, score_fields};
use crate::schema::{FieldDef, FieldKind, ObjectDef};
use chrono::{DateTime, Datelike, Duration, Utc};

const STATUSES: &[&str] = &["Open - Not Contacted", "Working - Contacted", "Closed - Converted", "Closed - Not Converted"];
const RATINGS: &[(&str, f64, f64)] = &[("Hot", 0.15, 0.45), ("Warm", 0.35, 0.1), ("Cold", 0.5, -0.25)];
const BUDGETS: &[(&str, f64, f64)] = &[("Confirmed", 0.2, 0.55), ("Estimated", 0.35, 0.1), ("Unknown", 0.45, -0.3)];
const TIMELINES: &[(&str, f64, f64)] =
    &[("0-3 months", 0.2, 0.6), ("3-6 months", 0.25, 0.25), ("6-12 months", 0.25, -0.1), ("None", 0.3, -0.6)];
const CAMPAIGNS: u64 = 200;
const CAMPAIGN_THEMES: &[&str] = &["Spring", "Summer", "Autumn", "Winter", "Launch", "Partner", "Roadshow", "Retarget"];

pub(super) fn lead() -> ObjectDef {
    let text = |length| FieldKind::String { length };
    let to =
        |object: &str, relationship: &str| FieldKind::Reference { to: vec![object.into()], relationship: relationship.into() };
    let levels = |levels: &[(&str, f64, f64)]| FieldKind::Picklist {
        values: levels.iter().map(|(name, ..)| (*name).to_owned()).collect(),
    };
    let industries = words::INDUSTRIES.iter().map(|(name, ..)| (*name).to_owned()).collect();
    let products = words::PRODUCTS.iter().take(3).map(|(name, ..)| (*name).to_owned()).collect();
    let mut fields = person_name_fields();
    fields.extend([
        FieldDef::new("Company", "Company", text(255)).required(),
        FieldDef::new("Title", "Title", text(128)),
        FieldDef::new("Email", "Email", FieldKind::Email),
        FieldDef::new("Phone", "Phone", FieldKind::Phone),
        FieldDef::new("MobilePhone", "Mobile Phone", FieldKind::Phone),
        FieldDef::new("Website", "Website", FieldKind::Url),
        FieldDef::new("LeadSource", "Lead Source", levels(words::LEAD_SOURCES)),
        FieldDef::new("Status", "Lead Status", FieldKind::Picklist { values: words::texts(STATUSES) }),
        FieldDef::new("Industry", "Industry", FieldKind::Picklist { values: industries }),
        FieldDef::new("Rating", "Lead Rating", levels(RATINGS)),
        FieldDef::new("AnnualRevenue", "Annual Revenue", FieldKind::Currency),
        FieldDef::new("NumberOfEmployees", "No. of Employees", FieldKind::Int),
        FieldDef::new("Description", "Lead Description", FieldKind::TextArea { length: 32_000 }),
        FieldDef::new("HasOptedOutOfEmail", "Email Opt Out", FieldKind::Boolean),
        FieldDef::new("LastActivityDate", "Last Activity", FieldKind::Date).read_only(),
        FieldDef::new("IsConverted", "Converted", FieldKind::Boolean).read_only(),
        FieldDef::new("ConvertedDate", "Converted Date", FieldKind::Date).read_only(),
        FieldDef::new("ConvertedAccountId", "Converted Account ID", to("Account", "ConvertedAccount")).read_only(),
        FieldDef::new("ConvertedContactId", "Converted Contact ID", to("Contact", "ConvertedContact")).read_only(),
        FieldDef::new("ConvertedOpportunityId", "Converted Opportunity ID", to("Opportunity", "ConvertedOpportunity"))
            .read_only(),
        owner_field(),
        FieldDef::new("Campaign__c", "Campaign", text(80)),
        FieldDef::new("Product_Interest__c", "Product Interest", FieldKind::Picklist { values: products }),
        FieldDef::new("Budget__c", "Budget", levels(BUDGETS)),
        FieldDef::new("Purchase_Timeline__c", "Purchase Timeline", levels(TIMELINES)),
        FieldDef::new("Web_Visits_30d__c", "Web Visits (30 Days)", FieldKind::Int),
        FieldDef::new("Emails_Opened__c", "Emails Opened", FieldKind::Int),
        FieldDef::new("Form_Fills__c", "Forms Filled", FieldKind::Int),
        FieldDef::new("Webinar_Attended__c", "Webinar Attended", FieldKind::Boolean),
        FieldDef::new("Response_Minutes__c", "Minutes to First Response", FieldKind::Double { scale: 1 }),
        FieldDef::new("First_Touch_Date__c", "First Touch Date", FieldKind::Date),
        FieldDef::new("Conversion_Score__c", "Conversion Score", FieldKind::Double { scale: 1 }),
        FieldDef::new("External_Id__c", "External Id", text(36)).external_id(),
    ]);
    fields.extend(address_fields("", ""));
    fields.extend(score_fields());
    ObjectDef::new("Lead", "Lead", "Leads", &key_prefix("Lead", 0), fields)
}

pub(super) fn fill_lead(world: &World, row: u64, record: &mut Record) {
    let mut dice = world.dice("Lead", row);
    let created = moment(&mut dice, 730);
    let owner = world.owner(&mut dice);
    let modified = created + Duration::hours(dice.between(1, 2_500));
    record.begin(RecordId::new("00Q", row), created, modified, user_id(owner));
    record.id("OwnerId", user_id(owner));
    record.text("External_Id__c", format!("LEAD-{row:07}"));
    let odds = who_they_are(world, record, &mut dice) + what_they_did(record, &mut dice, created);
    // What no field shows: the same lead could go either way.
    let odds = 1.6 * odds + dice.normal(0.0, 0.5) - 4.6;
    let converts = dice.chance(logistic(odds));
    // Someone looks at most leads some day; that tells nothing of how it ends.
    if dice.chance(0.7) {
        let age = (as_of() - created).num_days();
        record.day("LastActivityDate", (created + Duration::days(dice.between(0, age.clamp(0, 60)))).date_naive());
    }
    let converted_at = created + Duration::seconds((dice.exponential(24.0) * 86_400.0) as i64 + 7_200);
    if converts && converted_at < as_of() {
        convert(world, record, &mut dice, converted_at);
    } else {
        leave_open(record, &mut dice, created);
    }
}

/// Person and company; gives their part of the log-odds.
fn who_they_are(world: &World, record: &mut Record, dice: &mut Dice) -> f64 {
    let (first, last) = person(record, dice);
    let company = company(dice);
    let site = web_name(&company);
    let business_mail = dice.chance(0.78);
    let mut odds = if business_mail { 0.25 } else { -0.55 };
    if dice.chance(0.93) {
        let host = if business_mail { site.as_str() } else { "mailbox" };
        record.text("Email", format!("{first}.{last}{}@{host}.example", dice.below(90)));
    } else {
        odds -= 0.5;
    }
    if dice.chance(0.6) {
        record.text("Phone", phone(dice));
        odds += 0.2;
    }
    if dice.chance(0.3) {
        record.text("MobilePhone", phone(dice));
    }
    if dice.chance(0.5) {
        record.text("Website", format!("https://www.{site}.example"));
    }
    record.text("Company", company);
    if dice.chance(0.88) {
        let rank = *dice.weighted(words::TITLE_RANKS);
        record.text("Title", format!("{rank} {}", dice.pick(words::TITLE_AREAS)));
        odds += match rank {
            "Chief" | "VP" => 0.5,
            "Director of" | "Head of" => 0.35,
            "Assistant," => -0.7,
            _ => 0.0,
        };
    }
    let (industry, _, effect, _) = words::INDUSTRIES[industry_of(dice)];
    if dice.chance(0.9) {
        record.text("Industry", industry);
    }
    odds += effect;
    let employees = dice.normal(4.4, 1.5).exp().clamp(1.0, 90_000.0).floor();
    // Middling companies buy best: a hump over the logarithm of size.
    odds += 0.5 - 0.16 * (employees.ln() - 5.0).powi(2);
    if dice.chance(0.82) {
        record.count("NumberOfEmployees", employees as u64);
    }
    // Small companies do not publish their revenue.
    if dice.chance(if employees < 50.0 { 0.45 } else { 0.8 }) {
        record.number("AnnualRevenue", employees * dice.normal(11.5, 0.7).exp(), 0);
    }
    let country = address(record, dice, "");
    odds += if matches!(country, "Germany" | "United States" | "United Kingdom") { 0.15 } else { 0.0 };
    odds + campaign(world, record, dice)
}

/// One campaign of many, each with an effect of its own: a category too wide for one-hot columns.
fn campaign(world: &World, record: &mut Record, dice: &mut Dice) -> f64 {
    if dice.chance(0.15) {
        return 0.0;
    }
    // Few campaigns bring most leads.
    let number = (dice.unit().powi(2) * CAMPAIGNS as f64) as u64;
    let theme = CAMPAIGN_THEMES[(number % 8) as usize];
    record.text("Campaign__c", format!("{theme} {:03}", number));
    world.dice("Campaign", number).normal(0.0, 0.45)
}

/// Interest shown; gives its part of the log-odds.
fn what_they_did(record: &mut Record, dice: &mut Dice, created: DateTime<Utc>) -> f64 {
    let (source, source_effect) = level(dice, words::LEAD_SOURCES);
    let (rating, rating_effect) = level(dice, RATINGS);
    let (budget, budget_effect) = level(dice, BUDGETS);
    let (timeline, timeline_effect) = level(dice, TIMELINES);
    let visits = dice.poisson(dice_mean(source));
    let opened = dice.poisson(2.2);
    let forms = dice.poisson(0.6);
    let webinar = dice.chance(0.16);
    let opted_out = dice.chance(0.09);
    let response = dice.normal(4.6, 1.5).exp().clamp(0.5, 20_000.0);
    let mut odds = source_effect + rating_effect + budget_effect + timeline_effect;
    odds += 0.16 * (visits as f64).min(12.0) + 0.11 * opened as f64 + 0.45 * (forms as f64).min(3.0);
    odds += if webinar { 0.5 } else { 0.0 } - if opted_out { 0.9 } else { 0.0 };
    odds -= 0.22 * (response / 60.0).ln();
    odds += if budget == "Confirmed" && timeline == "0-3 months" { 0.8 } else { 0.0 };
    odds += if created.weekday().num_days_from_monday() >= 5 { -0.25 } else { 0.0 };
    record.text("LeadSource", source);
    if dice.chance(0.85) {
        record.text("Rating", rating);
    }
    if dice.chance(0.75) {
        record.text("Budget__c", budget);
    }
    if dice.chance(0.75) {
        record.text("Purchase_Timeline__c", timeline);
    }
    record.text("Product_Interest__c", words::PRODUCTS[dice.below(3) as usize].0);
    record.count("Web_Visits_30d__c", visits);
    record.count("Emails_Opened__c", opened);
    record.count("Form_Fills__c", forms);
    record.flag("Webinar_Attended__c", webinar);
    record.flag("HasOptedOutOfEmail", opted_out);
    if dice.chance(0.87) {
        record.number("Response_Minutes__c", response, 1);
    }
    record.day("First_Touch_Date__c", (created - Duration::hours(dice.between(0, 1_500))).date_naive());
    odds
}

fn dice_mean(source: &str) -> f64 {
    if source == "Web" { 4.0 } else { 1.8 }
}

fn convert(world: &World, record: &mut Record, dice: &mut Dice, at: DateTime<Utc>) {
    record.flag("IsConverted", true);
    record.text("Status", "Closed - Converted");
    record.day("ConvertedDate", at.date_naive());
    if world.sizes.opportunities > 0 {
        let opportunity = dice.below(world.sizes.opportunities);
        if dice.chance(0.8) {
            record.id("ConvertedOpportunityId", RecordId::new("006", opportunity));
        }
        if let Some(account) = world.account_of_opportunity(opportunity) {
            record.id("ConvertedAccountId", RecordId::new("001", account));
            // The first contact of the account: contact i belongs to account i modulo the number of accounts.
            if account < world.sizes.contacts {
                record.id("ConvertedContactId", RecordId::new("003", account));
            }
        }
    }
    if dice.chance(0.95) {
        record.number("Conversion_Score__c", dice.normal(81.0, 9.0).clamp(1.0, 100.0), 1);
    }
}

fn leave_open(record: &mut Record, dice: &mut Dice, created: DateTime<Utc>) {
    record.flag("IsConverted", false);
    let age = (as_of() - created).num_days();
    let closed = age > 45 && dice.chance(0.6);
    let status = match (closed, dice.chance(0.5)) {
        (true, _) => "Closed - Not Converted",
        (false, true) => "Working - Contacted",
        (false, false) => "Open - Not Contacted",
    };
    record.text("Status", status);
    if dice.chance(0.04) {
        record.number("Conversion_Score__c", dice.normal(66.0, 15.0).clamp(1.0, 100.0), 1);
    }
}
