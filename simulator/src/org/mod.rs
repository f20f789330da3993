//! The org's data: its objects, opened from disk or built first, and the journal of everything written since.
//!
//! Layout of the state directory: `objects/{Name}/manifest.json` (where the rows come from, and the object's definition),
//! `objects/{Name}/rows` and `index` (see [`base`]), `journal.jsonl` (see [`journal`]). An object whose origin changes (another
//! seed, another size, another file loaded) is built anew, and what was written to the old one is passed over.

pub(crate) mod base;
pub(crate) mod cells;
pub(crate) mod journal;
pub(crate) mod row;
pub(crate) mod table;
pub(crate) mod writes;

use crate::csv_load;
use crate::error::SimulatorError;
use crate::generator::{self, Sizes, World};
use crate::ids::RecordId;
use crate::schema::ObjectDef;
use crate::schema::standard::IS_DELETED;
use base::{BaseFile, BaseWriter};
use journal::{Change, ChangeKind, Journal};
use row::Row;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use table::Table;

/// Where an object's base rows come from; a change of it rebuilds the object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Origin {
    Generated { version: u32, seed: u64, sizes: Sizes },
    Loaded { version: u32, sha256: String },
}

impl Origin {
    fn tag(&self) -> String {
        let text = serde_json::to_string(self).expect("an origin is plain data");
        hex::encode(&Sha256::digest(text.as_bytes())[..6])
    }
}

#[derive(Serialize, Deserialize)]
struct Manifest {
    origin: Origin,
    def: ObjectDef,
}

/// A CSV file to serve as an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Load {
    /// API name of the object. A generated object of this name is replaced.
    pub object: String,
    /// A CSV file, gzipped or plain.
    pub path: PathBuf,
}

pub(crate) struct Org {
    /// By lower-case name: object names are compared without case.
    tables: BTreeMap<String, Arc<Table>>,
    journal: Mutex<Journal>,
}

impl Org {
    /// Opens the org under `state_dir`, generating or loading what is not there yet. Blocks for as long as that takes.
    pub fn open(state_dir: &Path, seed: u64, records: u64, loads: &[Load]) -> Result<Self, SimulatorError> {
        let mut tables = BTreeMap::new();
        let mut sizes = Sizes::of(records);
        for (index, load) in loads.iter().enumerate() {
            let table = open_loaded(state_dir, load, index)?;
            sizes.replace(&load.object, table.next_row());
            tables.insert(load.object.to_lowercase(), Arc::new(table));
        }
        let world = World { seed, sizes };
        for def in generator::objects() {
            if let Entry::Vacant(free) = tables.entry(def.name.to_lowercase()) {
                free.insert(Arc::new(open_generated(state_dir, def, &world)?));
            }
        }
        let journal = Journal::open(&state_dir.join("journal.jsonl"), |change| replay(&tables, &change))?;
        Ok(Self { tables, journal: Mutex::new(journal) })
    }

    pub fn tables(&self) -> impl Iterator<Item = &Arc<Table>> {
        self.tables.values()
    }

    pub fn table(&self, object: &str) -> Option<&Arc<Table>> {
        self.tables.get(&object.to_lowercase())
    }

    pub fn table_of(&self, id: &RecordId) -> Option<&Arc<Table>> {
        self.tables.values().find(|table| table.def.key_prefix == id.prefix())
    }

    /// The (object, field, relationship) triples that refer to `object`.
    pub fn children_of(&self, object: &str) -> Vec<(String, String, String)> {
        let mut children = Vec::new();
        for table in self.tables.values() {
            for field in &table.def.fields {
                if let crate::schema::FieldKind::Reference { to, relationship } = &field.kind
                    && to.iter().any(|name| name == object)
                    && matches!(relationship.as_str(), "Account" | "Opportunity" | "Who" | "What")
                {
                    children.push((table.def.name.clone(), field.name.clone(), table.def.label_plural.replace(' ', "")));
                }
            }
        }
        children
    }
}

