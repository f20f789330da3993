//! The key-encryption keys: a JSON file that only its owner can read, or the same JSON in an environment variable.
//!
//! Rotation: `add_key` makes a new current key and keeps the old ones; every secret is rewrapped; then the old key can be
//! removed. No process has to stop for it: one that holds the keys of before reads its file again where it meets a key that it
//! does not know, and before it seals. A keyring from an environment variable cannot be read again, so that processes with one
//! are restarted between `add_key` and the rewrapping.
//!
//! A key that is removed leaves its payload root behind (see [`crate::PayloadCipher`]): histories that were encrypted under it
//! outlive the rotation by Temporal's retention, and the root opens no secret.

use std::{
    collections::BTreeMap,
    fmt,
    fs::{self, File, OpenOptions},
    io::{Read as _, Write as _},
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use leadline_domain::TenantId;
use ring::rand::{SecureRandom as _, SystemRandom};
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, Zeroizing};

use crate::{
    PayloadCipher, Purpose, Sealed, SecretsError,
    envelope::{self, KEY_LEN, WrappingKey},
    payload,
};

/// Key-encryption keys by id, of which one is current.
pub struct Keyring {
    keys: Keys,
    /// `None`: not from a file.
    file: Option<PathBuf>,
}

#[derive(Clone)]
pub(crate) struct Keys {
    pub(crate) current: String,
    by_id: BTreeMap<String, Zeroizing<[u8; KEY_LEN]>>,
    /// Payload roots of keys that were removed.
    retired: BTreeMap<String, Zeroizing<[u8; KEY_LEN]>>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyringFile {
    current: String,
    keys: Vec<KeyEntry>,
    /// Payload roots of keys that were removed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    retired: Vec<KeyEntry>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyEntry {
    id: String,
    /// 32 bytes, base64.
    key: String,
}

impl Drop for KeyEntry {
    fn drop(&mut self) {
        self.key.zeroize();
    }
}

impl Keyring {
    /// A keyring with one new key, in memory only.
    ///
    /// # Errors
    /// [`SecretsError::NoRandomness`].
    pub fn generate() -> Result<Self, SecretsError> {
        let keys = Keys { current: String::new(), by_id: BTreeMap::new(), retired: BTreeMap::new() };
        let mut keyring = Self { keys, file: None };
        keyring.add_key()?;
        Ok(keyring)
    }

    /// A new keyring in a new file with mode 0600.
    ///
    /// # Errors
    /// [`SecretsError::KeyFile`], also when the file exists: overwriting a key file would lose every secret.
    pub fn create(path: &Path) -> Result<Self, SecretsError> {
        let keyring = Self { file: Some(path.to_owned()), ..Self::generate()? };
        let mut file = new_private_file(path).map_err(|source| key_file(path, "created", source))?;
        keyring
            .keys
            .write_to(&mut file)
            .and_then(|()| sync_directory(path))
            .map_err(|source| key_file(path, "written", source))?;
        Ok(keyring)
    }

    /// # Errors
    /// [`SecretsError::KeyFile`], [`SecretsError::KeyFileExposed`] when others can read it, [`SecretsError::Malformed`].
    pub fn load(path: &Path) -> Result<Self, SecretsError> {
        Ok(Self { keys: Keys::read(path)?, file: Some(path.to_owned()) })
    }

    /// Reads the JSON of a key file from an environment variable.
    ///
    /// # Errors
    /// [`SecretsError::VariableMissing`], [`SecretsError::Malformed`].
    pub fn from_env(variable: &str) -> Result<Self, SecretsError> {
        let text = std::env::var(variable).map_err(|_| SecretsError::VariableMissing(variable.to_owned()))?;
        let keys = Keys::from_json(&Zeroizing::new(text), &format!("environment variable {variable}"))?;
        Ok(Self { keys, file: None })
    }

    /// Writes the keyring over its file, through a temporary file beside it, so that a crash leaves the old or the new one.
    /// The directory is synced too: a new key that wraps something must not vanish with a power failure.
    ///
    /// # Errors
    /// [`SecretsError::KeyFile`].
    pub fn save(&self, path: &Path) -> Result<(), SecretsError> {
        let unwritable = |source| key_file(path, "written", source);
        let beside = path.with_extension("new");
        match fs::remove_file(&beside) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(unwritable(error)),
            _ => {}
        }
        let mut file = new_private_file(&beside).map_err(unwritable)?;
        self.keys.write_to(&mut file).map_err(unwritable)?;
        fs::rename(&beside, path).map_err(unwritable)?;
        sync_directory(path).map_err(unwritable)
    }

