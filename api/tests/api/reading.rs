//! Lists in pages, filters, health, metrics.

use std::collections::HashSet;

use leadline_domain::{Code, ConsentGrant, OperationState};
use leadline_store::operations::{self, Closing};
use serde_json::json;

use crate::world::World;

#[tokio::test(flavor = "multi_thread")]
async fn a_list_is_read_page_by_page_without_a_gap_or_a_repeat() {
    let world = World::new().await;
    let (tenant, caller) = world.tenant("acme", Some(ConsentGrant::ALL)).await;
    let exports = format!("/v1/tenants/{tenant}/exports");
    let mut started = HashSet::new();
    for _ in 0..5 {
        let operation = caller.post(&exports, &json!({"object": "Lead"})).await.expect(202);
        started.insert(operation["operationId"].as_str().unwrap().to_owned());
    }
    let mut seen = Vec::new();
    let mut token = String::new();
    loop {
        let page = caller.get(&format!("{exports}?pageSize=2&pageToken={token}")).await.expect(200);
        let rows = page["exports"].as_array().unwrap();
        assert!((1..=2).contains(&rows.len()), "{page}");
        seen.extend(rows.iter().map(|row| row["operationId"].as_str().unwrap().to_owned()));
        token = page["nextPageToken"].as_str().unwrap().to_owned();
        if token.is_empty() {
            break;
        }
        // What comes in between changes neither what follows nor its order.
        caller.post(&exports, &json!({"object": "Account"})).await.expect(202);
    }
    assert_eq!(seen.len(), 5, "{seen:?}");
    assert_eq!(seen.into_iter().collect::<HashSet<_>>(), started);
}

#[tokio::test(flavor = "multi_thread")]
async fn operations_are_filtered_by_kind_state_and_time() {
    let world = World::new().await;
    let (tenant, caller) = world.tenant("acme", Some(ConsentGrant::ALL)).await;
    let exports = format!("/v1/tenants/{tenant}/exports");
    let failed = caller.post(&exports, &json!({"object": "Lead"})).await.expect(202);
    let waiting = caller.post(&exports, &json!({"object": "Lead"})).await.expect(202);
    let mut tx = world.store.tenant(&tenant).await.unwrap();
    let closing = Closing {
        state: OperationState::Failed,
        result: Some(json!({"rows": 3})),
        code: Some(Code::CsvMalformed),
        message: Some("page 2".into()),
    };
    operations::close(&mut tx, &failed["operationId"].as_str().unwrap().parse().unwrap(), &closing).await.unwrap();
    tx.commit().await.unwrap();

    let listed = |query: &'static str| {
        let caller = caller.clone();
        async move {
            let page = caller.get(&format!("/v1/operations?{query}")).await.expect(200);
            let ids = page["operations"].as_array().unwrap().iter().map(|o| o["operationId"].clone());
            ids.collect::<Vec<_>>()
        }
    };
    assert_eq!(listed("state=FAILED").await, [failed["operationId"].clone()]);
    assert_eq!(listed("kind=EXPORT_DATASET&state=ACCEPTED").await, [waiting["operationId"].clone()]);
    assert_eq!(listed("kind=TRAIN_MODEL").await.len(), 0);
    assert_eq!(listed("createdBefore=2020-01-01T00:00:00Z").await.len(), 0);
    assert_eq!(listed("kind=EXPORT_DATASET&createdAfter=2020-01-01T00:00:00%2B01:00").await.len(), 2);
    let read = caller.get(&format!("/v1/operations/{}", failed["operationId"].as_str().unwrap())).await.expect(200);
    assert_eq!((read["error"]["code"].as_str(), &read["result"]), (Some("CSV_MALFORMED"), &json!({"rows": 3})));
    let time = read["createTime"].as_str().unwrap();
    assert!(time.ends_with('Z') && time.contains('T'), "{time}");
}

#[tokio::test(flavor = "multi_thread")]
async fn health_and_metrics_need_no_key_and_name_no_tenant() {
    let world = World::new().await;
    let (tenant, caller) = world.tenant("acme", None).await;
    caller.get(&format!("/v1/tenants/{tenant}/status")).await.expect(200);
    caller.get("/v1/nowhere").await.problem();
    let stranger = world.stranger();
    assert_eq!(stranger.get("/health/live").await.status, 200);
    let ready = stranger.get("/health/ready").await.expect(200);
    assert_eq!(ready, json!({"status": "ready", "database": "up", "temporal": "down"}), "Temporal is not needed to accept");
    let page = stranger.get("/metrics").await;
    let page = page.body.as_str().unwrap();
    // The other tests of this process count on the same page.
    assert!(page.contains("_count{rpc=\"GetTenantStatus\",transport=\"rest\",code=\"OK\"} "), "{page}");
    assert!(page.contains("_count{rpc=\"other\",transport=\"rest\",code=\"NOT_FOUND\"} "), "{page}");
    assert!(!page.contains(tenant.as_str()));
    world.stop().await;
}
