//! Operations: what was asked, how far it is, and how it ended.
//!
//! The row is written before Temporal is called and outlives Temporal's retention. While the workflow runs, the row follows it:
//! updates carry a sequence and never go back, and what has ended never changes again (a trigger holds that too).

mod accept;
mod course;
mod reconciling;
mod requests;
mod restoring;

pub use accept::{Accepted, Idempotency, IdempotencyScope, NewOperation, accept, replay};
pub use course::{
    Closing, CourseUpdate, NewParking, begin_step, begin_undo, close, correct, pass_pivot, progress, record_run, record_start,
    update_state,
};
pub use reconciling::{found_alive, found_lost, found_stuck, found_terminated, put_off_comparing, unreconciled};
pub use requests::{
    ParkedFilter, decide, movable, note_cancel, parked, put_off_decision, record_cancel, record_decision, record_move_refused,
    request_cancel, request_move, undelivered, undelivered_decisions, withdraw_decision,
};
pub use restoring::{Remembered, reinsert, unknown};

use chrono::{DateTime, Utc};
use leadline_domain::{
    Code, OperationId, OperationKind, OperationRef, OperationState, TenantId, Verb,
    parking::{AtDeadline, Decision, Parked},
};
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use sqlx::{FromRow, Row as _, postgres::PgRow};

use crate::{
    Page, PageRequest, Result, StoreError, Transact,
    paging::Cursor,
    row::{json_opt, parsed, parsed_opt},
};

/// How far the current step is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// What is counted: rows, trials, calls.
    pub unit: String,
    pub done: i64,
    /// `None` while it is unknown.
    pub total: Option<i64>,
}

impl Progress {
    /// The unit of a heavy step's place in line, while it waits for a permit.
    pub const IN_LINE: &str = "ahead in line";
}

#[derive(Debug, Clone, PartialEq)]
pub struct Operation {
    pub id: OperationId,
    pub tenant: TenantId,
    pub kind: OperationKind,
    pub state: OperationState,
    /// Of the latest [`CourseUpdate`] that was applied.
    pub sequence: i64,
    /// The saga's parameters, as its workflow receives them.
    pub params: Json,
    pub result: Option<Json>,
    pub step: Option<String>,
    pub progress: Option<Progress>,
    pub code: Option<Code>,
    pub message: Option<String>,
    pub cancel_requested_at: Option<DateTime<Utc>>,
    /// While it is parked.
    pub parking: Option<Parking>,
    /// Its effect has been seen: it ends as succeeded.
    pub pivot_passed: bool,
    /// Its undoing has begun.
    pub undoing: bool,
    /// Its run was found terminated, and the next one unwinds.
    pub terminated_at: Option<DateTime<Utc>>,
    /// Its workflow task keeps failing.
    pub stuck: Option<Stuck>,
    pub requested_by: String,
    pub consent_version: Option<i64>,
    pub workflow_id: String,
    pub run_id: Option<String>,
    pub created_at: DateTime<Utc>,
    pub started_at: Option<DateTime<Utc>>,
    pub ended_at: Option<DateTime<Utc>>,
}

/// A workflow task that keeps failing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stuck {
    pub since: DateTime<Utc>,
    pub failure: Option<TaskFailure>,
}

/// What the history has of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskFailure {
    pub event_id: i64,
    /// The worker's words.
    pub message: String,
}

impl Stuck {
    fn read(row: &PgRow) -> sqlx::Result<Option<Self>> {
        let Some(since) = row.try_get("stuck_since")? else { return Ok(None) };
        let (event_id, message): (Option<i64>, Option<String>) = (row.try_get("stuck_event")?, row.try_get("stuck_why")?);
        Ok(Some(Self { since, failure: event_id.zip(message).map(|(event_id, message)| TaskFailure { event_id, message }) }))
    }
}

/// What a parked operation waits for.
#[derive(Debug, Clone, PartialEq)]
pub struct Parking {
    /// Counts the parkings of the operation's run.
    pub number: u64,
    pub since: DateTime<Utc>,
    pub deadline: DateTime<Utc>,
    pub at_deadline: AtDeadline,
    pub verbs: Vec<Verb>,
    /// What somebody decided, while the run has not taken it up.
    pub decision: Option<Decision>,
}

impl Parking {
    fn read(row: &PgRow) -> sqlx::Result<Option<Self>> {
        let Some(since) = row.try_get("parked_at")? else { return Ok(None) };
        let undecodable =
            |index: &str, source: sqlx::error::BoxDynError| sqlx::Error::ColumnDecode { index: index.to_owned(), source };
        let verbs: Vec<String> = row.try_get("verbs")?;
        Ok(Some(Self {
            number: u64::try_from(row.try_get::<i64, _>("park")?).map_err(|e| undecodable("park", e.into()))?,
            since,
            deadline: row.try_get("park_deadline")?,
            at_deadline: parsed(row, "at_deadline")?,
            verbs: verbs
                .iter()
                .map(|verb| verb.parse())
                .collect::<Result<_, _>>()
                .map_err(|e| undecodable("verbs", Box::new(e)))?,
            decision: json_opt(row, "decision")?,
        }))
    }

