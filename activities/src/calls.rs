//! Calls to Salesforce: reserved before they are made, counted where they are sent, and written into the tenant's budget by
//! whoever commits next, at the latest by the shell of the step, however its body ended.

use leadline_domain::{Code, Failure, OperationRef};
use leadline_salesforce::{Meter, OrgClient};
use leadline_store::{TenantTx, budgets};

use crate::{attempt::Attempt, services::Services};

/// Makes sure that the operation has `calls` reserved and not spent. Before it refuses for what the org was last known to have
/// left, it asks the org: others' calls age out of its 24 hours at any time.
///
/// # Errors
/// `API_BUDGET_EXHAUSTED`; `EPOCH_CLOSED`.
pub(crate) async fn reserve(attempt: &Attempt, client: &OrgClient, calls: i64) -> Result<(), Failure> {
    match reserve_known(attempt, calls).await {
        Err(refused) if refused.code == Code::ApiBudgetExhausted => {
            let left = client.limits().await?.daily_api_requests();
            let mut tx = attempt.fence().await?;
            if let Some(left) = left {
                budgets::correct(&mut tx, left.remaining, attempt.services().config.daily_api_calls).await?;
            }
            tx.commit().await?;
            reserve_known(attempt, calls).await
        }
        outcome => outcome,
    }
}

async fn reserve_known(attempt: &Attempt, calls: i64) -> Result<(), Failure> {
    let mut tx = attempt.fence().await?;
    budgets::reserve(&mut tx, &attempt.operation().operation, calls, attempt.services().config.daily_api_calls).await?;
    Ok(tx.commit().await?)
}

/// Counts the calls made so far, in the transaction that keeps what they brought.
pub(crate) async fn spend(
    services: &Services,
    tx: &mut TenantTx,
    operation: &OperationRef,
    meter: &Meter,
) -> Result<(), Failure> {
    let calls = i64::try_from(meter.take_calls()).unwrap_or(i64::MAX);
    if calls == 0 {
        return Ok(());
    }
    let allowance = services.config.daily_api_calls;
    budgets::spend(tx, &operation.operation, calls, allowance).await?;
    if let Some(usage) = meter.api_usage() {
        budgets::correct(tx, i64::try_from(usage.remaining()).unwrap_or(i64::MAX), allowance).await?;
    }
    Ok(())
}

/// Counts what is not counted yet. What the database does not take now, the org's own count makes up for at the next call.
pub(crate) async fn settle(services: &Services, operation: &OperationRef, meter: &Meter) {
    let settled = async {
        let mut tx = services.store.tenant(&operation.tenant).await?;
        spend(services, &mut tx, operation, meter).await?;
        Ok::<(), Failure>(tx.commit().await?)
    };
    if meter.has_calls()
        && let Err(failure) = settled.await
    {
        tracing::warn!(code = %failure.code, "calls to salesforce are not counted");
    }
}
