//! The step ledger: one row for each step and epoch of an operation, and the lock that every effect passes.
//!
//! An effect in PostgreSQL commits in one transaction with its ledger row, and only while the row is open: the row is locked
//! until that commit, so an undo that closes the epoch comes either before the effect, which then fails, or after it, and then
//! sees its facts. A zombie attempt that wakes up after its undo therefore changes nothing. An undo of a step that never began
//! leaves a closed row, so that the step cannot begin later.

use std::{fmt, str::FromStr};

use chrono::{DateTime, Utc};
use leadline_domain::{Code, OperationId};
use serde_json::Value as Json;
use sqlx::{FromRow, Row as _, postgres::PgRow};

use crate::{Result, StoreError, TenantTx, Transact, operations::Progress, row::parsed};

/// Names one run of one step. A step that is run anew on purpose, after a reset, gets the next epoch.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct StepKey {
    pub operation: OperationId,
    pub step: String,
    pub epoch: u32,
}

impl fmt::Display for StepKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "step {} (epoch {}) of {}", self.step, self.epoch, self.operation)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StepState {
    /// Effects may commit.
    Open,
    /// The step's last effect and its result are committed.
    Done,
    /// An undo has begun: nothing of the step commits any more.
    Closed,
    /// What the step did is undone.
    Undone,
}

/// A text that names no state of a step.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a state of a step")]
pub struct UnknownStepState;

impl FromStr for StepState {
    type Err = UnknownStepState;

    fn from_str(text: &str) -> Result<Self, UnknownStepState> {
        match text {
            "open" => Ok(Self::Open),
            "done" => Ok(Self::Done),
            "closed" => Ok(Self::Closed),
            "undone" => Ok(Self::Undone),
            _ => Err(UnknownStepState),
        }
    }
}

/// How an attempt finds its step.
#[derive(Debug, Clone, PartialEq)]
pub enum StepStart {
    Fresh,
    /// An earlier attempt began. Its facts are what it recorded; `{}` if nothing.
    Resumed {
        facts: Json,
    },
    /// An earlier attempt finished: answer with its result and do nothing.
    Done {
        result: Json,
    },
}

/// What an undo has to deal with.
#[derive(Debug, Clone, PartialEq)]
pub struct ClosedStep {
    /// What the step recorded on its way; `{}` if nothing.
    pub facts: Json,
    /// The step's result, if it finished.
    pub result: Option<Json>,
    /// The undo was finished before: nothing is left to do.
    pub undone: bool,
}

#[derive(Debug, Clone, PartialEq)]
pub struct LedgerRow {
    pub step: String,
    pub epoch: u32,
    pub state: StepState,
    pub facts: Json,
    pub result: Option<Json>,
    pub opened_at: DateTime<Utc>,
    pub changed_at: DateTime<Utc>,
}

impl FromRow<'_, PgRow> for LedgerRow {
    fn from_row(row: &PgRow) -> sqlx::Result<Self> {
        Ok(Self {
            step: row.try_get("step")?,
            epoch: epoch_of(row)?,
            state: parsed(row, "state")?,
            facts: row.try_get("facts")?,
            result: row.try_get("result")?,
            opened_at: row.try_get("opened_at")?,
            changed_at: row.try_get("changed_at")?,
        })
    }
}

fn epoch_of(row: &PgRow) -> sqlx::Result<u32> {
    u32::try_from(row.try_get::<i64, _>("epoch")?)
        .map_err(|source| sqlx::Error::ColumnDecode { index: "epoch".to_owned(), source: source.into() })
}

/// Begins a step, or finds how far it is. Commit before the step's work, so that an undo sees that it began.
///
/// # Errors
/// `EPOCH_CLOSED`.
pub async fn open_step(tx: &mut TenantTx, key: &StepKey) -> Result<StepStart> {
    let tenant = tx.tenant().clone();
    let inserted = sqlx::query(
        "INSERT INTO step_ledger (tenant_id, operation_id, step, epoch, state) VALUES ($1, $2, $3, $4, 'open')
         ON CONFLICT (operation_id, step, epoch) DO NOTHING",
    )
    .bind(tenant.as_str())
    .bind(key.operation.as_str())
    .bind(&key.step)
    .bind(i64::from(key.epoch))
    .execute(tx.connection())
    .await?;
    if inserted.rows_affected() > 0 {
        return Ok(StepStart::Fresh);
    }
    let row = locked(tx, key).await?;
    match row.state {
        StepState::Open => Ok(StepStart::Resumed { facts: row.facts }),
        StepState::Done => Ok(StepStart::Done { result: row.result.unwrap_or(Json::Null) }),
        StepState::Closed | StepState::Undone => Err(epoch_closed(key)),
    }
}

/// Locks the step's row until the transaction ends: what is written in it commits under an open epoch or not at all. For
/// effects in the middle of a step; the last one commits by [`finish_step`].
///
/// # Errors
/// `EPOCH_CLOSED`, also when another attempt has finished the step.
pub async fn require_open(tx: &mut TenantTx, key: &StepKey) -> Result<()> {
    match locked(tx, key).await?.state {
        StepState::Open => Ok(()),
        _ => Err(epoch_closed(key)),
    }
}

