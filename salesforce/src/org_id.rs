//! Ids of orgs, in their one canonical form.

use std::fmt;

use leadline_domain::record_id::full_id;
use serde::Serialize;

/// An org id in its 18-character form, which, unlike the 15-character form, survives a case-insensitive comparison.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
#[serde(transparent)]
pub struct OrgId(String);

impl OrgId {
    /// Reads a 15- or 18-character id; `None` if the text is not an org id or its suffix does not fit.
    pub fn parse(text: &str) -> Option<Self> {
        full_id(text).filter(|id| id.starts_with("00D")).map(Self)
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
