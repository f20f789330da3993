//! Predictions: answered at once, or as an operation that writes back.

use std::time::Instant;

use leadline_domain::{Code, Failure, OperationId, OperationKind, RequestId, TenantId, operation::PredictAsync};
use leadline_proto::v1::{
    self, AsyncPrediction, CallbackStatus, GetPredictionRequest, PredictAsyncRequest, PredictRequest, Prediction,
    async_prediction::State, predictions_server::Predictions,
};
use leadline_proto::wkt::Struct;
use leadline_serving::{Answer, AnsweredBy, Question, require_consent};
use leadline_store::{
    TenantTx,
    claims::{self, ClaimPurpose},
    consents,
    operations::{self, IdempotencyScope, Operation},
    predictions::{self, Creation, NewPrediction, PredictionState},
    serving::answer_basis,
};
use serde_json::{Map, Value as Json};
use sha2::{Digest, Sha256};
use tonic::{Request, Response, Status};

use super::{Facade, answer, invalid, started, storable};
use crate::{
    acceptance::{Start, accept, canonical, replayed},
    caller::{Call, Scope},
    shapes,
};

const RPC: &str = "PredictAsync";

/// Fields that one request may send.
const MAX_FIELDS: usize = 1000;

#[tonic::async_trait]
impl Predictions for Facade {
    async fn predict(&self, request: Request<PredictRequest>) -> Result<Response<Prediction>, Status> {
        answer(self.predict_now(request.into_inner()).await)
    }

    async fn predict_async(&self, request: Request<PredictAsyncRequest>) -> Result<Response<v1::Operation>, Status> {
        started(self.accept_prediction(request.into_inner()).await)
    }

    async fn get_prediction(&self, request: Request<GetPredictionRequest>) -> Result<Response<AsyncPrediction>, Status> {
        answer(self.read_prediction(request.into_inner()).await)
    }
}

impl Facade {
    async fn predict_now(&self, request: PredictRequest) -> Result<Prediction, Failure> {
        let begun = Instant::now();
        let tenant = Call::current()?.caller.tenant(&request.tenant_id)?;
        let question = question(request.definition, request.record_id, request.fields)?;
        let answer = self.predictor.predict(&tenant, &question).await?;
        let micros = i32::try_from(begun.elapsed().as_micros()).unwrap_or(i32::MAX);
        Ok(prediction(answer, Some(micros)))
    }

    async fn accept_prediction(&self, mut request: PredictAsyncRequest) -> Result<Operation, Failure> {
        let call = Call::current()?;
        let tenant = call.caller.tenant(&request.tenant_id)?;
        let body = canonical(&request);
        if request.request_id.is_empty() {
            request.request_id = format!("rq-{}", OperationId::random());
        }
        let request_id: RequestId = request.request_id.parse().map_err(|e| invalid(format!("requestId: {e}")))?;
        let asked = Asked {
            question: question(request.definition, request.record_id, request.fields)?,
            request_id,
            write_back: !request.skip_write_back,
            body: Json::String(String::from_utf8_lossy(&body).into_owned()),
            body_hash: Sha256::digest(&body).into(),
        };
        match self.write_prediction(&call, &tenant, &asked).await? {
            Some(operation) => {
                self.starter.launch(&operation);
                Ok(operation)
            }
            None => self.known_prediction(&tenant, &asked).await,
        }
    }

