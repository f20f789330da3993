//! A field of a query, bound to the cells that hold it, through parent records where the path says so.

use super::ast::Path;
use super::lexer::located;
use crate::error::ApiError;
use crate::ids::RecordId;
use crate::org::Org;
use crate::org::cells;
use crate::org::row::{Row, RowRef};
use crate::org::table::{Table, is_live};
use crate::schema::{FieldDef, Source};
use serde_json::{Value as Json, json};
use std::collections::HashMap;
use std::sync::Arc;

/// One step to a parent record.
pub(crate) struct Hop {
    cell: usize,
    pub relationship: String,
    /// More than one for a polymorphic reference: the id says which.
    targets: Vec<Arc<Table>>,
}

pub(crate) struct Column {
    root: Arc<Table>,
    pub hops: Vec<Hop>,
    pub field: FieldDef,
}

/// Reads parent records, each once for as long as it is remembered.
#[derive(Default)]
pub(crate) struct Parents {
    known: HashMap<[u8; 18], Option<(Arc<Table>, Row)>>,
}

const REMEMBERED_PARENTS: usize = 50_000;

impl Column {
    pub fn bind(org: &Org, table: &Arc<Table>, path: &Path, soql: &str) -> Result<Self, ApiError> {
        let mut steps: Vec<&str> = path.steps.iter().map(String::as_str).collect();
        // `SELECT Lead.Name FROM Lead`: the object's own name may lead.
        if steps.len() > 1 && steps[0].eq_ignore_ascii_case(&table.def.name) && table.def.relationship(steps[0]).is_none() {
            steps.remove(0);
        }
        let Some((name, relationships)) = steps.split_last() else { return Err(no_such_column(soql, path, table, "")) };
        let mut at = table.clone();
        let mut hops = Vec::new();
        for step in relationships {
            let hop = at.def.relationship(step).and_then(|(field, to)| {
                let targets: Vec<Arc<Table>> = to.iter().filter_map(|object| org.table(object).cloned()).collect();
                Some(Hop { cell: field.cell()?, relationship: relationship_name(field)?, targets })
            });
            let hop = hop.filter(|hop| !hop.targets.is_empty()).ok_or_else(|| no_such_relationship(soql, path, &at, step))?;
            at = hop.targets[0].clone();
            hops.push(hop);
        }
        let field = at.def.field(name).ok_or_else(|| no_such_column(soql, path, &at, name))?.clone();
        Ok(Self { root: table.clone(), hops, field })
    }

    /// A field of the queried object itself.
    pub fn own(table: &Arc<Table>, field: &FieldDef) -> Self {
        Self { root: table.clone(), hops: Vec::new(), field: field.clone() }
    }

    /// The cell of the queried row itself, when no parent and no computation is needed.
    pub fn direct(&self) -> Option<usize> {
        if self.hops.is_empty() { self.field.cell() } else { None }
    }

    /// `Owner.Name`, as the CSV header and the relationship path say it.
    pub fn header(&self) -> String {
        let mut header = String::new();
        for hop in &self.hops {
            header.push_str(&hop.relationship);
            header.push('.');
        }
        header + &self.field.name
    }

    /// Calls `read` with the stored text of the value, empty for null.
    pub fn with_text<R>(&self, row: RowRef<'_>, parents: &mut Parents, read: impl FnOnce(&[u8]) -> R) -> R {
        if let Some(cell) = self.direct() {
            return read(row.cell(cell));
        }
        match self.holder(row, parents) {
            Holder::Row => read(stored_text(&self.field, row).as_bytes()),
            Holder::Parent(table, parent) => {
                let text = table.def.field(&self.field.name).map(|field| stored_text(field, parent.as_ref()));
                read(text.unwrap_or_default().as_bytes())
            }
            Holder::None => read(b""),
        }
    }

    /// The REST value, compounds as objects.
    pub fn to_json(&self, row: RowRef<'_>, parents: &mut Parents) -> Json {
        match self.holder(row, parents) {
            Holder::Row => record_value(&self.root, &self.field, row),
            Holder::Parent(table, parent) => match table.def.field(&self.field.name) {
                Some(field) => record_value(&table, field, parent.as_ref()),
                None => Json::Null,
            },
            Holder::None => Json::Null,
        }
    }

