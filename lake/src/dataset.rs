//! Data sets: immutable sets of rows, committed by one conditional put.
//!
//! ```text
//! {tenant}/datasets/{dataset}/e{epoch}/part-….parquet   written by the attempts of an epoch; seen by nobody
//! {tenant}/datasets/{dataset}/manifest.json             names the parts; its creation is the commit
//! ```
//!
//! A data set's id follows from the operation that creates it, so its whole prefix belongs to that operation, and parts are
//! written where they will stay: nothing is copied at the commit. An undo closes the epoch and calls [`Lake::withdraw_dataset`];
//! so does an attempt that has committed although its epoch had been closed meanwhile.

use bytes::Bytes;
use leadline_domain::{DatasetId, OperationId, TenantId, value::ObjectSchema};
use serde::{Deserialize, Serialize};

use crate::{Key, Lake, LakeError, PartInfo, Prefix, row_set::RowSum};

const MANIFEST: &str = "manifest.json";
const FORMAT: u32 = 1;

/// What a committed data set consists of. Two commits of the same parts write the same bytes: no time, no chance in here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Version of this layout.
    pub format: u32,
    pub tenant: TenantId,
    pub dataset: DatasetId,
    pub schema: ObjectSchema,
    /// [`ObjectSchema::hash`].
    pub schema_hash: String,
    pub rows: u64,
    /// SHA-256, in hex, that depends on the schema and the set of rows only: not on files, order or time.
    pub content_address: String,
    /// The consent version that the export relied on.
    pub consent_version: i64,
    pub created_by: CreatedBy,
    pub parts: Vec<PartInfo>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreatedBy {
    pub operation: OperationId,
    pub epoch: i64,
}

impl Manifest {
    /// The manifest of the data set that `operation` creates out of `parts`.
    ///
    /// # Errors
    /// [`LakeError::Invalid`] when a part does not lie in this data set and epoch; [`LakeError::Corrupt`] for a broken digest.
    pub fn new(
        tenant: &TenantId,
        operation: &OperationId,
        epoch: i64,
        schema: ObjectSchema,
        consent_version: i64,
        parts: Vec<PartInfo>,
    ) -> Result<Self, LakeError> {
        let dataset = operation.dataset();
        let prefix = Prefix::dataset(tenant, &dataset).epoch(epoch);
        parts.iter().try_for_each(|part| prefix.parse(&part.key).map(drop))?;
        let schema_hash = schema.hash();
        let (rows, content_address) = address(&schema_hash, &parts)?;
        Ok(Self {
            format: FORMAT,
            tenant: tenant.clone(),
            dataset,
            schema,
            schema_hash,
            rows,
            content_address,
            consent_version,
            created_by: CreatedBy { operation: operation.clone(), epoch },
            parts,
        })
    }

    /// The key under which this manifest is or will be visible.
    pub fn key(&self) -> Key {
        manifest_key(&self.tenant, &self.dataset)
    }

    /// Reads a manifest and checks that it is whole and stays within its own data set.
    fn read(json: &[u8], tenant: &TenantId, dataset: &DatasetId) -> Result<Self, LakeError> {
        let what = format!("the manifest of {dataset}");
        let manifest: Self = serde_json::from_slice(json).map_err(|error| {
            LakeError::corrupt(&what, format!("{:?} error at line {} column {}", error.classify(), error.line(), error.column()))
        })?;
        if manifest.format != FORMAT {
            return Err(LakeError::corrupt(&what, format!("its format is {}, not {FORMAT}", manifest.format)));
        }
        if (&manifest.tenant, &manifest.dataset) != (tenant, dataset) {
            return Err(LakeError::corrupt(&what, "it belongs to another data set"));
        }
        let prefix = Prefix::dataset(tenant, dataset);
        manifest.parts.iter().try_for_each(|part| prefix.parse(&part.key).map(drop))?;
        let (rows, content_address) = address(&manifest.schema.hash(), &manifest.parts)?;
        if (rows, &content_address) != (manifest.rows, &manifest.content_address) {
            return Err(LakeError::corrupt(&what, "its parts do not add up to its content address"));
        }
        Ok(manifest)
    }
}

