//! Payloads in and out of ciphertext.

use std::{collections::HashMap, sync::Arc};

use futures::{FutureExt as _, future::BoxFuture};
use leadline_domain::TenantId;
use leadline_secrets::{Keyring, PayloadCipher, PayloadScope, SealedPayload, SecretsError};
use prost::Message as _;
use temporalio_common::{
    data_converters::{PayloadCodec, PayloadConversionError, SerializationContextData},
    protos::temporal::api::common::v1::Payload,
};

use crate::stamp::STAMP;

const ENCODING_KEY: &str = "encoding";
/// The `encoding` of an encrypted payload; its data is the whole payload that was, encrypted.
pub const ENCODING: &str = "binary/encrypted";
/// Metadata of an encrypted payload: whose it is.
pub const SCOPE: &str = "leadline-scope";
/// Metadata of an encrypted payload: the key of the keyring that its key follows from.
pub const KEY_ID: &str = "leadline-key-id";

/// Encrypts what goes to Temporal, under the tenant that a payload is stamped with or under the platform's scope.
#[derive(Clone)]
pub struct TenantCodec {
    cipher: Arc<PayloadCipher>,
}

impl TenantCodec {
    pub fn new(keyring: &Keyring) -> Self {
        Self { cipher: Arc::new(keyring.payload_cipher()) }
    }

    /// Encrypts one payload. One that is encrypted already stays as it is, and so does one that says nothing: Temporal's CLI does not
    /// print the answer of an update that it cannot read, also when there is none.
    ///
    /// # Errors
    /// [`SecretsError::NoRandomness`].
    pub fn seal(&self, mut payload: Payload) -> Result<Payload, SecretsError> {
        if sealed_for(&payload).is_some() {
            return Ok(payload);
        }
        let stamp = payload.metadata.remove(STAMP);
        if payload.data.is_empty() || payload.data == b"null" {
            return Ok(payload);
        }
        let scope = stamp.and_then(|stamp| text(&stamp)?.parse().ok().map(PayloadScope::Tenant));
        let scope = scope.unwrap_or(PayloadScope::Platform);
        let SealedPayload { key_id, sealed } = self.cipher.seal(&scope, &payload.encode_to_vec())?;
        let metadata = [(ENCODING_KEY, ENCODING.to_owned()), (SCOPE, scope.to_string()), (KEY_ID, key_id)];
        let metadata: HashMap<_, _> = metadata.map(|(name, value)| (name.to_owned(), value.into_bytes())).into();
        Ok(Payload { metadata, data: sealed, ..Payload::default() })
    }

    /// The payload that was encrypted, without its stamp. One that leadline has not encrypted stays as it is.
    ///
    /// # Errors
    /// [`SecretsError::UnknownKey`]; [`SecretsError::PayloadUnopened`] for changed bytes, metadata included.
    pub fn open(&self, payload: Payload) -> Result<Payload, SecretsError> {
        let Some((scope, key_id)) = sealed_for(&payload) else { return Ok(payload) };
        let unopened = || SecretsError::PayloadUnopened { scope: scope.to_string(), key_id: key_id.clone() };
        let sealed = SealedPayload { key_id: key_id.clone(), sealed: payload.data };
        let opened = self.cipher.open(&scope, &sealed)?;
        Payload::decode(opened.as_slice()).map_err(|_| unopened())
    }

    /// Whether leadline has encrypted the payload.
    pub fn is_sealed(payload: &Payload) -> bool {
        metadata(payload, ENCODING_KEY) == Some(ENCODING)
    }

    /// The tenant that an encrypted payload belongs to; `None` for the platform's, and for what is not encrypted.
    pub fn tenant(payload: &Payload) -> Option<TenantId> {
        match sealed_for(payload)? {
            (PayloadScope::Tenant(tenant), _) => Some(tenant),
            (PayloadScope::Platform, _) => None,
        }
    }
}

impl PayloadCodec for TenantCodec {
    fn encode(
        &self,
        _: &SerializationContextData,
        payloads: Vec<Payload>,
    ) -> BoxFuture<'static, Result<Vec<Payload>, PayloadConversionError>> {
        let sealed = payloads.into_iter().map(|payload| self.seal(payload)).collect();
        futures::future::ready(converted(sealed)).boxed()
    }

    fn decode(
        &self,
        _: &SerializationContextData,
        payloads: Vec<Payload>,
    ) -> BoxFuture<'static, Result<Vec<Payload>, PayloadConversionError>> {
        let opened = payloads.into_iter().map(|payload| self.open(payload)).collect();
        futures::future::ready(converted(opened)).boxed()
    }
}

