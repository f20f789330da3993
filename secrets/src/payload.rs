//! Keys for the payloads of workflows: one for each tenant and key-encryption key, and one for what belongs to no tenant.
//!
//! ```text
//! key-encryption key ── HKDF ──► payload root ── HKDF(salt of the payload, scope) ──► key of one payload ── AES-256-GCM
//! ```
//!
//! HKDF is RFC 5869 with SHA-256. Nothing is stored for a tenant, so that the first payload of an onboarding has its key, and the
//! last one of an onboarding that was undone still has it. The salt gives every payload a key of its own: with one key for each
//! tenant, random nonces would be safe for 2^32 payloads only, which the platform's scope could reach.
//!
//! A rotation is followed before the next payload is sealed: the file is looked at (not read) each time. What an earlier key has
//! sealed opens as long as the keyring has that key, or the payload root that a removed key leaves behind.

use std::{
    fmt,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    str::FromStr,
    sync::{PoisonError, RwLock},
};

use leadline_domain::TenantId;
use ring::{
    hkdf::{HKDF_SHA256, KeyType, Salt},
    rand::{SecureRandom as _, SystemRandom},
};
use zeroize::Zeroizing;

use crate::{
    SecretsError,
    envelope::{self, KEY_LEN},
    keyring::Keys,
};

const SALT_LEN: usize = 16;
const PLATFORM: &str = "platform";

/// Whom a payload belongs to. Bound into the encryption: a payload of one scope does not open as another's.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum PayloadScope {
    Tenant(TenantId),
    /// What does not say whose it is.
    Platform,
}

/// A text that names no scope.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("neither a tenant's id nor the platform")]
pub struct UnknownScope;

impl fmt::Display for PayloadScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tenant(tenant) => tenant.fmt(f),
            Self::Platform => f.write_str(PLATFORM),
        }
    }
}

impl FromStr for PayloadScope {
    type Err = UnknownScope;

    fn from_str(text: &str) -> Result<Self, UnknownScope> {
        match text {
            PLATFORM => Ok(Self::Platform),
            tenant => tenant.parse().map(Self::Tenant).map_err(|_| UnknownScope),
        }
    }
}

/// An encrypted payload: 16 bytes of salt, layout byte, 12 bytes nonce, ciphertext, 16 bytes tag.
pub struct SealedPayload {
    /// Which key of the keyring the payload's key follows from.
    pub key_id: String,
    pub sealed: Vec<u8>,
}

/// Encrypts and opens payloads; made by [`crate::Keyring::payload_cipher`].
pub struct PayloadCipher {
    file: Option<PathBuf>,
    held: RwLock<Held>,
}

struct Held {
    keys: Keys,
    version: Option<Version>,
}

/// Tells one content of the file from the next: a rotation puts another file in its place.
#[derive(PartialEq, Eq)]
struct Version {
    inode: u64,
    modified: (i64, i64),
    length: u64,
}

impl PayloadCipher {
    pub(crate) fn new(keys: Keys, file: Option<PathBuf>) -> Self {
        // No version yet: the first look reads the file, which may have changed since the keyring was loaded.
        Self { file, held: RwLock::new(Held { keys, version: None }) }
    }

    /// Encrypts under the current key.
    ///
    /// # Errors
    /// [`SecretsError::NoRandomness`].
    pub fn seal(&self, scope: &PayloadScope, plaintext: &[u8]) -> Result<SealedPayload, SecretsError> {
        self.follow();
        let mut salt = [0u8; SALT_LEN];
        SystemRandom::new().fill(&mut salt).map_err(|_| SecretsError::NoRandomness)?;
        let (key_id, root) = self.current()?;
        let boxed = envelope::encrypt(&payload_key(&root, &salt, scope), &context(scope, &key_id), plaintext)?;
        Ok(SealedPayload { sealed: [salt.as_slice(), &boxed].concat(), key_id })
    }