    /// Writes operation, prediction and claim; `None` when the request id is known, and nothing was written.
    async fn write_prediction(&self, call: &Call, tenant: &TenantId, asked: &Asked) -> Result<Option<Operation>, Failure> {
        let mut tx = self.store.tenant(tenant).await?;
        if let Some(operation) = replayed(&mut tx, call, RPC, &asked.body).await? {
            return Ok(Some(operation));
        }
        if predictions::find_same(&mut tx, &asked.request_id, &asked.body_hash).await?.is_some() {
            return Ok(None);
        }
        let id = OperationId::random();
        let consent_version = consents::current_locked(&mut tx).await?.map(|consent| consent.version);
        let basis = answer_basis(&mut tx, asked.question.definition.as_deref(), None).await?;
        let params = PredictAsync {
            request_id: asked.request_id.clone(),
            definition: basis.model.definition_name.clone(),
            record_id: asked.question.record_id.clone(),
            has_fields: !asked.question.fields.is_empty(),
            write_back: asked.write_back,
        };
        let start = Start {
            id: id.clone(),
            kind: OperationKind::PredictAsync,
            rpc: RPC,
            scope: IdempotencyScope::Tenant,
            request: &asked.body,
            params: &params,
            consent_version,
        };
        let accepted = accept(&mut tx, call, start).await?;
        if accepted.replayed {
            return Ok(Some(accepted.operation));
        }
        require_consent(&basis)?;
        if asked.write_back {
            consents::require(&mut tx, "allowWriteBack", |grant| grant.allow_write_back).await?;
        }
        let new = NewPrediction {
            request_id: asked.request_id.clone(),
            operation: id.clone(),
            definition_name: basis.model.definition_name,
            object: basis.model.object,
            record_id: asked.question.record_id.clone(),
            body_hash: asked.body_hash,
        };
        if let Creation::Known(_) = predictions::create(&mut tx, &new).await? {
            return Ok(None);
        }
        self.claim_fields(&mut tx, &id, &asked.question).await?;
        tx.commit().await?;
        Ok(Some(accepted.operation))
    }

    /// Fields stay out of the workflow's history: its steps fetch them by the operation's id.
    async fn claim_fields(&self, tx: &mut TenantTx, id: &OperationId, question: &Question) -> Result<(), Failure> {
        if !question.fields.is_empty() {
            let content = Json::Object(question.fields.clone());
            claims::put(tx, id, ClaimPurpose::RequestFields, &content, self.claim_lifetime).await?;
        }
        Ok(())
    }

    /// The operation of the first call with this request id.
    async fn known_prediction(&self, tenant: &TenantId, asked: &Asked) -> Result<Operation, Failure> {
        let mut tx = self.store.tenant_read(tenant).await?;
        let known = predictions::find_same(&mut tx, &asked.request_id, &asked.body_hash).await?;
        let known = known.ok_or_else(|| Failure::new(Code::Internal, "the request id was given up meanwhile; call again"))?;
        Ok(operations::get(&mut tx, &known.operation).await?)
    }

    async fn read_prediction(&self, request: GetPredictionRequest) -> Result<AsyncPrediction, Failure> {
        let call = Call::current()?;
        let tenant = match (&call.caller.scope, request.tenant_id.as_str()) {
            (Scope::Tenant(own), "") => own.clone(),
            (Scope::Operator, "") => return Err(invalid("tenantId is missing: request ids are unique within a tenant only")),
            (_, named) => call.caller.tenant(named)?,
        };
        let missing = || Failure::new(Code::PredictionNotFound, "no such prediction");
        let id: RequestId = request.request_id.parse().map_err(|_| missing())?;
        let mut tx = self.store.tenant_read(&tenant).await?;
        Ok(async_prediction(predictions::get(&mut tx, &id).await?))
    }
}

/// A checked request for an asynchronous prediction.
struct Asked {
    question: Question,
    request_id: RequestId,
    write_back: bool,
    /// The request as it was sent, in canonical form: a repeated key must come with the same one.
    body: Json,
    body_hash: [u8; 32],
}

