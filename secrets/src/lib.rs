//! Credentials of tenants, encrypted with keys that lie outside the database, and the secrets that callers show.
//!
//! Envelope encryption: every secret has a data key of its own, and the data key is wrapped by a key-encryption key of the
//! [`Keyring`]. A dump of the database therefore opens nothing, and a rotation rewraps 32 bytes for each secret instead of
//! decrypting it. Tenant and purpose are bound into every seal, so that a row copied to another tenant, or used for another
//! purpose, does not open.
//!
//! Payloads of workflows are many, small and never stored here, so they have no data key each: theirs follow from the keyring.
//!
//! No I/O but the key file, no database, no clock.

mod api_key;
mod envelope;
mod error;
mod keyring;
mod payload;
mod signature;

pub use api_key::{ApiKey, MalformedApiKey};
pub use envelope::{Purpose, Sealed, UnknownPurpose};
pub use error::SecretsError;
pub use keyring::Keyring;
pub use payload::{PayloadCipher, PayloadScope, SealedPayload, UnknownScope};
pub use signature::{hmac_sha256_hex, verify_hmac_sha256_hex};
