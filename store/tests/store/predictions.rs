//! Asynchronous predictions and the claims that feed them.

use std::time::Duration;

use futures::future::join_all;
use leadline_domain::{Code, ModelId, OperationId, RequestId};
use leadline_store::{
    claims::{self, ClaimPurpose},
    predictions::{self, Creation, NewPrediction, PredictionState},
};
use serde_json::json;

use crate::fixture::{self, database};

fn new(request_id: &str, body: u8) -> NewPrediction {
    NewPrediction {
        request_id: request_id.parse().unwrap(),
        operation: OperationId::random(),
        definition_name: "lead".into(),
        object: "Lead".into(),
        record_id: Some("00Q1".into()),
        body_hash: [body; 32],
    }
}

#[tokio::test]
async fn a_request_id_is_one_prediction_however_often_it_is_sent() {
    let db = database().await;
    let (tenant, _) = fixture::tenant(&db.store, "asking").await;
    let outcomes = join_all((0..5).map(|_| async {
        let request = new("lead:1", 1);
        let mut tx = db.store.tenant(&tenant).await.unwrap();
        match predictions::create(&mut tx, &request).await.unwrap() {
            Creation::Created => {
                tx.commit().await.unwrap();
                (true, request.operation)
            }
            Creation::Known(known) => (false, known.operation),
        }
    }))
    .await;
    assert_eq!(outcomes.iter().filter(|(created, _)| *created).count(), 1);
    assert!(outcomes.iter().all(|(_, operation)| *operation == outcomes[0].1));

    let mut tx = db.store.tenant(&tenant).await.unwrap();
    assert_eq!(predictions::create(&mut tx, &new("lead:1", 2)).await.unwrap_err().code(), Some(Code::RequestIdTaken));
    let unknown: RequestId = "lead:2".parse().unwrap();
    assert_eq!(predictions::find_same(&mut tx, &unknown, &[1; 32]).await.unwrap(), None);
    assert_eq!(predictions::get(&mut tx, &unknown).await.unwrap_err().code(), Some(Code::PredictionNotFound));
}

#[tokio::test]
async fn a_prediction_shows_its_callback_until_it_got_through() {
    let db = database().await;
    let (tenant, _) = fixture::tenant(&db.store, "called").await;
    let mut tx = db.store.tenant(&tenant).await.unwrap();
    let request = new("r", 1);
    let operation = &request.operation;
    predictions::create(&mut tx, &request).await.unwrap();
    let model = ModelId::random();
    predictions::record_score(&mut tx, operation, &model, Some(&json!({ "score": 71 }))).await.unwrap();
    predictions::discard_score(&mut tx, operation).await.unwrap();
    assert_eq!(predictions::get(&mut tx, &request.request_id).await.unwrap().score, None);
    predictions::record_score(&mut tx, operation, &model, Some(&json!({ "score": 72 }))).await.unwrap();
    predictions::written_back(&mut tx, operation).await.unwrap();
    predictions::callback_failed(&mut tx, operation, "CALLBACK_REFUSED: status 503", Duration::from_secs(60)).await.unwrap();
    let pending = predictions::get(&mut tx, &request.request_id).await.unwrap();
    assert_eq!((pending.state, pending.callback.attempts), (PredictionState::PendingCallback, 1));
    assert!(pending.callback.next_at.unwrap() > pending.created_at);
    predictions::complete(&mut tx, operation, true).await.unwrap();
    predictions::complete(&mut tx, operation, true).await.unwrap();
    let done = predictions::of_operation(&mut tx, operation).await.unwrap();
    assert_eq!((done.state, done.callback.attempts, done.callback.next_at), (PredictionState::Completed, 2, None));
    assert_eq!((done.model, done.score), (Some(model), Some(json!({ "score": 72 }))));
    assert!(done.callback.delivered_at.is_some());

    let failing = new("f", 1);
    predictions::create(&mut tx, &failing).await.unwrap();
    predictions::fail(&mut tx, &failing.operation, Code::RecordNotFound, "no such record").await.unwrap();
    let failed = predictions::get(&mut tx, &failing.request_id).await.unwrap();
    assert_eq!((failed.state, failed.code), (PredictionState::Failed, Some(Code::RecordNotFound)));
}

#[tokio::test]
async fn a_claim_is_readable_until_it_expires_and_is_purged_then() {
    let db = database().await;
    let (tenant, operation) = fixture::tenant(&db.store, "claims").await;
    let mut tx = db.store.tenant(&tenant).await.unwrap();
    let fields = json!({ "Industry": "Energy" });
    let hour = Duration::from_secs(3600);
    claims::put(&mut tx, &operation, ClaimPurpose::RequestFields, &json!({}), Duration::ZERO).await.unwrap();
    claims::put(&mut tx, &operation, ClaimPurpose::RequestFields, &fields, hour).await.unwrap();
    claims::put(&mut tx, &operation, ClaimPurpose::Answer, &fields, Duration::ZERO).await.unwrap();
    assert_eq!(claims::get(&mut tx, &operation, ClaimPurpose::RequestFields).await.unwrap(), fields);
    let expired = claims::get(&mut tx, &operation, ClaimPurpose::Answer).await.unwrap_err();
    assert_eq!(expired.code(), Some(Code::ClaimExpired));
    tx.commit().await.unwrap();

    let mut operator = db.store.operator().await.unwrap();
    assert_eq!(claims::purge(&mut operator).await.unwrap(), 1);
    operator.commit().await.unwrap();
    let mut tx = db.store.tenant(&tenant).await.unwrap();
    assert!(!claims::delete(&mut tx, &operation, ClaimPurpose::Answer).await.unwrap());
    assert!(claims::delete(&mut tx, &operation, ClaimPurpose::RequestFields).await.unwrap());
}
