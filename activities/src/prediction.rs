//! The steps of `predict_async`.

use std::sync::Arc;

use chrono::{DateTime, SecondsFormat, Utc};
use leadline_domain::{
    Class, Code, Failure,
    operation::PredictAsync,
    value::{FieldType, Value},
};
use leadline_salesforce::{OrgClient, Record, SalesforceError};
use leadline_serving::{Answer, Question};
use leadline_store::{
    TenantTx, budgets,
    claims::{self, ClaimPurpose},
    consents, ledger, predictions,
};
use leadline_workflows::{
    StepInput,
    predict_async::{
        DeliverCallback, DiscardScore, FailPrediction, ForgetPrediction, ForgoCallback, ScoreRecord, ScoredRecord,
        StorePrediction, StoredPrediction, WriteBack, WrittenBack,
    },
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json, json};
use temporalio_macros::activities;
use temporalio_sdk::activities::{ActivityContext, ActivityError};

use crate::{
    attempt::{Attempt, Done, Undoing},
    callback::{self, Callback},
    calls,
    operation::ASKED,
    services::Services,
};

/// The fields of the org's object that a score is written into.
const SCORE_FIELD: &str = "Leadline_Score__c";
const REASONS_FIELD: &str = "Leadline_Reasons__c";
const MODEL_FIELD: &str = "Leadline_Model__c";
const SCORED_AT_FIELD: &str = "Leadline_Scored_At__c";

pub struct PredictActivities(pub(crate) Arc<Services>);

#[activities]
impl PredictActivities {
    #[activity(definition = ScoreRecord)]
    pub async fn score_record(
        self: Arc<Self>,
        ctx: ActivityContext,
        input: StepInput<PredictAsync>,
    ) -> Result<ScoredRecord, ActivityError> {
        self.0.step(ctx, input, score_record).await
    }

    #[activity(definition = DiscardScore)]
    pub async fn discard_score(
        self: Arc<Self>,
        ctx: ActivityContext,
        input: StepInput<PredictAsync>,
    ) -> Result<(), ActivityError> {
        self.0.undo(ctx, input, discard_score).await
    }

    #[activity(definition = StorePrediction)]
    pub async fn store_prediction(
        self: Arc<Self>,
        ctx: ActivityContext,
        input: StepInput<PredictAsync>,
    ) -> Result<StoredPrediction, ActivityError> {
        self.0.step(ctx, input, store_prediction).await
    }

    #[activity(definition = ForgetPrediction)]
    pub async fn forget_prediction(
        self: Arc<Self>,
        ctx: ActivityContext,
        input: StepInput<PredictAsync>,
    ) -> Result<(), ActivityError> {
        self.0.undo(ctx, input, forget_prediction).await
    }

    #[activity(definition = FailPrediction)]
    pub async fn fail_prediction(
        self: Arc<Self>,
        ctx: ActivityContext,
        input: StepInput<PredictAsync>,
    ) -> Result<(), ActivityError> {
        self.0.undo(ctx, input, fail_prediction).await
    }

    #[activity(definition = WriteBack)]
    pub async fn write_back(
        self: Arc<Self>,
        ctx: ActivityContext,
        input: StepInput<PredictAsync>,
    ) -> Result<WrittenBack, ActivityError> {
        self.0.step(ctx, input, write_back).await
    }

    #[activity(definition = DeliverCallback)]
    pub async fn deliver_callback(
        self: Arc<Self>,
        ctx: ActivityContext,
        input: StepInput<PredictAsync>,
    ) -> Result<(), ActivityError> {
        self.0.step(ctx, input, deliver_callback).await
    }

    #[activity(definition = ForgoCallback)]
    pub async fn forgo_callback(
        self: Arc<Self>,
        ctx: ActivityContext,
        input: StepInput<PredictAsync>,
    ) -> Result<(), ActivityError> {
        self.0.forgo(ctx, input, forgo_callback).await
    }
}

