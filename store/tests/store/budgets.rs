//! Calls to Salesforce are reserved before they are made.

use futures::future::join_all;
use leadline_domain::{Code, OperationId};
use leadline_store::budgets;

use crate::fixture::{self, database};

const ALLOWANCE: i64 = 100;

#[tokio::test]
async fn reservations_never_exceed_the_day_and_what_was_not_spent_comes_back() {
    let db = database().await;
    let (tenant, _) = fixture::tenant(&db.store, "thrifty").await;
    let outcomes = join_all((0..6).map(|_| async {
        let operation = OperationId::random();
        let mut tx = db.store.tenant(&tenant).await.unwrap();
        let reserved = budgets::reserve(&mut tx, &operation, 30, ALLOWANCE).await;
        tx.commit().await.unwrap();
        (operation, reserved)
    }))
    .await;
    let (granted, refused): (Vec<_>, Vec<_>) = outcomes.into_iter().partition(|(_, reserved)| reserved.is_ok());
    assert_eq!((granted.len(), refused.len()), (3, 3));
    for (_, reserved) in refused {
        let failure = reserved.unwrap_err().failure();
        assert_eq!(failure.code, Code::ApiBudgetExhausted);
        assert_eq!(failure.retry_after_seconds, Some(budgets::RECHECK_SECONDS), "the others may give theirs back");
    }

    let mut tx = db.store.tenant(&tenant).await.unwrap();
    let first = &granted[0].0;
    budgets::reserve(&mut tx, first, 30, ALLOWANCE).await.unwrap();
    assert_eq!(budgets::today(&mut tx, ALLOWANCE).await.unwrap().remaining(), 10, "a repetition reserves nothing more");
    budgets::reserve(&mut tx, first, 35, ALLOWANCE).await.unwrap();
    budgets::spend(&mut tx, first, 12, ALLOWANCE).await.unwrap();
    assert_eq!(budgets::release(&mut tx, first).await.unwrap(), 23);
    assert_eq!(budgets::release(&mut tx, first).await.unwrap(), 0);
    let budget = budgets::today(&mut tx, ALLOWANCE).await.unwrap();
    assert_eq!((budget.used, budget.outstanding, budget.remaining()), (12, 60, 28));
    assert_eq!(budget.vendor_remaining, None);

    budgets::correct(&mut tx, 65, ALLOWANCE).await.unwrap();
    assert_eq!(budgets::today(&mut tx, ALLOWANCE).await.unwrap().remaining(), 5, "the vendor has counted others' calls");
    let second = &granted[1].0;
    budgets::spend(&mut tx, second, 40, ALLOWANCE).await.unwrap();
    let budget = budgets::today(&mut tx, ALLOWANCE).await.unwrap();
    assert_eq!((budget.used, budget.outstanding, budget.vendor_remaining), (52, 30, Some(25)));
    assert_eq!(budget.remaining(), 0, "more calls than were reserved are counted too");
    let wait = |failure: leadline_store::StoreError| failure.failure().retry_after_seconds.unwrap();
    let refused = budgets::reserve(&mut tx, first, 20, ALLOWANCE).await.unwrap_err();
    assert_eq!(wait(refused), budgets::RECHECK_SECONDS, "the org's day rolls");
    let refused = budgets::reserve(&mut tx, first, 49, ALLOWANCE).await.unwrap_err();
    assert!((1..=86_401).contains(&wait(refused)), "of today's own calls only 48 are left");
    budgets::correct(&mut tx, 1000, ALLOWANCE).await.unwrap();
    let budget = budgets::reserve(&mut tx, second, 5, ALLOWANCE).await.unwrap();
    assert_eq!(budget.outstanding, 35, "what is spent is reserved anew");
    assert_eq!(budgets::today(&mut tx, ALLOWANCE).await.unwrap().outstanding, 35);
}

#[tokio::test]
async fn a_tenant_without_a_day_yet_has_its_whole_allowance() {
    let db = database().await;
    let (tenant, _) = fixture::tenant(&db.store, "fresh").await;
    let mut tx = db.store.tenant(&tenant).await.unwrap();
    assert_eq!(budgets::today(&mut tx, ALLOWANCE).await.unwrap().remaining(), ALLOWANCE);
    let failure = budgets::reserve(&mut tx, &OperationId::random(), ALLOWANCE + 1, ALLOWANCE).await.unwrap_err();
    assert_eq!(failure.code(), Some(Code::ApiBudgetExhausted));
    let again = OperationId::random();
    budgets::reserve(&mut tx, &again, 10, ALLOWANCE).await.unwrap();
    budgets::release(&mut tx, &again).await.unwrap();
    let budget = budgets::reserve(&mut tx, &again, 10, ALLOWANCE).await.unwrap();
    assert_eq!(budget.remaining(), 90, "a released operation may reserve anew");
}
