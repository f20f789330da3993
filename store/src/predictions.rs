//! Asynchronous predictions, one for each request id of a tenant. Score and reasons are kept only for tenants that allow it.

use std::{str::FromStr, time::Duration};

use chrono::{DateTime, Utc};
use leadline_domain::{Code, ModelId, OperationId, RequestId, TenantId};
use serde_json::Value as Json;
use sqlx::{FromRow, Row as _, postgres::PgRow};

use crate::{
    Result, StoreError, TenantTx, Transact,
    row::{parsed, parsed_opt},
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PredictionState {
    Accepted,
    Scored,
    WrittenBack,
    /// The score stands; the org could not be called back yet.
    PendingCallback,
    Completed,
    Failed,
}

impl PredictionState {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Scored => "scored",
            Self::WrittenBack => "written_back",
            Self::PendingCallback => "pending_callback",
            Self::Completed => "completed",
            Self::Failed => "failed",
        }
    }
}

/// A text that names no state of a prediction.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a state of a prediction")]
pub struct UnknownPredictionState;

impl FromStr for PredictionState {
    type Err = UnknownPredictionState;

    fn from_str(text: &str) -> Result<Self, UnknownPredictionState> {
        use PredictionState::{Accepted, Completed, Failed, PendingCallback, Scored, WrittenBack};
        [Accepted, Scored, WrittenBack, PendingCallback, Completed, Failed]
            .into_iter()
            .find(|state| state.as_str() == text)
            .ok_or(UnknownPredictionState)
    }
}

#[derive(Debug, Clone)]
pub struct NewPrediction {
    pub request_id: RequestId,
    pub operation: OperationId,
    pub definition_name: String,
    /// API name of the object that is scored.
    pub object: String,
    pub record_id: Option<String>,
    /// SHA-256 over the request in canonical form: the same request id must name the same request.
    pub body_hash: [u8; 32],
}

#[derive(Debug, Clone, PartialEq)]
pub struct Prediction {
    pub tenant: TenantId,
    pub request_id: RequestId,
    pub operation: OperationId,
    pub definition_name: String,
    pub object: String,
    pub record_id: Option<String>,
    pub state: PredictionState,
    pub model: Option<ModelId>,
    /// The whole answer, as serving/ writes it. `None` before it is scored, and always when it may not be kept.
    pub score: Option<Json>,
    pub code: Option<Code>,
    pub message: Option<String>,
    pub callback: Callback,
    pub created_at: DateTime<Utc>,
    pub completed_at: Option<DateTime<Utc>>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Callback {
    pub attempts: i32,
    /// Code and scrubbed text of the last attempt that failed.
    pub last_error: Option<String>,
    pub next_at: Option<DateTime<Utc>>,
    pub delivered_at: Option<DateTime<Utc>>,
}

impl FromRow<'_, PgRow> for Prediction {
    fn from_row(row: &PgRow) -> sqlx::Result<Self> {
        Ok(Self {
            tenant: parsed(row, "tenant_id")?,
            request_id: parsed(row, "request_id")?,
            operation: parsed(row, "operation_id")?,
            definition_name: row.try_get("definition_name")?,
            object: row.try_get("object")?,
            record_id: row.try_get("record_id")?,
            state: parsed(row, "state")?,
            model: parsed_opt(row, "model_id")?,
            score: row.try_get("score")?,
            code: parsed_opt(row, "code")?,
            message: row.try_get("message")?,
            callback: Callback {
                attempts: row.try_get("callback_attempts")?,
                last_error: row.try_get("callback_last_error")?,
                next_at: row.try_get("callback_next_at")?,
                delivered_at: row.try_get("callback_delivered_at")?,
            },
            created_at: row.try_get("created_at")?,
            completed_at: row.try_get("completed_at")?,
        })
    }
}

macro_rules! columns {
    () => {
        "tenant_id, request_id, operation_id, definition_name, object, record_id, state, model_id, score, code, message, \
         callback_attempts, callback_last_error, callback_next_at, callback_delivered_at, created_at, completed_at"
    };
}

