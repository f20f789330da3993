//! The calls of an export: reserved before they are made, given back when they were not needed.

use leadline_domain::{Failure, operation::ExportDataset};
use leadline_store::budgets;
use leadline_workflows::export_dataset::ReservedBudget;

use crate::attempt::{Attempt, Done, Undoing};

/// Asks the org what it has left, takes that over, and reserves.
pub(super) async fn reserve(attempt: Attempt, _: ExportDataset) -> Result<Done<ReservedBudget>, Failure> {
    let config = &attempt.services().config;
    let client = attempt.org().await?;
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

pub(super) async fn give_back(attempt: Attempt, (): ()) -> Result<Done<()>, Failure> {
    let mut tx = attempt.fence().await?;
    budgets::release(&mut tx, &attempt.operation().operation).await?;
    attempt.finish(tx, &()).await
}
