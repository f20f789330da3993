//! Strict, incremental decoding of a Bulk results page.
//!
//! Why not a CSV crate: they accept what is malformed (text after a closing quote, a stray quote, a file that ends inside one),
//! because people's files are like that. The vendor's are not. Here such bytes mean that something has mangled the page, and
//! a lenient reader would turn that into wrong values in a training set instead of an error.
//!
//! The grammar is RFC 4180 with LF or CRLF. One record is held at a time, and no field grows beyond the vendor's bound, so
//! memory is flat whatever the page.

use leadline_domain::value::{FieldType, ObjectSchema, Value};

use crate::bulk_rows::Row;
use crate::error::{ColumnMismatch, SalesforceError};

/// The vendor's bound on the length of one field.
pub const MAX_FIELD_CHARACTERS: usize = 131_072;
/// In UTF-8 a character takes at most four bytes: beyond this a field is too long without counting its characters.
const MAX_FIELD_BYTES: usize = MAX_FIELD_CHARACTERS * 4;

/// A header row is read to its end within so many columns more than were requested.
const MAX_EXTRA_COLUMNS: usize = 100;

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// Before the first byte of a field that is not the first of its record.
    FieldStart,
    /// Before the first byte of a record, where the page may end.
    RecordStart,
    Unquoted,
    Quoted,
    /// After a quote inside a quoted field: its end, or the first half of an escaped quote.
    QuoteSeen,
    /// After a carriage return outside quotes: only a line feed may follow.
    ReturnSeen,
}

/// Decodes one page, pushed in pieces of any size, into rows of a schema.
///
/// The header row must name exactly the schema's columns in the schema's order, which is the order of the `SELECT`.
pub struct PageDecoder {
    names: Vec<String>,
    types: Vec<FieldType>,
    state: State,
    /// The unescaped fields of the current record, back to back.
    record: Vec<u8>,
    /// Where each complete field of the record ends.
    ends: Vec<usize>,
    header_read: bool,
    rows: u64,
}

impl PageDecoder {
    pub fn new(schema: &ObjectSchema) -> Self {
        Self {
            names: schema.fields.iter().map(|f| f.name.clone()).collect(),
            types: schema.fields.iter().map(|f| f.field_type).collect(),
            state: State::RecordStart,
            record: Vec::new(),
            ends: Vec::with_capacity(schema.fields.len()),
            header_read: false,
            rows: 0,
        }
    }

    /// Data rows decoded so far; the header is none.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Decodes a piece and appends its complete rows.
    ///
    /// # Errors
    /// [`SalesforceError::CsvMalformed`], [`SalesforceError::NotUtf8`], [`SalesforceError::FieldTooLong`],
    /// [`SalesforceError::ColumnMismatch`] or [`SalesforceError::TypeMismatch`]. After an error the decoder is of no further use.
    pub fn push(&mut self, piece: &[u8], rows: &mut Vec<Row>) -> Result<(), SalesforceError> {
        let mut rest = piece;
        while let Some(&byte) = rest.first() {
            let taken = match (self.state, byte) {
                (State::FieldStart | State::RecordStart, b'"') => self.enter(State::Quoted),
                (State::Quoted, _) => self.take_quoted(rest)?,
                (State::QuoteSeen, b'"') => {
                    self.record.push(b'"');
                    self.enter(State::Quoted)
                }
                (State::ReturnSeen, b'\n') => self.end_record(rows)?,
                (State::ReturnSeen, _) => return Err(self.malformed("a carriage return without a line feed")),
                (_, b',') => {
                    self.end_field()?;
                    self.enter(State::FieldStart)
                }
                (_, b'\n') => {
                    self.end_field()?;
                    self.end_record(rows)?
                }
                (_, b'\r') => {
                    self.end_field()?;
                    self.enter(State::ReturnSeen)
                }
                (State::QuoteSeen, _) => return Err(self.malformed("text after a closing quote")),
                (State::Unquoted, b'"') => return Err(self.malformed("a quote inside an unquoted field")),
                (State::FieldStart | State::RecordStart | State::Unquoted, _) => self.take_unquoted(rest)?,
            };
            rest = &rest[taken..];
        }
        Ok(())
    }

