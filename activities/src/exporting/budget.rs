//! Calls to Salesforce: reserved before they are made, counted as they are made, given back when they were not needed.

use leadline_domain::{Failure, operation::ExportDataset};
use leadline_salesforce::OrgClient;
use leadline_store::{TenantTx, budgets};
use leadline_workflows::export_dataset::ReservedBudget;

use crate::step::{Attempt, Done, Undoing};

/// Asks the org what it has left, takes that over, and reserves.
pub(super) async fn reserve(attempt: Attempt, _: ExportDataset) -> Result<Done<ReservedBudget>, Failure> {
    let config = &attempt.services().config;
    let client = attempt.services().org(attempt.tenant()).await?;
    let left = client.limits().await?.daily_api_requests();
    let operation = &attempt.operation().operation;
    let mut tx = attempt.fence().await?;
    if let Some(left) = left {
        budgets::correct(&mut tx, left.remaining, config.daily_api_calls).await?;
    }
    budgets::reserve(&mut tx, operation, config.export_calls, config.daily_api_calls).await?;
    attempt.finish(tx, &ReservedBudget { calls: config.export_calls }).await
}

pub(super) async fn release(undoing: Undoing, (): ()) -> Result<(), Failure> {
    let mut tx = undoing.begin().await?;
    budgets::release(&mut tx, &undoing.operation.operation).await?;
    Ok(tx.commit().await?)
}

pub(super) async fn settle(attempt: Attempt, (): ()) -> Result<Done<()>, Failure> {
    let mut tx = attempt.fence().await?;
    budgets::release(&mut tx, &attempt.operation().operation).await?;
    attempt.finish(tx, &()).await
}

/// Counts calls that were made, in the transaction that keeps what they brought.
pub(super) async fn spend(attempt: &Attempt, tx: &mut TenantTx, client: &OrgClient, calls: i64) -> Result<(), Failure> {
    let allowance = attempt.services().config.daily_api_calls;
    budgets::spend(tx, &attempt.operation().operation, calls, allowance).await?;
    if let Some(usage) = client.api_usage() {
        budgets::correct(tx, i64::try_from(usage.remaining()).unwrap_or(i64::MAX), allowance).await?;
    }
    Ok(())
}

/// Reserves in all what an export of this many pages needs, now that its size is known.
pub(super) async fn reserve_pages(attempt: &Attempt, pages: i64) -> Result<(), Failure> {
    let config = &attempt.services().config;
    let mut tx = attempt.fence().await?;
    budgets::reserve(&mut tx, &attempt.operation().operation, config.export_calls + pages, config.daily_api_calls).await?;
    Ok(tx.commit().await?)
}
