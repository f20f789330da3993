//! simple-salesforce (PyPI), unmodified, against the simulator: through the proxy and TLS under the vendor's host names.

use crate::third_party::Org;
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn it_signs_in_at_the_vendors_host_describes_and_reads_every_page() {
    let org = Org::start(|_| {}).await;
    let seen = org.python("sign_in_and_read").await;
    assert_eq!(seen["instance"], "leadwell-dev-ed.my.salesforce.com");
    assert_eq!(seen["soapInstance"], seen["instance"]);
    assert_eq!(seen["total"], 8_000);
    assert_eq!(seen["distinct"], 8_000);
    assert_eq!(seen["count"], 8_000);
    assert_eq!(seen["names"][0], seen["names"][1]);
    assert!(seen["owner"].is_string());
    assert!(seen["created"].as_str().is_some_and(|at| at.ends_with("+0000")), "REST datetimes: {}", seen["created"]);
    assert_eq!(seen["user"], org.running.connected_app.username);
    for (field, kind) in [
        ("Id", "id"),
        ("IsConverted", "boolean"),
        ("Address", "address"),
        ("AnnualRevenue", "currency"),
        ("OwnerId", "reference"),
        ("Leadline_Score__c", "double"),
        ("Leadline_Reasons__c", "textarea"),
        ("Leadline_Scored_At__c", "datetime"),
    ] {
        assert_eq!(seen["types"][field], kind, "{field}");
    }
    for object in ["Account", "Contact", "Lead", "Opportunity", "OpportunityLineItem", "Task", "User"] {
        assert!(seen["objects"].as_array().is_some_and(|all| all.contains(&json!(object))), "{object}");
    }
    assert!(seen["usage"].as_u64() > Some(0) && seen["dailyMax"] == 1_000_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn its_bulk_query_gets_every_row_once_over_several_pages() {
    let org = Org::start(|_| {}).await;
    let seen = org.python("bulk_query").await;
    assert_eq!(seen["pages"], 3);
    assert_eq!(seen["headers"], json!(["\"Id\",\"Company\",\"IsConverted\",\"AnnualRevenue\",\"CreatedDate\""]));
    assert_eq!(seen["rows"], 8_000);
    assert_eq!(seen["distinct"], 8_000);
    assert_eq!(seen["downloaded"], 8_000);
    assert!(seen["first"]["CreatedDate"].as_str().is_some_and(|at| at.ends_with(".000Z")), "Bulk datetimes: {}", seen["first"]);
    let lines: Vec<&str> = seen["semicolons"].as_str().unwrap_or_default().split("\r\n").collect();
    assert!(lines.len() == 4 && lines[0].starts_with("\"Id\";\"Company\""), "{lines:?}");
    assert_eq!(seen["refused"]["status"], 400);
    assert!(seen["compound"]["message"].as_str().is_some_and(|message| message.contains("compound data not supported")));
}

#[tokio::test(flavor = "multi_thread")]
async fn its_writes_are_answered_record_by_record_and_read_back() {
    let org = Org::start(|_| {}).await;
    let seen = org.python("write").await;
    assert_eq!(seen["job"]["numberRecordsProcessed"], 3);
    assert_eq!(seen["job"]["numberRecordsFailed"], 1);
    assert_eq!(seen["succeeded"], json!([["LEAD-0000001", "false"], ["py-new", "true"]]));
    assert!(seen["failed"][0].as_str().is_some_and(|error| error.starts_with("REQUIRED_FIELD_MISSING")), "{}", seen["failed"]);
    assert_eq!(seen["company"], "Quote \" and, comma");
    assert_eq!(seen["statuses"], json!([204, 204]));
    assert_eq!(seen["score"], 0.75);
    assert_eq!(seen["scoredAt"], "2026-01-02T03:04:05.000+0000");
    assert_eq!(seen["gone"]["status"], 404);
    assert_eq!([&seen["inQuery"], &seen["inQueryAll"]], [&json!(0), &json!(1)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn it_understands_every_refusal() {
    let org = Org::start(|config| config.records = 200).await;
    let other = Org::start(|config| config.records = 200).await;
    std::fs::copy(&other.running.private_key_pem, org.running.ca_pem.with_file_name("other.pem")).expect("another org's key");
    let seen = org.python("refusals").await;
    for (case, words) in [
        ("stranger", "user hasn't approved this consumer"),
        ("unknownApp", "client identifier invalid"),
        ("foreignKey", "invalid assertion"),
    ] {
        assert_eq!(seen[case]["exception"], "SalesforceAuthenticationFailed", "{case}");
        assert!(seen[case]["message"].as_str().is_some_and(|message| message.contains(words)), "{case}: {}", seen[case]);
    }
    for (case, status, code) in [
        ("badQuery", 400, "INVALID_FIELD"),
        ("badField", 400, "INVALID_FIELD"),
        ("missing", 400, "REQUIRED_FIELD_MISSING"),
        ("badSession", 401, "INVALID_SESSION_ID"),
    ] {
        assert_eq!((&seen[case]["status"], &seen[case]["errorCode"]), (&json!(status), &json!(code)), "{case}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn injected_faults_reach_it_as_the_vendors_own_errors_and_pass() {
    let org = Org::start(|config| config.records = 200).await;
    for (kind, exception, code) in [
        ("request_limit_exceeded", "SalesforceRefusedRequest", "REQUEST_LIMIT_EXCEEDED"),
        ("concurrent_limit", "SalesforceRefusedRequest", "REQUEST_LIMIT_EXCEEDED"),
        ("service_unavailable", "SalesforceGeneralError", "SERVER_UNAVAILABLE"),
    ] {
        org.inject(json!({ "kind": kind, "match": { "path": "/query", "object": "Lead" } })).await;
        let seen = org.python("two_queries").await;
        assert_eq!((&seen[0]["exception"], &seen[0]["errorCode"]), (&json!(exception), &json!(code)), "{kind}");
        assert_eq!(seen[1]["answered"], 1, "{kind}");
    }
    org.inject(json!({ "kind": "expired_session", "match": { "path": "/query" } })).await;
    let seen = org.python("two_queries").await;
    assert_eq!(seen[0]["errorCode"], "INVALID_SESSION_ID");
    assert_eq!(seen[1]["errorCode"], "INVALID_SESSION_ID", "an ended session stays ended");
}
