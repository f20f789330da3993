//! The daily budget of Salesforce calls of one tenant: reserved before they are made, spent as they are made, and given back
//! when they were not needed.
//!
//! What may still be reserved is `min(allowed - used, what the vendor says is left) - reservations that are neither spent nor
//! released`. Days are UTC days of the database's clock. Real calls stay counted whatever becomes of their operation.

use chrono::{DateTime, Days, NaiveTime, Utc};
use leadline_domain::{Code, Failure, OperationId};
use sqlx::Row as _;

use crate::{Result, TenantTx, Transact as _};

/// Calls to Salesforce that a tenant may make in a UTC day, unless an operator sets another number.
pub const DAILY_CALLS: i64 = 100_000;

/// How soon a budget is worth another look that others hold or that the vendor counts.
pub const RECHECK_SECONDS: u64 = 15 * 60;

/// Today's budget as it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    pub allowed: i64,
    pub used: i64,
    /// Reserved by operations and not spent yet.
    pub outstanding: i64,
    /// What the vendor last reported as left for the org, less the calls made since.
    pub vendor_remaining: Option<i64>,
}

impl Budget {
    /// Calls that can still be reserved, never below 0.
    pub fn remaining(&self) -> i64 {
        let own = self.allowed - self.used;
        (self.vendor_remaining.map_or(own, |vendor| vendor.min(own)) - self.outstanding).max(0)
    }
}

/// Makes sure that the operation has `calls` reserved and not spent: what is missing is added. `allowance` is the tenant's
/// budget for a day that has none yet.
///
/// # Errors
/// `API_BUDGET_EXHAUSTED` when there is not that much left: with the time until the next UTC day if the tenant's own calls of
/// today are used up, otherwise with [`RECHECK_SECONDS`], since others' reservations and the org's rolling day free calls at
/// any time.
pub async fn reserve(tx: &mut TenantTx, operation: &OperationId, calls: i64, allowance: i64) -> Result<Budget> {
    let (budget, now) = lock_today(tx, allowance).await?;
    let tenant = tx.tenant().clone();
    let held: Option<i64> = sqlx::query_scalar(
        "SELECT greatest(reserved - spent, 0) FROM api_reservations WHERE operation_id = $1 AND released_at IS NULL",
    )
    .bind(operation.as_str())
    .fetch_optional(tx.connection())
    .await?;
    let missing = calls - held.unwrap_or(0);
    if missing <= 0 {
        return Ok(budget);
    }
    if missing > budget.remaining() {
        let message = format!(
            "tenant {tenant} has {} of {} Salesforce calls left today, and {missing} are needed",
            budget.remaining(),
            budget.allowed
        );
        let own_used_up = budget.allowed - budget.used < missing;
        let wait = if own_used_up { seconds_to_next_day(now) } else { RECHECK_SECONDS };
        return Err(Failure::new(Code::ApiBudgetExhausted, message).retry_after(wait).into());
    }
    sqlx::query(
        "INSERT INTO api_reservations AS r (tenant_id, operation_id, day, reserved) VALUES ($1, $2, $3, $4)
         ON CONFLICT (operation_id) DO UPDATE
         SET day = excluded.day, released_at = NULL,
             reserved = CASE WHEN r.released_at IS NULL THEN r.spent ELSE 0 END + excluded.reserved,
             spent = CASE WHEN r.released_at IS NULL THEN r.spent ELSE 0 END",
    )
    .bind(tenant.as_str())
    .bind(operation.as_str())
    .bind(now.date_naive())
    .bind(calls)
    .execute(tx.connection())
    .await?;
    Ok(Budget { outstanding: budget.outstanding + missing, ..budget })
}

/// Counts calls that were made, against the operation's reservation and today's budget. More than was reserved is counted too:
/// the vendor has counted it.
pub async fn spend(tx: &mut TenantTx, operation: &OperationId, calls: i64, allowance: i64) -> Result<()> {
    let (_, now) = lock_today(tx, allowance).await?;
    let tenant = tx.tenant().clone();
    sqlx::query(
        "UPDATE api_budgets
         SET used = used + $3,
             vendor_remaining = CASE WHEN vendor_remaining IS NOT NULL THEN greatest(vendor_remaining - $3, 0) END
         WHERE tenant_id = $1 AND day = $2",
    )
    .bind(tenant.as_str())
    .bind(now.date_naive())
    .bind(calls)
    .execute(tx.connection())
    .await?;
    sqlx::query("UPDATE api_reservations SET spent = spent + $2 WHERE operation_id = $1")
        .bind(operation.as_str())
        .bind(calls)
        .execute(tx.connection())
        .await?;
    Ok(())
}

