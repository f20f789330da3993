//! Keys that cannot leave their tenant.
//!
//! A [`Key`] is only made below a [`Prefix`], and a prefix only below a tenant's. So no call of this crate can name an object
//! of another tenant by mistake, and a key that comes back from a manifest or a database row is checked against the prefix
//! where it is expected.

use std::fmt;

use leadline_domain::{DatasetId, ModelId, TenantId};
use serde::Serialize;

use crate::LakeError;

const SEGMENT_MAX: usize = 128;

/// A part of the bucket that belongs to one tenant; ends in a slash.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Prefix(String);

/// The full key of one object of one tenant.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct Key(String);

impl Prefix {
    /// `{tenant}/`
    pub fn tenant(tenant: &TenantId) -> Self {
        Self(format!("{tenant}/"))
    }

    /// `{tenant}/datasets/{dataset}/`
    pub fn dataset(tenant: &TenantId, dataset: &DatasetId) -> Self {
        Self(format!("{tenant}/datasets/{dataset}/"))
    }

    /// `{tenant}/artifacts/{model}/`
    pub fn artifacts(tenant: &TenantId, model: &ModelId) -> Self {
        Self(format!("{tenant}/artifacts/{model}/"))
    }

    /// `…/e{epoch}/`: what the attempts of one epoch write, so that an undo removes it and nothing else.
    pub fn epoch(&self, epoch: i64) -> Self {
        Self(format!("{}e{epoch}/", self.0))
    }

    /// The object `name` right below this prefix.
    ///
    /// # Errors
    /// [`LakeError::Invalid`] for names other than 1 to 128 of letters, digits and `. _ -`, and for those that start with a dot.
    pub fn key(&self, name: &str) -> Result<Key, LakeError> {
        check_segment(name)?;
        Ok(Key(format!("{}{name}", self.0)))
    }

    /// Reads back a key that was stored.
    ///
    /// # Errors
    /// [`LakeError::Invalid`] when the text is not a key below this prefix.
    pub fn parse(&self, text: &str) -> Result<Key, LakeError> {
        let outside = || LakeError::Invalid { what: text.to_owned(), reason: format!("it is not below {self}") };
        let rest = text.strip_prefix(&self.0).ok_or_else(outside)?;
        rest.split('/').try_for_each(check_segment)?;
        Ok(Key(text.to_owned()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// For names that this crate makes out of digits and fixed texts.
    pub(crate) fn fixed(&self, name: impl fmt::Display) -> Key {
        Key(format!("{}{name}", self.0))
    }
}

impl Key {
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// For what object storage itself listed below a prefix.
    pub(crate) fn listed(text: String) -> Self {
        Self(text)
    }
}

fn check_segment(segment: &str) -> Result<(), LakeError> {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    if (1..=SEGMENT_MAX).contains(&segment.len()) && segment.bytes().all(allowed) && !segment.starts_with('.') {
        return Ok(());
    }
    let reason = "a name in a key has 1 to 128 letters, digits and . _ - and starts with no dot".to_owned();
    Err(LakeError::Invalid { what: "a key".to_owned(), reason })
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_key_leaves_its_prefix() {
        let (one, other) = (TenantId::from_bits(1), TenantId::from_bits(2));
        let dataset = DatasetId::from_bits(7);
        let prefix = Prefix::dataset(&one, &dataset).epoch(3);
        assert_eq!(prefix.as_str(), format!("{one}/datasets/{dataset}/e3/"));

        for name in ["", ".", "..", "a/b", "../x", ".hidden", "a b", "ü", &"x".repeat(129)] {
            assert!(prefix.key(name).is_err(), "{name:?}");
        }
        let key = prefix.key("part-00001.parquet").unwrap();
        assert_eq!(Prefix::tenant(&one).parse(key.as_str()).unwrap(), key);
        assert!(Prefix::tenant(&other).parse(key.as_str()).is_err());
        assert!(Prefix::tenant(&one).parse(&format!("{one}/../{other}/x")).is_err());
        assert!(prefix.parse(prefix.as_str()).is_err());
    }
}
