//! Acceptance with idempotency keys, and the course of an operation.

use std::{collections::HashSet, time::Duration};

use futures::future::join_all;
use leadline_domain::{Code, OperationKind, OperationState, TenantId};
use leadline_store::{
    PageRequest, audit,
    operations::{self, Closing, CourseUpdate, Idempotency, IdempotencyScope, OperationFilter, Progress},
    tenants,
};
use serde_json::json;

use crate::fixture::{self, accepted, database, database_with, new_operation, new_tenant};

#[tokio::test]
async fn ten_calls_at_once_under_one_key_make_one_operation_and_another_body_is_refused() {
    let db = database_with(10).await;
    let (tenant, _) = fixture::tenant(&db.store, "eager").await;
    let key = |body: &str| Idempotency::new(IdempotencyScope::Tenant, "StartExport", "key-1", body.as_bytes());
    let calls = (0..10).map(|_| async {
        let mut tx = db.store.tenant(&tenant).await.unwrap();
        let new = new_operation(OperationKind::ExportDataset);
        let accepted = operations::accept(&mut tx, &new, Some(&key("body"))).await.unwrap();
        tx.commit().await.unwrap();
        accepted
    });
    let answers = join_all(calls).await;
    assert_eq!(answers.iter().filter(|a| !a.replayed).count(), 1);
    let ids: HashSet<_> = answers.iter().map(|a| a.operation.id.clone()).collect();
    assert_eq!(ids.len(), 1);

    let id = ids.into_iter().next().unwrap();
    let mut tx = db.store.tenant(&tenant).await.unwrap();
    let other_body = operations::accept(&mut tx, &new_operation(OperationKind::ExportDataset), Some(&key("other"))).await;
    assert_eq!(other_body.unwrap_err().failure().code, Code::IdempotencyKeyReused);
    let closing = Closing { state: OperationState::Succeeded, result: Some(json!({ "rows": 3 })), code: None, message: None };
    operations::close(&mut tx, &id, &closing).await.unwrap();
    let later = operations::replay(&mut tx, &key("body")).await.unwrap().unwrap();
    assert_eq!((later.id, later.state), (id.clone(), OperationState::Succeeded));
    tx.commit().await.unwrap();

    let (stranger, _) = fixture::tenant(&db.store, "stranger").await;
    let mut tx = db.store.tenant(&stranger).await.unwrap();
    assert_eq!(operations::replay(&mut tx, &key("body")).await.unwrap(), None, "keys belong to their tenant");
    let own = operations::accept(&mut tx, &new_operation(OperationKind::ExportDataset), Some(&key("body"))).await.unwrap();
    assert!(!own.replayed);
    tx.commit().await.unwrap();
    let mut tx = db.store.operator().await.unwrap();
    let all = operations::list(&mut tx, &OperationFilter::default(), &PageRequest::default()).await.unwrap();
    assert_eq!(all.items.len(), 2, "of the replays nothing is left");
}

#[tokio::test]
async fn concurrent_onboardings_under_one_operators_key_make_one_tenant() {
    let db = database().await;
    let key = Idempotency::new(IdempotencyScope::Operator, "CreateTenant", "key", b"body");
    let calls = (0..6).map(|_| async {
        let tenant = TenantId::random();
        let mut tx = db.store.operator_for(&tenant).await.unwrap();
        let new = new_operation(OperationKind::OnboardTenant);
        let accepted = operations::accept(&mut tx, &new, Some(&key)).await.unwrap();
        if !accepted.replayed {
            tenants::insert(&mut tx, &new_tenant("acme", &new.id)).await.unwrap();
            tx.commit().await.unwrap();
        }
        accepted.operation.id
    });
    let ids: HashSet<_> = join_all(calls).await.into_iter().collect();
    assert_eq!(ids.len(), 1);
    let mut tx = db.store.operator().await.unwrap();
    assert_eq!(tenants::list(&mut tx, &PageRequest::default()).await.unwrap().items.len(), 1);
}