/// What became of [`create`].
#[derive(Debug, Clone, PartialEq)]
pub enum Creation {
    Created,
    /// The same request came before: answer with its operation, and roll this transaction back.
    Known(Box<Prediction>),
}

/// Writes the row of an accepted prediction. Of concurrent calls with one request id, all but one wait here until the first has
/// committed or gone.
///
/// # Errors
/// `REQUEST_ID_TAKEN` when the id names an earlier request with other content; `TENANT_NOT_FOUND`.
pub async fn create(tx: &mut TenantTx, new: &NewPrediction) -> Result<Creation> {
    let tenant = tx.tenant().clone();
    let inserted = sqlx::query(
        "INSERT INTO predictions (tenant_id, request_id, operation_id, definition_name, object, record_id, body_hash, state)
         VALUES ($1, $2, $3, $4, $5, $6, $7, 'accepted') ON CONFLICT (tenant_id, request_id) DO NOTHING",
    )
    .bind(tenant.as_str())
    .bind(new.request_id.as_str())
    .bind(new.operation.as_str())
    .bind(&new.definition_name)
    .bind(&new.object)
    .bind(&new.record_id)
    .bind(new.body_hash.as_slice())
    .execute(tx.connection())
    .await?;
    if inserted.rows_affected() > 0 {
        return Ok(Creation::Created);
    }
    find_same(tx, &new.request_id, &new.body_hash)
        .await?
        .map(|known| Creation::Known(Box::new(known)))
        .ok_or_else(|| StoreError::refused(Code::Internal, "a request id was given up while it was waited for; call again"))
}

/// The earlier prediction of this request id, for a look before anything is written.
///
/// # Errors
/// `REQUEST_ID_TAKEN` when the id names an earlier request with other content.
pub async fn find_same(tx: &mut TenantTx, request_id: &RequestId, body_hash: &[u8; 32]) -> Result<Option<Prediction>> {
    let tenant = tx.tenant().clone();
    let found =
        sqlx::query(concat!("SELECT body_hash, ", columns!(), " FROM predictions WHERE tenant_id = $1 AND request_id = $2"))
            .bind(tenant.as_str())
            .bind(request_id.as_str())
            .fetch_optional(tx.connection())
            .await?;
    let Some(row) = found else { return Ok(None) };
    if row.try_get::<&[u8], _>("body_hash")? != body_hash.as_slice() {
        return Err(StoreError::refused(Code::RequestIdTaken, "the request id names an earlier request with other content"));
    }
    Ok(Some(Prediction::from_row(&row)?))
}

/// # Errors
/// `PREDICTION_NOT_FOUND`, also for another tenant's.
pub async fn get(tx: &mut TenantTx, request_id: &RequestId) -> Result<Prediction> {
    let tenant = tx.tenant().clone();
    sqlx::query_as(concat!("SELECT ", columns!(), " FROM predictions WHERE tenant_id = $1 AND request_id = $2"))
        .bind(tenant.as_str())
        .bind(request_id.as_str())
        .fetch_optional(tx.connection())
        .await?
        .ok_or_else(|| StoreError::refused(Code::PredictionNotFound, format!("there is no prediction of request {request_id}")))
}

/// # Errors
/// `PREDICTION_NOT_FOUND`.
pub async fn of_operation(tx: &mut impl Transact, operation: &OperationId) -> Result<Prediction> {
    sqlx::query_as(concat!("SELECT ", columns!(), " FROM predictions WHERE operation_id = $1"))
        .bind(operation.as_str())
        .fetch_optional(tx.connection())
        .await?
        .ok_or_else(|| not_found(operation))
}