    /// # Errors
    /// [`SecretsError::UnknownKey`]; [`SecretsError::PayloadUnopened`] for another scope or changed bytes.
    pub fn open(&self, scope: &PayloadScope, payload: &SealedPayload) -> Result<Zeroizing<Vec<u8>>, SecretsError> {
        let key_id = &payload.key_id;
        let root = self.root(key_id)?;
        let opened = payload
            .sealed
            .split_first_chunk::<SALT_LEN>()
            .and_then(|(salt, boxed)| envelope::decrypt(&payload_key(&root, salt, scope), &context(scope, key_id), boxed));
        opened.ok_or_else(|| SecretsError::PayloadUnopened { scope: scope.to_string(), key_id: key_id.clone() })
    }

    fn current(&self) -> Result<(String, Zeroizing<[u8; KEY_LEN]>), SecretsError> {
        let held = self.held.read().unwrap_or_else(PoisonError::into_inner);
        let current = held.keys.current.clone();
        let root = held.keys.payload_root(&current).ok_or_else(|| SecretsError::UnknownKey(current.clone()))?;
        Ok((current, root))
    }

    /// The root of a key that is held, or that the file has by now.
    fn root(&self, key_id: &str) -> Result<Zeroizing<[u8; KEY_LEN]>, SecretsError> {
        let held = || self.held.read().unwrap_or_else(PoisonError::into_inner).keys.payload_root(key_id);
        if let Some(root) = held() {
            return Ok(root);
        }
        self.follow();
        held().ok_or_else(|| SecretsError::UnknownKey(key_id.to_owned()))
    }

    /// Takes over what the file holds, if it has changed. An unreadable file changes nothing: what is held goes on to seal and to
    /// open, and what it seals opens everywhere.
    fn follow(&self) {
        let Some((file, version)) = self.file.as_deref().and_then(|file| Some((file, version(file)?))) else { return };
        let seen = self.held.read().unwrap_or_else(PoisonError::into_inner).version.as_ref() == Some(&version);
        if !seen && let Ok(keys) = Keys::read(file) {
            *self.held.write().unwrap_or_else(PoisonError::into_inner) = Held { keys, version: Some(version) };
        }
    }
}

fn version(file: &Path) -> Option<Version> {
    let metadata = file.metadata().ok()?;
    Some(Version { inode: metadata.ino(), modified: (metadata.mtime(), metadata.mtime_nsec()), length: metadata.len() })
}

/// What all payload keys of one key-encryption key follow from.
pub(crate) fn root(key: &[u8; KEY_LEN]) -> Zeroizing<[u8; KEY_LEN]> {
    derive(b"leadline/payload", key, b"root")
}

fn payload_key(root: &[u8; KEY_LEN], salt: &[u8; SALT_LEN], scope: &PayloadScope) -> Zeroizing<[u8; KEY_LEN]> {
    derive(salt, root, scope.to_string().as_bytes())
}

fn derive(salt: &[u8], secret: &[u8; KEY_LEN], info: &[u8]) -> Zeroizing<[u8; KEY_LEN]> {
    let mut key = Zeroizing::new([0u8; KEY_LEN]);
    debug_assert_eq!(HKDF_SHA256.len(), KEY_LEN);
    Salt::new(HKDF_SHA256, salt)
        .extract(secret)
        .expand(&[info], HKDF_SHA256)
        .and_then(|expanded| expanded.fill(&mut *key))
        .expect("32 bytes are within what HKDF-SHA256 gives");
    key
}

