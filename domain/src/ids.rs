//! Opaque public ids: a type prefix and 128 random bits in Crockford base32, lower case.
//!
//! What one operation creates takes its id from the operation, so that a repeated step names the same thing.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize, de::Error as _};
use thiserror::Error;

const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
/// Characters of 128 bits at five bits each.
const SUFFIX: usize = 26;

/// A text that is not an id of the expected kind.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("not a {kind} id: ids of this kind look like {prefix}_ followed by 26 characters")]
pub struct IdError {
    pub kind: &'static str,
    pub prefix: &'static str,
}

fn encode(mut bits: u128) -> String {
    let mut out = [0u8; SUFFIX];
    for slot in out.iter_mut().rev() {
        *slot = ALPHABET[(bits & 31) as usize];
        bits >>= 5;
    }
    out.iter().map(|&b| char::from(b)).collect()
}

fn is_suffix(text: &str) -> bool {
    text.len() == SUFFIX && text.bytes().all(|b| ALPHABET.contains(&b))
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal, $kind:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            pub const PREFIX: &'static str = $prefix;

            /// A new id from the thread's random number generator.
            pub fn random() -> Self {
                Self::from_bits(rand::random())
            }

            /// The id of these 128 bits.
            pub fn from_bits(bits: u128) -> Self {
                Self(format!("{}_{}", $prefix, encode(bits)))
            }

            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                let suffix = text.strip_prefix($prefix).and_then(|rest| rest.strip_prefix('_'));
                match suffix {
                    Some(suffix) if is_suffix(suffix) => Ok(Self(text.to_owned())),
                    _ => Err(IdError { kind: $kind, prefix: $prefix }),
                }
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }
    };
}

id!(
    /// One customer and its Salesforce org.
    TenantId, "tn", "tenant"
);
id!(
    /// One run of a saga, from its acceptance on.
    OperationId, "op", "operation"
);
id!(
    /// One exported data set.
    DatasetId, "ds", "data set"
);
id!(
    /// One trained model; also the version that is promoted.
    ModelId, "md", "model"
);
id!(
    /// One API key; the secret part follows it in the key that a caller holds.
    ApiKeyId, "lk", "API key"
);

/// The part of an id that follows its prefix.
fn suffix(id: &str) -> &str {
    id.split_once('_').map_or(id, |(_, suffix)| suffix)
}

impl OperationId {
    /// The data set that this operation creates, whatever the attempt.
    pub fn dataset(&self) -> DatasetId {
        DatasetId(format!("{}_{}", DatasetId::PREFIX, suffix(&self.0)))
    }

    /// The model that this operation creates, whatever the attempt.
    pub fn model(&self) -> ModelId {
        ModelId(format!("{}_{}", ModelId::PREFIX, suffix(&self.0)))
    }
}

/// The caller's own name for an asynchronous prediction, unique within its tenant.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize)]
#[serde(transparent)]
pub struct RequestId(String);

/// A request id outside the allowed form.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("a request id has 1 to 128 characters out of letters, digits and . _ : -")]
pub struct RequestIdError;

impl RequestId {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for RequestId {
    type Err = RequestIdError;

    fn from_str(text: &str) -> Result<Self, RequestIdError> {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b':' | b'-');
        if (1..=128).contains(&text.len()) && text.bytes().all(allowed) { Ok(Self(text.to_owned())) } else { Err(RequestIdError) }
    }
}

impl<'de> Deserialize<'de> for RequestId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_reads_back_and_another_kind_is_refused() {
        let operation = OperationId::random();
        assert_eq!(operation.as_str().parse::<OperationId>().unwrap(), operation);
        assert_eq!(operation.as_str().len(), 3 + SUFFIX);
        assert!(operation.as_str().parse::<TenantId>().is_err());
        assert!("op_../../etc/passwd-------------".parse::<OperationId>().is_err());
        assert_eq!(OperationId::from_bits(u128::MAX).as_str(), "op_7zzzzzzzzzzzzzzzzzzzzzzzzz");
    }

    #[test]
    fn what_an_operation_creates_is_named_after_it() {
        let operation = OperationId::from_bits(42);
        assert_eq!(operation.dataset(), operation.dataset());
        assert_eq!(suffix(operation.dataset().as_str()), suffix(operation.as_str()));
        assert_eq!(operation.model().as_str().parse::<ModelId>().unwrap(), operation.model());
    }

    #[test]
    fn a_request_id_keeps_to_its_alphabet() {
        assert!("lead:00Q-1.a_b".parse::<RequestId>().is_ok());
        assert!("".parse::<RequestId>().is_err());
        assert!("a/b".parse::<RequestId>().is_err());
        assert!("x".repeat(129).parse::<RequestId>().is_err());
    }
}
