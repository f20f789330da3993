//! How a suite accepts operations, as the API does it, and starts them.

use std::time::Duration;

use leadline_codec::Stamped;
use leadline_domain::{
    DatasetId, ModelId, OperationId, OperationKind, RequestId,
    operation::{DrillWait, ExportDataset, OnboardTenant, PredictAsync, PromoteModel, RunDrill, SagaInput, TrainModel},
};
use leadline_learning::{PredictionDefinition, TrainingOptions};
use leadline_secrets::Purpose;
use leadline_store::{
    TenantTx,
    claims::{self, ClaimPurpose},
    datasets::{self, NewDataset},
    models::{self, NewModel},
    operations::{self, NewOperation},
    predictions::{self, NewPrediction},
    sealed_secrets,
    tenants::{self, NewTenant, OrgConnection},
};
use leadline_worker::start_options;
use serde::Serialize;
use serde_json::{Value as Json, json};
use temporalio_client::{WorkflowIdReusePolicy, errors::WorkflowStartError};
use temporalio_common::{HasWorkflowDefinition, WorkflowDefinition};

use crate::scenario::Scenario;

/// An operation that is written down and not started.
#[derive(Debug, Clone)]
pub struct Accepted {
    pub kind: OperationKind,
    pub id: OperationId,
    pub params: Json,
}