async fn score_record(attempt: Attempt, predict: PredictAsync) -> Result<Done<ScoredRecord>, Failure> {
    let operation = &attempt.operation().operation;
    let fields = if predict.has_fields {
        let mut tx = attempt.read().await?;
        match claims::get(&mut tx, operation, ClaimPurpose::RequestFields).await? {
            Json::Object(fields) => fields,
            _ => return Err(Failure::new(Code::Internal, "the claimed fields are no object")),
        }
    } else {
        Map::new()
    };
    let question = Question { definition: Some(predict.definition), record_id: predict.record_id, fields };
    let answer = attempt.services().predictor.predict(attempt.tenant(), &question).await?;
    let content =
        serde_json::to_value(&answer).map_err(|_| Failure::new(Code::Internal, "an answer cannot be written as JSON"))?;
    let mut tx = attempt.fence().await?;
    claims::put(&mut tx, operation, ClaimPurpose::Answer, &content, attempt.services().config.claim_lifetime).await?;
    claims::delete(&mut tx, operation, ClaimPurpose::RequestFields).await?;
    attempt.finish(tx, &ScoredRecord { model: answer.model }).await
}

async fn discard_score(undoing: Undoing, _: PredictAsync) -> Result<(), Failure> {
    let mut tx = undoing.begin().await?;
    claims::delete(&mut tx, &undoing.operation.operation, ClaimPurpose::Answer).await?;
    Ok(tx.commit().await?)
}

/// Keeps the whole answer, or only that there was one, as the consent of this moment says.
async fn store_prediction(attempt: Attempt, _: PredictAsync) -> Result<Done<StoredPrediction>, Failure> {
    let operation = &attempt.operation().operation;
    let mut tx = attempt.fence().await?;
    let kept = consents::current_locked(&mut tx).await?.is_some_and(|consent| consent.grant.allow_store_predictions);
    let content = claims::get(&mut tx, operation, ClaimPurpose::Answer).await?;
    let answer = answer_of(&content)?;
    predictions::record_score(&mut tx, operation, &answer.model, kept.then_some(&content)).await?;
    attempt.finish(tx, &StoredPrediction { kept }).await
}

async fn forget_prediction(undoing: Undoing, _: PredictAsync) -> Result<(), Failure> {
    let mut tx = undoing.begin().await?;
    match predictions::discard_score(&mut tx, &undoing.operation.operation).await {
        Err(error) if error.code() == Some(Code::PredictionNotFound) => return Ok(()),
        outcome => outcome?,
    }
    Ok(tx.commit().await?)
}

async fn fail_prediction(undoing: Undoing, _: PredictAsync) -> Result<(), Failure> {
    let mut tx = undoing.begin().await?;
    let (code, message) = undoing.reason(&mut tx).await?;
    match predictions::fail(&mut tx, &undoing.operation.operation, code, &message).await {
        Err(error) if error.code() == Some(Code::PredictionNotFound) => return Ok(()),
        outcome => outcome?,
    }
    claims::delete(&mut tx, &undoing.operation.operation, ClaimPurpose::RequestFields).await?;
    budgets::release(&mut tx, &undoing.operation.operation).await?;
    Ok(tx.commit().await?)
}

