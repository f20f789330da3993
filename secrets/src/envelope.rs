//! One sealed secret: AES-256-GCM under a data key, and the data key under a key-encryption key.

use std::{fmt, str::FromStr};

use leadline_domain::TenantId;
use ring::{
    aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    rand::{SecureRandom, SystemRandom},
};
use zeroize::Zeroizing;

use crate::SecretsError;

pub(crate) const KEY_LEN: usize = 32;
/// First byte of both boxes; another cipher or layout gets another number.
const LAYOUT: u8 = 1;

/// What a secret is for. Bound into the seal: a secret of one purpose does not open as another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// The RSA key of the tenant's connected app.
    SalesforcePrivateKey,
    /// Signs callbacks to the tenant's org.
    CallbackKey,
    /// The tenant's own key for data at rest. Nothing is encrypted with it yet: the payloads of workflows have keys that follow
    /// from the keyring, since an onboarding's history must be readable before this key is there, and after it was undone.
    TenantDataKey,
}

impl Purpose {
    pub const ALL: [Self; 3] = [Self::SalesforcePrivateKey, Self::CallbackKey, Self::TenantDataKey];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::SalesforcePrivateKey => "salesforce_private_key",
            Self::CallbackKey => "callback_key",
            Self::TenantDataKey => "tenant_data_key",
        }
    }
}

impl fmt::Display for Purpose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A text that names no purpose.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a purpose of a secret")]
pub struct UnknownPurpose;

impl FromStr for Purpose {
    type Err = UnknownPurpose;

    fn from_str(text: &str) -> Result<Self, UnknownPurpose> {
        Self::ALL.into_iter().find(|p| p.as_str() == text).ok_or(UnknownPurpose)
    }
}

/// A secret as the database keeps it. Both boxes are layout byte, 12 bytes nonce, ciphertext, 16 bytes tag.
#[derive(Clone, PartialEq, Eq)]
pub struct Sealed {
    /// Which key of the keyring wraps the data key.
    pub key_id: String,
    pub wrapped_key: Vec<u8>,
    pub sealed: Vec<u8>,
}

impl fmt::Debug for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sealed").field("key_id", &self.key_id).finish_non_exhaustive()
    }
}

/// A key-encryption key and its name.
pub(crate) struct WrappingKey<'a> {
    pub id: &'a str,
    pub bytes: &'a [u8; KEY_LEN],
}

/// Binds the secret itself. The wrapping key's id is not part of it, so that a rotation need not touch the secret.
fn secret_context(tenant: &TenantId, purpose: Purpose) -> String {
    format!("leadline/secret\n{tenant}\n{purpose}")
}

/// Binds the wrapped data key to its tenant, purpose and wrapping key.
fn wrapping_context(tenant: &TenantId, purpose: Purpose, key_id: &str) -> String {
    format!("leadline/data-key\n{tenant}\n{purpose}\n{key_id}")
}

pub(crate) fn seal(
    wrapping: &WrappingKey<'_>,
    tenant: &TenantId,
    purpose: Purpose,
    plaintext: &[u8],
) -> Result<Sealed, SecretsError> {
    let data_key = random_key()?;
    Ok(Sealed {
        key_id: wrapping.id.to_owned(),
        wrapped_key: encrypt(wrapping.bytes, &wrapping_context(tenant, purpose, wrapping.id), &*data_key)?,
        sealed: encrypt(&data_key, &secret_context(tenant, purpose), plaintext)?,
    })
}

pub(crate) fn open(
    wrapping: &WrappingKey<'_>,
    tenant: &TenantId,
    purpose: Purpose,
    sealed: &Sealed,
) -> Result<Zeroizing<Vec<u8>>, SecretsError> {
    let unopened = || SecretsError::Unopened { purpose: purpose.as_str(), key_id: sealed.key_id.clone() };
    let data_key = unwrap_data_key(wrapping, tenant, purpose, sealed)?;
    decrypt(&data_key, &secret_context(tenant, purpose), &sealed.sealed).ok_or_else(unopened)
}

/// The same secret with its data key wrapped by `to` instead of `from`.
pub(crate) fn rewrap(
    from: &WrappingKey<'_>,
    to: &WrappingKey<'_>,
    tenant: &TenantId,
    purpose: Purpose,
    sealed: &Sealed,
) -> Result<Sealed, SecretsError> {
    let data_key = unwrap_data_key(from, tenant, purpose, sealed)?;
    Ok(Sealed {
        key_id: to.id.to_owned(),
        wrapped_key: encrypt(to.bytes, &wrapping_context(tenant, purpose, to.id), &*data_key)?,
        sealed: sealed.sealed.clone(),
    })
}

fn unwrap_data_key(
    wrapping: &WrappingKey<'_>,
    tenant: &TenantId,
    purpose: Purpose,
    sealed: &Sealed,
) -> Result<Zeroizing<[u8; KEY_LEN]>, SecretsError> {
    let unopened = || SecretsError::Unopened { purpose: purpose.as_str(), key_id: sealed.key_id.clone() };
    let context = wrapping_context(tenant, purpose, wrapping.id);
    let bytes = decrypt(wrapping.bytes, &context, &sealed.wrapped_key).ok_or_else(unopened)?;
    let mut data_key = Zeroizing::new([0u8; KEY_LEN]);
    if bytes.len() != KEY_LEN {
        return Err(unopened());
    }
    data_key.copy_from_slice(&bytes);
    Ok(data_key)
}

pub(crate) fn random_key() -> Result<Zeroizing<[u8; KEY_LEN]>, SecretsError> {
    let mut key = Zeroizing::new([0u8; KEY_LEN]);
    SystemRandom::new().fill(&mut *key).map_err(|_| SecretsError::NoRandomness)?;
    Ok(key)
}

/// Random 96-bit nonces: safe for 2^32 messages under one key (NIST SP 800-38D, 8.3). A data key encrypts one message, a
/// wrapping key one for each secret and rotation.
pub(crate) fn encrypt(key: &[u8; KEY_LEN], context: &str, plaintext: &[u8]) -> Result<Vec<u8>, SecretsError> {
    let mut nonce = [0u8; NONCE_LEN];
    SystemRandom::new().fill(&mut nonce).map_err(|_| SecretsError::NoRandomness)?;
    let mut in_out = Zeroizing::new(Vec::with_capacity(plaintext.len() + AES_256_GCM.tag_len()));
    in_out.extend_from_slice(plaintext);
    cipher(key)
        .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(context.as_bytes()), &mut *in_out)
        .expect("AES-GCM refuses only messages beyond 64 GiB");
    let mut out = Vec::with_capacity(1 + NONCE_LEN + in_out.len());
    out.push(LAYOUT);
    out.extend_from_slice(&nonce);
    out.extend_from_slice(&in_out);
    Ok(out)
}

pub(crate) fn decrypt(key: &[u8; KEY_LEN], context: &str, boxed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let rest = boxed.strip_prefix(&[LAYOUT])?;
    let (nonce, ciphertext) = rest.split_first_chunk::<NONCE_LEN>()?;
    let mut in_out = Zeroizing::new(ciphertext.to_vec());
    let opened =
        cipher(key).open_in_place(Nonce::assume_unique_for_key(*nonce), Aad::from(context.as_bytes()), &mut in_out).ok()?.len();
    in_out.truncate(opened);
    Some(in_out)
}

fn cipher(key: &[u8; KEY_LEN]) -> LessSafeKey {
    LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key).expect("the key has the length of the cipher"))
}
