//! What a saga brings to the laws: how to make a world in which it can run, and how to start it. Nothing else.

use std::time::Duration;

use leadline_domain::{ModelId, ModelState, OperationKind, OperationState, operation::DrillWait};
use leadline_learning::{TrainingOptions, search::Budget};
use leadline_store::{models, records};
use leadline_tests::{scenario::Scenario, starts::Accepted};

/// Records of a world that trains: enough for a model that its gates let pass.
const LEARNABLE: u64 = 6_000;
const SMALL: u64 = 400;
const ZOMBIE_LIFE: Duration = Duration::from_secs(120);

/// A world in which one saga can run, again and again.
pub struct World {
    pub kind: OperationKind,
    pub scenario: Scenario,
    /// For promotions: the models that take turns.
    models: Vec<ModelId>,
    /// For predictions: the record.
    record: String,
}

/// Whether a world is the same after a run has succeeded in it. An org has one tenant, so it is onboarded once.
pub fn can_repeat(kind: OperationKind) -> bool {
    kind != OperationKind::OnboardTenant
}

impl World {
    pub async fn new(kind: OperationKind) -> Self {
        let scenario = match kind {
            OperationKind::OnboardTenant => Scenario::new(SMALL).await,
            OperationKind::ExportDataset | OperationKind::RunDrill => Scenario::onboarded(SMALL).await,
            OperationKind::TrainModel | OperationKind::PromoteModel | OperationKind::PredictAsync => {
                let mut scenario = Scenario::onboarded(LEARNABLE).await;
                // It is not the pages that are tried here.
                (scenario.steps.page_rows, scenario.steps.apply_rows) = (5_000, 5_000);
                scenario.stop_worker().await;
                scenario.start_worker();
                scenario
            }
        };
        let mut world = Self { kind, scenario, models: Vec::new(), record: String::new() };
        match kind {
            OperationKind::PromoteModel => world.models = vec![world.promoted().await, world.promoted().await],
            OperationKind::PredictAsync => {
                world.promoted().await;
                let mut tx = world.scenario.store.tenant(&world.scenario.tenant).await.unwrap();
                world.record = records::list(&mut tx, "Lead", "", 1).await.unwrap().remove(0).record_id;
            }
            OperationKind::OnboardTenant | OperationKind::ExportDataset | OperationKind::TrainModel | OperationKind::RunDrill => {
            }
        }
        world
    }

    /// Accepts one more run of the saga.
    pub async fn accept(&self) -> Accepted {
        match self.kind {
            OperationKind::OnboardTenant => self.scenario.accept_onboarding("laws").await,
            OperationKind::ExportDataset => self.scenario.accept_export("Lead").await,
            OperationKind::TrainModel => self.scenario.accept_training(&quick()).await,
            OperationKind::PromoteModel => self.scenario.accept_promotion(&self.next_model().await).await,
            OperationKind::RunDrill => self.scenario.accept_drill(DrillWait::Nowhere).await,
            OperationKind::PredictAsync => self.scenario.accept_prediction(&self.record, true, None).await,
        }
    }

    /// Lets attempts live on that the server has given up.
    pub async fn let_zombies_live(&mut self) {
        if self.scenario.steps.cancel_grace < ZOMBIE_LIFE {
            self.scenario.steps.cancel_grace = ZOMBIE_LIFE;
            self.scenario.stop_worker().await;
            self.scenario.start_worker();
        }
    }

    async fn promoted(&self) -> ModelId {
        let trained = self.scenario.begin(self.scenario.accept_training(&quick()).await).await;
        let ended = self.scenario.ended(&trained).await;
        assert_eq!(ended.state, OperationState::Succeeded, "{ended:?}");
        let promoted = self.scenario.promote(&trained.model()).await;
        let ended = self.scenario.ended(&promoted).await;
        assert_eq!(ended.state, OperationState::Succeeded, "{ended:?}");
        trained.model()
    }

    /// The one that is not in production.
    async fn next_model(&self) -> ModelId {
        let mut tx = self.scenario.store.tenant(&self.scenario.tenant).await.unwrap();
        for model in &self.models {
            if models::get(&mut tx, model).await.unwrap().state != ModelState::Production {
                return model.clone();
            }
        }
        panic!("two models in production");
    }
}

/// A training run of a second.
fn quick() -> TrainingOptions {
    TrainingOptions { budget: Budget { tree_rows: 6_000_000 }, ..TrainingOptions::default() }
}
