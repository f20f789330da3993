//! The steps of an export, wherever it runs: as `export_dataset`, or inside `train_model`.

mod apply;
mod budget;
mod job;
mod manifest;
mod orphans;
mod pages;

use std::sync::Arc;

use leadline_domain::operation::ExportDataset;
use leadline_workflows::{
    Lane, StepInput,
    export_dataset::{
        AbortBulkJob, AppliedRows, ApplyCurrentState, CommitManifest, CommittedDataset, DeleteBulkJob, DiscardDataset,
        DiscardManifest, DiscardParts, ExtractPages, ExtractedPages, LeaveBulkJob, ReleaseApiBudget, ReserveApiBudget,
        ReservedBudget, ReturnApiBudget, SealManifest, StartBulkJob, StartedJob,
    },
};
use temporalio_macros::activities;
use temporalio_sdk::activities::{ActivityContext, ActivityError};

pub(crate) use manifest::show_sealed;

use crate::services::Services;

/// The light steps.
pub struct ExportActivities(pub(crate) Arc<Services>);

#[activities]
impl ExportActivities {
    #[activity(definition = ReserveApiBudget)]
    pub async fn reserve_api_budget(
        self: Arc<Self>,
        ctx: ActivityContext,
        input: StepInput<ExportDataset>,
    ) -> Result<ReservedBudget, ActivityError> {
        self.0.step(ctx, input, budget::reserve).await
    }

    #[activity(definition = ReleaseApiBudget)]
    pub async fn release_api_budget(self: Arc<Self>, ctx: ActivityContext, input: StepInput<()>) -> Result<(), ActivityError> {
        self.0.undo(ctx, input, budget::release).await
    }

    #[activity(definition = StartBulkJob)]
    pub async fn start_bulk_job(
        self: Arc<Self>,
        ctx: ActivityContext,
        input: StepInput<ExportDataset>,
    ) -> Result<StartedJob, ActivityError> {
        self.0.step(ctx, input, job::start).await
    }

    #[activity(definition = AbortBulkJob)]
    pub async fn abort_bulk_job(
        self: Arc<Self>,
        ctx: ActivityContext,
        input: StepInput<ExportDataset>,
    ) -> Result<(), ActivityError> {
        self.0.undo(ctx, input, job::abort).await
    }

    #[activity(definition = DiscardDataset)]
    pub async fn discard_dataset(
        self: Arc<Self>,
        ctx: ActivityContext,
        input: StepInput<ExportDataset>,
    ) -> Result<(), ActivityError> {
        self.0.undo(ctx, input, job::discard_staging).await
    }

    #[activity(definition = DiscardParts)]
    pub async fn discard_parts(
        self: Arc<Self>,
        ctx: ActivityContext,
        input: StepInput<ExportDataset>,
    ) -> Result<(), ActivityError> {
        self.0.undo(ctx, input, pages::discard).await
    }

    #[activity(definition = CommitManifest)]
    pub async fn commit_manifest(
        self: Arc<Self>,
        ctx: ActivityContext,
        input: StepInput<ExportDataset>,
    ) -> Result<CommittedDataset, ActivityError> {
        self.0.step(ctx, input, manifest::commit).await
    }

    #[activity(definition = SealManifest)]
    pub async fn seal_manifest(
        self: Arc<Self>,
        ctx: ActivityContext,
        input: StepInput<ExportDataset>,
    ) -> Result<CommittedDataset, ActivityError> {
        self.0.step(ctx, input, manifest::seal).await
    }

    #[activity(definition = DiscardManifest)]
    pub async fn discard_manifest(
        self: Arc<Self>,
        ctx: ActivityContext,
        input: StepInput<ExportDataset>,
    ) -> Result<(), ActivityError> {
        self.0.undo(ctx, input, manifest::discard).await
    }

    #[activity(definition = DeleteBulkJob)]
    pub async fn delete_bulk_job(
        self: Arc<Self>,
        ctx: ActivityContext,
        input: StepInput<ExportDataset>,
    ) -> Result<(), ActivityError> {
        self.0.step(ctx, input, job::delete).await
    }

    #[activity(definition = LeaveBulkJob)]
    pub async fn leave_bulk_job(
        self: Arc<Self>,
        ctx: ActivityContext,
        input: StepInput<ExportDataset>,
    ) -> Result<(), ActivityError> {
        // What it has in PostgreSQL goes with the budget's step.
        self.0.forgo(ctx, input, |_, _| async { Ok(()) }).await
    }

    #[activity(definition = ReturnApiBudget)]
    pub async fn return_api_budget(self: Arc<Self>, ctx: ActivityContext, input: StepInput<()>) -> Result<(), ActivityError> {
        self.0.step(ctx, input, budget::give_back).await
    }
}

/// The steps that move rows.
pub struct ExtractionActivities(pub(crate) Arc<Services>);

#[activities]
impl ExtractionActivities {
    #[activity(definition = ExtractPages)]
    pub async fn extract_pages(
        self: Arc<Self>,
        ctx: ActivityContext,
        input: StepInput<ExportDataset>,
    ) -> Result<ExtractedPages, ActivityError> {
        self.0.step_on(Lane::Extraction, ctx, input, pages::extract).await
    }

    #[activity(definition = ApplyCurrentState)]
    pub async fn apply_current_state(
        self: Arc<Self>,
        ctx: ActivityContext,
        input: StepInput<ExportDataset>,
    ) -> Result<AppliedRows, ActivityError> {
        self.0.step_on(Lane::Extraction, ctx, input, apply::apply).await
    }
}