fn question(definition: String, record_id: String, fields: Option<Struct>) -> Result<Question, Failure> {
    if record_id.len() > 18 || !record_id.bytes().all(|b| b.is_ascii_alphanumeric()) {
        return Err(invalid("recordId is no Salesforce id: 15 or 18 letters and digits"));
    }
    storable(&definition, "definition")?;
    let fields = match fields {
        None => Map::new(),
        Some(fields) if fields.fields.len() > MAX_FIELDS => return Err(invalid(format!("more than {MAX_FIELDS} fields"))),
        Some(fields) => match serde_json::to_value(fields) {
            Ok(Json::Object(fields)) => fields,
            _ => return Err(invalid("fields holds a number that JSON cannot write")),
        },
    };
    for (name, value) in &fields {
        storable(name, "fields")?;
        if let Json::String(text) = value {
            storable(text, "fields")?;
        } else if matches!(value, Json::Array(_) | Json::Object(_)) {
            return Err(Failure::new(Code::FieldTypeMismatch, "a field holds a list or an object; no field of a record does"));
        }
    }
    let given = |text: String| Some(text).filter(|text| !text.is_empty());
    let question = Question { definition: given(definition), record_id: given(record_id), fields };
    // Also for the asynchronous call: nobody should wait for a saga to be told this.
    question.answered_by()?;
    Ok(question)
}

fn prediction(answer: Answer, server_micros: Option<i32>) -> Prediction {
    let answered_by = match answer.answered_by {
        AnsweredBy::CurrentState => v1::AnsweredBy::ModelFromCurrentState,
        AnsweredBy::Request => v1::AnsweredBy::ModelFromRequest,
        AnsweredBy::Both => v1::AnsweredBy::ModelFromBoth,
    };
    let reasons = answer.reasons.into_iter();
    Prediction {
        score: i32::from(answer.score),
        probability: answer.probability,
        reasons: reasons
            .map(|r| v1::Reason { field: r.field, label: r.label, value: r.value, contribution: r.contribution })
            .collect(),
        model_id: answer.model.to_string(),
        definition: answer.definition,
        answered_by: answered_by.into(),
        server_micros,
        positive: answer.positive,
    }
}

fn async_prediction(row: predictions::Prediction) -> AsyncPrediction {
    let state = match row.state {
        PredictionState::Accepted => State::Accepted,
        PredictionState::Scored => State::Scored,
        PredictionState::WrittenBack => State::WrittenBack,
        PredictionState::PendingCallback => State::PendingCallback,
        PredictionState::Completed => State::Completed,
        PredictionState::Failed => State::Failed,
    };
    let kept: Option<Answer> = row.score.and_then(|score| serde_json::from_value(score).ok());
    AsyncPrediction {
        request_id: row.request_id.to_string(),
        tenant_id: row.tenant.to_string(),
        operation_id: row.operation.to_string(),
        state: state.into(),
        record_id: row.record_id.unwrap_or_default(),
        prediction: kept.map(|answer| prediction(answer, None)),
        error: shapes::error(row.code, row.message),
        callback: Some(CallbackStatus {
            attempts: row.callback.attempts,
            last_error: row.callback.last_error.unwrap_or_default(),
            next_attempt_time: shapes::stamp(row.callback.next_at),
            deliver_time: shapes::stamp(row.callback.delivered_at),
        }),
        create_time: Some(row.created_at.into()),
        complete_time: shapes::stamp(row.completed_at),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_database_cannot_keep_is_refused_by_name() {
        let fields = |value: &str| {
            let fields = serde_json::json!({ "City": value });
            Some(serde_json::from_value(fields).expect("a struct"))
        };
        assert!(question(String::new(), String::new(), fields("Bergen")).is_ok());
        assert_eq!(question(String::new(), String::new(), fields("Ber\0gen")).unwrap_err().code, Code::InvalidArgument);
        assert_eq!(question("lead\0".into(), "00Q000000000001AAA".into(), None).unwrap_err().code, Code::InvalidArgument);
    }

    #[test]
    fn a_record_id_is_checked_before_it_is_looked_up() {
        assert!(question(String::new(), "00Q000000000001AAA".into(), None).is_ok());
        for wrong in ["00Q'; --", "00Q0000000000010000", "é"] {
            assert_eq!(question(String::new(), wrong.into(), None).unwrap_err().code, Code::InvalidArgument, "{wrong}");
        }
    }
}
