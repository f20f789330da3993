//! Inserts, updates, upserts and deletes: checked as the vendor checks them, then journalled, then visible.

use super::cells;
use super::journal::{Change, ChangeKind};
use super::row::Row;
use super::table::{Table, is_live};
use super::{Org, after_change};
use crate::error::RecordError;
use crate::faults::Faults;
use crate::ids::RecordId;
use crate::schema::{FieldDef, FieldKind, ObjectDef};
use chrono::Utc;
use serde_json::{Map, Value as Json};
use std::collections::{BTreeMap, HashMap};
use std::io;
use std::sync::Arc;

/// Which record a write is for.
#[derive(Debug, Clone)]
pub(crate) enum Target {
    New,
    Id(RecordId),
    /// The record whose external id field holds this value, or a new one.
    Key {
        field: String,
        value: String,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    Save,
    Delete,
    Purge,
}

/// One record's write, with its values already in stored form.
#[derive(Debug, Clone)]
pub(crate) struct Write {
    pub table: Arc<Table>,
    pub target: Target,
    pub action: Action,
    pub cells: BTreeMap<String, String>,
}

impl std::fmt::Debug for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Table({})", self.def.name)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Written {
    pub id: RecordId,
    pub created: bool,
}

pub(crate) type Outcome = Result<Written, RecordError>;

/// How one call writes its records.
pub(crate) struct Commit<'a> {
    pub by: RecordId,
    pub all_or_none: bool,
    pub faults: &'a Faults,
    /// The request, which a row-lock fault may name.
    pub path: &'a str,
}

/// State of a commit that is being put together: rows as they will be, and the changes that make them so.
#[derive(Default)]
struct Staged {
    rows: HashMap<(String, u64), Option<Row>>,
    keys: HashMap<(String, String, String), u64>,
    next: HashMap<String, u64>,
    changes: Vec<Change>,
}

impl Org {
    /// Writes records in order and answers for each in the same order. Returns when the changes are on disk.
    pub fn commit(&self, commit: &Commit<'_>, writes: Vec<Result<Write, RecordError>>) -> io::Result<Vec<Outcome>> {
        let mut journal = self.journal.lock().expect("no writer panics");
        let mut staged = Staged::default();
        let at = cells::instant_text(Utc::now());
        let mut outcomes = Vec::with_capacity(writes.len());
        for write in writes {
            outcomes.push(match write {
                Ok(write) => self.stage(commit, &mut staged, write, &at)?,
                Err(error) => Err(error),
            });
        }
        if commit.all_or_none && outcomes.iter().any(Result::is_err) {
            let rolled_back = "Record rolled back because not all records were valid and the request was using AllOrNone header";
            for outcome in outcomes.iter_mut().filter(|outcome| outcome.is_ok()) {
                *outcome = Err(RecordError::new("ALL_OR_NONE_OPERATION_ROLLED_BACK", rolled_back));
            }
            return Ok(outcomes);
        }
        if staged.changes.is_empty() {
            return Ok(outcomes);
        }
        journal.append(&staged.changes)?;
        for ((object, row), content) in staged.rows {
            if let Some(table) = self.table(&object) {
                table.put(vec![(row, content)])?;
            }
        }
        Ok(outcomes)
    }