/// Binds a payload to its scope and key.
fn context(scope: &PayloadScope, key_id: &str) -> String {
    format!("leadline/payload\n{scope}\n{key_id}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Keyring;

    const TEXT: &[u8] = br#"{"dataset":"ds_1"}"#;

    fn opened(cipher: &PayloadCipher, scope: &PayloadScope, payload: &SealedPayload) -> Result<Vec<u8>, SecretsError> {
        cipher.open(scope, payload).map(|text| text.to_vec())
    }

    #[test]
    fn a_payload_opens_for_its_own_scope_and_no_other_and_never_looks_the_same_twice() {
        let cipher = Keyring::generate().unwrap().payload_cipher();
        let (own, other) = (PayloadScope::Tenant(TenantId::random()), PayloadScope::Tenant(TenantId::random()));
        let sealed = cipher.seal(&own, TEXT).unwrap();
        assert_eq!(opened(&cipher, &own, &sealed).unwrap(), TEXT);
        assert!(!sealed.sealed.windows(TEXT.len()).any(|window| window == TEXT));
        assert_ne!(cipher.seal(&own, TEXT).unwrap().sealed, sealed.sealed);
        for wrong in [other, PayloadScope::Platform] {
            assert!(matches!(cipher.open(&wrong, &sealed), Err(SecretsError::PayloadUnopened { .. })));
        }
        let mut changed = sealed;
        *changed.sealed.last_mut().unwrap() ^= 1;
        assert!(cipher.open(&own, &changed).is_err());
        changed.sealed.truncate(3);
        assert!(cipher.open(&own, &changed).is_err());

        let stranger = Keyring::generate().unwrap().payload_cipher();
        assert!(matches!(stranger.open(&own, &changed), Err(SecretsError::UnknownKey(_))));
        assert_eq!(own.to_string().parse(), Ok(own));
        assert_eq!("platform".parse(), Ok(PayloadScope::Platform));
        assert!("somebody".parse::<PayloadScope>().is_err());
    }

    /// Computed by another implementation. Histories outlive a release: what this one cannot open is lost.
    #[test]
    fn a_payload_of_an_earlier_release_opens() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keyring.json");
        Keyring::create(&path).unwrap();
        let key = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
        std::fs::write(&path, format!(r#"{{"current": "kek_01", "keys": [{{"id": "kek_01", "key": "{key}"}}]}}"#)).unwrap();
        let sealed = "070707070707070707070707070707070109090909090909090909090980e95f9e897597b3d3db3c2f2d27fe2a24f9e38a";
        let payload = SealedPayload { key_id: "kek_01".to_owned(), sealed: hex::decode(sealed).unwrap() };
        let cipher = Keyring::load(&path).unwrap().payload_cipher();
        let scope = PayloadScope::Tenant(TenantId::from_bits(1));
        assert_eq!(opened(&cipher, &scope, &payload).unwrap(), b"Lead");

        let root = "SeQz6VzaPR/1Z7QPwXNmdTjBWtjLUOv2hR9skijSPsU=";
        let (used, kept) = (Keyring::generate().unwrap(), format!(r#""retired": [{{"id": "kek_01", "key": "{root}"}}]"#));
        let rotated = used.to_json().trim_end_matches('}').trim_end().to_owned() + ", " + &kept + "}";
        std::fs::write(&path, rotated).unwrap();
        let cipher = Keyring::load(&path).unwrap().payload_cipher();
        assert_eq!(opened(&cipher, &scope, &payload).unwrap(), b"Lead");
    }

    #[test]
    fn a_running_process_follows_a_rotation_and_reads_what_removed_keys_have_sealed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keyring.json");
        let mut rotating = Keyring::create(&path).unwrap();
        let (running, idle) = (rotating.payload_cipher(), rotating.payload_cipher());
        let scope = PayloadScope::Tenant(TenantId::random());
        let old = running.seal(&scope, TEXT).unwrap();

        rotating.add_key().unwrap();
        rotating.save(&path).unwrap();
        let new = running.seal(&scope, TEXT).unwrap();
        assert_eq!(new.key_id, rotating.current_key_id());
        assert_ne!(new.key_id, old.key_id);
        assert_eq!(opened(&idle, &scope, &new).unwrap(), TEXT);

        rotating.remove_key(&old.key_id).unwrap();
        rotating.save(&path).unwrap();
        let restarted = Keyring::load(&path).unwrap();
        assert_eq!(opened(&restarted.payload_cipher(), &scope, &old).unwrap(), TEXT);
        assert_eq!(opened(&running, &scope, &old).unwrap(), TEXT);
        assert!(!restarted.key_ids().any(|id| id == old.key_id));

        std::fs::remove_file(&path).unwrap();
        let last = running.seal(&scope, TEXT).unwrap();
        assert_eq!(opened(&restarted.payload_cipher(), &scope, &last).unwrap(), TEXT);
    }
}
