//! What the Temporal server keeps is unreadable; its own CLI and UI show it by leadline's codec endpoint.

use leadline_tests::{api::Api, dev_stack::DevStack, tools};
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
    let raw = stack.temporal(&show);
    let endpoint = format!("{}/codec", stack.endpoint("/api_url"));
    let bearer = format!("Bearer {}", stack.operator_key());
    let shown = stack.temporal(&[show.as_slice(), &["--codec-endpoint", &endpoint, "--codec-auth", &bearer]].concat());
    for told in ["Nonesuch__c", message] {
        assert!(!raw.contains(told), "{raw}");
        assert!(shown.contains(told), "{told} is missing in {shown}");
    }
    assert!(raw.contains(code) && raw.contains("encodedAttributes"), "the code of a failure can be read: {raw}");
    let input = &started(&shown)["input"][0];
    assert_eq!(input["operation"]["tenant"], tenant.as_str(), "{input}");
    assert_eq!(started(&raw)["input"][0]["metadata"]["encoding"], "YmluYXJ5L2VuY3J5cHRlZA==");

    // The server of `leadline dev` tells its UI where to decode, and the endpoint takes the UI's pages without a key.
    let ui = stack.endpoint("/temporal_ui_url");
    let settings: Json = tools::http().get(format!("{ui}/api/v1/settings")).send().await.unwrap().json().await.unwrap();
    assert_eq!(settings["Codec"]["Endpoint"], endpoint.as_str(), "{settings}");
    let page = |origin: String| {
        let body = json!({ "payloads": [started(&raw)["input"][0]] });
        tools::http().post(format!("{endpoint}/decode")).header("Origin", origin).header("X-Namespace", "default").json(&body)
    };
    let decoded = page(ui.clone()).send().await.unwrap();
    assert_eq!(decoded.headers()["access-control-allow-origin"], ui.as_str());
    let decoded: Json = decoded.json().await.unwrap();
    assert_eq!(decoded["payloads"][0]["metadata"], json!({ "encoding": "anNvbi9wbGFpbg==" }));
    let refused = page("http://127.0.0.1:9".to_owned()).send().await.unwrap();
    assert_eq!(refused.status().as_u16(), 401);
}

/// The attributes of a shown history's first event.
fn started(history: &str) -> Json {
    let history: Json = serde_json::from_str(history).expect("the CLI prints JSON");
    history["events"][0]["workflowExecutionStartedEventAttributes"].clone()
}
