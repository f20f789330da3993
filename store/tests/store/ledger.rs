//! Steps under epochs: an effect commits with its row or not at all.

use leadline_domain::{Code, OperationKind, TenantId};
use leadline_store::{
    Store, StoreError, TenantTx, consents,
    export_parts::{self, ExportPart},
    ledger::{self, StepKey, StepStart, StepState},
    operations::{self, Progress},
};
use serde_json::json;

use crate::fixture::{self, accepted, database};

async fn step(store: &Store) -> (TenantId, StepKey) {
    let (tenant, _) = fixture::tenant(store, "stepping").await;
    let mut tx = store.tenant(&tenant).await.unwrap();
    let operation = accepted(&mut tx, OperationKind::ExportDataset).await.id;
    tx.commit().await.unwrap();
    (tenant, StepKey { operation, step: "extract_pages".into(), epoch: 1 })
}

fn part(number: i32) -> ExportPart {
    ExportPart {
        part: number,
        locator: (number > 0).then(|| format!("l{number}")),
        next_locator: Some(format!("l{}", number + 1)),
        key: format!("e1/part-{number:05}.parquet"),
        rows: 50_000,
        bytes: 1_000_000,
        sha256: "00".into(),
        rows_digest: "11".into(),
    }
}

fn halfway() -> Progress {
    Progress { unit: "rows".into(), done: 100_000, total: Some(200_000) }
}

fn is_closed<T: std::fmt::Debug>(outcome: Result<T, StoreError>) -> bool {
    outcome.unwrap_err().code() == Some(Code::EpochClosed)
}

#[tokio::test]
async fn a_repeated_attempt_resumes_from_facts_and_parts_and_answers_with_the_first_result() {
    let db = database().await;
    let (tenant, key) = step(&db.store).await;
    let mut tx = db.store.tenant(&tenant).await.unwrap();
    assert_eq!(ledger::open_step(&mut tx, &key).await.unwrap(), StepStart::Fresh);
    ledger::record_facts(&mut tx, &key, &json!({ "job": "750x" })).await.unwrap();
    ledger::record_facts(&mut tx, &key, &json!({ "polls": 2 })).await.unwrap();
    assert_eq!(export_parts::commit_part(&mut tx, &key, &part(0)).await.unwrap(), part(0));
    tx.commit().await.unwrap();

    let mut tx = db.store.tenant(&tenant).await.unwrap();
    let resumed = StepStart::Resumed { facts: json!({ "job": "750x", "polls": 2 }) };
    assert_eq!(ledger::open_step(&mut tx, &key).await.unwrap(), resumed);
    let other_file = ExportPart { sha256: "99".into(), ..part(0) };
    assert_eq!(export_parts::commit_part(&mut tx, &key, &other_file).await.unwrap(), part(0), "the first one stands");
    export_parts::commit_part(&mut tx, &key, &part(1)).await.unwrap();
    assert_eq!(export_parts::parts(&mut tx, &key.operation, 1).await.unwrap(), [part(0), part(1)]);
    assert_eq!(ledger::finish_step(tx, &key, &json!({ "rows": 100_000 }), &halfway()).await.unwrap(), json!({ "rows": 100_000 }));

    let mut slow = db.store.tenant(&tenant).await.unwrap();
    write_effect(&mut slow, "slow").await;
    assert_eq!(ledger::finish_step(slow, &key, &json!({ "rows": 1 }), &halfway()).await.unwrap(), json!({ "rows": 100_000 }));
    let mut tx = db.store.tenant(&tenant).await.unwrap();
    assert_eq!(effects(&mut tx).await, 0, "the slower attempt's effect is gone with its transaction");
    let shown = operations::get(&mut tx, &key.operation).await.unwrap();
    assert_eq!((shown.step, shown.progress), (Some(key.step.clone()), Some(halfway())), "seen with the step's end");
    assert_eq!(ledger::open_step(&mut tx, &key).await.unwrap(), StepStart::Done { result: json!({ "rows": 100_000 }) });
    assert!(is_closed(export_parts::commit_part(&mut tx, &key, &part(2)).await));
    assert_eq!(ledger::result(&mut tx, &key).await.unwrap(), Some(json!({ "rows": 100_000 })));
    ledger::close_epoch(&mut tx, &key).await.unwrap();
    assert_eq!(ledger::result(&mut tx, &key).await.unwrap(), None, "a step that is being undone has no result");
}

