//! Signatures of callbacks: HMAC-SHA256 (RFC 2104) in lower-case hex.

use ring::hmac::{Context, HMAC_SHA256, Key, verify};

/// HMAC-SHA256 over the concatenation of `parts`, in lower-case hex. A callback's `v1` signature is over the timestamp, `.`
/// and the body, so that neither can be replaced without the other.
pub fn hmac_sha256_hex(key: &[u8], parts: &[&[u8]]) -> String {
    let mut context = Context::with_key(&Key::new(HMAC_SHA256, key));
    for part in parts {
        context.update(part);
    }
    hex::encode(context.sign())
}

/// Whether `signature` is what [`hmac_sha256_hex`] gives, compared in constant time.
pub fn verify_hmac_sha256_hex(key: &[u8], parts: &[&[u8]], signature: &str) -> bool {
    hex::decode(signature).is_ok_and(|tag| verify(&Key::new(HMAC_SHA256, key), &parts.concat(), &tag).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Test case 2 of RFC 4231.
    #[test]
    fn the_signature_is_the_standard_one_however_the_message_is_cut() {
        let expected = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
        assert_eq!(hmac_sha256_hex(b"Jefe", &[b"what do ya want for nothing?"]), expected);
        assert_eq!(hmac_sha256_hex(b"Jefe", &[b"what do ya want ", b"for", b" nothing?"]), expected);
        assert!(verify_hmac_sha256_hex(b"Jefe", &[b"what do ya want for nothing?"], expected));
        assert!(!verify_hmac_sha256_hex(b"Jefe", &[b"what do ya want for nothing!"], expected));
        assert!(!verify_hmac_sha256_hex(b"Jefe", &[b"what"], "zz"));
    }
}
