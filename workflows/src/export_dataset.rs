//! Exports one object of an org into an immutable data set, and brings the current state of its records up to it.
//!
//! Happy path: reserve API calls, start a Bulk API 2.0 job, stream its pages into Parquet parts, commit the manifest, apply the
//! rows to the current state, delete the job and give back the calls that were not made.
//!
//! ```text
//!   reserve_api_budget ─► start_bulk_job ─► extract_pages ─► commit_manifest ═pivot═► apply_current_state
//!          ▲                    ▲                ▲                                        ─► delete_bulk_job
//!   release_api_budget    abort_bulk_job   discard_parts      (undos, right to left;      ─► return_api_budget ─► Succeeded
//!                                                              last of all discard_dataset)
//! ```
//!
//! `extract_pages` resumes after its last committed part, whatever ended the attempt before: the cursor is a row beside the
//! part's, and no page that was committed is read again. Nobody sees a part before the manifest is committed.
//!
//! When it stops: `CSV_*` and `BULK_JOB_FAILED` are the org's data or its job, and nothing of the run is left. While it waits,
//! `SALESFORCE_LIMIT_EXCEEDED` or `API_BUDGET_EXHAUSTED` show as the reason; it goes on by itself, or cancel it. It parks for
//! what an administrator has to mend, such as `SALESFORCE_AUTH_REFUSED` or `SALESFORCE_ACCESS_DENIED`: mend it and retry, or retry
//! with other fields.

use leadline_domain::{DatasetId, operation::ExportDataset};
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};
use temporalio_macros::activity_definitions;
use temporalio_sdk::activities::ActivityError;

