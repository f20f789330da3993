//! Models: reading, listing, promoting.

use leadline_domain::{Failure, ModelId, ModelState, OperationId, OperationKind, operation::PromoteModel};
use leadline_proto::v1::{
    self, Gate, GetModelRequest, ListModelsRequest, ListModelsResponse, Model, PromoteModelRequest, models_server::Models,
};
use leadline_store::{
    audit::{self, AuditEntry},
    models::{self, ModelFilter},
    operations::{IdempotencyScope, Operation},
    tenants,
};
use serde_json::{Value as Json, json};
use tonic::{Request, Response, Status};

use super::{Facade, answer, short_text, started, storable};
use crate::{
    acceptance::{Start, accept},
    caller::Call,
    shapes,
};

#[tonic::async_trait]
impl Models for Facade {
    async fn get_model(&self, request: Request<GetModelRequest>) -> Result<Response<Model>, Status> {
        answer(self.read_model(request.into_inner()).await)
    }

    async fn list_models(&self, request: Request<ListModelsRequest>) -> Result<Response<ListModelsResponse>, Status> {
        answer(self.page_of_models(request.into_inner()).await)
    }

    async fn promote_model(&self, request: Request<PromoteModelRequest>) -> Result<Response<v1::Operation>, Status> {
        started(self.accept_promotion(request.into_inner()).await)
    }
}

impl Facade {
    async fn read_model(&self, request: GetModelRequest) -> Result<Model, Failure> {
        let tenant = Call::current()?.caller.tenant(&request.tenant_id)?;
        let id = model_id(&request.model_id)?;
        let mut tx = self.store.tenant_read(&tenant).await?;
        Ok(model(models::get(&mut tx, &id).await?))
    }

    async fn page_of_models(&self, request: ListModelsRequest) -> Result<ListModelsResponse, Failure> {
        let tenant = Call::current()?.caller.tenant(&request.tenant_id)?;
        storable(&request.definition, "definition")?;
        let filter = ModelFilter {
            definition_name: Some(request.definition).filter(|name| !name.is_empty()),
            state: shapes::filter(request.state, &ModelState::ALL, "state", shapes::model_state)?,
        };
        let page = shapes::page(request.page_size, request.page_token)?;
        let mut tx = self.store.tenant_read(&tenant).await?;
        tenants::get(&mut tx, &tenant).await?;
        let page = models::list(&mut tx, &filter, &page).await?.map(model);
        Ok(ListModelsResponse { models: page.items, next_page_token: page.next_token })
    }

    /// The model's state is checked here for an early answer, and again by the activation, which decides.
    async fn accept_promotion(&self, request: PromoteModelRequest) -> Result<Operation, Failure> {
        let call = Call::current()?;
        let tenant = call.caller.tenant(&request.tenant_id)?;
        let model = model_id(&request.model_id)?;
        short_text(&request.reason, 500, "reason")?;
        let id = OperationId::random();
        let mut tx = self.store.tenant(&tenant).await?;
        let start = Start {
            id: id.clone(),
            kind: OperationKind::PromoteModel,
            rpc: "PromoteModel",
            scope: IdempotencyScope::Tenant,
            request: &request,
            params: &PromoteModel { model: model.clone() },
            consent_version: None,
        };
        let accepted = accept(&mut tx, &call, start).await?;
        if !accepted.replayed {
            tenants::active(&mut tx, &tenant).await?;
            let state = models::get(&mut tx, &model).await?.state;
            state.become_state(ModelState::Production).map_err(|forbidden| {
                Failure::new(leadline_domain::Code::ModelStateForbids, format!("{forbidden} (model {model})"))
            })?;
            let entry = AuditEntry {
                tenant: &tenant,
                operation: Some(&id),
                actor: call.caller.key.as_str(),
                action: "model.promote",
                detail: json!({"model": model, "reason": request.reason}),
            };
            audit::append(&mut tx, &entry).await?;
        }
        tx.commit().await?;
        self.starter.launch(&accepted.operation);
        Ok(accepted.operation)
    }
}

pub(super) fn model_id(text: &str) -> Result<ModelId, Failure> {
    text.parse().map_err(|_| Failure::new(leadline_domain::Code::ModelNotFound, "no such model"))
}

fn model(row: models::Model) -> Model {
    Model {
        model_id: row.id.to_string(),
        definition: row.definition_name,
        state: shapes::model_state(row.state).into(),
        dataset_id: row.dataset.map(|id| id.to_string()).unwrap_or_default(),
        schema_hash: row.schema_hash.unwrap_or_default(),
        artifact_digest: row.artifact_digest.unwrap_or_default(),
        gates: row.gates.as_ref().map(gates).unwrap_or_default(),
        card: row.card.and_then(shapes::structure),
        create_time: Some(row.created_at.into()),
        promote_time: shapes::stamp(row.promoted_at),
        error: shapes::error(row.code, row.message),
    }
}

/// The report as learning writes it: `{"gates": [{"code", "passed", "detail"}]}`, or the list alone.
fn gates(report: &Json) -> Vec<Gate> {
    let list = report.get("gates").unwrap_or(report).as_array();
    let text = |gate: &Json, name: &str| gate[name].as_str().unwrap_or_default().to_owned();
    let gate = |gate: &Json| Gate {
        code: text(gate, "code"),
        passed: gate["passed"].as_bool().unwrap_or_default(),
        detail: text(gate, "detail"),
    };
    list.map(|list| list.iter().map(gate).collect()).unwrap_or_default()
}
