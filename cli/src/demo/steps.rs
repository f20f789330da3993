//! The story of the demo, step by step.

use std::{fmt::Display, time::Instant};

use futures::TryStreamExt as _;
use leadline_proto::v1::{
    self, AsyncPrediction, Consent, Export, ListTenantsResponse, ListTrainingRunsResponse, PredictAsyncRequest, PredictRequest,
    Prediction, PromoteModelRequest, RecordConsentRequest, StartExportRequest, StartTrainingRunRequest, Tenant, TenantState,
};
use leadline_salesforce::OrgClient;
use serde::Deserialize;
use serde_json::Value;

use super::{Journal, TENANT};
use crate::{
    client::{Answer, Client, http},
    command::{consent, model, predict, random_key, train::DefinitionArgs},
    dev::{org::ConnectedApp, state::DevFile},
    error::{CliError, Result},
    output,
};

/// Fields that leadline writes into a record.
const SCORE_FIELDS: [&str; 4] = ["Leadline_Score__c", "Leadline_Reasons__c", "Leadline_Model__c", "Leadline_Scored_At__c"];

/// Tells the whole story. What is done is noted in `journal`, also when a later step fails.
pub async fn tell(client: &Client, dev: &DevFile, definition: &DefinitionArgs, journal: &mut Journal) -> Result<Model> {
    let app = ConnectedApp::of_simulator(&dev.simulator.state_dir)?;
    let org = app.client().await?;
    let object = definition.scored_object();

    let tenant = connect(client, app, org.org_id().as_str(), journal).await?;
    let story = Story { client, org: &org, tenant: &tenant, object, dev };
    story.consent(journal).await?;
    let dataset = story.export(journal).await?;
    let model = story.train(definition, &dataset, journal).await?;
    story.promote(&model, journal).await?;
    let record = story.a_record(definition).await?;
    story.predict_now(&model, &record, journal).await?;
    let request_id = story.predict_and_write_back(&model, &record, journal).await?;
    story.read_back(&record, &model.model_id).await?;
    story.callbacks(&request_id, &model.model_id).await?;
    Ok(Model { tenant, id: model.model_id })
}

/// What the demo has put into production.
pub struct Model {
    pub tenant: String,
    pub id: String,
}

/// Connects the org, or finds that somebody has.
async fn connect(client: &Client, app: ConnectedApp, org: &str, journal: &mut Journal) -> Result<String> {
    journal.heading("Connect the Salesforce org");
    if let Some(tenant) = find_tenant(client, org).await? {
        if tenant.state() != TenantState::Active {
            return Err(CliError::environment(
                format!("tenant {} is still being onboarded", tenant.name),
                "see `leadline operation list --kind onboard-tenant`, and try again when that has ended",
            ));
        }
        println!("tenant {} ({}) connected org {} before: nothing to do", tenant.tenant_id, tenant.name, tenant.org_id);
        return Ok(tenant.tenant_id);
    }
    let request = app.create_tenant(TENANT, "Demo");
    let ended = journal.operation(client, "onboard tenant", &["v1", "tenants"], &request).await?;
    println!("tenant {} ({TENANT})", ended.message.tenant_id);
    Ok(ended.message.tenant_id)
}

/// The tenant that has this org, or the demo's own that is on its way to it.
async fn find_tenant(client: &Client, org: &str) -> Result<Option<Tenant>> {
    let query = [("pageSize", "500".to_owned())];
    let all: Answer<ListTenantsResponse> = client.get(&["v1", "tenants"], &query).await?;
    Ok(all.message.tenants.into_iter().find(|tenant| tenant.org_id == org || tenant.name == TENANT))
}

/// What every later step needs.
struct Story<'a> {
    client: &'a Client,
    org: &'a OrgClient,
    tenant: &'a str,
    object: &'a str,
    dev: &'a DevFile,
}

