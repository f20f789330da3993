//! No more of a tenant's heavy steps run at a time than its lane allows.

use std::time::Duration;

use futures::future::join_all;
use leadline_domain::{OperationKind, TenantId};
use leadline_store::{
    Store,
    ledger::StepKey,
    permits::{self, Permit, PermitRequest},
};
use sqlx::{Connection as _, PgConnection};

use crate::fixture::{self, accepted, database};

const AT_MOST: u32 = 2;
const MINUTE: Duration = Duration::from_secs(60);
const WAITS: fn(u32) -> Permit = |ahead| Permit::Waiting { ahead };

async fn step(store: &Store, tenant: &TenantId) -> StepKey {
    let mut tx = store.tenant(tenant).await.unwrap();
    let operation = accepted(&mut tx, OperationKind::ExportDataset).await.id;
    tx.commit().await.unwrap();
    StepKey { operation, step: "extract_pages".to_owned(), epoch: 1 }
}

async fn take(store: &Store, tenant: &TenantId, step: &StepKey, holder: &str, lapses_after: Duration) -> Permit {
    let request = PermitRequest { lane: "extraction", step, holder, at_most: AT_MOST, lapses_after };
    let mut tx = store.tenant(tenant).await.unwrap();
    let permit = permits::take(&mut tx, &request).await.unwrap();
    tx.commit().await.unwrap();
    permit
}

async fn give_back(store: &Store, tenant: &TenantId, step: &StepKey, holder: &str) {
    let mut tx = store.tenant(tenant).await.unwrap();
    permits::give_back(&mut tx, step, holder).await.unwrap();
    tx.commit().await.unwrap();
}

#[tokio::test]
async fn of_ten_steps_that_come_at_once_two_run_and_another_tenants_runs_beside_them() {
    let db = database().await;
    let (tenant, _) = fixture::tenant(&db.store, "busy").await;
    let (other, _) = fixture::tenant(&db.store, "quiet").await;
    let steps = join_all((0..10).map(|_| step(&db.store, &tenant))).await;
    let permits = join_all(steps.iter().map(|step| take(&db.store, &tenant, step, "first", MINUTE))).await;
    let granted = permits.iter().filter(|permit| **permit == Permit::Granted).count();
    assert_eq!(granted, 2, "{permits:?}");
    let other_step = step(&db.store, &other).await;
    assert_eq!(take(&db.store, &other, &other_step, "first", MINUTE).await, Permit::Granted);

    let runs = permits.iter().position(|permit| *permit == Permit::Granted).unwrap();
    let head = permits.iter().position(|permit| *permit == WAITS(0)).unwrap();
    assert_eq!(take(&db.store, &tenant, &steps[head], "again", MINUTE).await, WAITS(0), "it keeps its place");
    give_back(&db.store, &tenant, &steps[runs], "another attempt").await;
    assert_eq!(take(&db.store, &tenant, &steps[head], "again", MINUTE).await, WAITS(0), "a permit is its attempt's own");
    give_back(&db.store, &tenant, &steps[runs], "first").await;
    let last = permits.iter().position(|permit| *permit == WAITS(7)).unwrap();
    assert_eq!(take(&db.store, &tenant, &steps[last], "again", MINUTE).await, WAITS(7), "the room is for the head of the line");
    assert_eq!(take(&db.store, &tenant, &steps[head], "again", MINUTE).await, Permit::Granted);
    assert_eq!(take(&db.store, &tenant, &steps[last], "again", MINUTE).await, WAITS(6), "the line moves up");
}

#[tokio::test]
async fn a_permit_that_nobody_keeps_up_lapses_and_a_later_attempt_of_the_step_takes_it_over_at_once() {
    let db = database().await;
    let (tenant, _) = fixture::tenant(&db.store, "mortal").await;
    let [dead, kept, waits] = [(); 3].map(|()| step(&db.store, &tenant));
    let (dead, kept, waits) = (dead.await, kept.await, waits.await);
    assert_eq!(take(&db.store, &tenant, &dead, "dies", MINUTE).await, Permit::Granted);
    assert_eq!(take(&db.store, &tenant, &kept, "keeps", Duration::ZERO).await, Permit::Granted);
    let mut tx = db.store.tenant(&tenant).await.unwrap();
    permits::keep(&mut tx, &kept, "keeps", MINUTE).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(take(&db.store, &tenant, &waits, "first", MINUTE).await, WAITS(0));
    // The worker that died is followed by another attempt, which dies as well.
    assert_eq!(take(&db.store, &tenant, &dead, "follows", Duration::ZERO).await, Permit::Granted);
    assert_eq!(take(&db.store, &tenant, &waits, "second", MINUTE).await, Permit::Granted, "what has lapsed is free");

    let after = step(&db.store, &tenant).await;
    assert_eq!(take(&db.store, &tenant, &after, "first", MINUTE).await, WAITS(0));
    assert_eq!(take(&db.store, &tenant, &dead, "comes back", MINUTE).await, WAITS(0), "what has lapsed keeps its place");
    let mut tx = db.store.tenant(&tenant).await.unwrap();
    permits::give_back_all(&mut tx, &kept.operation).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(take(&db.store, &tenant, &after, "second", MINUTE).await, WAITS(1));
    assert_eq!(take(&db.store, &tenant, &dead, "is first", MINUTE).await, Permit::Granted);
}

#[tokio::test]
async fn a_step_that_does_not_come_again_is_passed_and_stands_where_it_stood_once_it_comes() {
    let db = database().await;
    let (tenant, _) = fixture::tenant(&db.store, "late").await;
    let steps = join_all((0..AT_MOST + 3).map(|_| step(&db.store, &tenant))).await;
    let mut permits = Vec::new();
    for step in &steps {
        permits.push(take(&db.store, &tenant, step, "first", MINUTE).await);
    }
    assert_eq!(permits, [Permit::Granted, Permit::Granted, WAITS(0), WAITS(1), WAITS(2)]);
    let [first, second, late, next, last] = &steps[..] else { unreachable!("so many were made") };
    let mut owner = PgConnection::connect(&db.owner_url).await.unwrap();
    let lapsed = sqlx::query("UPDATE step_permits SET lapses_at = now() WHERE operation_id = $1").bind(late.operation.as_str());
    assert_eq!(lapsed.execute(&mut owner).await.unwrap().rows_affected(), 1);
    give_back(&db.store, &tenant, first, "first").await;
    assert_eq!(take(&db.store, &tenant, next, "again", MINUTE).await, Permit::Granted);
    assert_eq!(take(&db.store, &tenant, late, "again", MINUTE).await, WAITS(0));
    assert_eq!(take(&db.store, &tenant, next, "follows", MINUTE).await, Permit::Granted, "what runs is not passed");
    let stands = "SELECT extract(epoch FROM lapses_at - now())::float8 FROM step_permits WHERE operation_id = $1";
    let stands: f64 = sqlx::query_scalar(stands).bind(late.operation.as_str()).fetch_one(&mut owner).await.unwrap();
    assert!((30.0..=61.0).contains(&stands), "a place in line counts for a minute after its step was to come again: {stands}");
    give_back(&db.store, &tenant, second, "first").await;
    assert_eq!(take(&db.store, &tenant, last, "again", MINUTE).await, WAITS(1));
    assert_eq!(take(&db.store, &tenant, late, "again", MINUTE).await, Permit::Granted);
    // It fails, and the step comes once more.
    give_back(&db.store, &tenant, next, "follows").await;
    assert_eq!(take(&db.store, &tenant, next, "once more", MINUTE).await, Permit::Granted, "a step that failed has its place");
}