/// Gives back what the operation reserved and did not spend; returns how much that was. A repetition gives back nothing.
pub async fn release(tx: &mut TenantTx, operation: &OperationId) -> Result<i64> {
    let unspent: Option<i64> = sqlx::query_scalar(
        "UPDATE api_reservations SET released_at = now() WHERE operation_id = $1 AND released_at IS NULL
         RETURNING greatest(reserved - spent, 0)",
    )
    .bind(operation.as_str())
    .fetch_optional(tx.connection())
    .await?;
    Ok(unspent.unwrap_or(0))
}

/// Takes over what the vendor reports as left for the whole org, which also counts the calls of others.
pub async fn correct(tx: &mut TenantTx, vendor_remaining: i64, allowance: i64) -> Result<()> {
    let (_, now) = lock_today(tx, allowance).await?;
    let tenant = tx.tenant().clone();
    sqlx::query("UPDATE api_budgets SET vendor_remaining = greatest($3, 0) WHERE tenant_id = $1 AND day = $2")
        .bind(tenant.as_str())
        .bind(now.date_naive())
        .bind(vendor_remaining)
        .execute(tx.connection())
        .await?;
    Ok(())
}

/// Today's budget, for showing.
pub async fn today(tx: &mut TenantTx, allowance: i64) -> Result<Budget> {
    let tenant = tx.tenant().clone();
    let row = sqlx::query("SELECT allowed, used, vendor_remaining FROM api_budgets WHERE tenant_id = $1 AND day = utc_today()")
        .bind(tenant.as_str())
        .fetch_optional(tx.connection())
        .await?;
    let outstanding = outstanding(tx).await?;
    Ok(match row {
        Some(row) => Budget {
            allowed: row.try_get("allowed")?,
            used: row.try_get("used")?,
            vendor_remaining: row.try_get("vendor_remaining")?,
            outstanding,
        },
        None => Budget { allowed: allowance, used: 0, vendor_remaining: None, outstanding },
    })
}

/// Today's row, made if need be and locked until the transaction ends: reservations of one tenant are made one after another.
async fn lock_today(tx: &mut TenantTx, allowance: i64) -> Result<(Budget, DateTime<Utc>)> {
    let tenant = tx.tenant().clone();
    sqlx::query(
        "INSERT INTO api_budgets (tenant_id, day, allowed) VALUES ($1, utc_today(), $2) ON CONFLICT (tenant_id, day) DO NOTHING",
    )
    .bind(tenant.as_str())
    .bind(allowance)
    .execute(tx.connection())
    .await?;
    let row = sqlx::query(
        "SELECT allowed, used, vendor_remaining, now() AS now FROM api_budgets WHERE tenant_id = $1 AND day = utc_today() FOR UPDATE",
    )
    .bind(tenant.as_str())
    .fetch_one(tx.connection())
    .await?;
    let budget = Budget {
        allowed: row.try_get("allowed")?,
        used: row.try_get("used")?,
        vendor_remaining: row.try_get("vendor_remaining")?,
        outstanding: outstanding(tx).await?,
    };
    Ok((budget, row.try_get("now")?))
}

async fn outstanding(tx: &mut TenantTx) -> Result<i64> {
    let tenant = tx.tenant().clone();
    let sum = sqlx::query_scalar(
        "SELECT coalesce(sum(greatest(reserved - spent, 0)), 0)::bigint FROM api_reservations
         WHERE tenant_id = $1 AND released_at IS NULL",
    )
    .bind(tenant.as_str())
    .fetch_one(tx.connection())
    .await?;
    Ok(sum)
}

/// At least 1: a wait of 0 would ask again within the same day.
fn seconds_to_next_day(now: DateTime<Utc>) -> u64 {
    let midnight = (now.date_naive() + Days::new(1)).and_time(NaiveTime::MIN).and_utc();
    u64::try_from((midnight - now).num_seconds()).unwrap_or(0) + 1
}
