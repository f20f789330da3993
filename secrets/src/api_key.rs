//! API keys: `lk_` and 26 characters that name the key, a dot, 43 characters of secret.
//!
//! The database keeps SHA-256 of the secret and nothing else. A slow hash (bcrypt, Argon2) protects secrets that people
//! choose; this one holds 256 random bits, which no search gets through, and it is checked on every call.

use std::{fmt, str::FromStr};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use leadline_domain::ApiKeyId;
use ring::{
    digest::{SHA256, digest},
    rand::{SecureRandom as _, SystemRandom},
};
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use crate::SecretsError;

/// Characters of 32 bytes in base64 without padding.
const SECRET_LEN: usize = 43;

/// An API key with its secret, as its holder shows it.
pub struct ApiKey {
    id: ApiKeyId,
    secret: Zeroizing<String>,
}

/// A text that has not the form of an API key. It is not repeated: it may be a key with a typo.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not an API key: keys look like lk_<26 characters>.<43 characters>")]
pub struct MalformedApiKey;

impl ApiKey {
    /// # Errors
    /// [`SecretsError::NoRandomness`].
    pub fn generate() -> Result<Self, SecretsError> {
        let mut bytes = Zeroizing::new([0u8; 32]);
        SystemRandom::new().fill(&mut *bytes).map_err(|_| SecretsError::NoRandomness)?;
        Ok(Self { id: ApiKeyId::random(), secret: Zeroizing::new(URL_SAFE_NO_PAD.encode(*bytes)) })
    }

    pub fn id(&self) -> &ApiKeyId {
        &self.id
    }

    /// The whole key, to be shown once.
    pub fn reveal(&self) -> Zeroizing<String> {
        Zeroizing::new(format!("{}.{}", self.id, self.secret.as_str()))
    }

    /// SHA-256 of the secret: what the database keeps.
    pub fn secret_hash(&self) -> [u8; 32] {
        digest(&SHA256, self.secret.as_bytes()).as_ref().try_into().expect("SHA-256 has 32 bytes")
    }

    /// Whether `stored` is this key's hash; the time it takes says nothing about where they differ.
    pub fn matches(&self, stored: &[u8]) -> bool {
        self.secret_hash().ct_eq(stored).into()
    }
}

impl FromStr for ApiKey {
    type Err = MalformedApiKey;

    fn from_str(text: &str) -> Result<Self, MalformedApiKey> {
        let (id, secret) = text.split_once('.').ok_or(MalformedApiKey)?;
        let id = id.parse().map_err(|_| MalformedApiKey)?;
        let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
        if secret.len() != SECRET_LEN || !secret.bytes().all(allowed) {
            return Err(MalformedApiKey);
        }
        Ok(Self { id, secret: Zeroizing::new(secret.to_owned()) })
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiKey").field("id", &self.id).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_known_by_its_hash_and_shows_its_secret_only_when_asked() {
        let key = ApiKey::generate().unwrap();
        let shown = key.reveal();
        let read: ApiKey = shown.parse().unwrap();
        assert_eq!(read.id(), key.id());
        assert!(read.matches(&key.secret_hash()));
        assert!(!ApiKey::generate().unwrap().matches(&key.secret_hash()));
        assert!(!read.matches(b"short"));

        let secret = shown.split_once('.').unwrap().1.to_owned();
        assert!(!format!("{read:?}").contains(&secret));
        assert!("lk_nonsense".parse::<ApiKey>().is_err());
        assert!(format!("{}.{}", key.id(), &secret[1..]).parse::<ApiKey>().is_err());
    }
}
