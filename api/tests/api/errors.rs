//! Bad input is a coded problem, and nothing is half-done.

use leadline_domain::ConsentGrant;
use leadline_store::api_keys;
use reqwest::Method;
use serde_json::json;

use crate::world::{World, new_key};

#[tokio::test(flavor = "multi_thread")]
async fn every_malformed_request_is_a_problem_with_its_code() {
    let world = World::new().await;
    let (tenant, caller) = world.tenant("acme", Some(ConsentGrant::ALL)).await;
    let exports = format!("/v1/tenants/{tenant}/exports");
    let raw = |path: String, body: &'static str| {
        let caller = caller.clone();
        async move { caller.send(Method::POST, &path, Some(body.to_owned()), &[]).await }
    };
    for body in ["{", "[]", r#"{"object": 7}"#, r#"{"object": "Lead", "colour": "red"}"#, r#"{"object": "a b"}"#, "{}", ""] {
        let answer = raw(exports.clone(), body).await;
        assert_eq!(answer.problem(), (400, "INVALID_ARGUMENT"), "{body}");
    }
    let unknown = raw(format!("/v1/tenants/{tenant}/training-runs"), r#"{"preset": "TAROT"}"#).await;
    assert_eq!(unknown.problem(), (400, "INVALID_ARGUMENT"));
    assert!(
        unknown.body["detail"].as_str().unwrap().contains("LEAD_CONVERSION"),
        "the detail names what is allowed: {unknown:?}"
    );
    for query in ["state=DREAMING", "kind=7&kind=8", "pageSize=-1", "pageSize=9999", "pageToken=zz", "createdAfter=yesterday"] {
        let answer = caller.get(&format!("/v1/operations?{query}")).await;
        assert_eq!(answer.problem(), (400, "INVALID_ARGUMENT"), "{query}");
    }
    assert_eq!(world.count("SELECT count(*) FROM operations WHERE kind <> 'onboard_tenant'").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_value_is_not_repeated_in_the_answer() {
    let world = World::new().await;
    let (tenant, caller) = world.tenant("acme", Some(ConsentGrant::ALL)).await;
    let body = r#"{"recordId": {"name": "jane@example.org"}}"#.to_owned();
    let answer = caller.send(Method::POST, &format!("/v1/tenants/{tenant}/predict"), Some(body), &[]).await;
    assert_eq!(answer.problem(), (400, "INVALID_ARGUMENT"));
    let wrong = json!({"pageSize": "jane@example.org"});
    let other = caller.post(&format!("/v1/tenants/{tenant}/predict"), &wrong).await;
    assert!(!format!("{answer:?}{other:?}").contains("jane"), "{answer:?} {other:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn paths_methods_and_sizes_have_their_own_answers() {
    let world = World::new().await;
    let (tenant, caller) = world.tenant("acme", Some(ConsentGrant::ALL)).await;
    assert_eq!(caller.get("/v1/elsewhere").await.problem(), (404, "NOT_FOUND"));
    assert_eq!(caller.get("/").await.problem(), (404, "NOT_FOUND"));
    let wrong = caller.send(Method::DELETE, &format!("/v1/tenants/{tenant}/consent"), None, &[]).await;
    assert_eq!(wrong.problem(), (405, "METHOD_NOT_ALLOWED"));
    assert_eq!(wrong.headers["allow"], "GET, POST");

    let large = format!(r#"{{"object": "{}"}}"#, "x".repeat(10 << 20));
    let refused = caller.send(Method::POST, &format!("/v1/tenants/{tenant}/exports"), Some(large), &[]).await;
    assert_eq!(refused.problem(), (413, "PAYLOAD_TOO_LARGE"));

    let ours = caller.send(Method::GET, "/v1/operations", None, &[("x-request-id", "trace-7")]).await;
    assert_eq!(ours.headers["x-request-id"], "trace-7");
    let made = caller.send(Method::GET, "/v1/operations", None, &[("x-request-id", "a b; c")]).await;
    assert!(made.headers["x-request-id"].to_str().unwrap().starts_with("rq_"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_problem_leads_to_the_page_that_explains_its_code() {
    let world = World::new().await;
    let problem = world.stranger().get("/v1/operations").await;
    assert_eq!(problem.problem(), (401, "UNAUTHENTICATED"));
    assert_eq!(problem.headers["www-authenticate"], "Bearer realm=\"leadline\"");
    let page = world.stranger().get(problem.body["type"].as_str().unwrap()).await;
    assert_eq!(page.status, 200, "{page:?}");
    assert!(page.body.as_str().unwrap().starts_with("## UNAUTHENTICATED\n"), "{page:?}");
    assert_eq!(world.stranger().get("/errors/NONSENSE").await.problem(), (404, "NOT_FOUND"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_opens_until_it_is_revoked_and_a_near_miss_never_does() {
    let world = World::new().await;
    let (id, secret) = new_key(&world.store, &api_keys::KeyScope::Operator).await;
    let caller = crate::world::Caller::with_key(&world.base, secret.clone());
    caller.get("/v1/operations").await.expect(200);
    let by_header = world.stranger().send(Method::GET, "/v1/operations", None, &[("x-api-key", &secret)]).await;
    assert_eq!(by_header.status, 200);
    let mut forged = secret.clone();
    let last = forged.pop().unwrap();
    forged.push(if last == 'A' { 'B' } else { 'A' });
    for wrong in [forged.as_str(), "lk_nonsense", "", &secret[..30]] {
        let answer = world.stranger().send(Method::GET, "/v1/operations", None, &[("x-api-key", wrong)]).await;
        assert_eq!(answer.problem(), (401, "UNAUTHENTICATED"), "{wrong}");
    }
    let mut tx = world.store.operator().await.unwrap();
    api_keys::revoke(&mut tx, &id).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(caller.get("/v1/operations").await.problem(), (401, "UNAUTHENTICATED"));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_tenants_burst_is_limited_and_the_others_are_not() {
    let world = World::with(|config| {
        config.rate.per_second = std::num::NonZeroU32::MIN;
        config.rate.burst = std::num::NonZeroU32::new(3).unwrap();
    })
    .await;
    let (_, noisy) = world.tenant("noisy", None).await;
    let (_, quiet) = world.tenant("quiet", None).await;
    let mut refused = None;
    for _ in 0..20 {
        let answer = noisy.get("/v1/operations").await;
        if answer.status == 429 {
            refused = Some(answer);
            break;
        }
    }
    let refused = refused.expect("twenty requests at once are more than three and one a second");
    assert_eq!(refused.problem(), (429, "RATE_LIMITED"));
    assert_eq!(refused.headers["retry-after"], "1");
    quiet.get("/v1/operations").await.expect(200);
}
