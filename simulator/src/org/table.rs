//! One object's records: the immutable base plus everything that was written since.

use super::base::BaseFile;
use super::row::{Row, RowRef};
use crate::ids::RecordId;
use crate::schema::ObjectDef;
use crate::schema::standard::IS_DELETED;
use std::collections::{BTreeMap, HashMap};
use std::io;
use std::ops::{Bound, ControlFlow};
use std::sync::{Arc, Mutex, RwLock};

/// What was written since the base, by row number. `None`: purged, as by a hard delete.
pub(crate) type Overlay = BTreeMap<u64, Option<Row>>;

pub(crate) struct Table {
    pub def: ObjectDef,
    /// Distinguishes this base from an earlier one under the same state directory; journal lines carry it.
    pub base_tag: String,
    base: BaseFile,
    /// Copied on write while a scan holds it, so a scan sees one state and never blocks a writer.
    overlay: RwLock<Arc<Overlay>>,
    /// Key -> row of each external id field that was asked for, built by the first look-up.
    keys: Mutex<HashMap<String, HashMap<String, u64>>>,
}

/// A consistent view of a table.
pub(crate) struct Snapshot<'a> {
    base: &'a BaseFile,
    overlay: Arc<Overlay>,
}

impl Table {
    pub fn new(def: ObjectDef, base: BaseFile, base_tag: String) -> Self {
        Self { def, base, base_tag, overlay: RwLock::default(), keys: Mutex::default() }
    }

    pub fn id(&self, row: u64) -> RecordId {
        RecordId::new(&self.def.key_prefix, row)
    }

    pub fn snapshot(&self) -> Snapshot<'_> {
        let overlay = self.overlay.read().expect("no writer panics").clone();
        Snapshot { base: &self.base, overlay }
    }

    /// The row that the next insert gets.
    pub fn next_row(&self) -> u64 {
        let overlay = self.overlay.read().expect("no writer panics");
        overlay.last_key_value().map_or(self.base.len(), |(row, _)| self.base.len().max(row + 1))
    }

    pub fn put(&self, rows: Vec<(u64, Option<Row>)>) -> io::Result<()> {
        let mut keys = self.keys.lock().expect("no writer panics");
        let before = self.snapshot();
        for (field, index) in keys.iter_mut() {
            let cell = self.def.cell_of(field).expect("only stored fields are indexed");
            for (row, content) in &rows {
                if let Some(old) = before.get(*row)? {
                    let key = key_form(old.as_ref().text(cell));
                    // A record in the recycle bin may have the key of a living one.
                    if index.get(&key) == Some(row) {
                        index.remove(&key);
                    }
                }
                if let Some(content) = content.as_ref().filter(|content| is_live(content.as_ref())) {
                    index.insert(key_form(content.as_ref().text(cell)), *row);
                }
            }
        }
        drop(before);
        let mut overlay = self.overlay.write().expect("no writer panics");
        Arc::make_mut(&mut overlay).extend(rows);
        Ok(())
    }

    /// The live row whose external id field `field` holds `key`.
    pub fn find_by_key(&self, field: &str, key: &str) -> io::Result<Option<u64>> {
        let Some(cell) = self.def.cell_of(field) else { return Ok(None) };
        let mut keys = self.keys.lock().expect("no writer panics");
        if !keys.contains_key(field) {
            let mut index = HashMap::new();
            self.snapshot().scan(|row, content| {
                if is_live(content) && !content.cell(cell).is_empty() {
                    index.insert(key_form(content.text(cell)), row);
                }
                ControlFlow::Continue(())
            })?;
            keys.insert(field.to_owned(), index);
        }
        Ok(keys[field].get(&key_form(key)).copied())
    }

    /// Live records, counted without reading rows that nobody touched.
    pub fn live_count(&self) -> u64 {
        let overlay = self.overlay.read().expect("no writer panics");
        let base = self.base.len();
        let touched = overlay.range(..base).count() as u64;
        let live = overlay.values().flatten().filter(|row| is_live(row.as_ref())).count() as u64;
        base - touched + live
    }
}

impl Snapshot<'_> {
    pub fn get(&self, row: u64) -> io::Result<Option<Row>> {
        match self.overlay.get(&row) {
            Some(content) => Ok(content.clone()),
            None => self.base.get(row),
        }
    }

    /// Calls `visit` with every row that is not purged, deleted ones included, in row order, until it breaks.
    pub fn scan(&self, mut visit: impl FnMut(u64, RowRef<'_>) -> ControlFlow<()>) -> io::Result<()> {
        let mut changed = self.overlay.iter().peekable();
        let in_base = self.base.scan(0, |row, content| {
            while changed.next_if(|(at, _)| **at < row).is_some() {}
            match changed.next_if(|(at, _)| **at == row) {
                Some((_, Some(newer))) => visit(row, newer.as_ref()),
                Some((_, None)) => ControlFlow::Continue(()),
                None => visit(row, content),
            }
        })?;
        if in_base.is_break() {
            return Ok(());
        }
        for (row, content) in self.overlay.range((Bound::Included(self.base.len()), Bound::Unbounded)) {
            if let Some(content) = content
                && visit(*row, content.as_ref()).is_break()
            {
                break;
            }
        }
        Ok(())
    }
}

pub(crate) fn is_live(row: RowRef<'_>) -> bool {
    row.cell(IS_DELETED) != b"true"
}

/// External ids are compared without case, as on the vendor's side unless a field is made case-sensitive.
fn key_form(key: &str) -> String {
    key.to_lowercase()
}
