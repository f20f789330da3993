//! Artifacts of models: small immutable files whose key holds their SHA-256.
//!
//! `{tenant}/artifacts/{model}/e{epoch}/{sha256}-{name}`. The registration of the model, in PostgreSQL, is what makes them
//! count. Until then they belong to the epoch that wrote them, and its undo removes them; afterwards nothing can overwrite
//! them, since another content has another key.

use bytes::Bytes;
use leadline_domain::{ModelId, TenantId};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{Lake, LakeError, Prefix};

/// Where an artifact lies and what it must contain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArtifactInfo {
    pub key: String,
    pub bytes: u64,
    /// In hex.
    pub sha256: String,
}

impl Lake {
    /// Writes an artifact; writing the same content again is a no-op.
    ///
    /// # Errors
    /// [`LakeError::Invalid`] for a name that cannot stand in a key, and those of the connection.
    pub async fn put_artifact(
        &self,
        tenant: &TenantId,
        model: &ModelId,
        epoch: i64,
        name: &str,
        body: Bytes,
    ) -> Result<ArtifactInfo, LakeError> {
        let sha256 = hex::encode(Sha256::digest(&body));
        let key = Prefix::artifacts(tenant, model).epoch(epoch).key(&format!("{sha256}-{name}"))?;
        let bytes = body.len() as u64;
        self.put_if_absent(&key, body).await?;
        Ok(ArtifactInfo { key: key.as_str().to_owned(), bytes, sha256 })
    }

    /// The content of a tenant's artifact by its key and its SHA-256 in hex, checked.
    ///
    /// # Errors
    /// [`LakeError::NotFound`], [`LakeError::Corrupt`] when it has changed, [`LakeError::Invalid`] for a key of another
    /// tenant, and those of the connection.
    pub async fn get_artifact(&self, tenant: &TenantId, key: &str, sha256: &str) -> Result<Bytes, LakeError> {
        let key = Prefix::tenant(tenant).parse(key)?;
        let body = self.get(&key).await?;
        if hex::encode(Sha256::digest(&body)) != sha256 {
            return Err(LakeError::corrupt(key, "its SHA-256 is not the registered one"));
        }
        Ok(body)
    }

    /// The undo of staging: removes what the attempts of `epoch` have written for the model. Returns the number of objects.
    pub async fn discard_artifacts(&self, tenant: &TenantId, model: &ModelId, epoch: i64) -> Result<usize, LakeError> {
        self.delete_prefix(&Prefix::artifacts(tenant, model).epoch(epoch)).await
    }
}
