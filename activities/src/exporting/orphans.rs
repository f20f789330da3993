//! Bulk jobs that leadline created and knows no id of.
//!
//! The vendor's list says of a job its object, its creator and its state, not its query. So a job is an orphan if the tenant's
//! integration user created it for the object, it was not there before this operation announced its own, and no operation has
//! its id. That holds because the integration user is leadline's alone, as the guide asks for.
//!
//! A job that another operation is just creating looks the same for a moment. Jobs are created under the lock of the step's
//! ledger row, so the search first takes the locks of all operations that have announced a job: whoever is alive has by then
//! recorded its id, and nobody creates one while the search goes on. An operation that announces one meanwhile makes the search
//! fail as busy, and it is repeated.

use std::{collections::BTreeSet, sync::Arc};

use leadline_domain::{Code, Failure, OperationId, OperationKind, OperationRef, OperationState};
use leadline_salesforce::{OrgClient, QueryJob};
use leadline_store::{
    PageRequest, TenantTx,
    ledger::{self, StepKey, StepState},
    operations::{self, OperationFilter},
};
use serde_json::Value as Json;

use super::job::{self, JobFacts};
use crate::{
    attempt::{Attempt, Undoing},
    services::Services,
};

/// On whose behalf is searched.
pub(super) struct Search {
    services: Arc<Services>,
    operation: OperationRef,
}

impl Attempt {
    pub(super) fn search(&self) -> Search {
        Search { services: Arc::clone(self.services()), operation: self.operation().clone() }
    }
}

impl Undoing {
    pub(super) fn search(&self) -> Search {
        Search { services: Arc::clone(self.services()), operation: self.operation.clone() }
    }
}

/// What the tenant's other running operations say of their jobs.
#[derive(Default)]
struct Others {
    claimed: Vec<String>,
    /// A job announced and no id yet, in the order in which the rows are locked.
    announced: BTreeSet<(OperationId, u32)>,
}

/// Ends and removes the orphans of `object`. `facts` are those of this operation's own announcement.
///
/// # Errors
/// `SALESFORCE_BUSY` when another operation of the tenant announces a job while the search goes on.
pub(super) async fn remove(search: &Search, client: &OrgClient, object: &str, facts: &Json) -> Result<(), Failure> {
    let before = JobFacts::read(facts)?.before;
    let user = client.user_id();
    let _permit = search.services.fenced_call().await;
    let locked = others(search).await?.announced;
    let mut locks = search.services.store.tenant(&search.operation.tenant).await?;
    for (operation, epoch) in &locked {
        lock(&mut locks, operation, *epoch).await?;
    }
    let mut candidates = client.list_query_jobs().await?;
    candidates.retain(|job| is_ours(job, object, &user) && !before.iter().any(|known| same_id(known, &job.id)));
    // After the list: whatever stands on it has been announced by now.
    let others = others(search).await?;
    if !others.announced.is_subset(&locked) {
        let message =
            format!("another export of {} is creating a bulk job; this one's cannot be told from it yet", locks.tenant());
        return Err(Failure::new(Code::SalesforceBusy, message));
    }
    // The database gives a transaction up that waits for the org too long: then somebody may have created one meanwhile.
    for (operation, epoch) in &locked {
        lock(&mut locks, operation, *epoch).await?;
    }
    candidates.retain(|job| !others.claimed.iter().any(|claimed| same_id(claimed, &job.id)));
    for orphan in candidates {
        tracing::info!(job = %orphan.id, operation = %search.operation.operation, "removing a bulk job whose id was lost");
        job::remove(client, &orphan.id).await?;
    }
    Ok(locks.rollback().await?)
}

/// Waits for whoever is creating a job under this row, and keeps everyone else from it.
async fn lock(locks: &mut TenantTx, operation: &OperationId, epoch: u32) -> Result<(), Failure> {
    let key = StepKey { operation: operation.clone(), step: job::STEP.to_owned(), epoch };
    match ledger::require_open(locks, &key).await {
        Ok(()) => Ok(()),
        // Finished or undone meanwhile: it creates nothing any more.
        Err(error) if error.code() == Some(Code::EpochClosed) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

async fn others(search: &Search) -> Result<Others, Failure> {
    let mut others = Others::default();
    for kind in [OperationKind::ExportDataset, OperationKind::TrainModel] {
        for state in [OperationState::Running, OperationState::Parked, OperationState::Compensating] {
            collect(search, kind, state, &mut others).await?;
        }
    }
    Ok(others)
}

async fn collect(search: &Search, kind: OperationKind, state: OperationState, others: &mut Others) -> Result<(), Failure> {
    let filter = OperationFilter { kind: Some(kind), state: Some(state), ..OperationFilter::default() };
    let mut page = PageRequest { size: leadline_store::paging::MAX_PAGE, token: String::new() };
    loop {
        let mut tx = search.services.store.tenant_read(&search.operation.tenant).await?;
        let found = operations::list(&mut tx, &filter, &page).await?;
        for operation in found.items.iter().filter(|found| found.id != search.operation.operation) {
            for row in ledger::steps(&mut tx, &operation.id).await?.iter().filter(|row| row.step == job::STEP) {
                let facts = JobFacts::read(&row.facts)?;
                if row.state == StepState::Open && facts.creating && facts.job.is_none() {
                    others.announced.insert((operation.id.clone(), row.epoch));
                }
                others.claimed.extend(facts.job);
            }
        }
        if found.next_token.is_empty() {
            return Ok(());
        }
        page.token = found.next_token;
    }
}

fn is_ours(job: &QueryJob, object: &str, user: &str) -> bool {
    let creator = job.created_by_id.as_deref();
    job.object.as_deref() == Some(object) && creator.is_none_or(|creator| same_id(creator, user))
}

/// The vendor writes one id with 15 or with 18 characters.
fn same_id(one: &str, other: &str) -> bool {
    one.len() >= 15 && other.len() >= 15 && one.as_bytes()[..15] == other.as_bytes()[..15]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_the_same_in_both_its_lengths_and_a_fragment_is_none() {
        assert!(same_id("750R0000000zlh9", "750R0000000zlh9IAA"));
        assert!(!same_id("750R0000000zlh9IAA", "750R0000000zlhAIAA"));
        assert!(!same_id("750R", "750R"));
        assert!(!same_id("", ""));
    }
}
