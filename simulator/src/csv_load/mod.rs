//! Any CSV file as an object of the org.
//!
//! The delimiter (`,` `;` tab `|`) is found in the header line; gzip by its magic number. Column names that are API names
//! already (a letter, then letters, digits, underscores) stay as they are, every other sign becomes an underscore
//! (`emp.var.rate` -> `emp_var_rate`), and a name that is taken, by a system field or an earlier column, gets `_2`, `_3`, ...;
//! the label is always the header as written. Types come from the values, see [`infer`]. Only an empty cell is null, and a cell of
//! blanks counts as empty. Each object also has the system fields and the four score fields. A file has no creation
//! dates, so all records carry [`LOADED_AT`], as a real mass import would give them one and the same minute.

mod infer;

use crate::error::SimulatorError;
use crate::ids::RecordId;
use crate::org::Load;
use crate::org::base::BaseWriter;
use crate::org::row::RowBuilder;
use crate::schema::standard::{SYSTEM_WIDTH, key_prefix, plural, score_fields, system_fields};
use crate::schema::{FieldDef, ObjectDef};
use flate2::read::MultiGzDecoder;
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

/// Raised when the reading of files changes, so that loaded objects are read anew.
pub(crate) const VERSION: u32 = 1;
const LOADED_AT: &str = "2025-01-01T00:00:00.000Z";

/// SHA-256 of the file as it lies on disk.
pub(crate) fn digest(path: &Path) -> io::Result<String> {
    let mut reader = BufReader::with_capacity(1 << 20, File::open(path)?);
    let mut hasher = Sha256::new();
    loop {
        let chunk = reader.fill_buf()?;
        if chunk.is_empty() {
            return Ok(hex::encode(hasher.finalize()));
        }
        hasher.update(chunk);
        let read = chunk.len();
        reader.consume(read);
    }
}

pub(crate) fn unreadable(load: &Load, reason: &dyn std::fmt::Display) -> SimulatorError {
    let (object, path) = (load.object.clone(), load.path.display().to_string());
    SimulatorError::Load { object, path, reason: reason.to_string() }
}

/// Reads the whole file once and gives the object that it will be served as.
pub(crate) fn infer(load: &Load, custom_index: usize) -> Result<ObjectDef, SimulatorError> {
    if !is_api_name(&load.object) {
        return Err(unreadable(load, &"the object's name must be letters, digits and underscores, and begin with a letter"));
    }
    let mut reader = open(&load.path).map_err(|error| unreadable(load, &error))?;
    let headers = read_headers(&mut reader, load)?;
    let mut columns: Vec<infer::ColumnShape> = headers.iter().map(|_| infer::ColumnShape::default()).collect();
    let mut record = csv::ByteRecord::new();
    while next_record(&mut reader, &mut record, load)? {
        for (column, cell) in columns.iter_mut().zip(record.iter()) {
            column.see(&cell_text(cell));
        }
    }
    let mut fields: Vec<FieldDef> = Vec::new();
    for (header, column) in headers.iter().zip(&columns) {
        let name = unused_name(&api_name(header), &fields);
        let mut field = FieldDef::new(&name, header, column.kind());
        field.custom = true;
        field.external_id = column.is_key();
        fields.push(field);
    }
    fields.extend(score_fields());
    let label = load.object.trim_end_matches("__c").replace('_', " ");
    let plural = plural(&label);
    Ok(ObjectDef::new(&load.object, &label, &plural, &key_prefix(&load.object, custom_index), fields))
}