/// A saga by its name.
struct Named(&'static str);

impl WorkflowDefinition for Named {
    type Input = Stamped<SagaInput<Json>>;
    type Output = Json;

    fn name(&self) -> &str {
        self.0
    }
}

impl HasWorkflowDefinition for Named {
    type Run = Self;
}

impl Scenario {
    /// Accepts the creation of this scenario's tenant, and starts it.
    pub async fn onboard(&self, name: &str) -> OperationId {
        self.begin(self.accept_onboarding(name).await).await
    }

    /// Accepts an export, and starts it.
    pub async fn export(&self, object: &str) -> OperationId {
        self.begin(self.accept_export(object).await).await
    }

    /// Accepts a training run that exports its own data set, and starts it.
    pub async fn train(&self) -> OperationId {
        self.begin(self.accept_training(&TrainingOptions::default()).await).await
    }

    /// Accepts a training run on a data set that is there, and starts it.
    pub async fn train_on(&self, dataset: &DatasetId) -> OperationId {
        self.begin(self.accept_training_on(Some(dataset), &TrainingOptions::default()).await).await
    }

    pub async fn drill(&self, wait_at: DrillWait) -> OperationId {
        self.begin(self.accept_drill(wait_at).await).await
    }

    pub async fn promote(&self, model: &ModelId) -> OperationId {
        self.begin(self.accept_promotion(model).await).await
    }

    pub async fn predict(&self, record: &str, write_back: bool) -> OperationId {
        self.begin(self.accept_prediction(record, write_back, None).await).await
    }

    /// A prediction with fields sent along.
    pub async fn predict_with(&self, record: &str, write_back: bool, fields: &Json) -> OperationId {
        self.begin(self.accept_prediction(record, write_back, Some(fields)).await).await
    }

    pub async fn accept_onboarding(&self, name: &str) -> Accepted {
        let app = &self.simulator.connected_app;
        let private_key = std::fs::read(&self.simulator.private_key_pem).expect("the connected app's key");
        let seal = |purpose, secret: &[u8]| self.keyring.seal(&self.tenant, purpose, secret).expect("a secret is sealed");
        let accepted = Accepted::new(OperationKind::OnboardTenant, OperationId::random(), &OnboardTenant {});
        let mut tx = self.store.operator_for(&self.tenant).await.unwrap();
        accepted.write(&mut tx, None).await;
        let connection = OrgConnection {
            login_url: app.login_url.clone(),
            client_id: app.client_id.clone(),
            username: app.username.clone(),
            audience: app.login_url.clone(),
        };
        let suffix = self.tenant.as_str().trim_start_matches("tn_").to_owned();
        let name = format!("{name}-{suffix}");
        let tenant = NewTenant { display_name: name.clone(), name, connection, created_by: accepted.id.clone() };
        tenants::insert(&mut tx, &tenant).await.unwrap();
        let key = seal(Purpose::SalesforcePrivateKey, &private_key);
        sealed_secrets::put(&mut tx, Purpose::SalesforcePrivateKey, &key).await.unwrap();
        let key = seal(Purpose::CallbackKey, app.callback_key.as_bytes());
        sealed_secrets::put(&mut tx, Purpose::CallbackKey, &key).await.unwrap();
        tx.commit().await.unwrap();
        accepted
    }

    pub async fn accept_export(&self, object: &str) -> Accepted {
        let id = OperationId::random();
        let params = ExportDataset { dataset: id.dataset(), object: object.to_owned(), fields: Vec::new(), consent_version: 1 };
        let accepted = Accepted::new(OperationKind::ExportDataset, id.clone(), &params);
        let mut tx = self.store.tenant(&self.tenant).await.unwrap();
        accepted.write(&mut tx, Some(1)).await;
        let staged = NewDataset { id: id.dataset(), operation: id, object: object.to_owned(), consent_version: 1 };
        datasets::begin(&mut tx, &staged).await.unwrap();
        tx.commit().await.unwrap();
        accepted
    }

    pub async fn accept_training(&self, training: &TrainingOptions) -> Accepted {
        self.accept_training_on(None, training).await
    }

    async fn accept_training_on(&self, dataset: Option<&DatasetId>, training: &TrainingOptions) -> Accepted {
        let id = OperationId::random();
        let definition = PredictionDefinition::lead_conversion();
        let params = TrainModel {
            model: id.model(),
            object: definition.object.clone(),
            dataset: dataset.cloned(),
            fields: Vec::new(),
            consent_version: 1,
        };
        let accepted = Accepted::new(OperationKind::TrainModel, id.clone(), &params);
        let new = NewModel {
            id: id.model(),
            operation: id,
            definition_name: definition.name.clone(),
            object: definition.object.clone(),
            definition: json!(definition),
            training: json!(training),
            dataset: dataset.cloned(),
            consent_version: 1,
        };
        let mut tx = self.store.tenant(&self.tenant).await.unwrap();
        accepted.write(&mut tx, Some(1)).await;
        models::create_draft(&mut tx, &new).await.unwrap();
        tx.commit().await.unwrap();
        accepted
    }

    pub async fn accept_promotion(&self, model: &ModelId) -> Accepted {
        let params = PromoteModel { model: model.clone() };
        let accepted = Accepted::new(OperationKind::PromoteModel, OperationId::random(), &params);
        let mut tx = self.store.tenant(&self.tenant).await.unwrap();
        accepted.write(&mut tx, None).await;
        tx.commit().await.unwrap();
        accepted
    }

    pub async fn accept_drill(&self, wait_at: DrillWait) -> Accepted {
        let accepted = Accepted::new(OperationKind::RunDrill, OperationId::random(), &RunDrill { wait_at });
        let mut tx = self.store.tenant(&self.tenant).await.unwrap();
        accepted.write(&mut tx, None).await;
        tx.commit().await.unwrap();
        accepted
    }

    pub async fn accept_prediction(&self, record: &str, write_back: bool, fields: Option<&Json>) -> Accepted {
        let id = OperationId::random();
        let request_id: RequestId = format!("rq-{id}").parse().unwrap();
        let params = PredictAsync {
            request_id: request_id.clone(),
            definition: "lead_conversion".to_owned(),
            record_id: Some(record.to_owned()),
            has_fields: fields.is_some(),
            write_back,
        };
        let accepted = Accepted::new(OperationKind::PredictAsync, id.clone(), &params);
        let new = NewPrediction {
            request_id,
            operation: id.clone(),
            definition_name: params.definition.clone(),
            object: "Lead".to_owned(),
            record_id: params.record_id.clone(),
            body_hash: [0; 32],
        };
        let mut tx = self.store.tenant(&self.tenant).await.unwrap();
        accepted.write(&mut tx, Some(1)).await;
        predictions::create(&mut tx, &new).await.unwrap();
        if let Some(fields) = fields {
            claims::put(&mut tx, &id, ClaimPurpose::RequestFields, fields, Duration::from_secs(600)).await.unwrap();
        }
        tx.commit().await.unwrap();
        accepted
    }

    /// Starts what was accepted.
    ///
    /// # Panics
    /// When Temporal does not take it.
    pub async fn begin(&self, accepted: Accepted) -> OperationId {
        self.start(&accepted, WorkflowIdReusePolicy::AllowDuplicate).await.expect("the workflow starts");
        accepted.id
    }

    /// One start, as the API's starter sends it when `reuse` rejects duplicates.
    ///
    /// # Errors
    /// What the server says.
    pub async fn start(&self, accepted: &Accepted, reuse: WorkflowIdReusePolicy) -> Result<(), WorkflowStartError> {
        let operation = self.reference(accepted.kind, &accepted.id);
        let options = start_options(&self.queue, &operation, reuse);
        let value = SagaInput { operation, params: accepted.params.clone() };
        let input = Stamped { tenant: Some(self.tenant.clone()), value };
        self.temporal.start_workflow(Named(accepted.kind.as_str()), input, options).await.map(drop)
    }
}

impl Accepted {
    fn new(kind: OperationKind, id: OperationId, params: &impl Serialize) -> Self {
        Self { kind, id, params: json!(params) }
    }

    async fn write(&self, tx: &mut TenantTx, consent: Option<i64>) {
        let new = NewOperation {
            id: self.id.clone(),
            kind: self.kind,
            params: self.params.clone(),
            requested_by: "tests".to_owned(),
            consent_version: consent,
        };
        operations::accept(tx, &new, None).await.unwrap();
    }
}
