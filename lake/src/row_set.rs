//! The content address of a data set: a hash of its rows as a multiset.
//!
//! It must not depend on where files are cut or in which order rows arrive, and parts must be hashed where they are written.
//! So each row is hashed by itself, and the hashes are added modulo 2^256: sums of parts add up to the sum of the whole.
//! This is AdHash of Bellare and Micciancio (A New Paradigm for Collision-Free Hashing, EUROCRYPT 1997), used for multisets
//! as MSet-Add-Hash of Clarke, Devadas, van Dijk, Gassend and Suh (Incremental Multiset Hash Functions and Their Application
//! to Memory Integrity Checking, ASIACRYPT 2003).
//!
//! At 256 bits the sum tells data sets apart; it is no defence against somebody who may choose very many rows in order to
//! forge another set with the same sum (Wagner's generalised birthday attack). Damage to files is caught by their SHA-256.

use leadline_domain::value::{ObjectSchema, Value};
use sha2::{Digest, Sha256};

use crate::{LakeError, columns::day_number};

/// Fields in the order of their names, as the schema hash takes them: column order is no part of a row's identity.
#[derive(Debug, Clone)]
pub(crate) struct RowEncoder {
    order: Vec<usize>,
    buffer: Vec<u8>,
}

impl RowEncoder {
    pub(crate) fn new(schema: &ObjectSchema) -> Self {
        let mut order: Vec<usize> = (0..schema.fields.len()).collect();
        order.sort_by(|&a, &b| schema.fields[a].name.cmp(&schema.fields[b].name));
        Self { order, buffer: Vec::new() }
    }

    /// SHA-256 over the values, each with a tag and, where its size varies, its length: different rows have different
    /// encodings. Values that compare equal encode equally, so -0 counts as 0, and instants count to the millisecond.
    fn hash(&mut self, row: &[Value]) -> [u8; 32] {
        self.buffer.clear();
        for &at in &self.order {
            match &row[at] {
                Value::Null => self.buffer.push(0),
                Value::Boolean(b) => self.buffer.extend([1, u8::from(*b)]),
                Value::Number(n) => {
                    self.buffer.push(2);
                    self.buffer.extend((n + 0.0).to_be_bytes());
                }
                Value::Text(text) => {
                    self.buffer.push(3);
                    self.buffer.extend((text.len() as u64).to_be_bytes());
                    self.buffer.extend(text.as_bytes());
                }
                Value::Date(date) => {
                    self.buffer.push(4);
                    self.buffer.extend(day_number(*date).to_be_bytes());
                }
                Value::DateTime(instant) => {
                    self.buffer.push(5);
                    self.buffer.extend(instant.timestamp_millis().to_be_bytes());
                }
            }
        }
        Sha256::digest(&self.buffer).into()
    }
}

/// A sum of row hashes modulo 2^256.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct RowSum {
    /// Least significant limb first.
    limbs: [u64; 4],
}

impl RowSum {
    pub(crate) fn add_row(&mut self, encoder: &mut RowEncoder, row: &[Value]) {
        self.add(Self::from_bytes(encoder.hash(row)));
    }

    pub(crate) fn add(&mut self, other: Self) {
        let mut carry = false;
        for (limb, other) in self.limbs.iter_mut().zip(other.limbs) {
            let (sum, over) = limb.overflowing_add(other);
            let (sum, over_carry) = sum.overflowing_add(u64::from(carry));
            *limb = sum;
            carry = over || over_carry;
        }
    }

    /// 32 bytes in hex, most significant first.
    pub(crate) fn to_hex(self) -> String {
        self.limbs.iter().rev().map(|limb| format!("{limb:016x}")).collect()
    }

    pub(crate) fn from_hex(text: &str) -> Result<Self, LakeError> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(text, &mut bytes).map_err(|error| LakeError::corrupt("a digest of rows", error))?;
        Ok(Self::from_bytes(bytes))
    }

    fn from_bytes(bytes: [u8; 32]) -> Self {
        let mut limbs = [0; 4];
        for (limb, chunk) in limbs.iter_mut().rev().zip(bytes.chunks_exact(8)) {
            *limb = u64::from_be_bytes(chunk.try_into().expect("chunks of eight bytes"));
        }
        Self { limbs }
    }

    /// SHA-256, in hex, over a domain tag, the schema hash, the number of rows and the sum.
    pub(crate) fn content_address(self, schema_hash: &str, rows: u64) -> String {
        let mut hasher = Sha256::new();
        hasher.update(b"leadline data set 1\0");
        hasher.update(schema_hash.as_bytes());
        hasher.update(rows.to_be_bytes());
        hasher.update(self.to_hex().as_bytes());
        hex::encode(hasher.finalize())
    }
}

#[cfg(test)]
mod tests {
    use leadline_domain::value::{Field, FieldType};
    use proptest::prelude::*;

    use super::*;

    fn schema(names: &[&str]) -> ObjectSchema {
        let field =
            |name: &&str| Field { name: (*name).to_owned(), label: String::new(), field_type: FieldType::Text, nullable: true };
        ObjectSchema { object: "Lead".into(), fields: names.iter().map(field).collect() }
    }

    fn sum(schema: &ObjectSchema, rows: &[Vec<Value>]) -> RowSum {
        let mut encoder = RowEncoder::new(schema);
        let mut sum = RowSum::default();
        rows.iter().for_each(|row| sum.add_row(&mut encoder, row));
        sum
    }

    fn text(text: &str) -> Value {
        Value::Text(text.to_owned())
    }

    #[test]
    fn rows_that_differ_only_in_where_a_text_ends_differ() {
        let schema = schema(&["A", "B"]);
        let of = |a: Value, b: Value| sum(&schema, &[vec![a, b]]);
        assert_ne!(of(text("ab"), text("c")), of(text("a"), text("bc")));
        assert_ne!(of(Value::Null, text("a")), of(text("a"), Value::Null));
        assert_ne!(of(Value::Number(1.0), Value::Null), of(Value::Boolean(true), Value::Null));
        assert_eq!(of(Value::Number(0.0), Value::Null), of(Value::Number(-0.0), Value::Null));
        assert_ne!(sum(&schema, &[]), sum(&schema, &[vec![Value::Null, Value::Null]]));
    }

    #[test]
    fn a_repeated_row_counts_and_column_order_does_not() {
        let row = vec![text("x"), text("y")];
        let swapped = vec![text("y"), text("x")];
        assert_ne!(sum(&schema(&["A", "B"]), &[row.clone(), row.clone()]), sum(&schema(&["A", "B"]), std::slice::from_ref(&row)));
        assert_eq!(sum(&schema(&["A", "B"]), &[row]), sum(&schema(&["B", "A"]), &[swapped]));
    }

    proptest! {
        #[test]
        fn parts_add_up_whatever_the_cut_and_the_order(
            texts in proptest::collection::vec("[a-z]{0,3}", 0..40), cut in 0usize..40, turn in 0usize..40,
        ) {
            let schema = schema(&["A"]);
            let mut rows: Vec<Vec<Value>> = texts.iter().map(|t| vec![text(t)]).collect();
            let whole = sum(&schema, &rows);
            if !rows.is_empty() {
                let turn = turn % rows.len();
                rows.rotate_left(turn);
            }
            let (head, tail) = rows.split_at(cut.min(rows.len()));
            let mut parts = sum(&schema, head);
            parts.add(RowSum::from_hex(&sum(&schema, tail).to_hex()).unwrap());
            prop_assert_eq!(parts, whole);
        }
    }
}