    /// What a key file, or the environment variable of [`Keyring::from_env`], holds.
    pub fn to_json(&self) -> Zeroizing<String> {
        self.keys.to_json()
    }

    /// Makes a new key and the current one; returns its id. A keyring with a file seals with it from [`Keyring::save`] on.
    ///
    /// # Errors
    /// [`SecretsError::NoRandomness`].
    pub fn add_key(&mut self) -> Result<&str, SecretsError> {
        let mut name = [0u8; 8];
        SystemRandom::new().fill(&mut name).map_err(|_| SecretsError::NoRandomness)?;
        let id = format!("kek_{}", hex::encode(name));
        self.keys.by_id.insert(id.clone(), envelope::random_key()?);
        self.keys.current = id;
        Ok(&self.keys.current)
    }

    /// Removes a key that wraps nothing any more, but for its payload root. What is still wrapped by it is lost: ask the database
    /// first.
    ///
    /// # Errors
    /// [`SecretsError::CurrentKey`], [`SecretsError::UnknownKey`].
    pub fn remove_key(&mut self, key_id: &str) -> Result<(), SecretsError> {
        if key_id == self.keys.current {
            return Err(SecretsError::CurrentKey(key_id.to_owned()));
        }
        let removed = self.keys.by_id.remove(key_id).ok_or_else(|| SecretsError::UnknownKey(key_id.to_owned()))?;
        self.keys.retired.insert(key_id.to_owned(), payload::root(&removed));
        Ok(())
    }

    /// What encrypts the payloads of workflows under these keys, and under those that the file has later.
    pub fn payload_cipher(&self) -> PayloadCipher {
        PayloadCipher::new(self.keys.clone(), self.file.clone())
    }

    pub fn current_key_id(&self) -> &str {
        &self.keys.current
    }

    pub fn key_ids(&self) -> impl Iterator<Item = &str> {
        self.keys.by_id.keys().map(String::as_str)
    }

    /// Seals `plaintext` under a new data key, wrapped by the current key: that of the file, if there is one, since another
    /// process may have rotated and removed the one that is held here.
    ///
    /// # Errors
    /// [`SecretsError::NoRandomness`]; those of [`Keyring::load`].
    pub fn seal(&self, tenant: &TenantId, purpose: Purpose, plaintext: &[u8]) -> Result<Sealed, SecretsError> {
        let reread = self.file.as_deref().map(Keys::read).transpose()?;
        let keys = reread.as_ref().unwrap_or(&self.keys);
        envelope::seal(&keys.key(&keys.current)?, tenant, purpose, plaintext)
    }

    /// # Errors
    /// [`SecretsError::UnknownKey`]; [`SecretsError::Unopened`] for another tenant, another purpose or changed bytes.
    pub fn open(&self, tenant: &TenantId, purpose: Purpose, sealed: &Sealed) -> Result<Zeroizing<Vec<u8>>, SecretsError> {
        self.with_key(&sealed.key_id, |key| envelope::open(key, tenant, purpose, sealed))
    }

    /// The same secret with its data key wrapped by the current key. The secret itself is neither opened nor changed.
    ///
    /// # Errors
    /// As [`Keyring::open`].
    pub fn rewrap(&self, tenant: &TenantId, purpose: Purpose, sealed: &Sealed) -> Result<Sealed, SecretsError> {
        let to = self.keys.key(&self.keys.current)?;
        self.with_key(&sealed.key_id, |from| envelope::rewrap(from, &to, tenant, purpose, sealed))
    }