/// The pivot. The ledger knows that the org is about to be asked before it is, and that it has refused once it has, so that
/// whoever settles the pivot knows whether the record may have changed. Writing the same score twice is writing it once.
async fn write_back(attempt: Attempt, predict: PredictAsync) -> Result<Done<WrittenBack>, Failure> {
    let operation = attempt.operation().operation.clone();
    let asked_before = Asked::read(attempt.facts());
    let wanted = predict.write_back;
    let Some(record) = predict.record_id.filter(|_| wanted || asked_before.is_some()) else {
        let mut tx = attempt.fence().await?;
        predictions::written_back(&mut tx, &operation).await?;
        return attempt.finish_pivot(tx, &WrittenBack { written: false }).await;
    };
    // Whatever can fail before the org is asked comes before the ledger says that it was.
    let client = attempt.org().await?;
    calls::reserve(&attempt, &client, 1).await?;
    if let (false, Some(asked)) = (wanted, &asked_before) {
        return settle_unwanted(&attempt, &client, &record, asked).await;
    }
    let _permit = attempt.services().fenced_call().await;
    let mut tx = attempt.fence().await?;
    // After it was asked, a withdrawal comes too late: the record may have changed.
    if asked_before.is_none() {
        consents::require(&mut tx, "allowWriteBack", |grant| grant.allow_write_back).await?;
    }
    let object = predictions::of_operation(&mut tx, &operation).await?.object;
    let answer = match (claims::get(&mut tx, &operation, ClaimPurpose::Answer).await, &asked_before) {
        (Ok(content), _) => answer_of(&content)?,
        (Err(expired), Some(asked)) if expired.code() == Some(Code::ClaimExpired) => {
            drop(tx);
            return look_up(&attempt, &client, &object, &record, asked, expired.into()).await;
        }
        (Err(error), _) => return Err(error.into()),
    };
    let asked = asked_before.clone().unwrap_or_else(|| Asked { model: answer.model.to_string(), at: Utc::now() });
    ledger::record_facts(&mut tx, attempt.key(), &json!({ ASKED: true, ASKED_FOR: &asked })).await?;
    tx.commit().await?;

    // The fence keeps a settlement waiting while the org is asked.
    let mut tx = attempt.fence().await?;
    let Err(error) = client.update_record(&object, &record, &score_fields(&answer, &asked)).await else {
        predictions::written_back(&mut tx, &operation).await?;
        return attempt.finish_pivot(tx, &WrittenBack { written: true }).await;
    };
    let refused = (!error.leaves_open()).then(|| refusal(&error));
    match refused {
        None => Err(error.into()),
        // This time it has refused; what became of the time before is not known by that.
        Some(refusal) if asked_before.is_some() => match refusal.class() {
            Class::Retryable | Class::Quota => Err(refusal),
            Class::NeedsOperator | Class::Terminal => {
                drop(tx);
                look_up(&attempt, &client, &object, &record, &asked, refusal).await
            }
        },
        Some(refusal) => {
            ledger::record_facts(&mut tx, attempt.key(), &json!({ ASKED: false })).await?;
            tx.commit().await?;
            Err(refusal)
        }
    }
}

/// The fact that says what is written, so that it can be told from what others write.
const ASKED_FOR: &str = "asked_for";

/// What an attempt has asked the org for without learning what became of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Asked {
    model: String,
    at: DateTime<Utc>,
}

impl Asked {
    fn read(facts: &Json) -> Option<Self> {
        let open = facts.get(ASKED).and_then(Json::as_bool) == Some(true);
        facts.get(ASKED_FOR).filter(|_| open).and_then(|asked| Self::deserialize(asked).ok())
    }

    /// The org keeps times to the second.
    fn is_in(&self, record: &Record) -> bool {
        let at = record.fields.get(SCORED_AT_FIELD).map(|at| Value::from_json(FieldType::DateTime, at));
        let at = match at {
            Some(Ok(Value::DateTime(at))) => at.timestamp() == self.at.timestamp(),
            _ => false,
        };
        at && record.fields.get(MODEL_FIELD).and_then(Json::as_str) == Some(self.model.as_str())
    }
}

/// Settles by the record itself what an earlier attempt has left open, when there is no asking again: with `refusal`, unless
/// the score stands there.
async fn look_up(
    attempt: &Attempt,
    client: &OrgClient,
    object: &str,
    record: &str,
    asked: &Asked,
    refusal: Failure,
) -> Result<Done<WrittenBack>, Failure> {
    let written = match client.retrieve(object, record, &[MODEL_FIELD, SCORED_AT_FIELD]).await {
        Ok(found) => asked.is_in(&found),
        Err(SalesforceError::NotFound { .. } | SalesforceError::InvalidField { .. }) => false,
        Err(error) => return Err(error.into()),
    };
    let mut tx = attempt.fence().await?;
    if written {
        predictions::written_back(&mut tx, &attempt.operation().operation).await?;
        return attempt.finish_pivot(tx, &WrittenBack { written: true }).await;
    }
    ledger::record_facts(&mut tx, attempt.key(), &json!({ ASKED: false })).await?;
    tx.commit().await?;
    Err(refusal)
}