    /// Ends the page and holds its row count against the announced one. The last line must have its line feed, as the vendor's
    /// has: what ends with a quote could be the first half of an escaped one.
    ///
    /// # Errors
    /// [`SalesforceError::PageTruncated`] if the page ends inside a record or has another number of rows; as [`Self::push`].
    pub fn finish(&self, expected: u64) -> Result<(), SalesforceError> {
        if self.state == State::RecordStart && self.rows == expected {
            Ok(())
        } else {
            Err(SalesforceError::PageTruncated { expected, received: self.rows })
        }
    }

    fn enter(&mut self, state: State) -> usize {
        self.state = state;
        1
    }

    fn take_quoted(&mut self, rest: &[u8]) -> Result<usize, SalesforceError> {
        match memchr::memchr(b'"', rest) {
            Some(at) => {
                self.extend_field(&rest[..at])?;
                self.state = State::QuoteSeen;
                Ok(at + 1)
            }
            None => {
                self.extend_field(rest)?;
                Ok(rest.len())
            }
        }
    }

    fn take_unquoted(&mut self, rest: &[u8]) -> Result<usize, SalesforceError> {
        self.state = State::Unquoted;
        let end = rest.iter().position(|b| matches!(b, b',' | b'\n' | b'\r' | b'"')).unwrap_or(rest.len());
        self.extend_field(&rest[..end])?;
        Ok(end)
    }

    fn extend_field(&mut self, bytes: &[u8]) -> Result<(), SalesforceError> {
        let length = self.record.len() - self.field_start() + bytes.len();
        if length > MAX_FIELD_BYTES {
            return Err(self.too_long());
        }
        self.record.extend_from_slice(bytes);
        Ok(())
    }

    fn end_field(&mut self) -> Result<(), SalesforceError> {
        if self.ends.len() >= self.names.len() && self.header_read {
            return Err(self.malformed("more fields than the header"));
        }
        // A lost header row that goes on for ever is not read for ever.
        if self.ends.len() >= self.names.len() + MAX_EXTRA_COLUMNS {
            return Err(SalesforceError::ColumnMismatch(ColumnMismatch::Extra(MAX_EXTRA_COLUMNS)));
        }
        let field = &self.record[self.field_start()..];
        if field.len() > MAX_FIELD_CHARACTERS {
            // Every byte that does not continue a character begins one.
            let characters = field.iter().filter(|b| (**b & 0xC0) != 0x80).count();
            if characters > MAX_FIELD_CHARACTERS {
                return Err(self.too_long());
            }
        }
        self.ends.push(self.record.len());
        Ok(())
    }

    fn end_record(&mut self, rows: &mut Vec<Row>) -> Result<usize, SalesforceError> {
        if self.header_read {
            rows.push(self.decode_row()?);
            self.rows += 1;
        } else {
            self.check_header()?;
            self.header_read = true;
        }
        self.record.clear();
        self.ends.clear();
        Ok(self.enter(State::RecordStart))
    }

    fn decode_row(&self) -> Result<Row, SalesforceError> {
        if self.ends.len() < self.types.len() {
            return Err(self.malformed("fewer fields than the header"));
        }
        let text = std::str::from_utf8(&self.record).map_err(|_| self.not_utf8())?;
        let mut row = Vec::with_capacity(self.types.len());
        let mut start = 0;
        for (column, (&end, &field_type)) in self.ends.iter().zip(&self.types).enumerate() {
            // Two broken fields may make a whole character together; their common border then lies inside of it.
            let field = text.get(start..end).ok_or_else(|| self.not_utf8())?;
            row.push(Value::parse(field_type, field).map_err(|e| SalesforceError::TypeMismatch {
                row: self.current_row(),
                field: self.names[column].clone(),
                shape: e.shape,
            })?);
            start = end;
        }
        Ok(row)
    }

