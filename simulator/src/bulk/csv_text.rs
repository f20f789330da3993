//! Bulk's CSV: every value in double quotes, quotes doubled, null as an empty value.

use super::job::{Delimiter, LineEnding};

pub(super) fn push_cell(out: &mut Vec<u8>, first: bool, delimiter: Delimiter, cell: &[u8]) {
    if !first {
        out.push(delimiter.byte());
    }
    out.push(b'"');
    let mut rest = cell;
    while let Some(at) = rest.iter().position(|byte| *byte == b'"') {
        out.extend_from_slice(&rest[..=at]);
        out.push(b'"');
        rest = &rest[at + 1..];
    }
    out.extend_from_slice(rest);
    out.push(b'"');
}

pub(super) fn push_row<C: AsRef<[u8]>>(out: &mut Vec<u8>, cells: &[C], delimiter: Delimiter, ending: LineEnding) {
    for (position, cell) in cells.iter().enumerate() {
        push_cell(out, position == 0, delimiter, cell.as_ref());
    }
    out.extend_from_slice(ending.bytes());
}
