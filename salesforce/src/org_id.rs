//! Ids of orgs, in their one canonical form.

use std::fmt;

use serde::Serialize;

/// An org id in its 18-character form, which, unlike the 15-character form, survives a case-insensitive comparison.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
#[serde(transparent)]
pub struct OrgId(String);

impl OrgId {
    /// Reads a 15- or 18-character id; `None` if the text is not an org id or its suffix does not fit.
    pub fn parse(text: &str) -> Option<Self> {
        if !text.starts_with("00D") || !text.bytes().all(|b| b.is_ascii_alphanumeric()) {
            return None;
        }
        let short = text.get(..15)?;
        let full = format!("{short}{}", suffix(short));
        // The vendor compares the 18-character form without regard to case only; its suffix is upper case on the wire.
        (text.len() == 15 || text == full).then_some(Self(full))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for OrgId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The three characters that say which of the fifteen are upper case: five bits each, least significant first, in the
/// alphabet A-Z0-5.
fn suffix(short: &str) -> String {
    const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ012345";
    short
        .as_bytes()
        .chunks(5)
        .map(|five| {
            let bits = five.iter().enumerate().fold(0, |bits, (i, b)| bits | (usize::from(b.is_ascii_uppercase()) << i));
            char::from(ALPHABET[bits])
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_of_an_org_id_are_the_same_id() {
        let long = OrgId::parse("00DE0000000Hq5dMAC").expect("18 characters");
        assert_eq!(OrgId::parse("00DE0000000Hq5d"), Some(long.clone()));
        assert_eq!(long.as_str(), "00DE0000000Hq5dMAC");
        assert_eq!(OrgId::parse("00DE0000000Hq5dMAB"), None, "a suffix that does not fit");
        assert_eq!(OrgId::parse("001E0000000Hq5d"), None, "not an org");
        assert_eq!(OrgId::parse("00D"), None);
    }
}
