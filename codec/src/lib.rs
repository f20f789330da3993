//! What leaves leadline for Temporal is encrypted, per tenant, and comes back as it was.
//!
//! ```text
//! value ── payload converter ──► payload with a stamp (whose it is) ── TenantCodec ──► ciphertext, scope, key id ──► server
//! ```
//!
//! The SDK (1.1.1) tells a codec nothing of the workflow that a payload belongs to. So whoever makes a payload stamps it with the
//! tenant, in the payload's own metadata, and the codec takes the stamp off when it encrypts. What carries no stamp is encrypted
//! all the same, under the platform's scope: there is no way out in plain.
//!
//! | payload | stamped by |
//! |---|---|
//! | input of a saga, of an update | who sends it, with [`Stamped`] |
//! | input of a step | the step's envelope itself |
//! | result of a step, of a saga, of an update; details of a failure | the worker's interceptors |
//! | heartbeat | the step's supervisor |
//! | message and stack trace of a failure | [`CodedFailures`], which takes the stamp of the details |
//! | headers (the trace context), failures that the SDK itself makes | nobody: the platform's scope |
//!
//! Search attributes never come here: the server must be able to read them. What a client sends without a codec, such as the
//! input of an update that an operator types into the Temporal UI, is plain, and passes decoding as it is.
//!
//! The codec stands outside of workflow code, so that a replay does not see it: ciphertexts may differ, values may not.

mod codec;
mod failures;
mod stamp;

use leadline_secrets::Keyring;
use temporalio_common::data_converters::{DataConverter, PayloadConverter};

pub use codec::{ENCODING, KEY_ID, SCOPE, TenantCodec};
pub use failures::{CodedFailures, stamp_failure};
pub use stamp::{Stamped, stamp, tenant_of};

/// What every client and worker of leadline converts with.
pub fn data_converter(keyring: &Keyring) -> DataConverter {
    DataConverter::new(PayloadConverter::default(), CodedFailures, TenantCodec::new(keyring))
}
