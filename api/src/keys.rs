//! Which API key belongs to whom, remembered for a moment.
//!
//! Looking a key up costs a round trip to PostgreSQL, which would weigh as much as a whole prediction. A key that was found is
//! therefore trusted for `key_cache`; a key that was refused is never remembered, so that a new one works at once.

use std::time::Duration;

use leadline_domain::{Code, Failure};
use leadline_secrets::ApiKey;
use leadline_store::{
    Store,
    api_keys::{self, KeyScope},
};
use moka::future::Cache;
use sha2::{Digest, Sha256};

use crate::caller::{Caller, Scope};

const REMEMBERED: u64 = 10_000;

/// Looks up callers by their keys.
pub struct Keys {
    store: Store,
    /// By SHA-256 of the whole key: a core dump of the process shows no key from here.
    found: Cache<[u8; 32], Caller>,
}

impl Keys {
    pub fn new(store: Store, trust: Duration) -> Self {
        Self { store, found: Cache::builder().max_capacity(REMEMBERED).time_to_live(trust).build() }
    }

    /// # Errors
    /// [`Code::Unauthenticated`] for a key that is malformed, unknown, expired or revoked, without saying which;
    /// [`Code::DatabaseUnavailable`].
    pub async fn identify(&self, shown: &str) -> Result<Caller, Failure> {
        let digest: [u8; 32] = Sha256::digest(shown).into();
        if let Some(caller) = self.found.get(&digest).await {
            return Ok(caller);
        }
        let refused = || Failure::new(Code::Unauthenticated, "the API key is not valid");
        let key: ApiKey = shown.parse().map_err(|_| refused())?;
        let scope = match api_keys::authenticate(&self.store, &key).await?.ok_or_else(refused)? {
            KeyScope::Operator => Scope::Operator,
            KeyScope::Tenant(tenant) => Scope::Tenant(tenant),
        };
        let caller = Caller { key: key.id().clone(), scope };
        self.found.insert(digest, caller.clone()).await;
        Ok(caller)
    }
}