/// Adds facts to the step's row, over earlier ones of the same name. `facts` is a JSON object.
///
/// # Errors
/// `EPOCH_CLOSED`.
pub async fn record_facts(tx: &mut TenantTx, key: &StepKey, facts: &Json) -> Result<()> {
    require_open(tx, key).await?;
    sqlx::query(
        "UPDATE step_ledger SET facts = facts || $4, changed_at = now() WHERE operation_id = $1 AND step = $2 AND epoch = $3",
    )
    .bind(key.operation.as_str())
    .bind(&key.step)
    .bind(i64::from(key.epoch))
    .bind(facts)
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// Commits the transaction, with the step's last effect, its facts and its result, and shows `progress` in the operation's row.
/// When another attempt has finished the step meanwhile, the transaction is rolled back instead, and the result is that attempt's.
/// Either way, answer with what is returned.
///
/// The step's row is locked before the operation's, as an undo does it.
///
/// # Errors
/// `EPOCH_CLOSED`; nothing is committed then.
pub async fn finish_step(mut tx: TenantTx, key: &StepKey, result: &Json, progress: &Progress) -> Result<Json> {
    let finished: bool = sqlx::query_scalar(
        "WITH finished AS (
             UPDATE step_ledger SET state = 'done', result = $4, changed_at = now()
             WHERE operation_id = $1 AND step = $2 AND epoch = $3 AND state = 'open' RETURNING operation_id
         ), shown AS (
             UPDATE operations SET step = $2, progress = $5 FROM finished
             WHERE operations.operation_id = finished.operation_id AND ended_at IS NULL
         )
         SELECT EXISTS (SELECT FROM finished)",
    )
    .bind(key.operation.as_str())
    .bind(&key.step)
    .bind(i64::from(key.epoch))
    .bind(result)
    .bind(sqlx::types::Json(progress))
    .fetch_one(tx.connection())
    .await?;
    if finished {
        tx.commit().await?;
        return Ok(result.clone());
    }
    let row = locked(&mut tx, key).await?;
    match row.state {
        StepState::Done => {
            tx.rollback().await?;
            Ok(row.result.unwrap_or(Json::Null))
        }
        StepState::Open | StepState::Closed | StepState::Undone => Err(epoch_closed(key)),
    }
}

/// Closes the epoch: the first thing that an undo does, and to be committed before anything else of it. Waits for an effect
/// that is just being committed. May be repeated.
pub async fn close_epoch(tx: &mut TenantTx, key: &StepKey) -> Result<ClosedStep> {
    let tenant = tx.tenant().clone();
    let row = sqlx::query(
        "INSERT INTO step_ledger AS l (tenant_id, operation_id, step, epoch, state) VALUES ($1, $2, $3, $4, 'closed')
         ON CONFLICT (operation_id, step, epoch) DO UPDATE
         SET state = CASE l.state WHEN 'undone' THEN 'undone' ELSE 'closed' END, changed_at = now()
         RETURNING state, facts, result",
    )
    .bind(tenant.as_str())
    .bind(key.operation.as_str())
    .bind(&key.step)
    .bind(i64::from(key.epoch))
    .fetch_one(tx.connection())
    .await?;
    let state: StepState = parsed(&row, "state")?;
    Ok(ClosedStep { facts: row.try_get("facts")?, result: row.try_get("result")?, undone: state == StepState::Undone })
}

/// Records that the undo is finished. May be repeated.
///
/// # Errors
/// `INTERNAL` when the epoch was not closed first.
pub async fn mark_undone(tx: &mut TenantTx, key: &StepKey) -> Result<()> {
    let updated = sqlx::query(
        "UPDATE step_ledger SET state = 'undone', changed_at = now()
         WHERE operation_id = $1 AND step = $2 AND epoch = $3 AND state IN ('closed', 'undone')",
    )
    .bind(key.operation.as_str())
    .bind(&key.step)
    .bind(i64::from(key.epoch))
    .execute(tx.connection())
    .await?;
    match updated.rows_affected() {
        0 => Err(StoreError::refused(Code::Internal, format!("{key} was undone before its epoch was closed"))),
        _ => Ok(()),
    }
}

/// The result of a step that is done; `None` while it is not, and once its undo has begun.
pub async fn result(tx: &mut TenantTx, key: &StepKey) -> Result<Option<Json>> {
    let found: Option<Option<Json>> = sqlx::query_scalar(
        "SELECT result FROM step_ledger WHERE operation_id = $1 AND step = $2 AND epoch = $3 AND state = 'done'",
    )
    .bind(key.operation.as_str())
    .bind(&key.step)
    .bind(i64::from(key.epoch))
    .fetch_optional(tx.connection())
    .await?;
    Ok(found.map(|result| result.unwrap_or(Json::Null)))
}

/// All rows of an operation, in the order in which they were opened.
pub async fn steps(tx: &mut impl Transact, operation: &OperationId) -> Result<Vec<LedgerRow>> {
    let rows = sqlx::query_as(
        "SELECT step, epoch, state, facts, result, opened_at, changed_at FROM step_ledger
         WHERE operation_id = $1 ORDER BY opened_at, step, epoch",
    )
    .bind(operation.as_str())
    .fetch_all(tx.connection())
    .await?;
    Ok(rows)
}

/// The row of a step, locked until the transaction ends: whoever was committing something of the step has done so, or never will.
pub async fn locked(tx: &mut TenantTx, key: &StepKey) -> Result<LedgerRow> {
    sqlx::query_as(
        "SELECT step, epoch, state, facts, result, opened_at, changed_at FROM step_ledger
         WHERE operation_id = $1 AND step = $2 AND epoch = $3 FOR UPDATE",
    )
    .bind(key.operation.as_str())
    .bind(&key.step)
    .bind(i64::from(key.epoch))
    .fetch_optional(tx.connection())
    .await?
    .ok_or_else(|| StoreError::refused(Code::Internal, format!("{key} has no ledger row: it was not opened")))
}

fn epoch_closed(key: &StepKey) -> StoreError {
    StoreError::refused(Code::EpochClosed, format!("{key} is closed"))
}
