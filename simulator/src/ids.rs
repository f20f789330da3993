//! Record ids as the vendor writes them: a three-character key prefix, two characters of instance, ten base-62 digits, and
//! a three-character suffix that makes the id safe where case is lost.
//!
//! The digits are the record's row number plus one, so no map from id to row is kept, whatever the size of the org.

use std::fmt;

const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const INSTANCE: &str = "gL";
/// 62^10 does not fit the range that files can address anyway; the check below is against overflow only.
const DIGIT_COUNT: usize = 10;

/// A record id in its 18-character form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RecordId([u8; 18]);

impl RecordId {
    /// The id of row `row` (from 0) of the object whose key prefix is `prefix` (three ASCII alphanumerics).
    pub fn new(prefix: &str, row: u64) -> Self {
        let mut id = [b'0'; 18];
        id[..3].copy_from_slice(prefix.as_bytes());
        id[3..5].copy_from_slice(INSTANCE.as_bytes());
        let mut rest = row + 1;
        for digit in id[15 - DIGIT_COUNT..15].iter_mut().rev() {
            *digit = DIGITS[(rest % 62) as usize];
            rest /= 62;
        }
        let suffix = checksum(&id[..15]);
        id[15..].copy_from_slice(&suffix);
        Self(id)
    }

    /// Reads the 15- or the 18-character form; a wrong suffix or a foreign instance is not an id of this org.
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = text.as_bytes();
        if !(bytes.len() == 15 || bytes.len() == 18) || !bytes.iter().all(u8::is_ascii_alphanumeric) {
            return None;
        }
        let mut id = [0; 18];
        id[..15].copy_from_slice(&bytes[..15]);
        let suffix = checksum(&bytes[..15]);
        id[15..].copy_from_slice(&suffix);
        (bytes.len() == 15 || bytes[15..] == suffix).then_some(Self(id))
    }

    pub fn prefix(&self) -> &str {
        ascii(&self.0[..3])
    }

    pub fn as_str(&self) -> &str {
        ascii(&self.0)
    }

    /// The row number, or none when the digits cannot be a row of this org.
    pub fn row(&self) -> Option<u64> {
        if &self.0[3..5] != INSTANCE.as_bytes() {
            return None;
        }
        let mut number: u64 = 0;
        for digit in &self.0[15 - DIGIT_COUNT..15] {
            let value = DIGITS.iter().position(|d| d == digit)? as u64;
            number = number.checked_mul(62)?.checked_add(value)?;
        }
        number.checked_sub(1)
    }
}

impl fmt::Display for RecordId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

fn ascii(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("ids are built from ASCII only")
}

/// Each suffix character says which of five characters are upper case: bit `i` for character `i`.
fn checksum(first15: &[u8]) -> [u8; 3] {
    const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ012345";
    let mut suffix = [0; 3];
    for (chunk, out) in first15.chunks(5).zip(suffix.iter_mut()) {
        let bits = chunk.iter().enumerate().fold(0, |bits, (i, c)| bits | (usize::from(c.is_ascii_uppercase()) << i));
        *out = ALPHABET[bits];
    }
    suffix
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_suffix_is_the_vendors() {
        // Ids published in the vendor's documentation.
        for id in ["001D000000IRFmaIAH", "0019000000DmfxgAAB", "003D000000QYVZLIA5"] {
            assert_eq!(std::str::from_utf8(&checksum(&id.as_bytes()[..15])).unwrap(), &id[15..], "{id}");
        }
    }

    #[test]
    fn an_id_names_its_row_in_both_forms() {
        for row in [0, 1, 61, 62, 999_999, 12_345_678_901] {
            let id = RecordId::new("00Q", row);
            assert_eq!(id.as_str().len(), 18);
            assert_eq!(id.prefix(), "00Q");
            assert_eq!(RecordId::parse(id.as_str()).and_then(|i| i.row()), Some(row));
            assert_eq!(RecordId::parse(&id.as_str()[..15]), Some(id));
        }
        assert_eq!(RecordId::parse("00QgL00000000001AAAA"), None);
        assert_eq!(RecordId::parse(&RecordId::new("00Q", 5).as_str().to_lowercase()), None, "lost case is seen by the suffix");
        assert_eq!(RecordId::parse("not an id"), None);
    }
}