    fn check_header(&self) -> Result<(), SalesforceError> {
        let mut starts = 0;
        let found: Vec<&[u8]> = self
            .ends
            .iter()
            .map(|&end| {
                let name = &self.record[starts..end];
                starts = end;
                name
            })
            .collect();
        let mismatch = if let Some(missing) = self.names.iter().find(|name| !found.contains(&name.as_bytes())) {
            ColumnMismatch::Missing(missing.clone())
        } else if found.len() > self.names.len() {
            ColumnMismatch::Extra(found.len() - self.names.len())
        } else if found.iter().zip(&self.names).any(|(found, name)| *found != name.as_bytes()) {
            ColumnMismatch::Reordered
        } else {
            return Ok(());
        };
        Err(SalesforceError::ColumnMismatch(mismatch))
    }

    fn field_start(&self) -> usize {
        self.ends.last().copied().unwrap_or(0)
    }

    /// 1 is the first data row, 0 the header.
    fn current_row(&self) -> u64 {
        self.rows + u64::from(self.header_read)
    }

    fn malformed(&self, reason: &'static str) -> SalesforceError {
        SalesforceError::CsvMalformed { row: self.current_row(), reason }
    }

    fn not_utf8(&self) -> SalesforceError {
        SalesforceError::NotUtf8 { row: self.current_row() }
    }

    fn too_long(&self) -> SalesforceError {
        let field = self.names.get(self.ends.len()).cloned().unwrap_or_else(|| "beyond the header".to_owned());
        SalesforceError::FieldTooLong { row: self.current_row(), field }
    }
}

#[cfg(test)]
mod tests {
    use leadline_domain::value::Field;

    use super::*;

    fn schema(columns: &[(&str, FieldType)]) -> ObjectSchema {
        let fields = columns
            .iter()
            .map(|(name, field_type)| Field {
                name: (*name).into(),
                label: (*name).into(),
                field_type: *field_type,
                nullable: true,
            })
            .collect();
        ObjectSchema { object: "Lead".into(), fields }
    }

    fn three_columns() -> ObjectSchema {
        schema(&[("Id", FieldType::Reference), ("City", FieldType::Text), ("Score__c", FieldType::Number)])
    }

    fn decode(page: &[u8], piece: usize, announced: u64) -> Result<Vec<Row>, SalesforceError> {
        let mut decoder = PageDecoder::new(&three_columns());
        let mut rows = Vec::new();
        for piece in page.chunks(piece) {
            decoder.push(piece, &mut rows)?;
        }
        decoder.finish(announced)?;
        Ok(rows)
    }

    #[test]
    fn a_page_gives_the_same_rows_wherever_the_network_cuts_it() {
        let page = "\"Id\",\"City\",\"Score__c\"\n\
            \"a\",\"Köln, \"\"Süd\"\"\",\"0.5\"\n\
            \"b\",\"two\nlines, \r\n three\",\"\"\n\
            c,,-1e3\r\n\
            \"d\",\"\u{1F600}\",\"7\"\n";
        let text = |t: &str| Value::Text(t.into());
        let expected = vec![
            vec![text("a"), text("Köln, \"Süd\""), Value::Number(0.5)],
            vec![text("b"), text("two\nlines, \r\n three"), Value::Null],
            vec![text("c"), Value::Null, Value::Number(-1000.0)],
            vec![text("d"), text("\u{1F600}"), Value::Number(7.0)],
        ];
        for piece in 1..=page.len() {
            assert_eq!(decode(page.as_bytes(), piece, 4).unwrap(), expected, "pieces of {piece}");
        }
        assert_eq!(decode(b"\"Id\",\"City\",\"Score__c\"\n", 9, 0).unwrap(), Vec::<Row>::new());
        assert_eq!(decode(b"", 1, 0).unwrap(), Vec::<Row>::new());
    }

