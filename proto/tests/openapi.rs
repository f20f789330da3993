//! The committed OpenAPI document is the one that the proto files give.

use std::path::PathBuf;

use leadline_proto::OPENAPI;

/// Set to write the document instead of comparing it.
const UPDATE: &str = "LEADLINE_UPDATE_OPENAPI";

#[test]
fn the_committed_openapi_is_what_the_proto_files_say() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("openapi.json");
    if std::env::var_os(UPDATE).is_some() {
        std::fs::write(&path, OPENAPI).unwrap();
    }
    let committed = std::fs::read_to_string(&path).expect("proto/openapi.json is part of the repository");
    assert!(committed == OPENAPI, "proto/openapi.json is out of date: run `{UPDATE}=1 cargo test -p leadline-proto`");
}

#[test]
fn the_openapi_document_says_what_is_served() {
    let document: serde_json::Value = serde_json::from_str(OPENAPI).unwrap();
    let start = &document["paths"]["/v1/tenants/{tenantId}/exports"]["post"];
    assert!(start["responses"]["202"].is_object(), "{start}");
    assert!(start["parameters"].as_array().unwrap().iter().any(|p| p["name"] == "Idempotency-Key"));
    assert!(start["responses"]["202"]["headers"]["Location"].is_object(), "{start}");
    let cancel = &document["paths"]["/v1/operations/{operationId}:cancel"]["post"];
    assert!(cancel["responses"]["202"].is_object(), "{cancel}");
    assert!(cancel["parameters"].as_array().unwrap().iter().all(|p| p["name"] != "Idempotency-Key"), "it takes no key");
    for sent in ["StartExportRequest", "SalesforceConnection", "PredictionDefinition"] {
        assert_eq!(document["components"]["schemas"][sent]["additionalProperties"], false, "{sent}");
    }
    let request = &document["components"]["schemas"]["StartExportRequest"];
    assert_eq!(request["required"], serde_json::json!(["object"]));
    assert!(request["properties"]["tenantId"].is_null(), "the path carries the tenant");
    let connection = &document["components"]["schemas"]["SalesforceConnection"]["properties"]["privateKeyPem"];
    assert_eq!(connection["writeOnly"], true);
    let operation = &document["components"]["schemas"]["Operation"]["properties"]["createTime"];
    assert_eq!(operation["format"], "date-time");
}

#[test]
fn a_path_names_its_rpc_and_its_methods() {
    use leadline_proto::rest::{allowed_methods, rpc};
    assert_eq!(rpc("POST", "/v1/tenants/tn_1/predict:async").as_deref(), Some("PredictAsync"));
    assert_eq!(rpc("POST", "/v1/tenants/tn_1/predict").as_deref(), Some("Predict"));
    assert_eq!(allowed_methods("/v1/tenants/tn_1/consent"), ["GET", "POST"]);
    assert!(allowed_methods("/v1/elsewhere").is_empty());
}