impl Story<'_> {
    async fn consent(&self, journal: &mut Journal) -> Result<()> {
        journal.heading("Check consent");
        let path = ["v1", "tenants", self.tenant, "consent"];
        let in_force: Option<Consent> = match self.client.get(&path, &[]).await {
            Ok(answer) => Some(answer.message),
            Err(CliError::Refused(problem)) if problem.code == "NOT_FOUND" => None,
            Err(error) => return Err(error),
        };
        let all = |c: &Consent| c.allow_export && c.allow_training && c.allow_store_predictions && c.allow_write_back;
        let consent = match in_force.filter(all) {
            Some(consent) => consent,
            None => {
                let request = RecordConsentRequest {
                    allow_export: Some(true),
                    allow_training: Some(true),
                    allow_store_predictions: Some(true),
                    allow_write_back: Some(true),
                    decided_by: "the demo's administrator".to_owned(),
                    ..RecordConsentRequest::default()
                };
                self.client.post(&path, &request, None).await?.message
            }
        };
        println!("{}; recorded by {}", consent::in_words(&consent), consent.recorded_by);
        Ok(())
    }

    async fn export(&self, journal: &mut Journal) -> Result<String> {
        journal.heading(&format!("Export {} records", self.object));
        let request = StartExportRequest { tenant_id: String::new(), object: self.object.to_owned(), fields: Vec::new() };
        let path = ["v1", "tenants", self.tenant, "exports"];
        let ended = journal.operation(self.client, "export records", &path, &request).await?;
        let dataset = id_of(&ended.json, "dataset")?;
        let export: Answer<Export> = self.client.get(&["v1", "tenants", self.tenant, "exports", &dataset], &[]).await?;
        let export = export.message;
        println!(
            "{} rows exported into data set {dataset} ({} bytes of Parquet, consent version {})",
            output::count(export.row_count),
            output::count(export.byte_count),
            export.consent_version
        );
        println!("content address {}", export.content_address);
        Ok(dataset)
    }

    async fn train(&self, definition: &DefinitionArgs, dataset: &str, journal: &mut Journal) -> Result<v1::Model> {
        journal.heading("Train a model that is honest about its skill");
        let (definition, preset) = definition.request();
        let request = StartTrainingRunRequest {
            definition,
            preset: preset.into(),
            dataset_id: dataset.to_owned(),
            ..StartTrainingRunRequest::default()
        };
        let path = ["v1", "tenants", self.tenant, "training-runs"];
        let ended = match journal.operation(self.client, "train model", &path, &request).await {
            Err(CliError::Ended { operation, state, code, message, cancelled }) => {
                self.show_refused_model(&operation).await;
                return Err(CliError::Ended { operation, state, code, message, cancelled });
            }
            ended => ended?,
        };
        let model_id = id_of(&ended.json, "model")?;
        let found: Answer<v1::Model> = self.client.get(&["v1", "tenants", self.tenant, "models", &model_id], &[]).await?;
        println!("model {model_id}\n");
        model::print_card(&model::card(&found)?);
        Ok(found.message)
    }

    /// A run that failed leaves a rejected model whose card says why.
    async fn show_refused_model(&self, operation: &str) {
        if let Ok(Some(found)) = self.model_of(operation).await {
            model::print(&found);
        }
    }

    async fn model_of(&self, operation: &str) -> Result<Option<Answer<v1::Model>>> {
        let path = ["v1", "tenants", self.tenant, "training-runs"];
        let runs: Answer<ListTrainingRunsResponse> = self.client.get(&path, &[]).await?;
        let Some(run) = runs.message.training_runs.into_iter().find(|run| run.operation_id == operation) else {
            return Ok(None);
        };
        self.client.get(&["v1", "tenants", self.tenant, "models", &run.model_id], &[]).await.map(Some)
    }

    async fn promote(&self, model: &v1::Model, journal: &mut Journal) -> Result<()> {
        journal.heading("Promote it");
        let path = ["v1", "tenants", self.tenant, "models", &format!("{}:promote", model.model_id)];
        let request = PromoteModelRequest { reason: "demo".to_owned(), ..PromoteModelRequest::default() };
        journal.operation(self.client, "promote model", &path, &request).await?;
        println!("model {} answers for {}", model.model_id, model.definition);
        Ok(())
    }

    /// A record to score: of the generated org one whose outcome is still open.
    async fn a_record(&self, definition: &DefinitionArgs) -> Result<String> {
        let open = if definition.preset.is_some() && self.object == "Lead" { " WHERE IsConverted = false" } else { "" };
        let soql = format!("SELECT Id FROM {}{open} LIMIT 1", self.object);
        let records = std::pin::pin!(self.org.query(&soql)).try_next().await;
        let record = records.map_err(|error| CliError::part("the simulated org", &error))?;
        record.as_ref().and_then(|record| record.id()).map(str::to_owned).ok_or_else(|| {
            CliError::environment(format!("the org has no {} record to score", self.object), "load one that has records")
        })
    }

    async fn predict_now(&self, model: &v1::Model, record: &str, journal: &mut Journal) -> Result<()> {
        journal.heading("Ask for a prediction, answered at once");
        let request = PredictRequest {
            tenant_id: String::new(),
            definition: model.definition.clone(),
            record_id: record.to_owned(),
            fields: None,
        };
        let begun = Instant::now();
        let path = ["v1", "tenants", self.tenant, "predict"];
        let answer: Answer<Prediction> = self.client.post(&path, &request, None).await?;
        journal.note("predict", begun.elapsed());
        println!("record {record}");
        predict::print(&answer.message);
        Ok(())
    }

    async fn predict_and_write_back(&self, model: &v1::Model, record: &str, journal: &mut Journal) -> Result<String> {
        journal.heading("Ask for a prediction that is written back into Salesforce");
        let request_id = random_key();
        let request = PredictAsyncRequest {
            request_id: request_id.clone(),
            definition: model.definition.clone(),
            record_id: record.to_owned(),
            ..PredictAsyncRequest::default()
        };
        let path = ["v1", "tenants", self.tenant, "predict:async"];
        journal.operation(self.client, "predict and write back", &path, &request).await?;
        let query = [("tenantId", self.tenant.to_owned())];
        let found: Answer<AsyncPrediction> = self.client.get(&["v1", "predictions", &request_id], &query).await?;
        let score = found.message.prediction.as_ref().map(|prediction| prediction.score);
        println!("request {request_id}: {}, score {}", state_of(&found.message), or_none(score));
        Ok(request_id)
    }

    /// Reads the score from the org itself, through its REST API.
    async fn read_back(&self, record: &str, model_id: &str) -> Result<()> {
        println!("\n== Read the record again, from the simulator's REST API");
        let read = self.org.retrieve(self.object, record, &SCORE_FIELDS).await;
        let read = read.map_err(|error| CliError::part("the simulated org", &error))?;
        let [score, _, model, _] = SCORE_FIELDS.map(|field| read.fields.get(field).unwrap_or(&Value::Null));
        if score.is_null() || model != model_id {
            return Err(CliError::environment(format!("record {record} holds no score of this model"), "see the worker's log"));
        }
        let text = |value: Option<&Value>| match value {
            Some(Value::String(text)) => text.clone(),
            Some(value) if !value.is_null() => value.to_string(),
            _ => String::new(),
        };
        output::print(&output::facts(SCORE_FIELDS.map(|field| (field, text(read.fields.get(field))))));
        Ok(())
    }

    /// Shows what the org received in its Apex REST classes.
    async fn callbacks(&self, request_id: &str, model_id: &str) -> Result<()> {
        println!("\n== Callbacks that the org received, their signatures checked");
        let failed = |error: reqwest::Error| CliError::part("the simulator's callbacks", &error);
        let url = self.dev.simulator.http.join("__simulator/callbacks").map_err(|error| CliError::part("address", &error))?;
        let simulator = http(&self.dev.simulator.http)?;
        let received: Vec<Callback> = simulator.get(url).send().await.map_err(failed)?.json().await.map_err(failed)?;
        let ours: Vec<&Callback> =
            received.iter().filter(|callback| callback.names(request_id) || callback.names(model_id)).collect();
        for callback in &ours {
            let verdict = if callback.accepted { "accepted" } else { "REFUSED" };
            println!("{} {} {verdict}: {}", callback.received, callback.kind, callback.body);
        }
        if ours.iter().any(|callback| callback.accepted && callback.names(request_id)) {
            return Ok(());
        }
        Err(CliError::environment("the org has not accepted the prediction's callback", "see the worker's log"))
    }
}

/// A callback as the simulator shows it.
#[derive(Deserialize)]
struct Callback {
    received: String,
    kind: String,
    accepted: bool,
    #[serde(default)]
    body: Value,
}

impl Callback {
    fn names(&self, id: &str) -> bool {
        self.body.as_object().is_some_and(|body| body.values().any(|value| value == id))
    }
}

fn state_of(prediction: &AsyncPrediction) -> String {
    output::name(prediction.state().as_str_name())
}

fn or_none(value: Option<impl Display>) -> String {
    value.map_or_else(|| "none".to_owned(), |value| value.to_string())
}

/// An id from the result of an operation.
fn id_of(operation: &Value, name: &str) -> Result<String> {
    operation["result"][name].as_str().map(str::to_owned).ok_or_else(|| {
        CliError::environment(format!("the operation's result has no {name}"), "this is a defect of leadline; please report it")
    })
}