    #[test]
    fn a_page_cut_anywhere_before_its_last_line_feed_is_not_taken_for_whole() {
        let page = "\"Id\",\"City\",\"Score__c\"\n\"a\",\"say \"\"hi\"\"\",\"1\"\n\"b\",\"Bergen\r\nNord\",\"22\"\r\n".as_bytes();
        for cut in 0..page.len() {
            let error = decode(&page[..cut], 7, 2).unwrap_err();
            assert!(matches!(error, SalesforceError::PageTruncated { expected: 2, received: 0..=1 }), "cut at {cut}: {error}");
        }
        assert!(matches!(decode(page, 7, 1), Err(SalesforceError::PageTruncated { expected: 1, received: 2 })));
    }

    #[test]
    fn mangled_pages_are_errors_that_name_the_row_and_no_value() {
        let malformed = |body: &str| decode(format!("Id,City,Score__c\nx,y,1\n{body}").as_bytes(), 5, 2).unwrap_err();
        for (body, reason) in [
            ("a,\"ada\"x,1\n", "text after a closing quote"),
            ("a,ad\"a,1\n", "a quote inside an unquoted field"),
            ("a,ada\n", "fewer fields than the header"),
            ("a,ada,1,2\n", "more fields than the header"),
            ("a,ada\r,1\n", "a carriage return without a line feed"),
            ("\n", "fewer fields than the header"),
        ] {
            assert_eq!(malformed(body), SalesforceError::CsvMalformed { row: 2, reason }, "{body:?}");
        }
        let mismatch = malformed("a,ada,ada@example.org\n");
        assert!(matches!(&mismatch, SalesforceError::TypeMismatch { row: 2, field, .. } if field == "Score__c"));
        assert!(!mismatch.to_string().contains("ada@"), "{mismatch}");
    }

    #[test]
    fn bytes_that_are_not_utf8_are_found_even_when_two_fields_make_a_character() {
        for row in [&b"a,\xff,1\n"[..], b"\"\xc3\",\"\xa9\",\"1\"\n"] {
            let page = [b"Id,City,Score__c\n", row].concat();
            assert_eq!(decode(&page, 4, 1).unwrap_err(), SalesforceError::NotUtf8 { row: 1 });
        }
    }

    #[test]
    fn a_field_may_have_131072_characters_and_not_one_more() {
        let page = |characters: usize, c: char| format!("Id,City,Score__c\na,\"{}\",1\n", String::from(c).repeat(characters));
        for c in ['x', 'ß', '\u{1F600}'] {
            let rows = decode(page(MAX_FIELD_CHARACTERS, c).as_bytes(), 8192, 1).unwrap();
            assert!(matches!(&rows[0][1], Value::Text(t) if t.chars().count() == MAX_FIELD_CHARACTERS));
            let error = decode(page(MAX_FIELD_CHARACTERS + 1, c).as_bytes(), 8192, 1).unwrap_err();
            assert_eq!(error, SalesforceError::FieldTooLong { row: 1, field: "City".into() });
        }
    }

    #[test]
    fn the_header_must_be_the_requested_columns_in_their_order() {
        let header = |names: &str| match decode(format!("{names}\na,b,1\n").as_bytes(), 100, 1).unwrap_err() {
            SalesforceError::ColumnMismatch(mismatch) => mismatch,
            other => panic!("{other}"),
        };
        assert_eq!(header("Id,Score__c"), ColumnMismatch::Missing("City".into()));
        assert_eq!(header("Id,City,Score__c,New__c"), ColumnMismatch::Extra(1));
        assert_eq!(header(&"Id,".repeat(10_000)), ColumnMismatch::Extra(MAX_EXTRA_COLUMNS));
        assert_eq!(header("City,Id,Score__c"), ColumnMismatch::Reordered);
        assert_eq!(header("00Q1,ada@example.org,3"), ColumnMismatch::Missing("Id".into()));
        assert_eq!(header("id,City,Score__c"), ColumnMismatch::Missing("Id".into()));
    }
}