use crate::{
    envelope::StepInput, forward::Forward, lane::Lane, parking::SagaWorkflow, saga::Saga, saga_workflow::saga_workflow,
    stop::Stop,
};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReservedBudget {
    pub calls: i64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StartedJob {
    /// The vendor's id.
    pub job: String,
    pub fields: u32,
    pub schema_hash: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExtractedPages {
    pub parts: u32,
    pub rows: i64,
    pub bytes: i64,
}

/// A data set as its manifest describes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommittedDataset {
    pub dataset: DatasetId,
    pub rows: i64,
    pub bytes: i64,
    pub content_address: String,
    pub schema_hash: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppliedRows {
    pub rows: i64,
}

pub struct ExportSteps;

#[activity_definitions]
impl ExportSteps {
    #[activity(name = "reserve_api_budget")]
    pub fn reserve_api_budget(_: StepInput<ExportDataset>) -> Result<ReservedBudget, ActivityError> {
        unimplemented!()
    }

    #[activity(name = "release_api_budget")]
    pub fn release_api_budget(_: StepInput<()>) -> Result<(), ActivityError> {
        unimplemented!()
    }

    /// Describes the object, creates the job and the staging data set.
    #[activity(name = "start_bulk_job")]
    pub fn start_bulk_job(_: StepInput<ExportDataset>) -> Result<StartedJob, ActivityError> {
        unimplemented!()
    }

    /// Deletes the staging data set's row, which the transaction that accepted the operation wrote.
    #[activity(name = "discard_dataset")]
    pub fn discard_dataset(_: StepInput<ExportDataset>) -> Result<(), ActivityError> {
        unimplemented!()
    }

    /// Aborts and deletes the job, found again if its id was never recorded, and drops the staging data set's row.
    #[activity(name = "abort_bulk_job")]
    pub fn abort_bulk_job(_: StepInput<ExportDataset>) -> Result<(), ActivityError> {
        unimplemented!()
    }

    /// Waits for the job and writes its pages as parts, from the committed cursor on.
    #[activity(name = "extract_pages")]
    pub fn extract_pages(_: StepInput<ExportDataset>) -> Result<ExtractedPages, ActivityError> {
        unimplemented!()
    }

    /// Deletes the parts of its own epoch, and nothing else.
    #[activity(name = "discard_parts")]
    pub fn discard_parts(_: StepInput<ExportDataset>) -> Result<(), ActivityError> {
        unimplemented!()
    }

    /// Writes the manifest and shows the data set, at once.
    #[activity(name = "commit_manifest")]
    pub fn commit_manifest(_: StepInput<ExportDataset>) -> Result<CommittedDataset, ActivityError> {
        unimplemented!()
    }

    /// Writes the manifest, while the data set stays in staging: for a saga whose own pivot comes later and shows it then.
    #[activity(name = "seal_manifest")]
    pub fn seal_manifest(_: StepInput<ExportDataset>) -> Result<CommittedDataset, ActivityError> {
        unimplemented!()
    }

    #[activity(name = "discard_manifest")]
    pub fn discard_manifest(_: StepInput<ExportDataset>) -> Result<(), ActivityError> {
        unimplemented!()
    }

    /// Upserts the data set's rows into the current state, newest version wins.
    #[activity(name = "apply_current_state")]
    pub fn apply_current_state(_: StepInput<ExportDataset>) -> Result<AppliedRows, ActivityError> {
        unimplemented!()
    }

    #[activity(name = "delete_bulk_job")]
    pub fn delete_bulk_job(_: StepInput<ExportDataset>) -> Result<(), ActivityError> {
        unimplemented!()
    }

    /// Leaves the job to the org, which deletes it by itself after seven days.
    #[activity(name = "leave_bulk_job")]
    pub fn leave_bulk_job(_: StepInput<ExportDataset>) -> Result<(), ActivityError> {
        unimplemented!()
    }

    /// Gives back the reserved calls that were not made.
    #[activity(name = "return_api_budget")]
    pub fn return_api_budget(_: StepInput<()>) -> Result<(), ActivityError> {
        unimplemented!()
    }
}

pub use export_steps::{
    AbortBulkJob, ApplyCurrentState, CommitManifest, DeleteBulkJob, DiscardDataset, DiscardManifest, DiscardParts, ExtractPages,
    LeaveBulkJob, ReleaseApiBudget, ReserveApiBudget, ReturnApiBudget, SealManifest, StartBulkJob,
};

saga_workflow!(ExportDatasetSaga, "export_dataset", ExportDataset, export_dataset);

async fn export_dataset<W: SagaWorkflow>(saga: &mut Saga<W>, export: ExportDataset) -> Result<Json, Stop> {
    saga.accepted(ExportSteps::discard_dataset, export.clone());
    extract(saga, &export).await?;
    let (committed, mut forward) = saga.pivot(ExportSteps::commit_manifest, export.clone()).await?;
    finish_export(&mut forward, &export).await;
    Ok(json!(committed))
}

/// Everything before the manifest: what an export and a training run that exports first have in common.
pub(crate) async fn extract<W: SagaWorkflow>(saga: &mut Saga<W>, export: &ExportDataset) -> Result<ExtractedPages, Stop> {
    saga.step(ExportSteps::reserve_api_budget, export.clone()).undo(ExportSteps::release_api_budget, ()).await?;
    saga.step(ExportSteps::start_bulk_job, export.clone()).undo(ExportSteps::abort_bulk_job, export.clone()).await?;
    saga.step(ExportSteps::extract_pages, export.clone())
        .on(Lane::Extraction)
        .undo(ExportSteps::discard_parts, export.clone())
        .await
}

/// Everything after the data set is shown; all of it can be repeated.
pub(crate) async fn finish_export<W: SagaWorkflow>(forward: &mut Forward<'_, W>, export: &ExportDataset) {
    forward.step_on(Lane::Extraction, ExportSteps::apply_current_state, export.clone()).await;
    forward.optional_step(ExportSteps::delete_bulk_job, ExportSteps::leave_bulk_job, export.clone()).await;
    forward.step(ExportSteps::return_api_budget, ()).await;
}