    /// The parent record at the end of the first `depth` hops.
    pub fn parent(&self, row: RowRef<'_>, parents: &mut Parents, depth: usize) -> Option<(Arc<Table>, Row)> {
        let mut found: Option<(Arc<Table>, Row)> = None;
        for hop in &self.hops[..depth] {
            let cell = match &found {
                Some((_, parent)) => parent.as_ref().cell(hop.cell).to_vec(),
                None => row.cell(hop.cell).to_vec(),
            };
            found = Some(parents.get(&cell, &hop.targets)?);
        }
        found
    }

    fn holder(&self, row: RowRef<'_>, parents: &mut Parents) -> Holder {
        if self.hops.is_empty() {
            return Holder::Row;
        }
        match self.parent(row, parents, self.hops.len()) {
            Some((table, parent)) => Holder::Parent(table, parent),
            None => Holder::None,
        }
    }
}

enum Holder {
    Row,
    Parent(Arc<Table>, Row),
    None,
}

impl Parents {
    fn get(&mut self, id: &[u8], targets: &[Arc<Table>]) -> Option<(Arc<Table>, Row)> {
        let key: [u8; 18] = id.try_into().ok()?;
        if let Some(known) = self.known.get(&key) {
            return known.clone();
        }
        if self.known.len() >= REMEMBERED_PARENTS {
            self.known.clear();
        }
        let id = RecordId::parse(std::str::from_utf8(id).ok()?)?;
        let table = targets.iter().find(|table| table.def.key_prefix == id.prefix());
        let found = table.and_then(|table| {
            let row = table.snapshot().get(id.row()?).ok().flatten()?;
            is_live(row.as_ref()).then(|| (table.clone(), row))
        });
        self.known.insert(key, found.clone());
        found
    }
}

fn stored_text(field: &FieldDef, row: RowRef<'_>) -> String {
    match &field.source {
        Source::Cell(cell) => row.text(*cell).to_owned(),
        Source::FullName => full_name(row),
        Source::Address(_) => String::new(),
    }
}

/// Person names come right after the system fields, in the order of [`crate::schema::standard::person_name_fields`].
fn full_name(row: RowRef<'_>) -> String {
    use crate::schema::standard::SYSTEM_WIDTH;
    let (last, first) = (row.text(SYSTEM_WIDTH), row.text(SYSTEM_WIDTH + 1));
    format!("{first} {last}").trim().to_owned()
}

/// The REST value of a record's field, whatever its source.
pub(crate) fn record_value(table: &Table, field: &FieldDef, row: RowRef<'_>) -> Json {
    match &field.source {
        Source::Cell(cell) => cells::to_json(&field.kind, row.text(*cell)),
        Source::FullName => Json::String(full_name(row)),
        Source::Address(prefix) => address_json(table, prefix, row),
    }
}

/// A compound address as REST shows it.
fn address_json(table: &Table, prefix: &str, row: RowRef<'_>) -> Json {
    let part = |name: &str| match table.def.cell_of(&format!("{prefix}{name}")).map(|cell| row.text(cell)) {
        Some(text) if !text.is_empty() => json!(text),
        _ => Json::Null,
    };
    let address = json!({
        "city": part("City"), "country": part("Country"), "geocodeAccuracy": null, "latitude": null, "longitude": null,
        "postalCode": part("PostalCode"), "state": part("State"), "street": part("Street"),
    });
    let empty = address.as_object().is_some_and(|parts| parts.values().all(Json::is_null));
    if empty { Json::Null } else { address }
}

fn relationship_name(field: &FieldDef) -> Option<String> {
    match &field.kind {
        crate::schema::FieldKind::Reference { relationship, .. } => Some(relationship.clone()),
        _ => None,
    }
}

fn no_such_column(soql: &str, path: &Path, table: &Table, name: &str) -> ApiError {
    let reason = format!(
        "No such column '{name}' on entity '{}'. If you are attempting to use a custom field, be sure to append the '__c' after the \
         custom field name. Please reference your WSDL or the describe call for the appropriate names.",
        table.def.name
    );
    ApiError::bad_request("INVALID_FIELD", located(soql, path.at, &reason))
}

fn no_such_relationship(soql: &str, path: &Path, table: &Table, step: &str) -> ApiError {
    let reason = format!(
        "Didn't understand relationship '{step}' in field path. If you are attempting to use a custom relationship, be sure to append \
         the '__r' after the custom relationship name. Please reference your WSDL or the describe call for the appropriate names. \
         (entity '{}')",
        table.def.name
    );
    ApiError::bad_request("INVALID_FIELD", located(soql, path.at, &reason))
}
