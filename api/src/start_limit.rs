//! How many starts of one tenant are sent to Temporal at a time.
//!
//! Temporal's frontend answers in the order of arrival, whoever asks. So a tenant's burst waits here, where it is in nobody's way.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use leadline_domain::{OperationId, OperationRef, TenantId};
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::metrics;

/// The lines of this process, one for each tenant. What it has not sent when it dies, the sweeper of any process sends.
#[derive(Clone)]
pub struct StartLimit {
    per_tenant: usize,
    lines: Arc<Mutex<HashMap<TenantId, Line>>>,
}

/// The starts of a tenant that wait or are under way.
struct Line {
    operations: HashSet<OperationId>,
    turns: Arc<Semaphore>,
}

/// The place of an operation in the line of its tenant, until this is dropped.
pub struct Place {
    limit: StartLimit,
    operation: OperationRef,
    turns: Arc<Semaphore>,
}

impl StartLimit {
    pub fn new(per_tenant: usize) -> Self {
        Self { per_tenant, lines: Arc::default() }
    }

    /// `None` when the operation is in line already.
    pub fn join(&self, operation: OperationRef) -> Option<Place> {
        let mut lines = self.lines();
        let line = lines.entry(operation.tenant.clone()).or_insert_with(|| Line::new(self.per_tenant));
        let turns = line.turns.clone();
        line.operations.insert(operation.operation.clone()).then(|| {
            metrics::joined_line();
            Place { limit: self.clone(), operation, turns }
        })
    }

    pub fn holds(&self, operation: &OperationRef) -> bool {
        self.lines().get(&operation.tenant).is_some_and(|line| line.operations.contains(&operation.operation))
    }

    /// No change of it is ever half done, so a panic elsewhere does not matter.
    fn lines(&self) -> MutexGuard<'_, HashMap<TenantId, Line>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Line {
    fn new(turns: usize) -> Self {
        Self { operations: HashSet::new(), turns: Arc::new(Semaphore::new(turns)) }
    }
}

impl Place {
    /// Waits until it is this operation's turn, first come, first served.
    pub async fn turn(&self) -> SemaphorePermit<'_> {
        self.turns.acquire().await.expect("nobody closes it")
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        metrics::left_line();
        let mut lines = self.limit.lines();
        if let Some(line) = lines.get_mut(&self.operation.tenant) {
            line.operations.remove(&self.operation.operation);
            if line.operations.is_empty() {
                lines.remove(&self.operation.tenant);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;
    use leadline_domain::OperationKind;

    use super::*;

    fn operation(tenant: u128, operation: u128) -> OperationRef {
        OperationRef {
            tenant: TenantId::from_bits(tenant),
            operation: OperationId::from_bits(operation),
            kind: OperationKind::TrainModel,
        }
    }

    #[test]
    fn a_tenants_burst_waits_for_its_turn_and_another_tenant_does_not() {
        let limit = StartLimit::new(2);
        let burst: Vec<_> = (0..4).map(|n| limit.join(operation(1, n)).unwrap()).collect();
        let mut turns: Vec<_> = burst.iter().filter_map(|place| place.turn().now_or_never()).collect();
        assert_eq!(turns.len(), 2);
        assert!(limit.join(operation(2, 9)).unwrap().turn().now_or_never().is_some());

        turns.pop();
        assert!(burst[2].turn().now_or_never().is_some());
        assert!(limit.join(operation(1, 3)).is_none(), "it is in line already");
        assert!(limit.holds(&operation(1, 3)));
        drop(turns);
        drop(burst);
        assert!(!limit.holds(&operation(1, 3)));
        assert!(limit.lines().is_empty());
    }
}
