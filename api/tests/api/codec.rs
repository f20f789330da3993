//! The codec endpoint decodes for operators, and for pages of the Temporal UI that it was told of.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use reqwest::{Method, header::HeaderMap};
use serde_json::{Value as Json, json};

use crate::world::{Answer, Caller, World};

const UI: &str = "http://127.0.0.1:8233";

fn payloads() -> Json {
    let plain = STANDARD.encode("json/plain");
    json!({ "payloads": [{ "metadata": { "encoding": plain }, "data": STANDARD.encode("\"Lead\"") }] })
}

async fn ask(caller: &Caller, verb: &str, body: &Json, headers: &[(&str, &str)]) -> Answer {
    caller.send(Method::POST, &format!("/codec/{verb}"), Some(body.to_string()), headers).await
}

fn allowed_origin(headers: &HeaderMap) -> Option<&str> {
    headers.get("access-control-allow-origin").map(|origin| origin.to_str().unwrap())
}

#[tokio::test]
async fn what_the_endpoint_encodes_is_unreadable_until_an_operator_decodes_it() {
    let world = World::with(|config| config.codec.origins = vec![UI.to_owned()]).await;
    let sealed = ask(&world.operator, "encode", &payloads(), &[("X-Namespace", "default")]).await.expect(200);
    let metadata = &sealed["payloads"][0]["metadata"];
    assert_eq!(metadata["encoding"], STANDARD.encode("binary/encrypted"));
    assert_eq!(metadata["leadline-scope"], STANDARD.encode("platform"));
    let data = STANDARD.decode(sealed["payloads"][0]["data"].as_str().unwrap()).unwrap();
    assert!(!data.windows(4).any(|window| window == b"Lead"));
    assert_eq!(ask(&world.operator, "decode", &sealed, &[]).await.expect(200), payloads());
    assert_eq!(ask(&world.operator, "decode", &payloads(), &[]).await.expect(200), payloads(), "what is plain passes");

    let (_, tenant) = world.tenant("acme", None).await;
    assert_eq!(ask(&tenant, "decode", &sealed, &[]).await.problem(), (403, "FORBIDDEN"));
    let stranger = world.stranger();
    assert_eq!(ask(&stranger, "decode", &sealed, &[]).await.problem(), (401, "UNAUTHENTICATED"));
    assert_eq!(ask(&stranger, "decode", &sealed, &[("Origin", UI)]).await.problem(), (401, "UNAUTHENTICATED"));
    let nowhere = ask(&world.operator, "decode", &sealed, &[("X-Namespace", "")]).await;
    assert_eq!(nowhere.expect(200), payloads(), "Temporal's CLI names no namespace when it was told none");
    let elsewhere = ask(&world.operator, "decode", &sealed, &[("X-Namespace", "other")]).await;
    assert_eq!(elsewhere.problem(), (400, "INVALID_ARGUMENT"));
    assert_eq!(ask(&world.operator, "decode", &json!([1]), &[]).await.problem(), (400, "INVALID_ARGUMENT"));

    let mut foreign = sealed;
    foreign["payloads"][0]["metadata"]["leadline-key-id"] = json!(STANDARD.encode("kek_00"));
    assert_eq!(ask(&world.operator, "decode", &foreign, &[]).await.problem(), (500, "SECRET_UNREADABLE"));
    world.stop().await;
}

#[tokio::test]
async fn a_browser_reads_answers_on_pages_of_the_temporal_ui_only() {
    let world = World::with(|config| config.codec.origins = vec![UI.to_owned()]).await;
    let preflight = [("Origin", UI), ("Access-Control-Request-Method", "POST")];
    let asked = world.stranger().send(Method::OPTIONS, "/codec/decode", None, &preflight).await;
    assert_eq!((asked.status.as_u16(), allowed_origin(&asked.headers)), (204, Some(UI)));
    let headers = asked.headers["access-control-allow-headers"].to_str().unwrap();
    assert!(headers.contains("authorization") && headers.contains("x-namespace") && headers.contains("content-type"));
    assert_eq!(asked.headers["access-control-allow-credentials"], "true");

    let answered = ask(&world.operator, "decode", &payloads(), &[("Origin", UI)]).await;
    assert_eq!((answered.status.as_u16(), allowed_origin(&answered.headers)), (200, Some(UI)));
    let refused = ask(&world.stranger(), "decode", &payloads(), &[("Origin", UI)]).await;
    assert_eq!((refused.status.as_u16(), allowed_origin(&refused.headers)), (401, Some(UI)), "the page sees why");
    for other in ["http://127.0.0.1:8234", "https://127.0.0.1:8233", "null"] {
        let answered = ask(&world.operator, "decode", &payloads(), &[("Origin", other)]).await;
        assert_eq!(allowed_origin(&answered.headers), None, "{other}");
    }
    world.stop().await;
}

#[tokio::test]
async fn without_a_key_only_a_page_of_the_local_temporal_ui_is_answered() {
    let world = World::with(|config| {
        config.codec.origins = vec![UI.to_owned()];
        config.codec.keyless = true;
    })
    .await;
    let stranger = world.stranger();
    assert_eq!(ask(&stranger, "decode", &payloads(), &[("Origin", UI)]).await.expect(200), payloads());
    let refused: [&[(&str, &str)]; 6] = [
        &[],
        &[("Origin", "http://127.0.0.1:9999")],
        // A page whose own name leads to this machine, and a proxy that lets the world in.
        &[("Origin", UI), ("Host", "rebound.example.com")],
        &[("Origin", UI), ("X-Forwarded-For", "203.0.113.9")],
        &[("Origin", UI), ("Forwarded", "for=203.0.113.9")],
        &[("Origin", UI), ("Authorization", "Bearer lk_nonsense")],
    ];
    for headers in refused {
        let answer = ask(&stranger, "decode", &payloads(), headers).await;
        assert_eq!(answer.problem(), (401, "UNAUTHENTICATED"), "{headers:?}");
    }
    assert_eq!(stranger.get("/v1/operations").await.problem(), (401, "UNAUTHENTICATED"), "nothing else is open");
    world.stop().await;
}
