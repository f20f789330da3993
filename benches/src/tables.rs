//! The real data sets as tables of text, and as frames with inferred types.
//!
//! They are read where they lie, beside the checkout (`../shared/data`), never copied into it.

use std::collections::HashMap;
use std::path::PathBuf;

use anyhow::{Context, Result};
use flate2::read::GzDecoder;
use leadline_domain::value::{Field, FieldType, ObjectSchema, Value};
use leadline_learning::{Frame, FrameBuilder};

/// A text column with at most this many values is a picklist.
const PICKLIST_LEVELS: usize = 50;

/// Rows of text under named columns.
#[derive(Debug, Clone)]
pub struct Table {
    pub columns: Vec<String>,
    pub rows: Vec<Vec<String>>,
}

impl Table {
    /// Reads a gzipped CSV below `../shared/data`. Blank cells count as empty.
    pub fn read(path: &str, delimiter: u8) -> Result<Self> {
        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/data").join(path);
        let file = std::fs::File::open(&path).with_context(|| format!("open the data set {}", path.display()))?;
        let mut reader = csv::ReaderBuilder::new().delimiter(delimiter).from_reader(GzDecoder::new(file));
        let columns = reader.headers()?.iter().map(str::to_owned).collect();
        let row = |record: csv::StringRecord| record.iter().map(|cell| cell.trim().to_owned()).collect();
        let rows = reader.into_records().map(|record| record.map(row)).collect::<Result<_, _>>()?;
        Ok(Self { columns, rows })
    }

    /// Puts the 0-based row number in front, as the record id.
    pub fn with_row_ids(mut self) -> Self {
        self.columns.insert(0, "Id".to_owned());
        self.rows.iter_mut().enumerate().for_each(|(i, row)| row.insert(0, i.to_string()));
        self
    }

    /// Adds the columns of `other` to the rows whose `key` its column `other_key` holds; empty where none does.
    pub fn joined(mut self, key: &str, other: &Self, other_key: &str) -> Self {
        let (at, other_at) = (self.position(key), other.position(other_key));
        let lookup: HashMap<&str, &Vec<String>> = other.rows.iter().map(|row| (row[other_at].as_str(), row)).collect();
        let added: Vec<usize> = (0..other.columns.len()).filter(|&c| c != other_at).collect();
        self.columns.extend(added.iter().map(|&c| other.columns[c].clone()));
        for row in &mut self.rows {
            let found = lookup.get(row[at].as_str()).copied();
            row.extend(added.iter().map(|&c| found.map_or(String::new(), |other| other[c].clone())));
        }
        self
    }

    fn position(&self, column: &str) -> usize {
        self.columns.iter().position(|c| c == column).expect("the column is in the published file")
    }

    /// A frame with inferred types: numbers, ISO dates, picklists, else text.
    pub fn frame(&self, object: &str, id_field: &str) -> Result<Frame> {
        let field = |(i, name): (usize, &String)| Field {
            name: name.clone(),
            label: name.clone(),
            field_type: if name == id_field { FieldType::Reference } else { self.infer(i) },
            nullable: true,
        };
        let schema = ObjectSchema { object: object.to_owned(), fields: self.columns.iter().enumerate().map(field).collect() };
        let mut builder = FrameBuilder::new(&schema, id_field)?;
        for row in &self.rows {
            let cells = schema.fields.iter().zip(row).map(|(field, text)| Value::parse(field.field_type, text));
            builder.push(&cells.collect::<Result<Vec<_>, _>>()?)?;
        }
        Ok(builder.finish()?)
    }

    fn infer(&self, column: usize) -> FieldType {
        let cells = || self.rows.iter().map(|row| row[column].as_str()).filter(|cell| !cell.is_empty());
        let all = |field_type| cells().all(|cell| Value::parse(field_type, cell).is_ok());
        if all(FieldType::Number) {
            return FieldType::Number;
        }
        if all(FieldType::Date) {
            return FieldType::Date;
        }
        let distinct: std::collections::HashSet<&str> = cells().collect();
        if distinct.len() <= PICKLIST_LEVELS { FieldType::Picklist } else { FieldType::Text }
    }
}

/// Leads: does the contact convert. The record id is the row number.
pub fn bank_full() -> Result<Frame> {
    Table::read("bank-marketing/bank-full.csv.gz", b';')?.with_row_ids().frame("Lead", "Id")
}

/// Accounts: does the customer leave.
pub fn telco_churn() -> Result<Frame> {
    Table::read("telco-churn/Telco-Customer-Churn.csv.gz", b',')?.frame("Account", "customerID")
}

/// Opportunities with their account, product and sales team: won or lost.
pub fn crm_opportunities() -> Result<Frame> {
    let read = |name: &str| Table::read(&format!("crm-sales-opportunities/{name}.csv.gz"), b',');
    read("sales_pipeline")?
        .joined("sales_agent", &read("sales_teams")?, "sales_agent")
        .joined("product", &read("products")?, "product")
        .joined("account", &read("accounts")?, "account")
        .frame("Opportunity", "opportunity_id")
}
