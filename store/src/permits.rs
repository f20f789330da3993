//! Permits for heavy steps: a lane runs only so many of a tenant's at the same time, on whatever worker.
//!
//! A step that gets no permit keeps its place in line and holds no worker's slot meanwhile. First come, first served: room is for those
//! at the head of the line, and the place says how soon to come again: the nearer, the sooner. A permit lapses unless it is kept up, and
//! a place unless its step comes again, so that neither a worker that died nor a run that was terminated holds anybody up for long. What
//! has lapsed does not count, and stays until the operation ends: a step that comes after all, or once more after it has failed, stands
//! where it stood.

use std::time::Duration;

use leadline_domain::OperationId;
use sqlx::Row as _;

use crate::{Result, TenantTx, Transact, ledger::StepKey};

/// What of a lane a step asks for.
#[derive(Debug, Clone, Copy)]
pub struct PermitRequest<'a> {
    pub lane: &'a str,
    pub step: &'a StepKey,
    /// The attempt: a later one of the same step takes the permit over, and the earlier one can then neither keep it up nor give it
    /// back.
    pub holder: &'a str,
    /// Of the tenant's steps in the lane.
    pub at_most: u32,
    /// How long the permit stands unless it is kept up.
    pub lapses_after: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Permit {
    Granted,
    /// So many of the tenant's steps asked before and wait, too.
    Waiting {
        ahead: u32,
    },
}

/// How much too late a step that waits may come, before those behind it pass. It may have to wait for a slot, too.
const LATE: Duration = Duration::from_secs(60);
const LONGEST_WAIT: Duration = Duration::from_secs(60);

impl Permit {
    /// When a step that waits is to ask again: in a second at the head of the line, half a second later for each that is ahead. A line
    /// of a thousand so asks about twenty-five times a second in all.
    pub fn ask_again_after(ahead: u32) -> Duration {
        (Duration::from_secs(1) + Duration::from_millis(500) * ahead).min(LONGEST_WAIT)
    }
}

/// Takes a permit, or a place in line. Others of the tenant's lane wait until the transaction ends, so it is to end soon.
pub async fn take(tx: &mut TenantTx, request: &PermitRequest<'_>) -> Result<Permit> {
    let tenant = tx.tenant().clone();
    sqlx::query("SELECT pg_advisory_xact_lock(hashtextextended($1 || ' ' || $2, 0))")
        .bind(tenant.as_str())
        .bind(request.lane)
        .execute(tx.connection())
        .await?;
    let Line { held, running, ahead } = line(tx, request).await?;
    let permit =
        if held || running.saturating_add(ahead) < request.at_most { Permit::Granted } else { Permit::Waiting { ahead } };
    let (holder, stands) = match permit {
        Permit::Granted => (Some(request.holder), request.lapses_after),
        Permit::Waiting { ahead } => (None, Permit::ask_again_after(ahead) + LATE),
    };
    sqlx::query(
        "INSERT INTO step_permits (tenant_id, lane, operation_id, step, holder, lapses_at)
         VALUES ($1, $2, $3, $4, $5, now() + make_interval(secs => $6))
         ON CONFLICT (operation_id, step) DO UPDATE SET holder = excluded.holder, lapses_at = excluded.lapses_at",
    )
    .bind(tenant.as_str())
    .bind(request.lane)
    .bind(request.step.operation.as_str())
    .bind(&request.step.step)
    .bind(holder)
    .bind(stands.as_secs_f64())
    .execute(tx.connection())
    .await?;
    Ok(permit)
}

/// What a step finds in its tenant's lane, without what has lapsed.
struct Line {
    /// An earlier attempt of its own has the permit.
    held: bool,
    /// Other steps that have one.
    running: u32,
    /// Other steps that wait and asked before.
    ahead: u32,
}

async fn line(tx: &mut TenantTx, request: &PermitRequest<'_>) -> Result<Line> {
    let tenant = tx.tenant().clone();
    let row = sqlx::query(
        "WITH mine AS (
             SELECT coalesce(max(asked_at), clock_timestamp()) AS asked_at FROM step_permits WHERE operation_id = $3 AND step = $4
         )
         SELECT count(*) FILTER (WHERE holder IS NOT NULL AND (operation_id, step) = ($3, $4)) > 0 AS held,
                count(*) FILTER (WHERE holder IS NOT NULL AND (operation_id, step) <> ($3, $4)) AS running,
                count(*) FILTER (WHERE holder IS NULL AND p.asked_at < mine.asked_at) AS ahead
         FROM step_permits p, mine
         WHERE tenant_id = $1 AND lane = $2 AND lapses_at > now()",
    )
    .bind(tenant.as_str())
    .bind(request.lane)
    .bind(request.step.operation.as_str())
    .bind(&request.step.step)
    .fetch_one(tx.connection())
    .await?;
    let count = |name| row.try_get::<i64, _>(name).map(|count| u32::try_from(count).unwrap_or(u32::MAX));
    Ok(Line { held: row.try_get("held")?, running: count("running")?, ahead: count("ahead")? })
}

/// Keeps the attempt's permit up for so long from now, also when it has lapsed: the attempt runs. Nothing happens when it is not its own
/// any more.
pub async fn keep(tx: &mut TenantTx, step: &StepKey, holder: &str, lapses_after: Duration) -> Result<()> {
    sqlx::query(
        "UPDATE step_permits SET lapses_at = now() + make_interval(secs => $4)
         WHERE operation_id = $1 AND step = $2 AND holder = $3",
    )
    .bind(step.operation.as_str())
    .bind(&step.step)
    .bind(holder)
    .bind(lapses_after.as_secs_f64())
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// Gives the attempt's permit back. The step's place stays, for another attempt.
pub async fn give_back(tx: &mut TenantTx, step: &StepKey, holder: &str) -> Result<()> {
    sqlx::query("UPDATE step_permits SET holder = NULL, lapses_at = now() WHERE operation_id = $1 AND step = $2 AND holder = $3")
        .bind(step.operation.as_str())
        .bind(&step.step)
        .bind(holder)
        .execute(tx.connection())
        .await?;
    Ok(())
}

/// Gives back whatever an operation that ends still has: permits of attempts that were cut off, and places in line.
pub async fn give_back_all(tx: &mut impl Transact, operation: &OperationId) -> Result<()> {
    sqlx::query("DELETE FROM step_permits WHERE operation_id = $1").bind(operation.as_str()).execute(tx.connection()).await?;
    Ok(())
}