fn converted(payloads: Result<Vec<Payload>, SecretsError>) -> Result<Vec<Payload>, PayloadConversionError> {
    payloads.map_err(|error| PayloadConversionError::EncodingError(Box::new(error)))
}

/// Scope and key of a payload that leadline has encrypted.
fn sealed_for(payload: &Payload) -> Option<(PayloadScope, String)> {
    if !TenantCodec::is_sealed(payload) {
        return None;
    }
    Some((metadata(payload, SCOPE)?.parse().ok()?, metadata(payload, KEY_ID)?.to_owned()))
}

fn metadata<'p>(payload: &'p Payload, name: &str) -> Option<&'p str> {
    payload.metadata.get(name).and_then(|value| text(value))
}

fn text(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use leadline_domain::TenantId;
    use temporalio_common::data_converters::{ActivitySerializationContext, SerializationContextData};

    use super::*;
    use crate::{Stamped, data_converter};

    fn context() -> SerializationContextData {
        SerializationContextData::Activity(ActivitySerializationContext::new())
    }

    #[tokio::test]
    async fn a_value_goes_out_encrypted_for_its_tenant_and_comes_back_as_it_was() {
        let keyring = Keyring::generate().unwrap();
        let converter = data_converter(&keyring);
        let tenant = TenantId::random();
        let value = Stamped { tenant: Some(tenant.clone()), value: vec!["Lead".to_owned()] };
        let payload = converter.to_payload(&context(), &value).await.unwrap();
        assert_eq!(payload.metadata[ENCODING_KEY], b"binary/encrypted");
        assert_eq!(payload.metadata[SCOPE], tenant.as_str().as_bytes());
        assert_eq!(payload.metadata[KEY_ID], keyring.current_key_id().as_bytes());
        assert_eq!(payload.metadata.len(), 3, "nothing else is told");
        assert_eq!(TenantCodec::tenant(&payload), Some(tenant));

        let back: Vec<String> = converter.from_payload(&context(), payload.clone()).await.unwrap();
        assert_eq!(back, value.value);
        let opened = TenantCodec::new(&keyring).open(payload.clone()).unwrap();
        assert_eq!(opened.metadata.keys().collect::<Vec<_>>(), ["encoding"], "no stamp is left");
        let again = TenantCodec::new(&keyring).seal(payload.clone()).unwrap();
        assert_eq!(again, payload, "nothing is encrypted twice");

        let other = TenantId::random().to_string().into_bytes();
        let mut relabelled = payload;
        relabelled.metadata.insert(SCOPE.to_owned(), other);
        assert!(converter.from_payload::<Vec<String>>(&context(), relabelled).await.is_err());
    }

    #[tokio::test]
    async fn what_has_no_stamp_is_the_platforms_and_what_is_plain_passes() {
        let converter = data_converter(&Keyring::generate().unwrap());
        let payload = converter.to_payload(&context(), &7u32).await.unwrap();
        assert_eq!(payload.metadata[SCOPE], b"platform");
        let odd = HashMap::from([(STAMP.to_owned(), b"no tenant".to_vec())]);
        let odd = Payload { metadata: odd, data: b"7".to_vec(), ..Payload::default() };
        let sealed = converter.codec().encode(&context(), vec![odd]).await.unwrap();
        assert_eq!(sealed[0].metadata[SCOPE], b"platform");
        let nothing = converter.to_payload(&context(), &()).await.unwrap();
        assert!(!nothing.metadata.contains_key(SCOPE), "what says nothing is readable without the keys");
        converter.from_payload::<()>(&context(), nothing).await.unwrap();

        let typed = Payload {
            metadata: HashMap::from([("encoding".to_owned(), b"json/plain".to_vec())]),
            data: b"7".to_vec(),
            ..Payload::default()
        };
        let foreign =
            Payload { metadata: HashMap::from([("encoding".to_owned(), ENCODING.as_bytes().to_vec())]), ..typed.clone() };
        let passed = converter.codec().decode(&context(), vec![typed.clone(), foreign.clone()]).await.unwrap();
        assert_eq!(passed, [typed.clone(), foreign]);
        assert_eq!(converter.from_payload::<u32>(&context(), typed).await.unwrap(), 7);
    }
}
