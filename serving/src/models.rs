//! Artifacts in memory, by the digest of their bytes.
//!
//! The digest is the version check: it is read with every prediction, so a promotion or a rollback is seen at once, and a
//! model that two processes serve is the same model.

use std::sync::Arc;

use leadline_domain::TenantId;
use leadline_lake::Lake;
use leadline_learning::Artifact;
use leadline_store::serving::ActiveModel;
use moka::future::Cache;
use tracing::info;

use crate::ServingError;

#[derive(Clone)]
struct Loaded {
    artifact: Arc<Artifact>,
    /// Of the serialized form; what it takes in memory is of that order.
    bytes: u32,
}

/// Loads each artifact once, however many predictions wait for it.
pub(crate) struct Models {
    lake: Lake,
    loaded: Cache<String, Loaded>,
}

impl Models {
    /// Keeps artifacts of `capacity` bytes in all, the recently used ones.
    pub(crate) fn new(lake: Lake, capacity: u64) -> Self {
        let loaded = Cache::builder().max_capacity(capacity).weigher(|_, loaded: &Loaded| loaded.bytes).build();
        Self { lake, loaded }
    }

    pub(crate) async fn get(&self, tenant: &TenantId, model: &ActiveModel) -> Result<Arc<Artifact>, Arc<ServingError>> {
        if let Some(loaded) = self.loaded.get(&model.artifact_digest).await {
            return Ok(loaded.artifact);
        }
        let digest = model.artifact_digest.clone();
        let loaded = self.loaded.try_get_with(digest, self.load(tenant, model)).await?;
        Ok(loaded.artifact)
    }

    async fn load(&self, tenant: &TenantId, model: &ActiveModel) -> Result<Loaded, ServingError> {
        let content = self.lake.get_artifact(tenant, &model.artifact_key, &model.artifact_digest).await?;
        let bytes = u32::try_from(content.len()).unwrap_or(u32::MAX);
        let parsed = tokio::task::spawn_blocking(move || Artifact::from_bytes(&content)).await;
        let artifact = parsed.expect("reading an artifact does not panic").map_err(ServingError::Artifact)?;
        info!(tenant = %tenant, model = %model.id, bytes, "loaded the model");
        Ok(Loaded { artifact: Arc::new(artifact), bytes })
    }
}