fn open_generated(state_dir: &Path, def: ObjectDef, world: &World) -> Result<Table, SimulatorError> {
    let origin = Origin::Generated { version: generator::VERSION, seed: world.seed, sizes: world.sizes.clone() };
    let folder = state_dir.join("objects").join(&def.name);
    if read_manifest(&folder)?.is_none_or(|known| known.origin != origin || known.def != def) {
        tracing::info!(object = def.name, seed = world.seed, "generating records");
        let write = || -> std::io::Result<()> {
            let mut writer = BaseWriter::create(&folder)?;
            generator::write_rows(&def, world, &mut writer)?;
            writer.finish().map(drop)
        };
        write().map_err(SimulatorError::file("writing", &folder))?;
        write_manifest(&folder, &Manifest { origin: origin.clone(), def: def.clone() })?;
    }
    open_table(&folder, def, &origin)
}

fn open_loaded(state_dir: &Path, load: &Load, index: usize) -> Result<Table, SimulatorError> {
    let sha256 = csv_load::digest(&load.path).map_err(|source| csv_load::unreadable(load, &source))?;
    let origin = Origin::Loaded { version: csv_load::VERSION, sha256 };
    let folder = state_dir.join("objects").join(&load.object);
    if let Some(known) = read_manifest(&folder)?
        && known.origin == origin
    {
        return open_table(&folder, known.def, &origin);
    }
    tracing::info!(object = load.object, "loading a file");
    let def = csv_load::infer(load, index)?;
    let write = || -> Result<(), SimulatorError> {
        let mut writer = BaseWriter::create(&folder).map_err(SimulatorError::file("writing", &folder))?;
        csv_load::write_rows(load, &def, &mut writer)?;
        writer.finish().map(drop).map_err(SimulatorError::file("writing", &folder))
    };
    write()?;
    write_manifest(&folder, &Manifest { origin: origin.clone(), def: def.clone() })?;
    open_table(&folder, def, &origin)
}

fn open_table(folder: &Path, def: ObjectDef, origin: &Origin) -> Result<Table, SimulatorError> {
    let base = BaseFile::open(folder, def.width).map_err(SimulatorError::file("opening", folder))?;
    Ok(Table::new(def, base, origin.tag()))
}

fn read_manifest(folder: &Path) -> Result<Option<Manifest>, SimulatorError> {
    let path = folder.join(base::MANIFEST);
    match std::fs::read(&path) {
        // A manifest of an older release is rebuilt like a missing one.
        Ok(bytes) => Ok(serde_json::from_slice(&bytes).ok()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(SimulatorError::file("reading", &path)(error)),
    }
}

fn write_manifest(folder: &Path, manifest: &Manifest) -> Result<(), SimulatorError> {
    let path = folder.join(base::MANIFEST);
    crate::state::write_json(&path, manifest).map_err(SimulatorError::file("writing", &path))
}

fn replay(tables: &BTreeMap<String, Arc<Table>>, change: &Change) -> Result<(), SimulatorError> {
    let Some(table) = tables.get(&change.object.to_lowercase()).filter(|table| table.base_tag == change.base) else {
        return Ok(());
    };
    let before = table.snapshot().get(change.row).map_err(SimulatorError::file("reading", Path::new(&change.object)))?;
    let after = after_change(table, before, change);
    table.put(vec![(change.row, after)]).map_err(SimulatorError::file("reading", Path::new(&change.object)))
}

/// The row that a change leaves behind; the one place that says so, for writes and for replay.
fn after_change(table: &Table, before: Option<Row>, change: &Change) -> Option<Row> {
    use crate::schema::standard as system;
    let stamp = |cells: &mut Vec<(usize, String)>| {
        cells.push((system::LAST_MODIFIED_DATE, change.at.clone()));
        cells.push((system::LAST_MODIFIED_BY, change.by.clone()));
        cells.push((system::SYSTEM_MODSTAMP, change.at.clone()));
    };
    let mut cells: Vec<(usize, String)> =
        change.cells.iter().filter_map(|(field, text)| table.def.cell_of(field).map(|cell| (cell, text.clone()))).collect();
    stamp(&mut cells);
    match change.kind {
        ChangeKind::Purge => return None,
        ChangeKind::Delete => cells.push((IS_DELETED, "true".into())),
        ChangeKind::Update => {}
        ChangeKind::Insert => {
            cells.push((system::ID, table.id(change.row).to_string()));
            cells.push((IS_DELETED, "false".into()));
            cells.push((system::CREATED_DATE, change.at.clone()));
            cells.push((system::CREATED_BY, change.by.clone()));
            return Some(Row::from_cells(&vec![""; table.def.width]).with(&cells));
        }
    }
    before.map(|row| row.with(&cells))
}