/// The write-back was corrected away after the org had been asked for it: what became of that is looked up, and not asked for again.
async fn settle_unwanted(
    attempt: &Attempt,
    client: &OrgClient,
    record: &str,
    asked: &Asked,
) -> Result<Done<WrittenBack>, Failure> {
    let operation = &attempt.operation().operation;
    let object = predictions::of_operation(&mut attempt.read().await?, operation).await?.object;
    let unwanted = Failure::new(Code::WriteBackRefused, "the write-back is not wanted any more");
    match look_up(attempt, client, &object, record, asked, unwanted.clone()).await {
        Err(failure) if failure == unwanted => {
            let mut tx = attempt.fence().await?;
            predictions::written_back(&mut tx, operation).await?;
            attempt.finish_pivot(tx, &WrittenBack { written: false }).await
        }
        outcome => outcome,
    }
}

fn score_fields(answer: &Answer, asked: &Asked) -> Map<String, Json> {
    let reasons: Vec<String> = answer.reasons.iter().map(|reason| format!("{}: {}", reason.label, reason.value)).collect();
    let mut fields = Map::new();
    fields.insert(SCORE_FIELD.to_owned(), json!(answer.score));
    fields.insert(REASONS_FIELD.to_owned(), json!(reasons.join("\n")));
    fields.insert(MODEL_FIELD.to_owned(), json!(asked.model));
    fields.insert(SCORED_AT_FIELD.to_owned(), json!(asked.at.to_rfc3339_opts(SecondsFormat::Millis, true)));
    fields
}

/// What the org says of the record itself is a refusal of the write-back; the rest is what it always is.
fn refusal(error: &SalesforceError) -> Failure {
    let failure = error.failure();
    match failure.class() {
        Class::Terminal => Failure::new(Code::WriteBackRefused, failure.message),
        _ => failure,
    }
}

/// Tells the org. The claim is what is told, since a tenant may not allow the score to be kept anywhere else; once it has
/// expired there is nothing left to tell, and the prediction ends without its callback.
async fn deliver_callback(attempt: Attempt, predict: PredictAsync) -> Result<Done<()>, Failure> {
    let operation = attempt.operation().operation.clone();
    let mut tx = attempt.read().await?;
    let content = match claims::get(&mut tx, &operation, ClaimPurpose::Answer).await {
        Ok(content) => content,
        Err(error) if error.code() == Some(Code::ClaimExpired) => return complete(&attempt, false).await,
        Err(error) => return Err(error.into()),
    };
    drop(tx);
    let answer = answer_of(&content)?;
    let body = json!({
        "event": "prediction-complete",
        "operationId": operation,
        "requestId": predict.request_id,
        "recordId": predict.record_id,
        "score": answer.score,
        "probability": answer.probability,
        "positive": answer.positive,
        "reasons": answer.reasons,
        "modelId": answer.model,
        "definition": answer.definition,
    });
    match callback::post(&attempt, Callback::PredictionComplete, &body).await {
        Ok(()) => complete(&attempt, true).await,
        Err(refused) => {
            let mut tx = attempt.fence().await?;
            let later = callback::next_attempt(&attempt, &mut tx, refused).await?;
            predictions::callback_failed(&mut tx, &operation, &later.failure.to_string(), later.next_in).await?;
            tx.commit().await?;
            Err(later.failure)
        }
    }
}

async fn complete(attempt: &Attempt, delivered: bool) -> Result<Done<()>, Failure> {
    let mut tx: TenantTx = attempt.fence().await?;
    let operation = &attempt.operation().operation;
    predictions::complete(&mut tx, operation, delivered).await?;
    claims::delete(&mut tx, operation, ClaimPurpose::Answer).await?;
    budgets::release(&mut tx, operation).await?;
    attempt.finish(tx, &()).await
}

/// Ends the request without telling the org.
async fn forgo_callback(undoing: Undoing, _: PredictAsync) -> Result<(), Failure> {
    let mut tx = undoing.begin().await?;
    let operation = &undoing.operation.operation;
    predictions::complete(&mut tx, operation, false).await?;
    claims::delete(&mut tx, operation, ClaimPurpose::Answer).await?;
    budgets::release(&mut tx, operation).await?;
    Ok(tx.commit().await?)
}

fn answer_of(content: &Json) -> Result<Answer, Failure> {
    Answer::deserialize(content).map_err(|_| Failure::new(Code::Internal, "the claimed answer does not parse"))
}
