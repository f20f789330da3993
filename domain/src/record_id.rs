//! The two forms of a Salesforce id.

/// An id in its 18-character form, which, unlike the 15-character form, survives a case-insensitive comparison; `None` for
/// anything but 15 or 18 letters and digits, or a suffix that does not fit.
pub fn full_id(text: &str) -> Option<String> {
    if !matches!(text.len(), 15 | 18) || !text.bytes().all(|b| b.is_ascii_alphanumeric()) {
        return None;
    }
    let (short, given) = text.split_at(15);
    let suffix = suffix(short);
    // The suffix is upper case on the vendor's wire.
    (given.is_empty() || given == suffix).then(|| format!("{short}{suffix}"))
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
    fn the_short_form_is_completed_and_a_wrong_suffix_refused() {
        assert_eq!(full_id("00DE0000000Hq5d").as_deref(), Some("00DE0000000Hq5dMAC"));
        assert_eq!(full_id("00DE0000000Hq5dMAC").as_deref(), Some("00DE0000000Hq5dMAC"));
        for wrong in ["00DE0000000Hq5dMAB", "00DE0000000Hq5", "00DE0000000Hq5'", "00DE0000000Hq\u{e9}", ""] {
            assert_eq!(full_id(wrong), None, "{wrong}");
        }
    }
}