/// Writes the file's rows as `def` describes them.
pub(crate) fn write_rows(load: &Load, def: &ObjectDef, writer: &mut BaseWriter) -> Result<(), SimulatorError> {
    let mut reader = open(&load.path).map_err(|error| unreadable(load, &error))?;
    let headers = read_headers(&mut reader, load)?;
    let own = system_fields().len();
    let fields = &def.fields[own..own + headers.len()];
    let author = RecordId::new("005", 0);
    let mut record = csv::ByteRecord::new();
    let mut row = RowBuilder::new(def.width);
    let mut number = 0;
    while next_record(&mut reader, &mut record, load)? {
        row.clear();
        let id = RecordId::new(&def.key_prefix, number);
        for cell in [id.as_str(), "false", LOADED_AT, author.as_str(), LOADED_AT, author.as_str(), LOADED_AT] {
            row.push(cell);
        }
        debug_assert_eq!(own, SYSTEM_WIDTH);
        for (field, cell) in fields.iter().zip(record.iter()) {
            row.push(&infer::canonical(&field.kind, &cell_text(cell)));
        }
        writer.push(row.bytes()).map_err(|error| unreadable(load, &error))?;
        number += 1;
    }
    Ok(())
}

type Reader = csv::Reader<Box<dyn Read>>;

fn open(path: &Path) -> io::Result<Reader> {
    let mut file = BufReader::with_capacity(1 << 16, File::open(path)?);
    let gzipped = file.fill_buf()?.starts_with(&[0x1f, 0x8b]);
    let plain: Box<dyn Read> = if gzipped { Box::new(MultiGzDecoder::new(file)) } else { Box::new(file) };
    let mut text = BufReader::with_capacity(1 << 16, plain);
    if text.fill_buf()?.starts_with(b"\xef\xbb\xbf") {
        text.consume(3);
    }
    let delimiter = delimiter(text.fill_buf()?);
    Ok(csv::ReaderBuilder::new().delimiter(delimiter).from_reader(Box::new(text)))
}

/// The candidate that the first line has most of outside quotes; a comma when it has none.
fn delimiter(start: &[u8]) -> u8 {
    let mut counts = [(b',', 0), (b';', 0), (b'\t', 0), (b'|', 0)];
    let mut quoted = false;
    for byte in start {
        if *byte == b'\n' && !quoted {
            break;
        }
        quoted ^= *byte == b'"';
        if let Some((_, count)) = counts.iter_mut().find(|(candidate, _)| !quoted && candidate == byte) {
            *count += 1;
        }
    }
    counts.iter().rev().max_by_key(|(_, count)| *count).map_or(b',', |(candidate, _)| *candidate)
}

fn read_headers(reader: &mut Reader, load: &Load) -> Result<Vec<String>, SimulatorError> {
    let headers = reader.byte_headers().map_err(|error| unreadable(load, &error))?;
    let headers: Vec<String> = headers.iter().map(|header| cell_text(header).trim().to_owned()).collect();
    if headers.iter().all(String::is_empty) {
        return Err(unreadable(load, &"it has no header line"));
    }
    Ok(headers)
}

fn next_record(reader: &mut Reader, record: &mut csv::ByteRecord, load: &Load) -> Result<bool, SimulatorError> {
    // The error names line and record, never a value.
    reader.read_byte_record(record).map_err(|error| unreadable(load, &error))
}

/// UTF-8, or Latin-1 where it is not: old exports mix them.
fn cell_text(cell: &[u8]) -> String {
    let text = match std::str::from_utf8(cell) {
        Ok(text) => text.to_owned(),
        Err(_) => cell.iter().map(|byte| char::from(*byte)).collect(),
    };
    if text.trim().is_empty() { String::new() } else { text }
}

fn is_api_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic()) && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

fn api_name(header: &str) -> String {
    if is_api_name(header) {
        return header.to_owned();
    }
    let name: String = header.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    let name = name.trim_matches('_');
    if is_api_name(name) { name.to_owned() } else { format!("X{name}") }
}

fn unused_name(wanted: &str, taken: &[FieldDef]) -> String {
    let fixed = [system_fields(), score_fields()].concat();
    let used = |name: &str| taken.iter().chain(&fixed).any(|field| field.name.eq_ignore_ascii_case(name));
    if !used(wanted) {
        return wanted.to_owned();
    }
    (2..).map(|n| format!("{wanted}_{n}")).find(|name| !used(name)).expect("there are more numbers than columns")
}

#[cfg(test)]
mod tests;
