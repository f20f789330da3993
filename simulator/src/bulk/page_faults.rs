//! Injected damage to a result page. Only a damaged page is held in memory.

use super::csv_text::push_row;
use super::job::JobInfo;
use crate::faults::FaultKind;
use crate::org::Org;
use crate::schema::FieldKind;
use std::io::{self, Read};

/// The vendor's limit is 131,072 characters in one field.
const OVERSIZED: usize = 131_073;

/// What the faults of one page come to.
pub(super) struct Damage {
    /// The fault that changes the content, if any; one per page is enough for a test to tell them apart.
    pub content: Option<FaultKind>,
    /// Plain bytes after which the connection is cut.
    pub cut_after: Option<u64>,
}

impl Damage {
    pub fn of(faults: &[FaultKind], page_bytes: u64) -> Self {
        let mut damage = Self { content: None, cut_after: None };
        for fault in faults {
            match fault {
                FaultKind::DroppedConnection { after_bytes } => damage.cut_after = Some(after_bytes.unwrap_or(page_bytes / 2)),
                other => damage.content = Some(other.clone()),
            }
        }
        damage
    }
}

/// The page with the fault in it.
pub(super) fn damaged(mut page: impl Read, info: &JobInfo, fault: &FaultKind, org: &Org) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    page.read_to_end(&mut bytes)?;
    let mut reader = csv::ReaderBuilder::new().delimiter(info.delimiter.byte()).has_headers(false).from_reader(bytes.as_slice());
    let mut rows: Vec<Vec<Vec<u8>>> = Vec::new();
    for record in reader.byte_records() {
        rows.push(record.map_err(io::Error::other)?.iter().map(<[u8]>::to_vec).collect());
    }
    // Row 0 is the header.
    let middle = rows.len().div_ceil(2).min(rows.len() - 1);
    let column = |name: &Option<String>, fallback: usize| {
        name.as_ref().and_then(|name| info.header.iter().position(|header| header.eq_ignore_ascii_case(name))).unwrap_or(fallback)
    };
    match fault {
        FaultKind::MissingColumn { column: name } => {
            let missing = column(name, info.header.len() - 1);
            for row in &mut rows {
                row.remove(missing);
            }
        }
        FaultKind::OversizedField { column: name, length } => {
            let at = column(name, text_column(info, org));
            rows[middle][at] = vec![b'x'; length.unwrap_or(OVERSIZED)];
        }
        FaultKind::WrongType { column: name } => {
            let at = column(name, typed_column(info, org));
            rows[middle][at] = b"not-a-value".to_vec();
        }
        FaultKind::NonUtf8 => rows[middle][text_column(info, org)] = b"caf\xe9 \xff\xfe".to_vec(),
        FaultKind::ShortPage if rows.len() > 1 => {
            rows.pop();
        }
        _ => {}
    }
    let mut out = Vec::with_capacity(bytes.len());
    for (number, row) in rows.iter().enumerate() {
        if number == middle && *fault == FaultKind::MalformedCsv {
            out.extend_from_slice(b"\"never closed");
            out.push(info.delimiter.byte());
        }
        push_row(&mut out, row, info.delimiter, info.line_ending);
    }
    Ok(out)
}

fn kind_of<'a>(info: &JobInfo, org: &'a Org, position: usize) -> Option<&'a FieldKind> {
    org.table(&info.object)?.def.field(&info.header[position]).map(|field| &field.kind)
}

/// The first column of free text, else the last column.
fn text_column(info: &JobInfo, org: &Org) -> usize {
    let is_text =
        |position: &usize| matches!(kind_of(info, org, *position), Some(FieldKind::String { .. } | FieldKind::TextArea { .. }));
    (0..info.header.len()).find(is_text).unwrap_or(info.header.len() - 1)
}

/// The first column of numbers, dates or booleans, else the last column.
fn typed_column(info: &JobInfo, org: &Org) -> usize {
    let is_typed = |position: &usize| {
        kind_of(info, org, *position)
            .is_some_and(|kind| kind.is_number() || matches!(kind, FieldKind::Date | FieldKind::DateTime | FieldKind::Boolean))
    };
    (0..info.header.len()).find(is_typed).unwrap_or(info.header.len() - 1)
}
