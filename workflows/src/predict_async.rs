//! Scores one record, keeps the score if the tenant allows it, writes it back into the org and calls the org back.
//!
//! Happy path: score, store, write back, deliver the callback.
//!
//! ```text
//!   score_record ─► store_prediction ─► write_back ═pivot═► deliver_callback (repeated with backoff) ─► Succeeded
//!        ▲                 ▲
//!   discard_score   forget_prediction       (undos, right to left; last of all fail_prediction, for the accepted request)
//! ```
//!
//! The score never passes through the history: from step to step it is claim-checked in PostgreSQL, with an expiry, and deleted
//! once the org has been called. A tenant that does not allow predictions to be kept gets it by callback only.
//!
//! The write-back is a vendor call, so its answer can be lost after it took effect. The ledger notes that the call is about to
//! be made; a pivot that was noted and not refused is asked again until it is known.
//!
//! When it stops: `NO_ACTIVE_MODEL`, `RECORD_NOT_FOUND`, `WRITE_BACK_REFUSED` end the request as failed. While the callback
//! cannot be delivered, the prediction shows `pending_callback` with the last error and the time of the next attempt; after a day
//! of that it parks with `CALLBACK_UNDELIVERED`: mend the org's service and retry, or skip the callback.

use leadline_domain::{ModelId, operation::PredictAsync};
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};
use temporalio_macros::activity_definitions;
use temporalio_sdk::activities::ActivityError;

use crate::{envelope::StepInput, parking::SagaWorkflow, saga::Saga, saga_workflow::saga_workflow, stop::Stop};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScoredRecord {
    pub model: ModelId,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredPrediction {
    /// False when the tenant does not allow predictions to be kept.
    pub kept: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WrittenBack {
    /// False when the request asked for no write-back, or named no record.
    pub written: bool,
}

pub struct PredictSteps;

#[activity_definitions]
impl PredictSteps {
    #[activity(name = "score_record")]
    pub fn score_record(_: StepInput<PredictAsync>) -> Result<ScoredRecord, ActivityError> {
        unimplemented!()
    }

    #[activity(name = "discard_score")]
    pub fn discard_score(_: StepInput<PredictAsync>) -> Result<(), ActivityError> {
        unimplemented!()
    }

    #[activity(name = "store_prediction")]
    pub fn store_prediction(_: StepInput<PredictAsync>) -> Result<StoredPrediction, ActivityError> {
        unimplemented!()
    }

    #[activity(name = "forget_prediction")]
    pub fn forget_prediction(_: StepInput<PredictAsync>) -> Result<(), ActivityError> {
        unimplemented!()
    }

    /// Ends the accepted request as failed, with the reason that the operation's row shows.
    #[activity(name = "fail_prediction")]
    pub fn fail_prediction(_: StepInput<PredictAsync>) -> Result<(), ActivityError> {
        unimplemented!()
    }

    /// Writes score, reasons, model and time into the record.
    #[activity(name = "write_back")]
    pub fn write_back(_: StepInput<PredictAsync>) -> Result<WrittenBack, ActivityError> {
        unimplemented!()
    }

    /// Calls the org's `prediction-complete`.
    #[activity(name = "deliver_callback")]
    pub fn deliver_callback(_: StepInput<PredictAsync>) -> Result<(), ActivityError> {
        unimplemented!()
    }

    /// Ends the request without its callback, and forgets what was to be told.
    #[activity(name = "forgo_callback")]
    pub fn forgo_callback(_: StepInput<PredictAsync>) -> Result<(), ActivityError> {
        unimplemented!()
    }
}

pub use predict_steps::{
    DeliverCallback, DiscardScore, FailPrediction, ForgetPrediction, ForgoCallback, ScoreRecord, StorePrediction, WriteBack,
};

saga_workflow!(PredictAsyncSaga, "predict_async", PredictAsync, predict_async);

async fn predict_async<W: SagaWorkflow>(saga: &mut Saga<W>, predict: PredictAsync) -> Result<Json, Stop> {
    saga.accepted(PredictSteps::fail_prediction, predict.clone());
    let scored =
        saga.step(PredictSteps::score_record, predict.clone()).undo(PredictSteps::discard_score, predict.clone()).await?;
    let stored =
        saga.step(PredictSteps::store_prediction, predict.clone()).undo(PredictSteps::forget_prediction, predict.clone()).await?;
    let (written, mut forward) = saga.pivot(PredictSteps::write_back, predict.clone()).await?;
    forward.optional_step(PredictSteps::deliver_callback, PredictSteps::forgo_callback, predict.clone()).await;
    Ok(json!({
        "request_id": predict.request_id,
        "model_id": scored.model,
        "stored": stored.kept,
        "written_back": written.written,
    }))
}
