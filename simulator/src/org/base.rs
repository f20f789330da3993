//! The base data of one object: written once when the org is generated or loaded, then only read.
//!
//! Two files, so that an org of any size costs no memory: `rows` (length-prefixed rows) and `index` (the offset of each row,
//! `u64` little endian). Scans read `rows` in sequence; a look-up is two positioned reads.

use super::row::{Row, RowRef};
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::ops::ControlFlow;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// Written after the rows: an object without it does not count.
pub(crate) const MANIFEST: &str = "manifest.json";
const SCAN_BUFFER: usize = 1 << 20;

pub(crate) struct BaseFile {
    rows_path: PathBuf,
    rows: File,
    index: File,
    width: usize,
    len: u64,
}

impl BaseFile {
    pub fn open(folder: &Path, width: usize) -> io::Result<Self> {
        let rows_path = folder.join("rows");
        let index = File::open(folder.join("index"))?;
        let len = index.metadata()?.len() / 8;
        Ok(Self { rows: File::open(&rows_path)?, rows_path, index, width, len })
    }

    pub fn len(&self) -> u64 {
        self.len
    }

    pub fn get(&self, row: u64) -> io::Result<Option<Row>> {
        if row >= self.len {
            return Ok(None);
        }
        let offset = self.offset(row)?;
        let mut length = [0; 4];
        self.rows.read_exact_at(&mut length, offset)?;
        let mut bytes = vec![0; u32::from_le_bytes(length) as usize];
        self.rows.read_exact_at(&mut bytes, offset + 4)?;
        Ok(Some(RowRef::new(&bytes, self.width).to_row()))
    }

    /// Calls `visit` with each row from `first` on, in order, until it breaks.
    pub fn scan(&self, first: u64, mut visit: impl FnMut(u64, RowRef<'_>) -> ControlFlow<()>) -> io::Result<ControlFlow<()>> {
        if first >= self.len {
            return Ok(ControlFlow::Continue(()));
        }
        // A handle of its own: scans run side by side, and a shared file position would mix them up.
        let mut file = File::open(&self.rows_path)?;
        file.seek(SeekFrom::Start(self.offset(first)?))?;
        let mut reader = BufReader::with_capacity(SCAN_BUFFER, file);
        let mut bytes = Vec::new();
        for row in first..self.len {
            let mut length = [0; 4];
            reader.read_exact(&mut length)?;
            bytes.resize(u32::from_le_bytes(length) as usize, 0);
            reader.read_exact(&mut bytes)?;
            if visit(row, RowRef::new(&bytes, self.width)).is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    fn offset(&self, row: u64) -> io::Result<u64> {
        let mut bytes = [0; 8];
        self.index.read_exact_at(&mut bytes, row * 8)?;
        Ok(u64::from_le_bytes(bytes))
    }
}

/// Writes a base; nothing counts until [`BaseWriter::finish`], and the org's manifest is written after that.
pub(crate) struct BaseWriter {
    rows: BufWriter<File>,
    index: BufWriter<File>,
    offset: u64,
    len: u64,
}

impl BaseWriter {
    /// Begins the object anew; its manifest goes first, so that a crash in between leaves no old manifest over new rows.
    pub fn create(folder: &Path) -> io::Result<Self> {
        std::fs::create_dir_all(folder)?;
        match std::fs::remove_file(folder.join(MANIFEST)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let create = |name: &str| File::create(folder.join(name)).map(|file| BufWriter::with_capacity(SCAN_BUFFER, file));
        Ok(Self { rows: create("rows")?, index: create("index")?, offset: 0, len: 0 })
    }

    pub fn push(&mut self, row: &[u8]) -> io::Result<()> {
        self.index.write_all(&self.offset.to_le_bytes())?;
        let length = u32::try_from(row.len()).map_err(io::Error::other)?;
        self.rows.write_all(&length.to_le_bytes())?;
        self.rows.write_all(row)?;
        self.offset += 4 + row.len() as u64;
        self.len += 1;
        Ok(())
    }

    pub fn finish(self) -> io::Result<u64> {
        for writer in [self.rows, self.index] {
            writer.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
        }
        Ok(self.len)
    }
}