/// Row count and content address of the parts together.
fn address(schema_hash: &str, parts: &[PartInfo]) -> Result<(u64, String), LakeError> {
    let (mut rows, mut sum) = (0, RowSum::default());
    for part in parts {
        rows += part.rows;
        sum.add(RowSum::from_hex(&part.rows_digest)?);
    }
    Ok((rows, sum.content_address(schema_hash, rows)))
}

fn manifest_key(tenant: &TenantId, dataset: &DatasetId) -> Key {
    Prefix::dataset(tenant, dataset).fixed(MANIFEST)
}

impl Lake {
    /// Commits the data set: from here on readers see it, whole. Returns whether this call did it; the same manifest already
    /// there is success. Then removes what dead attempts have left beside the parts.
    ///
    /// # Errors
    /// [`LakeError::AlreadyExists`] when another manifest was committed first, and those of the connection.
    pub async fn commit_dataset(&self, manifest: &Manifest) -> Result<bool, LakeError> {
        let json = serde_json::to_vec_pretty(manifest).map_err(|error| LakeError::corrupt("a manifest", error))?;
        let committed = self.put_if_absent(&manifest.key(), Bytes::from(json)).await?;
        if let Err(error) = self.remove_unreferenced(manifest).await {
            // The commit stands. The leftovers cost space only, and go with the data set.
            tracing::warn!(dataset = %manifest.dataset, %error, "leftovers beside a committed data set stay");
        }
        Ok(committed)
    }

    async fn remove_unreferenced(&self, manifest: &Manifest) -> Result<(), LakeError> {
        let listed = self.list(&Prefix::dataset(&manifest.tenant, &manifest.dataset)).await?;
        let referenced = |key: &Key| *key == manifest.key() || manifest.parts.iter().any(|part| part.key == key.as_str());
        let leftovers: Vec<Key> = listed.into_iter().map(|object| object.key).filter(|key| !referenced(key)).collect();
        self.delete_all(&leftovers).await
    }

    /// The manifest of a committed data set; `None` before its commit.
    ///
    /// # Errors
    /// [`LakeError::Corrupt`] when it does not add up, and those of the connection.
    pub async fn manifest(&self, tenant: &TenantId, dataset: &DatasetId) -> Result<Option<Manifest>, LakeError> {
        match self.get(&manifest_key(tenant, dataset)).await {
            Ok(json) => Manifest::read(&json, tenant, dataset).map(Some),
            Err(LakeError::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Takes back what the attempts of `epoch` have written, committed or not: the manifest first, so that no reader finds it
    /// without its parts. Close the epoch before, or a running attempt goes on writing. Returns the number of objects removed; a commit of another epoch is left alone.
    ///
    /// # Errors
    /// Those of the connection.
    pub async fn withdraw_dataset(&self, tenant: &TenantId, dataset: &DatasetId, epoch: i64) -> Result<usize, LakeError> {
        let ours = self.manifest(tenant, dataset).await?.filter(|manifest| manifest.created_by.epoch == epoch);
        if let Some(manifest) = &ours {
            self.delete(&manifest.key()).await?;
        }
        let removed = self.delete_prefix(&Prefix::dataset(tenant, dataset).epoch(epoch)).await?;
        Ok(removed + usize::from(ours.is_some()))
    }

    /// Removes a data set for good, committed or not: the manifest first. Returns the number of objects removed.
    pub async fn delete_dataset(&self, tenant: &TenantId, dataset: &DatasetId) -> Result<usize, LakeError> {
        let listed = self.list(&Prefix::dataset(tenant, dataset)).await?;
        self.delete(&manifest_key(tenant, dataset)).await?;
        self.delete_prefix(&Prefix::dataset(tenant, dataset)).await?;
        Ok(listed.len())
    }
}