#[tokio::test]
async fn a_zombie_that_wakes_up_after_its_undo_changes_nothing() {
    let db = database().await;
    let (tenant, key) = step(&db.store).await;
    let mut tx = db.store.tenant(&tenant).await.unwrap();
    ledger::open_step(&mut tx, &key).await.unwrap();
    ledger::record_facts(&mut tx, &key, &json!({ "job": "750x" })).await.unwrap();
    tx.commit().await.unwrap();

    // The zombie has done its work and holds the row's lock; the undo has to wait for it, and then sees what it did.
    let mut zombie = db.store.tenant(&tenant).await.unwrap();
    export_parts::commit_part(&mut zombie, &key, &part(0)).await.unwrap();
    let undo = tokio::spawn({
        let (store, tenant, key) = (db.store.clone(), tenant.clone(), key.clone());
        async move {
            let mut tx = store.tenant(&tenant).await.unwrap();
            let closed = ledger::close_epoch(&mut tx, &key).await.unwrap();
            let parts = export_parts::parts(&mut tx, &key.operation, 1).await.unwrap();
            tx.commit().await.unwrap();
            (closed, parts)
        }
    });
    db.until_a_lock_is_waited_for().await;
    zombie.commit().await.unwrap();
    let (closed, parts) = undo.await.unwrap();
    assert_eq!((closed.facts, closed.result, closed.undone), (json!({ "job": "750x" }), None, false));
    assert_eq!(parts, [part(0)]);

    for _ in 0..2 {
        let mut tx = db.store.tenant(&tenant).await.unwrap();
        assert!(is_closed(ledger::open_step(&mut tx, &key).await));
        assert!(is_closed(ledger::record_facts(&mut tx, &key, &json!({ "late": true })).await));
        assert!(is_closed(export_parts::commit_part(&mut tx, &key, &part(1)).await));
        write_effect(&mut tx, "late").await;
        assert!(is_closed(ledger::finish_step(tx, &key, &json!(null), &halfway()).await));

        let mut undo = db.store.tenant(&tenant).await.unwrap();
        ledger::close_epoch(&mut undo, &key).await.unwrap();
        ledger::mark_undone(&mut undo, &key).await.unwrap();
        export_parts::discard(&mut undo, &key.operation, 1).await.unwrap();
        undo.commit().await.unwrap();
    }
    let mut tx = db.store.tenant(&tenant).await.unwrap();
    assert_eq!(effects(&mut tx).await, 0);
    assert!(ledger::close_epoch(&mut tx, &key).await.unwrap().undone, "a repeated undo knows that it is done");
    let next = StepKey { epoch: 2, ..key.clone() };
    assert_eq!(ledger::open_step(&mut tx, &next).await.unwrap(), StepStart::Fresh);
    let states: Vec<_> = ledger::steps(&mut tx, &key.operation).await.unwrap().iter().map(|r| (r.epoch, r.state)).collect();
    assert_eq!(states, [(1, StepState::Undone), (2, StepState::Open)]);
}

#[tokio::test]
async fn an_undo_of_a_step_that_never_began_keeps_it_from_beginning() {
    let db = database().await;
    let (tenant, key) = step(&db.store).await;
    let mut tx = db.store.tenant(&tenant).await.unwrap();
    assert_eq!(ledger::mark_undone(&mut tx, &key).await.unwrap_err().code(), Some(Code::Internal));
    let closed = ledger::close_epoch(&mut tx, &key).await.unwrap();
    assert_eq!((closed.facts, closed.result), (json!({}), None));
    tx.commit().await.unwrap();
    let mut tx = db.store.tenant(&tenant).await.unwrap();
    assert!(is_closed(ledger::open_step(&mut tx, &key).await));
    let unopened = StepKey { step: "never".into(), ..key };
    assert_eq!(ledger::require_open(&mut tx, &unopened).await.unwrap_err().code(), Some(Code::Internal));
}

/// Any row that an effect could write.
async fn write_effect(tx: &mut TenantTx, note: &str) {
    consents::record(tx, consents::ConsentChange::default(), "step", note).await.unwrap();
}

async fn effects(tx: &mut TenantTx) -> i64 {
    consents::current(tx).await.unwrap().map_or(0, |consent| consent.version)
}

#[tokio::test]
async fn an_operation_passes_its_pivot_or_is_undone_and_never_both() {
    let db = database().await;
    let (tenant, seen) = step(&db.store).await;
    let mut tx = db.store.tenant(&tenant).await.unwrap();
    let undone = accepted(&mut tx, OperationKind::ExportDataset).await.id;
    operations::pass_pivot(&mut tx, &seen.operation).await.unwrap();
    operations::begin_undo(&mut tx, &undone).await.unwrap();
    let late = operations::begin_undo(&mut tx, &seen.operation).await.unwrap_err();
    assert_eq!(late.code(), Some(Code::PivotPassed));
    assert!(is_closed(operations::pass_pivot(&mut tx, &undone).await));
    operations::pass_pivot(&mut tx, &seen.operation).await.unwrap();
    operations::begin_undo(&mut tx, &undone).await.unwrap();
}
