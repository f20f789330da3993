//! The append-only journal of every write since the base data, one JSON object per line, synced before a write is answered.
//!
//! It is the whole state: at start the overlay is rebuilt from it. A process killed in mid-append leaves a last line without
//! its end; that write was never answered, so the line is cut off. A broken line anywhere else is damage and an error.

use crate::error::SimulatorError;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};
use std::path::Path;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ChangeKind {
    Insert,
    Update,
    /// Into the recycle bin: still seen by queryAll.
    Delete,
    /// Hard delete: gone for everyone.
    Purge,
}

/// One change of one record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Change {
    /// The vendor's commit time, `2024-03-05T10:11:12.000Z`.
    pub at: String,
    pub object: String,
    /// The base that the row number refers to; lines of a replaced base are passed over.
    pub base: String,
    pub kind: ChangeKind,
    pub row: u64,
    /// The user who wrote.
    pub by: String,
    /// New cells by field name, canonical text, empty for null.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub cells: BTreeMap<String, String>,
}

pub(crate) struct Journal {
    file: File,
}

impl Journal {
    /// Opens the journal and calls `replay` with each complete change in order.
    pub fn open(path: &Path, mut replay: impl FnMut(Change) -> Result<(), SimulatorError>) -> Result<Self, SimulatorError> {
        let file =
            OpenOptions::new().read(true).append(true).create(true).open(path).map_err(SimulatorError::file("opening", path))?;
        let mut reader = BufReader::new(&file);
        let mut line = Vec::new();
        let mut good_end = 0_u64;
        loop {
            line.clear();
            let read = reader.read_until(b'\n', &mut line).map_err(SimulatorError::file("reading", path))?;
            if read == 0 || !line.ends_with(b"\n") {
                break;
            }
            let change = serde_json::from_slice(&line).map_err(|e| SimulatorError::corrupt(path, "a change journal", e))?;
            replay(change)?;
            good_end += read as u64;
        }
        let length = file.metadata().map_err(SimulatorError::file("reading", path))?.len();
        if length > good_end {
            tracing::warn!(path = %path.display(), bytes = length - good_end, "cutting an unfinished last line off the journal");
            file.set_len(good_end).map_err(SimulatorError::file("truncating", path))?;
        }
        drop(reader);
        Ok(Self { file })
    }

    /// Appends all changes and returns once they are on disk.
    pub fn append(&mut self, changes: &[Change]) -> io::Result<()> {
        let mut lines = Vec::with_capacity(changes.len() * 256);
        for change in changes {
            serde_json::to_writer(&mut lines, change).map_err(io::Error::other)?;
            lines.push(b'\n');
        }
        self.file.write_all(&lines)?;
        self.file.sync_data()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(row: u64) -> Change {
        Change {
            at: "2025-07-01T00:00:00.000Z".into(),
            object: "Lead".into(),
            base: "b".into(),
            kind: ChangeKind::Update,
            row,
            by: "005".into(),
            cells: BTreeMap::from([("Company".into(), "naïve \"quoted\"\nCo".into())]),
        }
    }

    fn replayed(path: &Path) -> Result<Vec<u64>, SimulatorError> {
        let mut rows = Vec::new();
        Journal::open(path, |change| {
            rows.push(change.row);
            Ok(())
        })?;
        Ok(rows)
    }

    #[test]
    fn a_journal_cut_in_mid_line_keeps_every_complete_change_and_goes_on() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal.jsonl");
        let mut journal = Journal::open(&path, |_| Ok(())).unwrap();
        journal.append(&[change(1), change(2), change(3)]).unwrap();
        drop(journal);
        let whole = std::fs::read(&path).unwrap();
        std::fs::write(&path, &whole[..whole.len() - 7]).unwrap();

        assert_eq!(replayed(&path).unwrap(), [1, 2]);
        let mut journal = Journal::open(&path, |_| Ok(())).unwrap();
        journal.append(&[change(4)]).unwrap();
        assert_eq!(replayed(&path).unwrap(), [1, 2, 4], "the cut line does not swallow the next one");
    }

    #[test]
    fn a_broken_line_in_the_middle_is_an_error_and_not_a_loss() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal.jsonl");
        let line = serde_json::to_string(&change(1)).unwrap();
        std::fs::write(&path, format!("{line}\n{{broken\n{line}\n")).unwrap();
        let error = replayed(&path).unwrap_err();
        assert!(error.to_string().contains("change journal"), "{error}");
    }
}
