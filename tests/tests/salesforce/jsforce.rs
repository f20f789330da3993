//! jsforce (npm), unmodified, against the simulator: SOAP and JWT logins over plain HTTP.

use crate::third_party::Org;
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn it_signs_in_by_soap_describes_streams_and_bulk_reads() {
    let org = Org::start(|_| {}).await;
    let seen = org.node("read").await;
    assert_eq!(seen["user"]["organizationId"], org.running.connected_app.org_id);
    assert_eq!(seen["identity"], org.running.connected_app.username);
    assert_eq!(seen["children"], json!(["Contact", "Opportunity", "Task"]));
    assert!(seen["stages"].as_array().is_some_and(|stages| stages.contains(&json!("Closed Won"))));
    assert_eq!(seen["streamed"], 8_000, "four pages, each record once");
    assert_eq!(seen["found"], json!([["A", "User"], ["A", "User"], ["A", "User"]]));
    assert_eq!(seen["bulkRows"], 8_000);
    assert_eq!(seen["bulkFields"], json!(["Id", "Company", "NumberOfEmployees"]));
    assert!(seen["used"].as_u64() > Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn its_collections_answer_in_order_and_all_or_none_leaves_nothing() {
    let org = Org::start(|_| {}).await;
    let seen = org.node("write").await;
    let upserted = &seen["upserted"];
    assert_eq!([&upserted[0]["created"], &upserted[1]["created"]], [&json!(false), &json!(true)]);
    assert_eq!(upserted[2]["success"], false);
    assert_eq!(upserted[2]["errors"][0]["statusCode"], "REQUIRED_FIELD_MISSING");
    assert_eq!(seen["rolledBack"][0]["errors"][0]["statusCode"], "ALL_OR_NONE_OPERATION_ROLLED_BACK");
    assert_eq!(seen["rolledBack"][1]["success"], false);
    assert_eq!(seen["scores"], json!([0.5, null]), "the rolled-back score is not there");
    assert_eq!(seen["loaded"][0], 1);
    assert!(seen["loaded"][1][0].as_str().is_some_and(|error| error.starts_with("REQUIRED_FIELD_MISSING")));
    assert_eq!([&seen["deleted"][0]["success"], &seen["deleted"][1]["success"]], [&json!(true), &json!(false)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn its_sessions_end_and_are_renewed_as_with_the_vendor() {
    let org = Org::start(|config| config.records = 1_000).await;
    org.inject(json!({ "kind": "expired_session", "match": { "object": "Account" } })).await;
    let seen = org.node("sessions").await;
    assert_eq!(seen["instance"], org.running.http_url);
    assert_eq!(seen["total"], 400);
    assert_eq!(seen["revoked"]["code"], "INVALID_SESSION_ID");
    assert_eq!(seen["refreshed"], json!([80, true]), "a client that can sign in again does so");
    assert_eq!(seen["late"]["message"], "expired authorization code");
    assert_eq!(seen["foreignAudience"]["message"], "audience is invalid");
    assert_eq!(seen["textualExpiry"], true);
}
