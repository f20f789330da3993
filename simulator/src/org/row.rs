//! One stored row: cells of text in the vendor's canonical form, empty for null.
//!
//! Text, not typed values, because nine tenths of the traffic is Bulk CSV: a page is then copied cell by cell, and only a
//! filter or a JSON answer reads a value's type. Layout: cell end offsets (`u32`, little endian), then the cells.

use std::sync::Arc;

/// A borrowed row of a known number of cells.
#[derive(Clone, Copy)]
pub(crate) struct RowRef<'a> {
    bytes: &'a [u8],
    width: usize,
}

impl<'a> RowRef<'a> {
    /// `bytes` must have been made by [`RowBuilder`] or [`Row::from_cells`] with `width` cells.
    pub fn new(bytes: &'a [u8], width: usize) -> Self {
        Self { bytes, width }
    }

    pub fn cell(&self, index: usize) -> &'a [u8] {
        let text = &self.bytes[self.width * 4..];
        let start = if index == 0 { 0 } else { self.end(index - 1) };
        &text[start..self.end(index)]
    }

    /// Cells are only ever written from `str`.
    pub fn text(&self, index: usize) -> &'a str {
        std::str::from_utf8(self.cell(index)).unwrap_or_default()
    }

    fn end(&self, index: usize) -> usize {
        let at = index * 4;
        let bytes = [self.bytes[at], self.bytes[at + 1], self.bytes[at + 2], self.bytes[at + 3]];
        u32::from_le_bytes(bytes) as usize
    }

    pub fn to_row(self) -> Row {
        Row { bytes: self.bytes.into(), width: self.width }
    }
}

/// An owned row, cheap to share.
#[derive(Clone)]
pub(crate) struct Row {
    bytes: Arc<[u8]>,
    width: usize,
}

impl Row {
    pub fn from_cells<S: AsRef<str>>(cells: &[S]) -> Self {
        let mut builder = RowBuilder::new(cells.len());
        for cell in cells {
            builder.push(cell.as_ref());
        }
        Self { bytes: builder.bytes().into(), width: cells.len() }
    }

    pub fn as_ref(&self) -> RowRef<'_> {
        RowRef::new(&self.bytes, self.width)
    }

    /// The same row with some cells replaced.
    pub fn with(&self, changes: &[(usize, String)]) -> Self {
        let row = self.as_ref();
        let mut cells: Vec<&str> = (0..self.width).map(|index| row.text(index)).collect();
        for (index, value) in changes {
            cells[*index] = value;
        }
        Self::from_cells(&cells)
    }
}

/// Builds rows one after the other in one buffer.
pub(crate) struct RowBuilder {
    bytes: Vec<u8>,
    width: usize,
    filled: usize,
}

impl RowBuilder {
    pub fn new(width: usize) -> Self {
        Self { bytes: vec![0; width * 4], width, filled: 0 }
    }

    pub fn clear(&mut self) {
        self.bytes.truncate(self.width * 4);
        self.filled = 0;
    }

    pub fn push(&mut self, cell: &str) {
        assert!(self.filled < self.width, "a row has as many cells as its object");
        self.bytes.extend_from_slice(cell.as_bytes());
        let end = u32::try_from(self.bytes.len() - self.width * 4).expect("a row is far below 4 GiB");
        self.bytes[self.filled * 4..self.filled * 4 + 4].copy_from_slice(&end.to_le_bytes());
        self.filled += 1;
    }

    /// The finished row; cells that were not pushed are null.
    pub fn bytes(&mut self) -> &[u8] {
        while self.filled < self.width {
            self.push("");
        }
        &self.bytes
    }
}