/// Accepted > Scored. `score` is `None` when the tenant does not allow predictions to be kept.
///
/// # Errors
/// `PREDICTION_NOT_FOUND`.
pub async fn record_score(tx: &mut TenantTx, operation: &OperationId, model: &ModelId, score: Option<&Json>) -> Result<()> {
    let updated = sqlx::query("UPDATE predictions SET state = 'scored', model_id = $2, score = $3 WHERE operation_id = $1")
        .bind(operation.as_str())
        .bind(model.as_str())
        .bind(score)
        .execute(tx.connection())
        .await?;
    found(updated.rows_affected(), operation)
}

/// Undoes [`record_score`].
///
/// # Errors
/// `PREDICTION_NOT_FOUND`.
pub async fn discard_score(tx: &mut TenantTx, operation: &OperationId) -> Result<()> {
    let updated = sqlx::query("UPDATE predictions SET state = 'accepted', model_id = NULL, score = NULL WHERE operation_id = $1")
        .bind(operation.as_str())
        .execute(tx.connection())
        .await?;
    found(updated.rows_affected(), operation)
}

/// Scored > WrittenBack.
///
/// # Errors
/// `PREDICTION_NOT_FOUND`.
pub async fn written_back(tx: &mut TenantTx, operation: &OperationId) -> Result<()> {
    let updated = sqlx::query("UPDATE predictions SET state = 'written_back' WHERE operation_id = $1")
        .bind(operation.as_str())
        .execute(tx.connection())
        .await?;
    found(updated.rows_affected(), operation)
}

/// Counts a callback that did not get through, and shows when the next one goes out.
///
/// # Errors
/// `PREDICTION_NOT_FOUND`.
pub async fn callback_failed(tx: &mut TenantTx, operation: &OperationId, error: &str, next_in: Duration) -> Result<()> {
    let updated = sqlx::query(
        "UPDATE predictions
         SET state = 'pending_callback', callback_attempts = callback_attempts + 1, callback_last_error = $2,
             callback_next_at = now() + make_interval(secs => $3)
         WHERE operation_id = $1",
    )
    .bind(operation.as_str())
    .bind(error)
    .bind(next_in.as_secs_f64())
    .execute(tx.connection())
    .await?;
    found(updated.rows_affected(), operation)
}

/// Ends a prediction well. `delivered` says whether a callback got through; there may have been none to make.
///
/// # Errors
/// `PREDICTION_NOT_FOUND`.
pub async fn complete(tx: &mut TenantTx, operation: &OperationId, delivered: bool) -> Result<()> {
    let updated = sqlx::query(
        "UPDATE predictions
         SET state = 'completed', completed_at = coalesce(completed_at, now()), callback_next_at = NULL,
             callback_attempts = callback_attempts + CASE WHEN $2 AND callback_delivered_at IS NULL THEN 1 ELSE 0 END,
             callback_delivered_at = CASE WHEN $2 THEN coalesce(callback_delivered_at, now()) END
         WHERE operation_id = $1",
    )
    .bind(operation.as_str())
    .bind(delivered)
    .execute(tx.connection())
    .await?;
    found(updated.rows_affected(), operation)
}

/// Ends a prediction that could not be made; nothing of its score stays.
///
/// # Errors
/// `PREDICTION_NOT_FOUND`.
pub async fn fail(tx: &mut TenantTx, operation: &OperationId, code: Code, message: &str) -> Result<()> {
    let updated = sqlx::query(
        "UPDATE predictions
         SET state = 'failed', score = NULL, code = $2, message = $3, completed_at = coalesce(completed_at, now()),
             callback_next_at = NULL
         WHERE operation_id = $1",
    )
    .bind(operation.as_str())
    .bind(code.as_str())
    .bind(message)
    .execute(tx.connection())
    .await?;
    found(updated.rows_affected(), operation)
}

fn found(rows: u64, operation: &OperationId) -> Result<()> {
    if rows == 0 { Err(not_found(operation)) } else { Ok(()) }
}

fn not_found(operation: &OperationId) -> StoreError {
    StoreError::refused(Code::PredictionNotFound, format!("operation {operation} has no prediction"))
}
