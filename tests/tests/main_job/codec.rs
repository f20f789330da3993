//! What the Temporal server keeps is unreadable; its own CLI and UI show it by leadline's codec endpoint.

use std::{process::Command, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use leadline_tests::{api::Api, dev_stack::DevStack, org::Controls, tools};
use serde_json::{Value as Json, json};

#[tokio::test(flavor = "multi_thread")]
async fn temporals_own_cli_and_ui_show_a_history_by_the_codec_endpoint_and_not_without_it() {
    let stack = DevStack::start(&["--records", "500"], &[]).await;
    let api = Api::operator(&stack);
    let tenant = api.onboard(&stack, "acme").await;
    // An object that the org does not have: the run fails, and its history holds a failure.
    let id = api.start(&format!("/v1/tenants/{tenant}/exports"), &json!({ "object": "Nonesuch__c" })).await;
    let failed = api.ended(&id).await;
    assert_eq!(failed["state"], "FAILED", "{failed}");
    let message = failed["error"]["message"].as_str().expect("a failed operation says why");
    let code = failed["error"]["code"].as_str().expect("and has a code");
    let workflow = failed["workflowId"].as_str().expect("a workflow id");

    let show = ["workflow", "show", "--output", "json", "--workflow-id", workflow];
    // The operation's closing write comes before the end of its run.
    let mut raw = stack.temporal(&show);
    while !raw.contains("workflowExecutionFailedEventAttributes") {
        tokio::time::sleep(Duration::from_millis(100)).await;
        raw = stack.temporal(&show);
    }
    let endpoint = format!("{}/codec", stack.endpoint("/api_url"));
    let bearer = format!("Bearer {}", stack.operator_key());
    let shown = stack.temporal(&[show.as_slice(), &["--codec-endpoint", &endpoint, "--codec-auth", &bearer]].concat());
    let (raw, shown): (Json, Json) = (serde_json::from_str(&raw).expect("JSON"), serde_json::from_str(&shown).expect("JSON"));
    let (hidden, told) = (payloads(&raw), payloads(&shown));
    for word in ["Nonesuch__c", message, tenant.as_str()] {
        assert!(!hidden.contains(word), "{word} is in {hidden}");
        assert!(told.contains(word), "{word} is missing in {told}");
    }
    assert!(!raw.to_string().contains(message));
    let last = |history: &Json| history["events"].as_array().unwrap().last().unwrap().clone();
    for history in [&raw, &shown] {
        assert_eq!(
            last(history)["workflowExecutionFailedEventAttributes"]["failure"]["message"],
            code,
            "as it is readable anywhere"
        );
    }

    // The server of `leadline dev` tells its UI where to decode, and the endpoint takes the UI's pages without a key.
    let ui = stack.endpoint("/temporal_ui_url");
    let settings: Json = tools::http().get(format!("{ui}/api/v1/settings")).send().await.unwrap().json().await.unwrap();
    assert_eq!(settings["Codec"]["Endpoint"], endpoint.as_str(), "{settings}");
    let page = |origin: String| {
        let body = &raw["events"][0]["workflowExecutionStartedEventAttributes"]["input"];
        tools::http().post(format!("{endpoint}/decode")).header("Origin", origin).header("X-Namespace", "default").json(body)
    };
    let decoded = page(ui.clone()).send().await.unwrap();
    assert_eq!(decoded.headers()["access-control-allow-origin"], ui.as_str());
    let decoded: Json = decoded.json().await.unwrap();
    assert_eq!(decoded["payloads"][0]["metadata"], json!({ "encoding": "anNvbi9wbGFpbg==" }));
    let refused = page("http://127.0.0.1:9".to_owned()).send().await.unwrap();
    assert_eq!(refused.status().as_u16(), 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_outlives_the_removal_of_the_key_that_its_history_began_with() {
    let stack = DevStack::start(&["--records", "6000"], &[("LEADLINE_PAGE_ROWS", "200")]).await;
    let api = Api::operator(&stack);
    let tenant = api.onboard(&stack, "acme").await;
    let slow = json!({ "kind": "latency", "delay_ms": 300, "match": { "path": "/results" }, "count": null });
    Controls::of(&stack).inject(&slow).await;
    let id = api.start(&format!("/v1/tenants/{tenant}/exports"), &json!({ "object": "Lead" })).await;
    api.until(&id, "committed a page", |operation| operation["progress"]["done"].as_str().is_some_and(|done| done != "0")).await;

    let rotated = rotate(&stack);
    let removed = rotated["removedKeyIds"][0].as_str().expect("the first key is removed");
    // Its successor never held that key.
    stack.kill("worker");
    let ended = api.ended(&id).await;
    assert_eq!(ended["state"], "SUCCEEDED", "{ended}");

    let show = ["workflow", "show", "--output", "json", "--workflow-id", ended["workflowId"].as_str().expect("a workflow id")];
    let raw = stack.temporal(&show);
    for key in [removed, rotated["currentKeyId"].as_str().expect("a new key")] {
        assert!(raw.contains(&STANDARD.encode(key)), "nothing is encrypted with {key}");
    }
    let (endpoint, bearer) = (format!("{}/codec", stack.endpoint("/api_url")), format!("Bearer {}", stack.operator_key()));
    let shown = stack.temporal(&[show.as_slice(), &["--codec-endpoint", &endpoint, "--codec-auth", &bearer]].concat());
    assert!(!shown.contains(&STANDARD.encode("binary/encrypted")), "all of it opens");
}

/// Makes a new key and removes the one before.
fn rotate(stack: &DevStack) -> Json {
    let output = Command::new(tools::leadline())
        .args(["secrets", "rotate", "--remove-old", "--json"])
        .env("LEADLINE_KEYRING", stack.endpoint("/keyring_file"))
        .env("LEADLINE_DATABASE_TENANT_URL", stack.endpoint("/database/tenant"))
        .env("LEADLINE_DATABASE_OPERATOR_URL", stack.endpoint("/database/operator"))
        .output()
        .expect("the leadline binary runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("JSON, as asked for")
}

/// What the payloads of a shown history hold, but for its search attributes.
fn payloads(json: &Json) -> String {
    match json {
        Json::Array(items) => items.iter().map(payloads).collect(),
        Json::Object(fields) => {
            let data = fields.get("data").filter(|_| fields.contains_key("metadata")).and_then(Json::as_str).unwrap_or_default();
            let data = STANDARD.decode(data).expect("payloads are in base64");
            let within = fields.iter().filter(|(name, _)| *name != "searchAttributes").map(|(_, field)| payloads(field));
            String::from_utf8_lossy(&data).into_owned() + &within.collect::<String>()
        }
        _ => String::new(),
    }
}