    fn stage(&self, commit: &Commit<'_>, staged: &mut Staged, mut write: Write, at: &str) -> io::Result<Outcome> {
        let row = match resolve(staged, &mut write)? {
            Ok(row) => row,
            Err(error) => return Ok(Err(error)),
        };
        let table = write.table.clone();
        let name = table.def.name.clone();
        let checked = match row {
            Some(_) => required_kept(&table.def, &write.cells),
            None => required_present(&table.def, &write.cells),
        };
        let id = row.map(|row| table.id(row));
        let checked = checked.and_then(|()| match commit.faults.row_lock(commit.path, &name, id.as_ref()) {
            true => Err(row_locked(id)),
            false => Ok(()),
        });
        if let Err(error) = checked {
            return Ok(Err(error));
        }
        if let Err(error) = self.references_exist(&table, &write.cells)? {
            return Ok(Err(error));
        }
        if let Err(error) = keys_unique(staged, &table, &write.cells, row)? {
            return Ok(Err(error));
        }
        let created = row.is_none();
        let row = row.unwrap_or_else(|| {
            let next = staged.next.entry(name.clone()).or_insert_with(|| table.next_row());
            *next += 1;
            *next - 1
        });
        let kind = match write.action {
            Action::Save if created => ChangeKind::Insert,
            Action::Save => ChangeKind::Update,
            Action::Delete => ChangeKind::Delete,
            Action::Purge => ChangeKind::Purge,
        };
        for field in table.def.fields.iter().filter(|field| field.external_id) {
            if let Some(value) = write.cells.get(&field.name).filter(|value| !value.is_empty()) {
                staged.keys.insert((name.clone(), field.name.clone(), value.to_lowercase()), row);
            }
        }
        let mut cells = write.cells;
        if created && let Some(owner) = table.def.field("OwnerId") {
            cells.entry(owner.name.clone()).or_insert_with(|| commit.by.to_string());
        }
        let (object, base, by) = (name.clone(), table.base_tag.clone(), commit.by.to_string());
        let change = Change { at: at.to_owned(), object, base, kind, row, by, cells };
        let before = current(staged, &table, row)?;
        staged.rows.insert((name, row), after_change(&table, before, &change));
        staged.changes.push(change);
        Ok(Ok(Written { id: table.id(row), created }))
    }

    fn references_exist(&self, table: &Table, cells: &BTreeMap<String, String>) -> io::Result<Result<(), RecordError>> {
        for (name, value) in cells.iter().filter(|(_, value)| !value.is_empty()) {
            let Some(field @ FieldDef { kind: FieldKind::Reference { to, .. }, .. }) = table.def.field(name) else { continue };
            let Some(id) = RecordId::parse(value) else {
                let message = format!("{}: id value of incorrect type: {value}", field.label);
                return Ok(Err(RecordError::on("MALFORMED_ID", message, &field.name)));
            };
            let target = self.table_of(&id).filter(|target| to.contains(&target.def.name));
            let found = match (target, id.row()) {
                (Some(target), Some(row)) => target.snapshot().get(row)?.is_some_and(|row| is_live(row.as_ref())),
                _ => false,
            };
            if !found {
                return Ok(Err(RecordError::on("INVALID_CROSS_REFERENCE_KEY", "invalid cross reference id", &field.name)));
            }
        }
        Ok(Ok(()))
    }
}

fn current(staged: &Staged, table: &Table, row: u64) -> io::Result<Option<Row>> {
    match staged.rows.get(&(table.def.name.clone(), row)) {
        Some(content) => Ok(content.clone()),
        None => table.snapshot().get(row),
    }
}

/// The existing row that the write is for, or none for a new one.
fn resolve(staged: &Staged, write: &mut Write) -> io::Result<Result<Option<u64>, RecordError>> {
    let table = &write.table;
    match &write.target {
        Target::New => Ok(Ok(None)),
        Target::Id(id) => {
            let unknown = || RecordError::new("INVALID_CROSS_REFERENCE_KEY", "invalid cross reference id");
            let Some(row) = id.row().filter(|_| id.prefix() == table.def.key_prefix) else { return Ok(Err(unknown())) };
            Ok(match current(staged, table, row)? {
                None => Err(unknown()),
                Some(content) if !is_live(content.as_ref()) && write.action != Action::Purge => {
                    Err(RecordError::new("ENTITY_IS_DELETED", "entity is deleted"))
                }
                Some(_) => Ok(Some(row)),
            })
        }
        Target::Key { field, value } => {
            if value.is_empty() {
                let message = format!("{field} not specified");
                return Ok(Err(RecordError::new("MISSING_ARGUMENT", message)));
            }
            if staged.keys.contains_key(&(table.def.name.clone(), field.clone(), value.to_lowercase())) {
                let message = format!("Duplicate external id specified: {value}");
                return Ok(Err(RecordError::on("DUPLICATE_VALUE", message, field)));
            }
            let found = table.find_by_key(field, value)?;
            write.cells.insert(field.clone(), value.clone());
            Ok(Ok(found))
        }
    }
}

