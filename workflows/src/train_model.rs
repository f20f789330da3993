//! Trains a model on a data set, exporting one first if none is named, and registers it if every gate lets it pass.
//!
//! Happy path: take the run from Draft to Training under a lock on the consent, fit, evaluate the gates, register.
//!
//! ```text
//!   [export: reserve_api_budget ─► start_bulk_job ─► extract_pages ─► seal_manifest]
//!        │                                                                 ▲ discard_manifest
//!        ▼
//!   begin_training ─► fit_model ─► evaluate_gates ─► register_model ═pivot═► [apply_current_state ─► …] ─► Succeeded
//!                         ▲
//!                  discard_artifact              (undos, right to left; last of all reject_model, for the accepted Draft)
//! ```
//!
//! The export runs inside this run, under its ledger, rather than as a child with an operation of its own: there is one thing
//! to watch and to cancel, and a run that fails takes its data set with it. The data set therefore stays in staging until the
//! pivot, whose one transaction shows the data set and registers the model.
//!
//! When it stops: `CONSENT_WITHDRAWN` trained nothing. `GATE_REFUSED` leaves the model Rejected, with its card and the gates
//! that say why, and no artifact. A repeated start of an ended run does nothing.

use leadline_domain::{
    DatasetId, ModelId,
    operation::{ExportDataset, TrainModel},
};
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};
use temporalio_macros::activity_definitions;
use temporalio_sdk::activities::ActivityError;

use crate::{
    envelope::StepInput,
    export_dataset::{self, ExportSteps},
    lane::Lane,
    parking::SagaWorkflow,
    saga::Saga,
    saga_workflow::saga_workflow,
    stop::Stop,
};

/// Which model is trained on what.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrainingPlan {
    pub model: ModelId,
    pub dataset: DatasetId,
    /// The data set was exported by this run and is shown when the model is registered.
    pub own_dataset: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FittedModel {
    /// SHA-256 of the artifact, in hex.
    pub artifact_digest: String,
    pub artifact_bytes: i64,
    pub rows: i64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EvaluatedGates {
    pub passed: u32,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegisteredModel {
    pub model: ModelId,
    pub dataset: DatasetId,
    pub artifact_digest: String,
}

pub struct TrainSteps;

#[activity_definitions]
impl TrainSteps {
    /// Draft to Training, in the transaction that locks the consent.
    #[activity(name = "begin_training")]
    pub fn begin_training(_: StepInput<TrainingPlan>) -> Result<(), ActivityError> {
        unimplemented!()
    }

    /// Whatever its state: Rejected, with the reason that the operation's row shows.
    #[activity(name = "reject_model")]
    pub fn reject_model(_: StepInput<TrainingPlan>) -> Result<(), ActivityError> {
        unimplemented!()
    }

    /// Reads the data set, trains, and stages artifact and card under its epoch. Training to Trained.
    #[activity(name = "fit_model")]
    pub fn fit_model(_: StepInput<TrainingPlan>) -> Result<FittedModel, ActivityError> {
        unimplemented!()
    }

    /// Deletes what was staged under its own epoch.
    #[activity(name = "discard_artifact")]
    pub fn discard_artifact(_: StepInput<TrainingPlan>) -> Result<(), ActivityError> {
        unimplemented!()
    }

    /// Trained to Validated, or `GATE_REFUSED`.
    #[activity(name = "evaluate_gates")]
    pub fn evaluate_gates(_: StepInput<TrainingPlan>) -> Result<EvaluatedGates, ActivityError> {
        unimplemented!()
    }

    /// Validated to Staged, with the consent checked again.
    #[activity(name = "register_model")]
    pub fn register_model(_: StepInput<TrainingPlan>) -> Result<RegisteredModel, ActivityError> {
        unimplemented!()
    }
}

pub use train_steps::{BeginTraining, DiscardArtifact, EvaluateGates, FitModel, RegisterModel, RejectModel};

leadline_domain::nothing_to_correct!(TrainingPlan);

saga_workflow!(TrainModelSaga, "train_model", TrainModel, train_model);

async fn train_model<W: SagaWorkflow>(saga: &mut Saga<W>, train: TrainModel) -> Result<Json, Stop> {
    let export = own_export(saga, &train);
    let dataset = train.dataset.unwrap_or_else(|| saga.operation().operation.dataset());
    let plan = TrainingPlan { model: train.model, dataset, own_dataset: export.is_some() };

    saga.accepted(TrainSteps::reject_model, plan.clone());
    if let Some(export) = &export {
        export_dataset::extract(saga, export).await?;
        saga.step(ExportSteps::seal_manifest, export.clone()).undo(ExportSteps::discard_manifest, export.clone()).await?;
    }
    saga.step(TrainSteps::begin_training, plan.clone()).nothing_to_undo().await?;
    saga.step(TrainSteps::fit_model, plan.clone()).on(Lane::Compute).undo(TrainSteps::discard_artifact, plan.clone()).await?;
    saga.step(TrainSteps::evaluate_gates, plan.clone()).nothing_to_undo().await?;
    let (registered, mut forward) = saga.pivot(TrainSteps::register_model, plan).await?;
    if let Some(export) = &export {
        export_dataset::finish_export(&mut forward, export).await;
    }
    Ok(json!(registered))
}

/// The export that a run without a named data set makes for itself: every field of the object, unless a person has corrected that.
fn own_export<W: SagaWorkflow>(saga: &Saga<W>, train: &TrainModel) -> Option<ExportDataset> {
    train.dataset.is_none().then(|| ExportDataset {
        dataset: saga.operation().operation.dataset(),
        object: train.object.clone(),
        fields: train.fields.clone(),
        consent_version: train.consent_version,
    })
}