#[tokio::test]
async fn an_operation_follows_its_workflow_and_never_goes_back() {
    let db = database().await;
    let (tenant, _) = fixture::tenant(&db.store, "steady").await;
    let mut tx = db.store.tenant(&tenant).await.unwrap();
    let id = accepted(&mut tx, OperationKind::TrainModel).await.id;
    let update =
        |sequence, state| CourseUpdate { sequence, state, step: Some("fit".into()), code: None, message: None, parking: None };

    operations::record_start(&mut tx, &id, "run-1").await.unwrap();
    operations::record_start(&mut tx, &id, "run-2").await.unwrap();
    assert!(operations::update_state(&mut tx, &id, &update(2, OperationState::Compensating)).await.unwrap());
    assert!(!operations::update_state(&mut tx, &id, &update(1, OperationState::Running)).await.unwrap());
    let counted = Progress { unit: "trials".into(), done: 3, total: Some(20) };
    operations::progress(&mut tx, &id, "fit", &counted).await.unwrap();
    let asked = operations::request_cancel(&mut tx, &id, "lk_x", "no longer needed").await.unwrap();
    let again = operations::request_cancel(&mut tx, &id, "lk_y", "").await.unwrap();
    assert_eq!(asked.cancel_requested_at, again.cancel_requested_at);

    let failed =
        Closing { state: OperationState::Failed, result: None, code: Some(Code::GateRefused), message: Some("no skill".into()) };
    let ended = operations::close(&mut tx, &id, &failed).await.unwrap();
    assert_eq!((ended.run_id.as_deref(), ended.progress.as_ref()), (Some("run-1"), Some(&counted)));
    let late = Closing { state: OperationState::Succeeded, result: Some(json!(1)), code: None, message: None };
    assert_eq!(operations::close(&mut tx, &id, &late).await.unwrap(), ended, "the first end stands");
    assert!(!operations::update_state(&mut tx, &id, &update(9, OperationState::Running)).await.unwrap());
    let refused = operations::request_cancel(&mut tx, &id, "lk_x", "").await.unwrap_err();
    assert_eq!(refused.failure().code, Code::OperationEnded);

    let log = audit::list(&mut tx, Some(&id), &PageRequest { size: 3, ..PageRequest::default() }).await.unwrap();
    let actions: Vec<_> = log.items.iter().map(|row| row.action.as_str()).collect();
    assert_eq!(actions, ["operation.close", "operation.cancel", "operation.cancel"]);
    let rest = audit::list(&mut tx, Some(&id), &PageRequest { size: 3, token: log.next_token }).await.unwrap();
    assert_eq!(rest.items[0].action, "operation.accept");
    assert!(rest.next_token.is_empty());
}

#[tokio::test]
async fn lists_page_by_key_and_two_sweepers_never_hold_the_same_operation() {
    let db = database().await;
    let (tenant, _) = fixture::tenant(&db.store, "busy").await;
    let mut made = Vec::new();
    for kind in
        [OperationKind::ExportDataset, OperationKind::TrainModel, OperationKind::ExportDataset, OperationKind::PromoteModel]
    {
        let mut tx = db.store.tenant(&tenant).await.unwrap();
        made.push(accepted(&mut tx, kind).await.id);
        tx.commit().await.unwrap();
    }
    made.reverse();

    let mut tx = db.store.tenant(&tenant).await.unwrap();
    let (mut seen, mut page) = (Vec::new(), PageRequest { size: 3, token: String::new() });
    loop {
        let found = operations::list(&mut tx, &OperationFilter::default(), &page).await.unwrap();
        seen.extend(found.items.into_iter().map(|o| o.id));
        if found.next_token.is_empty() {
            break;
        }
        page.token = found.next_token;
    }
    assert_eq!(seen, made);
    let exports = OperationFilter {
        kind: Some(OperationKind::ExportDataset),
        state: Some(OperationState::Accepted),
        ..OperationFilter::default()
    };
    assert_eq!(operations::list(&mut tx, &exports, &PageRequest::default()).await.unwrap().items.len(), 2);
    let forged = PageRequest { size: 1, token: "f00".into() };
    assert_eq!(operations::list(&mut tx, &exports, &forged).await.unwrap_err().failure().code, Code::InvalidArgument);
    drop(tx);

    let mut tx = db.store.operator().await.unwrap();
    let waiting = operations::undelivered(&mut tx, Duration::ZERO, 9).await.unwrap();
    assert_eq!(waiting.len(), 4);
    assert!(waiting.iter().all(|operation| operation.reference().workflow_id() == operation.workflow_id));
    assert_eq!(
        operations::undelivered(&mut tx, Duration::from_secs(3600), 9).await.unwrap(),
        [],
        "a caller has time to start it"
    );

    let started = &waiting[0].id;
    let left = async |tx: &mut _| -> Vec<_> {
        operations::undelivered(tx, Duration::ZERO, 9).await.unwrap().into_iter().map(|operation| operation.id).collect()
    };
    operations::record_start(&mut tx, started, "run").await.unwrap();
    assert!(!left(&mut tx).await.contains(started));
    operations::request_cancel(&mut tx, started, "lk", "").await.unwrap();
    assert!(left(&mut tx).await.contains(started), "a cancel has to reach a run, too");
    operations::record_cancel(&mut tx, started).await.unwrap();
    assert!(!left(&mut tx).await.contains(started));
}

#[tokio::test]
async fn a_tenants_burst_does_not_fill_what_a_sweeper_takes_up() {
    let db = database().await;
    let (busy, _) = fixture::tenant(&db.store, "busy").await;
    let (quiet, _) = fixture::tenant(&db.store, "quiet").await;
    for tenant in [&busy, &busy, &busy, &quiet] {
        let mut tx = db.store.tenant(tenant).await.unwrap();
        accepted(&mut tx, OperationKind::TrainModel).await;
        tx.commit().await.unwrap();
    }
    let mut tx = db.store.operator().await.unwrap();
    let waiting = operations::undelivered(&mut tx, Duration::ZERO, 2).await.unwrap();
    let tenants: Vec<_> = waiting.iter().map(|operation| &operation.tenant).collect();
    assert_eq!(tenants, [&busy, &quiet]);
}