fn keys_unique(
    staged: &Staged,
    table: &Table,
    cells: &BTreeMap<String, String>,
    row: Option<u64>,
) -> io::Result<Result<(), RecordError>> {
    for field in table.def.fields.iter().filter(|field| field.external_id) {
        let Some(value) = cells.get(&field.name).filter(|value| !value.is_empty()) else { continue };
        let staged_key = (table.def.name.clone(), field.name.clone(), value.to_lowercase());
        let holder = match staged.keys.get(&staged_key) {
            Some(holder) => Some(*holder),
            None => table.find_by_key(&field.name, value)?,
        };
        if let Some(holder) = holder
            && Some(holder) != row
        {
            let message =
                format!("duplicate value found: {} duplicates value on record with id: {}", field.name, table.id(holder));
            return Ok(Err(RecordError::on("DUPLICATE_VALUE", message, &field.name)));
        }
    }
    Ok(Ok(()))
}

fn required_present(def: &ObjectDef, cells: &BTreeMap<String, String>) -> Result<(), RecordError> {
    refuse_missing(def, |field| cells.get(&field.name).is_none_or(String::is_empty))
}

/// An update may leave a required field out, but not empty it.
fn required_kept(def: &ObjectDef, cells: &BTreeMap<String, String>) -> Result<(), RecordError> {
    refuse_missing(def, |field| cells.get(&field.name).is_some_and(String::is_empty))
}

fn refuse_missing(def: &ObjectDef, is_missing: impl Fn(&FieldDef) -> bool) -> Result<(), RecordError> {
    let required = def.fields.iter().filter(|field| field.required && field.writable);
    let missing: Vec<String> = required.filter(|field| is_missing(field)).map(|field| field.name.clone()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let message = format!("Required fields are missing: [{}]", missing.join(", "));
    Err(RecordError { code: "REQUIRED_FIELD_MISSING", message, fields: missing })
}

pub(crate) fn row_locked(id: Option<RecordId>) -> RecordError {
    let id = id.map_or_else(|| "unknown".to_owned(), |id| id.to_string());
    let message = format!("unable to obtain exclusive access to this record or 1 records: {id}");
    RecordError::new("UNABLE_TO_LOCK_ROW", message)
}

/// A JSON body's fields in stored form. `attributes` and the id are the caller's.
pub(crate) fn cells_of_json(def: &ObjectDef, fields: &Map<String, Json>) -> Result<BTreeMap<String, String>, RecordError> {
    let mut cells = BTreeMap::new();
    for (name, value) in fields {
        if name == "attributes" || name.eq_ignore_ascii_case("Id") {
            continue;
        }
        let field = writable_field(def, name)?;
        cells.insert(field.name.clone(), cells::from_json(field, value)?);
    }
    Ok(cells)
}

/// A field that a caller may set, or the vendor's refusal.
pub(crate) fn writable_field<'a>(def: &'a ObjectDef, name: &str) -> Result<&'a FieldDef, RecordError> {
    let Some(field) = def.field(name) else {
        return Err(RecordError::new("INVALID_FIELD", format!("No such column '{name}' on sobject of type {}", def.name)));
    };
    if field.writable {
        return Ok(field);
    }
    let message = format!(
        "Unable to create/update fields: {}. Please check the security settings of this field and verify that it is read/write for \
         your profile or permission set.",
        field.name
    );
    Err(RecordError::on("INVALID_FIELD_FOR_INSERT_UPDATE", message, &field.name))
}
