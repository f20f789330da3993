//! The manifest: what makes parts a data set.

use leadline_domain::{Code, DatasetId, Failure, operation::ExportDataset};
use leadline_lake::{Manifest, PartInfo};
use leadline_store::{TenantTx, consents, datasets, export_parts};
use leadline_workflows::export_dataset::CommittedDataset;

use super::job;
use crate::{
    attempt::{Attempt, Done, Undoing},
    lake,
};

/// Writes the manifest and shows the data set. The manifest is written under the fence, so that it stands if and only if the
/// transaction does, or is taken back by the undo that waited for the fence.
pub(super) async fn commit(attempt: Attempt, export: ExportDataset) -> Result<Done<CommittedDataset>, Failure> {
    finish_with(attempt, export, Visibility::Shown).await
}

/// Writes the manifest only; [`show_sealed`] shows the data set later.
pub(super) async fn seal(attempt: Attempt, export: ExportDataset) -> Result<Done<CommittedDataset>, Failure> {
    finish_with(attempt, export, Visibility::Sealed).await
}

/// Whether the data set is listed as soon as its manifest stands.
enum Visibility {
    Shown,
    Sealed,
}

async fn finish_with(attempt: Attempt, export: ExportDataset, visibility: Visibility) -> Result<Done<CommittedDataset>, Failure> {
    let tx = attempt.fence().await?;
    let outcome = async {
        let mut tx = tx;
        let manifest = write(&attempt, &mut tx, &export).await?;
        match visibility {
            Visibility::Shown => {
                datasets::commit(&mut tx, &export.dataset, &row_of(&manifest)).await?;
                attempt.finish_pivot(tx, &committed(&manifest)).await
            }
            Visibility::Sealed => attempt.finish(tx, &committed(&manifest)).await,
        }
    };
    let outcome = outcome.await;
    let services = attempt.services();
    let withdraw = services.lake.withdraw_dataset(attempt.tenant(), &export.dataset, attempt.epoch());
    let take_back = async { withdraw.await.map(drop).map_err(lake) };
    attempt.or_take_back(outcome, attempt.is_closed(), take_back).await
}

/// Shows a data set whose manifest was sealed by this operation.
pub(crate) async fn show_sealed(attempt: &Attempt, tx: &mut TenantTx, dataset: &DatasetId) -> Result<(), Failure> {
    let manifest = attempt.services().lake.manifest(attempt.tenant(), dataset).await.map_err(lake)?;
    let manifest =
        manifest.ok_or_else(|| Failure::new(Code::StorageCorrupt, format!("the sealed manifest of {dataset} is gone")))?;
    datasets::commit(tx, dataset, &row_of(&manifest)).await?;
    Ok(())
}

async fn write(attempt: &Attempt, tx: &mut TenantTx, export: &ExportDataset) -> Result<Manifest, Failure> {
    consents::require(tx, "allowExport", |grant| grant.allow_export).await?;
    let operation = &attempt.operation().operation;
    let schema = job::of_operation(attempt, tx).await?.schema;
    let schema = schema.ok_or_else(|| Failure::new(Code::Internal, "the ledger has no schema for this export"))?;
    let parts = export_parts::parts(tx, operation, attempt.key().epoch).await?;
    let parts = parts
        .into_iter()
        .map(|part| PartInfo {
            key: part.key,
            rows: u64::try_from(part.rows).unwrap_or_default(),
            bytes: u64::try_from(part.bytes).unwrap_or_default(),
            rows_digest: part.rows_digest,
            sha256: part.sha256,
        })
        .collect();
    let manifest =
        Manifest::new(attempt.tenant(), operation, attempt.epoch(), schema, export.consent_version, parts).map_err(lake)?;
    attempt.services().lake.commit_dataset(&manifest).await.map_err(lake)?;
    Ok(manifest)
}

fn row_of(manifest: &Manifest) -> datasets::Manifest {
    datasets::Manifest {
        schema: manifest.schema.clone(),
        content_address: manifest.content_address.clone(),
        row_count: i64::try_from(manifest.rows).unwrap_or(i64::MAX),
        byte_count: bytes_of(manifest),
        manifest_key: manifest.key().as_str().to_owned(),
    }
}

fn committed(manifest: &Manifest) -> CommittedDataset {
    CommittedDataset {
        dataset: manifest.dataset.clone(),
        rows: i64::try_from(manifest.rows).unwrap_or(i64::MAX),
        bytes: bytes_of(manifest),
        content_address: manifest.content_address.clone(),
        schema_hash: manifest.schema_hash.clone(),
    }
}

fn bytes_of(manifest: &Manifest) -> i64 {
    i64::try_from(manifest.parts.iter().map(|part| part.bytes).sum::<u64>()).unwrap_or(i64::MAX)
}

/// The undo of [`seal`]: no reader may find the manifest. Its parts go with it; the cursor is the next undo's.
pub(super) async fn discard(undoing: Undoing, export: ExportDataset) -> Result<(), Failure> {
    let services = undoing.services();
    services.lake.withdraw_dataset(undoing.tenant(), &export.dataset, undoing.epoch()).await.map_err(lake)?;
    Ok(())
}
