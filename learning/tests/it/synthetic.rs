//! Leads from a seeded process.
//!
//! The log-odds of converting are -1.6, plus 1.2 with a budget, plus an effect of the source (-0.8, -0.3, 0.1, 0.5, 0.9),
//! plus 0.6 times the standardised logarithm of the employees, plus a normal effect of the owner (standard deviation 0.4),
//! plus -0.5 where the region is missing. Everything else is noise, but for two fields that know the outcome:
//! `Conversion_Path__c` is filled for 60 % of the converted leads and for no other, and `Call_Seconds__c` is drawn around
//! 600 seconds for converted leads and 300 for others.

use chrono::{DateTime, Utc};
use leadline_domain::value::{Field, FieldType, ObjectSchema, Value};
use leadline_learning::{Frame, FrameBuilder, PredictionDefinition, Record};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

const SOURCES: [(&str, f64); 5] = [("Cold call", -0.8), ("Web", -0.3), ("Event", 0.1), ("Partner", 0.5), ("Referral", 0.9)];
const REGIONS: [&str; 4] = ["North", "South", "East", "West"];
const FIRST_DAY_MS: i64 = 1_672_531_200_000; // 2023-01-01
const DAY_MS: i64 = 86_400_000;

pub struct Leads {
    pub schema: ObjectSchema,
    pub rows: Vec<Vec<Value>>,
}

pub fn schema() -> ObjectSchema {
    let field = |name: &str, label: &str, field_type| Field {
        name: name.to_owned(),
        label: label.to_owned(),
        field_type,
        nullable: true,
    };
    ObjectSchema {
        object: "Lead".to_owned(),
        fields: vec![
            field("Id", "Lead ID", FieldType::Reference),
            field("IsConverted", "Converted", FieldType::Boolean),
            field("LeadSource", "Lead <Source> & Co", FieldType::Picklist),
            field("Region__c", "Region", FieldType::Picklist),
            field("NumberOfEmployees", "Employees", FieldType::Number),
            field("HasBudget__c", "Has budget", FieldType::Boolean),
            field("OwnerId", "Owner", FieldType::Reference),
            field("Campaign__c", "Campaign", FieldType::Text),
            field("Email", "Email", FieldType::Text),
            field("Account_Ref__c", "Account reference", FieldType::Reference),
            field("CreatedDate", "Created", FieldType::DateTime),
            field("FirstContact__c", "First contact", FieldType::Date),
            field("Conversion_Path__c", "Conversion path", FieldType::Text),
            field("Call_Seconds__c", "Call duration", FieldType::Number),
            field("Leadline_Score__c", "Score", FieldType::Number),
        ],
    }
}

fn normal(rng: &mut ChaCha8Rng) -> f64 {
    // Irwin-Hall: close enough to a normal variate, and the same on every platform.
    (0..12).map(|_| rng.random_range(0.0..1.0)).sum::<f64>() - 6.0
}

impl Leads {
    pub fn generate(count: usize, seed: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let owners: Vec<f64> = (0..60).map(|_| 0.4 * normal(&mut rng)).collect();
        let rows = (0..count).map(|i| lead(i, &owners, &mut rng)).collect();
        Self { schema: schema(), rows }
    }

    pub fn frame(&self) -> Frame {
        let mut builder = FrameBuilder::new(&self.schema, "Id").unwrap();
        self.rows.iter().for_each(|row| builder.push(row).unwrap());
        builder.finish().unwrap()
    }

    pub fn record(&self, row: usize) -> Record {
        let names = self.schema.fields.iter().map(|f| f.name.clone());
        names.zip(self.rows[row].iter().cloned()).collect()
    }

    /// Replaces a field's values by `value` of row number and old value.
    pub fn with(mut self, field: &str, value: impl Fn(usize, &Value) -> Value) -> Self {
        let column = self.schema.position(field).unwrap();
        self.rows.iter_mut().enumerate().for_each(|(i, row)| row[column] = value(i, &row[column]));
        self
    }
}

/// The default definition with both fields that know the outcome left to the leak checks.
pub fn definition() -> PredictionDefinition {
    let mut definition = PredictionDefinition::lead_conversion();
    definition.excluded_fields = vec!["Call_Seconds__c".to_owned()];
    definition
}

fn lead(i: usize, owners: &[f64], rng: &mut ChaCha8Rng) -> Vec<Value> {
    let text = |t: &str| Value::Text(t.to_owned());
    let (source, source_effect) = SOURCES[rng.random_range(0..SOURCES.len())];
    let region = (rng.random_range(0.0..1.0) >= 0.2).then(|| REGIONS[rng.random_range(0..REGIONS.len())]);
    let size = normal(rng);
    let budget = rng.random_range(0.0..1.0) < 0.4;
    let owner = rng.random_range(0..owners.len());
    let odds = -1.6 + f64::from(u8::from(budget)) * 1.2 + source_effect + 0.6 * size + owners[owner]
        - if region.is_none() { 0.5 } else { 0.0 };
    let converted = rng.random_range(0.0..1.0) < 1.0 / (1.0 + (-odds).exp());
    let employees = (rng.random_range(0.0..1.0) >= 0.1).then(|| (4.0 + 1.2 * size).exp().round());
    let created = DateTime::<Utc>::from_timestamp_millis(FIRST_DAY_MS + rng.random_range(0..730 * DAY_MS)).unwrap();
    let path = converted && rng.random_range(0.0..1.0) < 0.6;
    let seconds = if converted { 600.0 } else { 300.0 } + 150.0 * normal(rng);
    vec![
        text(&format!("00Q{i:015}")),
        Value::Boolean(converted),
        text(source),
        region.map_or(Value::Null, text),
        employees.map_or(Value::Null, Value::Number),
        Value::Boolean(budget),
        text(&format!("005{owner:015}")),
        text(&format!("campaign {}", rng.random_range(0..300))),
        text(&format!("person{i}@example.org")),
        text(&format!("001{i:015}")),
        Value::DateTime(created),
        Value::Date(created.date_naive()),
        if path { text(["trial", "tender", "upsell"][i % 3]) } else { Value::Null },
        Value::Number(seconds.max(5.0).round()),
        Value::Null,
    ]
}