    fn parked(&self, operation: &Operation) -> Parked {
        let step = operation.step.clone().unwrap_or_default();
        Parked { number: self.number, kind: operation.kind, step, verbs: self.verbs.clone() }
    }
}

impl Operation {
    pub fn reference(&self) -> OperationRef {
        OperationRef { tenant: self.tenant.clone(), operation: self.id.clone(), kind: self.kind }
    }
}

impl FromRow<'_, PgRow> for Operation {
    fn from_row(row: &PgRow) -> sqlx::Result<Self> {
        Ok(Self {
            id: parsed(row, "operation_id")?,
            tenant: parsed(row, "tenant_id")?,
            kind: parsed(row, "kind")?,
            state: parsed(row, "state")?,
            sequence: row.try_get("sequence")?,
            params: row.try_get("params")?,
            result: row.try_get("result")?,
            step: row.try_get("step")?,
            progress: json_opt(row, "progress")?,
            code: parsed_opt(row, "code")?,
            message: row.try_get("message")?,
            cancel_requested_at: row.try_get("cancel_requested_at")?,
            parking: Parking::read(row)?,
            pivot_passed: row.try_get("pivot_passed")?,
            undoing: row.try_get("undoing")?,
            terminated_at: row.try_get("terminated_at")?,
            stuck: Stuck::read(row)?,
            requested_by: row.try_get("requested_by")?,
            consent_version: row.try_get("consent_version")?,
            workflow_id: row.try_get("workflow_id")?,
            run_id: row.try_get("run_id")?,
            created_at: row.try_get("created_at")?,
            started_at: row.try_get("started_at")?,
            ended_at: row.try_get("ended_at")?,
        })
    }
}

macro_rules! columns {
    () => {
        "operation_id, tenant_id, kind, state, sequence, params, result, step, progress, code, message, cancel_requested_at, \
         park, parked_at, park_deadline, at_deadline, verbs, decision, pivot_passed_at IS NOT NULL AS pivot_passed, undo_began_at IS NOT NULL AS undoing, terminated_at, stuck_since, stuck_event, stuck_why, requested_by, consent_version, \
         workflow_id, run_id, created_at, started_at, ended_at"
    };
}
use columns;

/// # Errors
/// `OPERATION_NOT_FOUND`, also for another tenant's operation.
pub async fn get(tx: &mut impl Transact, id: &OperationId) -> Result<Operation> {
    sqlx::query_as(concat!("SELECT ", columns!(), " FROM operations WHERE operation_id = $1"))
        .bind(id.as_str())
        .fetch_optional(tx.connection())
        .await?
        .ok_or_else(|| not_found(id))
}

/// What a list is narrowed to.
#[derive(Debug, Clone, Default)]
pub struct OperationFilter {
    /// For operators; a tenant sees its own whatever this says.
    pub tenant: Option<TenantId>,
    pub kind: Option<OperationKind>,
    pub state: Option<OperationState>,
    /// Why it is parked, undoes, or has failed.
    pub code: Option<Code>,
    /// Created at or after.
    pub created_after: Option<DateTime<Utc>>,
    /// Created before.
    pub created_before: Option<DateTime<Utc>>,
}

/// Newest first.
pub async fn list(tx: &mut impl Transact, filter: &OperationFilter, page: &PageRequest) -> Result<Page<Operation>> {
    let cursor = page.cursor()?;
    let rows = sqlx::query_as(concat!(
        "SELECT ",
        columns!(),
        " FROM operations
          WHERE ($1::text IS NULL OR tenant_id = $1) AND ($2::text IS NULL OR kind = $2) AND ($3::text IS NULL OR state = $3)
            AND ($9::text IS NULL OR code = $9) AND ($4::timestamptz IS NULL OR created_at >= $4) AND ($5::timestamptz IS NULL OR created_at < $5)
            AND ($6::timestamptz IS NULL OR (created_at, operation_id) < ($6, $7))
          ORDER BY created_at DESC, operation_id DESC LIMIT $8"
    ))
    .bind(filter.tenant.as_ref().map(TenantId::as_str))
    .bind(filter.kind.map(OperationKind::as_str))
    .bind(filter.state.map(OperationState::as_str))
    .bind(filter.created_after)
    .bind(filter.created_before)
    .bind(cursor.as_ref().map(|c| c.at))
    .bind(cursor.as_ref().map(|c| c.id.as_str()))
    .bind(page.fetch())
    .bind(filter.code.map(Code::as_str))
    .fetch_all(tx.connection())
    .await?;
    Ok(Page::cut(rows, page, |operation: &Operation| Cursor::new(operation.created_at, operation.id.as_str())))
}

fn not_found(id: &OperationId) -> StoreError {
    StoreError::refused(Code::OperationNotFound, format!("there is no operation {id}"))
}