    /// Uses a key that is held, or that the file has by now.
    fn with_key<T>(&self, id: &str, act: impl FnOnce(&WrappingKey<'_>) -> Result<T, SecretsError>) -> Result<T, SecretsError> {
        match (self.keys.key(id), &self.file) {
            (Ok(key), _) => act(&key),
            (Err(_), Some(file)) => act(&Keys::read(file)?.key(id)?),
            (Err(unknown), None) => Err(unknown),
        }
    }
}

impl Keys {
    pub(crate) fn read(path: &Path) -> Result<Self, SecretsError> {
        let unreadable = |source| key_file(path, "read", source);
        let mut file = File::open(path).map_err(unreadable)?;
        let mode = file.metadata().map_err(unreadable)?.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(SecretsError::KeyFileExposed { path: path.to_owned(), mode });
        }
        let mut text = Zeroizing::new(String::new());
        file.read_to_string(&mut text).map_err(unreadable)?;
        Self::from_json(&text, &format!("key file {}", path.display()))
    }

    fn from_json(text: &str, origin: &str) -> Result<Self, SecretsError> {
        let malformed = |problem| SecretsError::Malformed { origin: origin.to_owned(), problem };
        let file: KeyringFile = serde_json::from_str(text)
            .map_err(|_| malformed("expected JSON {\"current\": id, \"keys\": [{\"id\", \"key\"}]}"))?;
        let by_id = keys_of(&file.keys).map_err(malformed)?;
        let retired = keys_of(&file.retired).map_err(malformed)?;
        if !by_id.contains_key(&file.current) {
            return Err(malformed("the current key is not among the keys"));
        }
        Ok(Self { current: file.current, by_id, retired })
    }

    fn to_json(&self) -> Zeroizing<String> {
        let content = KeyringFile { current: self.current.clone(), keys: entries(&self.by_id), retired: entries(&self.retired) };
        Zeroizing::new(serde_json::to_string_pretty(&content).expect("texts and lists are always JSON"))
    }

    fn write_to(&self, file: &mut File) -> std::io::Result<()> {
        file.write_all(self.to_json().as_bytes())?;
        file.write_all(b"\n")?;
        file.sync_all()
    }

    fn key<'a>(&'a self, id: &'a str) -> Result<WrappingKey<'a>, SecretsError> {
        let bytes = self.by_id.get(id).ok_or_else(|| SecretsError::UnknownKey(id.to_owned()))?;
        Ok(WrappingKey { id, bytes })
    }

    /// What the payload keys of a key follow from, also when the key itself was removed.
    pub(crate) fn payload_root(&self, id: &str) -> Option<Zeroizing<[u8; KEY_LEN]>> {
        self.by_id.get(id).map(|key| payload::root(key)).or_else(|| self.retired.get(id).cloned())
    }
}

fn entries(keys: &BTreeMap<String, Zeroizing<[u8; KEY_LEN]>>) -> Vec<KeyEntry> {
    keys.iter().map(|(id, key)| KeyEntry { id: id.clone(), key: STANDARD.encode(**key) }).collect()
}

fn keys_of(entries: &[KeyEntry]) -> Result<BTreeMap<String, Zeroizing<[u8; KEY_LEN]>>, &'static str> {
    let mut by_id = BTreeMap::new();
    for entry in entries {
        let bytes = Zeroizing::new(STANDARD.decode(&entry.key).map_err(|_| "a key is not base64")?);
        if bytes.len() != KEY_LEN {
            return Err("a key has not 32 bytes");
        }
        let mut key = Zeroizing::new([0u8; KEY_LEN]);
        key.copy_from_slice(&bytes);
        if by_id.insert(entry.id.clone(), key).is_some() {
            return Err("two keys have the same id");
        }
    }
    Ok(by_id)
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keyring").field("current", &self.keys.current).field("keys", &self.keys.by_id.len()).finish()
    }
}

