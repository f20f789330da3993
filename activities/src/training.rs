//! The steps of `train_model`.

use std::{
    ops::ControlFlow,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures::StreamExt as _;
use leadline_domain::{Code, Failure, ModelId, ModelState, TenantId};
use leadline_lake::Dataset;
use leadline_learning::{Artifact, Frame, FrameBuilder, GateReport, PredictionDefinition, Step, Trained, TrainingOptions, train};
use leadline_store::{
    consents,
    datasets::{self, DatasetState},
    models::{self, Model, StagedArtifact},
};
use leadline_workflows::{
    Lane, StepInput,
    train_model::{
        BeginTraining, DiscardArtifact, EvaluateGates, EvaluatedGates, FitModel, FittedModel, RegisterModel, RegisteredModel,
        RejectModel, TrainingPlan,
    },
};
use serde::de::DeserializeOwned;
use serde_json::Value as Json;
use temporalio_macros::activities;
use temporalio_sdk::activities::{ActivityContext, ActivityError};

use crate::{
    attempt::{Attempt, Done, Undoing},
    exporting::show_sealed,
    lake, learning,
    pulse::Pulse,
    services::Services,
};

const ID_FIELD: &str = "Id";
const READ_ROWS: usize = 8_192;

pub struct TrainActivities(pub(crate) Arc<Services>);

#[activities]
impl TrainActivities {
    #[activity(definition = BeginTraining)]
    pub async fn begin_training(
        self: Arc<Self>,
        ctx: ActivityContext,
        input: StepInput<TrainingPlan>,
    ) -> Result<(), ActivityError> {
        self.0.step(ctx, input, begin_training).await
    }

    #[activity(definition = RejectModel)]
    pub async fn reject_model(
        self: Arc<Self>,
        ctx: ActivityContext,
        input: StepInput<TrainingPlan>,
    ) -> Result<(), ActivityError> {
        self.0.undo(ctx, input, reject_model).await
    }

    #[activity(definition = DiscardArtifact)]
    pub async fn discard_artifact(
        self: Arc<Self>,
        ctx: ActivityContext,
        input: StepInput<TrainingPlan>,
    ) -> Result<(), ActivityError> {
        self.0.undo(ctx, input, discard_artifact).await
    }

    #[activity(definition = EvaluateGates)]
    pub async fn evaluate_gates(
        self: Arc<Self>,
        ctx: ActivityContext,
        input: StepInput<TrainingPlan>,
    ) -> Result<EvaluatedGates, ActivityError> {
        self.0.step(ctx, input, evaluate_gates).await
    }

    #[activity(definition = RegisterModel)]
    pub async fn register_model(
        self: Arc<Self>,
        ctx: ActivityContext,
        input: StepInput<TrainingPlan>,
    ) -> Result<RegisteredModel, ActivityError> {
        self.0.step(ctx, input, register_model).await
    }
}

/// The step that computes.
pub struct FitActivities(pub(crate) Arc<Services>);

#[activities]
impl FitActivities {
    #[activity(definition = FitModel)]
    pub async fn fit_model(
        self: Arc<Self>,
        ctx: ActivityContext,
        input: StepInput<TrainingPlan>,
    ) -> Result<FittedModel, ActivityError> {
        self.0.step_on(Lane::Compute, ctx, input, fit_model).await
    }
}

async fn begin_training(attempt: Attempt, plan: TrainingPlan) -> Result<Done<()>, Failure> {
    let mut tx = attempt.fence().await?;
    consents::require(&mut tx, "allowTraining", |grant| grant.allow_training).await?;
    let dataset = datasets::get(&mut tx, &plan.dataset).await?;
    if dataset.state != DatasetState::Committed && !plan.own_dataset {
        return Err(Failure::new(Code::DatasetNotFound, format!("data set {} is not committed", plan.dataset)));
    }
    models::transition(&mut tx, &plan.model, ModelState::Training).await?;
    models::set_dataset(&mut tx, &plan.model, &plan.dataset).await?;
    attempt.finish(tx, &()).await
}

async fn reject_model(undoing: Undoing, plan: TrainingPlan) -> Result<(), Failure> {
    let mut tx = undoing.begin().await?;
    let (code, message) = undoing.reason(&mut tx).await?;
    match models::reject(&mut tx, &plan.model, code, &message).await {
        Err(error) if error.code() == Some(Code::ModelNotFound) => return Ok(()),
        outcome => outcome?,
    }
    Ok(tx.commit().await?)
}

/// Reads, trains, stages. A repetition gives the same bytes under the same keys.
async fn fit_model(attempt: Attempt, plan: TrainingPlan) -> Result<Done<FittedModel>, Failure> {
    let mut tx = attempt.read().await?;
    let model = models::get(&mut tx, &plan.model).await?;
    let incumbent = models::active(&mut tx, &model.definition_name).await?;
    drop(tx);
    let definition: PredictionDefinition = parsed(&model.definition, "the prediction definition")?;
    let options: TrainingOptions = parsed(&model.training, "the training options")?;
    let compared_with = incumbent.as_ref().map(|model| model.id.clone());
    let incumbent = match &incumbent {
        Some(incumbent) => Some(artifact_of(attempt.services(), attempt.tenant(), incumbent).await?),
        None => None,
    };
    let frame = read_frame(&attempt, &plan).await?;
    let rows = i64::try_from(frame.rows()).unwrap_or(i64::MAX);
    let run = Training { frame, definition, options, incumbent };
    let trained = run.completed(&attempt).await?;
    stage(attempt, plan, trained, compared_with, rows).await
}

/// All rows of the data set, in memory: about ten bytes a cell.
async fn read_frame(attempt: &Attempt, plan: &TrainingPlan) -> Result<Frame, Failure> {
    let dataset = Dataset::open(&attempt.services().lake, attempt.tenant(), &plan.dataset).await.map_err(lake)?;
    let total = i64::try_from(dataset.manifest().rows).ok();
    let mut builder = FrameBuilder::new(&dataset.manifest().schema, ID_FIELD).map_err(learning)?;
    let mut batches = dataset.rows(READ_ROWS);
    while let Some(batch) = batches.next().await {
        attempt.go_on()?;
        for row in batch.map_err(lake)? {
            builder.push(&row).map_err(learning)?;
        }
        attempt.progress("rows", i64::try_from(builder.rows()).unwrap_or(i64::MAX), total);
    }
    builder.finish().map_err(learning)
}

/// What a training run computes with.
struct Training {
    frame: Frame,
    definition: PredictionDefinition,
    options: TrainingOptions,
    incumbent: Option<Artifact>,
}

impl Training {
    /// Trains on a thread of its own. The wall clock and a cancel only ever end the run; they shape no model.
    async fn completed(self, attempt: &Attempt) -> Result<Trained, Failure> {
        let (pulse, wall_clock) = (Arc::clone(attempt.pulse()), attempt.services().config.training_wall_clock);
        let watch = Watch { pulse, begun: Instant::now(), wall_clock };
        let computed = tokio::task::spawn_blocking(move || {
            let Self { frame, definition, options, incumbent } = self;
            let trained = train(&frame, &definition, &options, incumbent.as_ref(), &|step| watch.tick(step));
            trained.map_err(|error| watch.failure(error))
        });
        computed.await.map_err(|lost| match lost.is_panic() {
            true => Failure::new(Code::StepDefect, "the training thread panicked"),
            false => Failure::new(Code::Internal, "the process is stopping"),
        })?
    }
}

/// What the trainer reports to between two fits.
struct Watch {
    pulse: Arc<Pulse>,
    begun: Instant,
    wall_clock: Duration,
}

impl Watch {
    fn tick(&self, step: Step) -> ControlFlow<()> {
        let progress = leadline_store::operations::Progress {
            unit: step.stage.to_string(),
            done: i64::try_from(step.done).unwrap_or(i64::MAX),
            total: i64::try_from(step.total).ok(),
        };
        self.pulse.beat(Some(progress));
        if self.pulse.stop_asked() || self.is_over() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    fn is_over(&self) -> bool {
        self.begun.elapsed() > self.wall_clock
    }

    fn failure(&self, error: leadline_learning::LearningError) -> Failure {
        match error {
            leadline_learning::LearningError::Aborted(stage) if !self.pulse.stop_asked() => Failure::new(
                Code::TrainingBudgetExceeded,
                format!("training was stopped while {stage}, after {} s", self.wall_clock.as_secs()),
            ),
            other => learning(other),
        }
    }
}

/// Writes the artifact under the fence, and the model's row with it.
async fn stage(
    attempt: Attempt,
    plan: TrainingPlan,
    trained: Trained,
    compared_with: Option<ModelId>,
    rows: i64,
) -> Result<Done<FittedModel>, Failure> {
    let body = Bytes::from(trained.artifact.to_bytes());
    let artifact_bytes = i64::try_from(body.len()).unwrap_or(i64::MAX);
    let gates = serde_json::to_value(&trained.card.gates)
        .map_err(|e| Failure::new(Code::Internal, format!("the gates cannot be written ({:?} error)", e.classify())))?;
    let objects = &attempt.services().lake;
    let tx = attempt.fence().await?;
    let outcome = async {
        let mut tx = tx;
        let artifact = objects.put_artifact(attempt.tenant(), &plan.model, attempt.epoch(), "model", body);
        let artifact = artifact.await.map_err(lake)?;
        let staged = StagedArtifact {
            schema_hash: trained.artifact.schema_hash.clone(),
            artifact_key: artifact.key,
            artifact_digest: artifact.sha256.clone(),
            card: trained.card.to_json(),
            gates,
            compared_with,
        };
        models::stage_artifact(&mut tx, &plan.model, &staged).await?;
        attempt.finish(tx, &FittedModel { artifact_digest: artifact.sha256, artifact_bytes, rows }).await
    };
    let outcome = outcome.await;
    let discard = objects.discard_artifacts(attempt.tenant(), &plan.model, attempt.epoch());
    let take_back = async { discard.await.map(drop).map_err(lake) };
    attempt.or_take_back(outcome, attempt.is_closed(), take_back).await
}

async fn discard_artifact(undoing: Undoing, plan: TrainingPlan) -> Result<(), Failure> {
    undoing.services().lake.discard_artifacts(undoing.tenant(), &plan.model, undoing.epoch()).await.map_err(lake)?;
    Ok(())
}

async fn evaluate_gates(attempt: Attempt, plan: TrainingPlan) -> Result<Done<EvaluatedGates>, Failure> {
    let mut tx = attempt.fence().await?;
    let model = models::get(&mut tx, &plan.model).await?;
    let gates = model.gates.ok_or_else(|| Failure::new(Code::Internal, format!("model {} has no gates", plan.model)))?;
    let report: GateReport = parsed(&gates, "the gates")?;
    if !report.passed() {
        let refusals: Vec<&str> = report.refusals().map(|gate| gate.detail.as_str()).collect();
        return Err(Failure::new(Code::GateRefused, refusals.join("; ")));
    }
    models::transition(&mut tx, &plan.model, ModelState::Validated).await?;
    attempt.finish(tx, &EvaluatedGates { passed: u32::try_from(report.gates.len()).unwrap_or(u32::MAX) }).await
}

/// Registers the model and shows the data set that it was trained on, if this run made it, at the same moment.
async fn register_model(attempt: Attempt, plan: TrainingPlan) -> Result<Done<RegisteredModel>, Failure> {
    let mut tx = attempt.fence().await?;
    consents::require(&mut tx, "allowTraining", |grant| grant.allow_training).await?;
    if plan.own_dataset {
        show_sealed(&attempt, &mut tx, &plan.dataset).await?;
    }
    models::transition(&mut tx, &plan.model, ModelState::Staged).await?;
    let model = models::get(&mut tx, &plan.model).await?;
    let artifact_digest = model.artifact_digest.unwrap_or_default();
    attempt.finish_pivot(tx, &RegisteredModel { model: plan.model, dataset: plan.dataset, artifact_digest }).await
}

/// The artifact of a model, checked against its digest.
pub(crate) async fn artifact_of(services: &Services, tenant: &TenantId, model: &Model) -> Result<Artifact, Failure> {
    let (Some(key), Some(digest)) = (&model.artifact_key, &model.artifact_digest) else {
        return Err(Failure::new(Code::ArtifactUnreadable, format!("model {} has no artifact", model.id)));
    };
    let body = services.lake.get_artifact(tenant, key, digest).await.map_err(lake)?;
    Artifact::from_bytes(&body).map_err(learning)
}

fn parsed<T: DeserializeOwned>(json: &Json, what: &str) -> Result<T, Failure> {
    T::deserialize(json)
        .map_err(|e| Failure::new(Code::Internal, format!("{what} in the model's row cannot be read ({:?} error)", e.classify())))
}
