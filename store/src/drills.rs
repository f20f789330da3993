//! Drills: the rows that sagas for training touch, and nothing else.

use leadline_domain::{Code, OperationId};

use crate::{Result, StoreError, TenantTx, Transact as _};

pub async fn prepare(tx: &mut TenantTx, operation: &OperationId) -> Result<()> {
    let tenant = tx.tenant().clone();
    sqlx::query("INSERT INTO drills (tenant_id, operation_id) VALUES ($1, $2) ON CONFLICT (operation_id) DO NOTHING")
        .bind(tenant.as_str())
        .bind(operation.as_str())
        .execute(tx.connection())
        .await?;
    Ok(())
}

pub async fn exists(tx: &mut TenantTx, operation: &OperationId) -> Result<bool> {
    let found = sqlx::query_scalar("SELECT EXISTS (SELECT FROM drills WHERE operation_id = $1)");
    Ok(found.bind(operation.as_str()).fetch_one(tx.connection()).await?)
}

/// The activity that asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asker {
    pub run: String,
    /// Its place in the order of scheduling.
    pub scheduled: i64,
}

/// Asks for an operator, and says whether one has answered: an activity that was scheduled later than the one of its run that asked is
/// there because somebody wanted it so. Another run asks anew.
///
/// # Errors
/// `INTERNAL` when the drill was not prepared.
pub async fn ask(tx: &mut TenantTx, operation: &OperationId, asker: &Asker) -> Result<bool> {
    let asked: Option<i64> = sqlx::query_scalar(
        "UPDATE drills SET asked_at = CASE WHEN asked_in = $2 THEN asked_at ELSE $3 END, asked_in = $2
         WHERE operation_id = $1 RETURNING asked_at",
    )
    .bind(operation.as_str())
    .bind(&asker.run)
    .bind(asker.scheduled)
    .fetch_optional(tx.connection())
    .await?;
    asked.map(|asked| asked < asker.scheduled).ok_or_else(|| not_prepared(operation))
}

/// # Errors
/// `INTERNAL` when the drill was not prepared.
pub async fn complete(tx: &mut TenantTx, operation: &OperationId) -> Result<()> {
    set(tx, operation, "UPDATE drills SET completed = true WHERE operation_id = $1").await
}

/// # Errors
/// `INTERNAL` when the drill was not prepared.
pub async fn debrief(tx: &mut TenantTx, operation: &OperationId) -> Result<()> {
    set(tx, operation, "UPDATE drills SET debriefed = true WHERE operation_id = $1").await
}

/// Takes the drill's row away; there need not be one.
pub async fn clear(tx: &mut TenantTx, operation: &OperationId) -> Result<()> {
    sqlx::query("DELETE FROM drills WHERE operation_id = $1").bind(operation.as_str()).execute(tx.connection()).await?;
    Ok(())
}

async fn set(tx: &mut TenantTx, operation: &OperationId, statement: &'static str) -> Result<()> {
    let done = sqlx::query(statement).bind(operation.as_str()).execute(tx.connection()).await?;
    if done.rows_affected() == 1 { Ok(()) } else { Err(not_prepared(operation)) }
}

fn not_prepared(operation: &OperationId) -> StoreError {
    StoreError::refused(Code::Internal, format!("drill {operation} was not prepared"))
}