fn new_private_file(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

fn sync_directory(path: &Path) -> std::io::Result<()> {
    let parent = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(parent)?.sync_all()
}

fn key_file(path: &Path, action: &'static str, source: std::io::Error) -> SecretsError {
    SecretsError::KeyFile { path: path.to_owned(), action, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEM: &[u8] = b"-----BEGIN PRIVATE KEY-----";

    #[test]
    fn a_secret_opens_for_its_own_tenant_and_purpose_and_for_no_other() {
        let keyring = Keyring::generate().unwrap();
        let (tenant, other) = (TenantId::random(), TenantId::random());
        let sealed = keyring.seal(&tenant, Purpose::CallbackKey, PEM).unwrap();
        assert_eq!(&**keyring.open(&tenant, Purpose::CallbackKey, &sealed).unwrap(), PEM);
        assert!(!sealed.sealed.windows(PEM.len()).any(|w| w == PEM));

        assert!(matches!(keyring.open(&other, Purpose::CallbackKey, &sealed), Err(SecretsError::Unopened { .. })));
        let wrong_purpose = keyring.open(&tenant, Purpose::TenantDataKey, &sealed);
        assert!(matches!(wrong_purpose, Err(SecretsError::Unopened { .. })));
        let mut changed = sealed.clone();
        *changed.sealed.last_mut().unwrap() ^= 1;
        assert!(matches!(keyring.open(&tenant, Purpose::CallbackKey, &changed), Err(SecretsError::Unopened { .. })));

        let stranger = Keyring::generate().unwrap().open(&tenant, Purpose::CallbackKey, &sealed).unwrap_err();
        assert_eq!(stranger.failure().code, leadline_domain::Code::SecretUnreadable);
    }

    #[test]
    fn a_rotation_rewraps_the_data_key_and_leaves_the_secret_as_it_is() {
        let mut keyring = Keyring::generate().unwrap();
        let tenant = TenantId::random();
        let old = keyring.seal(&tenant, Purpose::SalesforcePrivateKey, PEM).unwrap();
        let first = keyring.current_key_id().to_owned();
        let second = keyring.add_key().unwrap().to_owned();
        assert_ne!(first, second);
        assert!(keyring.remove_key(&second).is_err(), "the current key stays");

        let new = keyring.rewrap(&tenant, Purpose::SalesforcePrivateKey, &old).unwrap();
        assert_eq!((new.key_id.as_str(), &new.sealed), (second.as_str(), &old.sealed));
        assert_ne!(new.wrapped_key, old.wrapped_key);
        assert_eq!(&**keyring.open(&tenant, Purpose::SalesforcePrivateKey, &old).unwrap(), PEM);

        keyring.remove_key(&first).unwrap();
        assert_eq!(&**keyring.open(&tenant, Purpose::SalesforcePrivateKey, &new).unwrap(), PEM);
        assert!(matches!(keyring.open(&tenant, Purpose::SalesforcePrivateKey, &old), Err(SecretsError::UnknownKey(_))));
    }

    #[test]
    fn a_key_file_is_private_never_overwritten_and_reads_back_after_a_rotation() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keyring.json");
        let mut keyring = Keyring::create(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(matches!(Keyring::create(&path), Err(SecretsError::KeyFile { .. })));

        let tenant = TenantId::random();
        let sealed = keyring.seal(&tenant, Purpose::TenantDataKey, b"k").unwrap();
        keyring.add_key().unwrap();
        keyring.save(&path).unwrap();
        let reread = Keyring::load(&path).unwrap();
        assert_eq!(reread.current_key_id(), keyring.current_key_id());
        assert_eq!(&**reread.open(&tenant, Purpose::TenantDataKey, &sealed).unwrap(), b"k");

        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(Keyring::load(&path), Err(SecretsError::KeyFileExposed { mode: 0o644, .. })));
        let quoted = Keys::from_json("{\"current\": \"hunter2\"", "a text").err().unwrap().to_string();
        assert!(!quoted.contains("hunter2"), "{quoted}");
    }

    #[test]
    fn a_process_that_holds_the_keys_of_before_follows_a_rotation_without_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keyring.json");
        let mut rotating = Keyring::create(&path).unwrap();
        let running = Keyring::load(&path).unwrap();
        let tenant = TenantId::random();
        let old = running.seal(&tenant, Purpose::CallbackKey, PEM).unwrap();

        rotating.add_key().unwrap();
        assert_eq!(rotating.seal(&tenant, Purpose::CallbackKey, PEM).unwrap().key_id, old.key_id, "not before it is saved");
        rotating.save(&path).unwrap();
        let new = rotating.rewrap(&tenant, Purpose::CallbackKey, &old).unwrap();
        rotating.remove_key(&old.key_id).unwrap();
        rotating.save(&path).unwrap();

        assert_eq!(&**running.open(&tenant, Purpose::CallbackKey, &new).unwrap(), PEM);
        assert_eq!(running.seal(&tenant, Purpose::CallbackKey, PEM).unwrap().key_id, new.key_id);
        assert!(matches!(
            Keyring::load(&path).unwrap().open(&tenant, Purpose::CallbackKey, &old),
            Err(SecretsError::UnknownKey(_))
        ));
    }
}
