//! No key reaches another tenant, on any path of the OpenAPI document.

use leadline_domain::{ConsentGrant, OperationId, TenantId};
use reqwest::Method;
use serde_json::{Value as Json, json};

use crate::world::{Caller, World};

/// Every operation of the document as it is served: method and path template.
fn routes(document: &Json) -> Vec<(Method, String)> {
    let paths = document["paths"].as_object().expect("the document has paths");
    let of_path = |(path, item): (&String, &Json)| {
        let methods = item.as_object().unwrap().keys().map(|m| m.to_uppercase().parse().unwrap());
        methods.map(|method| (method, path.clone())).collect::<Vec<(Method, String)>>()
    };
    paths.iter().flat_map(of_path).collect()
}

/// Ids of one tenant for every parameter of a path.
struct Ids {
    tenant: TenantId,
    operation: OperationId,
}

impl Ids {
    fn fill(&self, template: &str) -> String {
        template
            .replace("{tenantId}", self.tenant.as_str())
            .replace("{operationId}", self.operation.as_str())
            .replace("{datasetId}", self.operation.dataset().as_str())
            .replace("{modelId}", self.operation.model().as_str())
            .replace("{requestId}", "request-1")
    }
}

/// A body that passes validation, so that only the key can be what is refused.
fn body(path: &str) -> Json {
    match path.rsplit('/').next().unwrap() {
        "exports" => json!({"object": "Lead"}),
        "training-runs" => json!({"preset": "LEAD_CONVERSION"}),
        "predict" | "predict:async" => json!({"recordId": "00Q000000000001AAA"}),
        "operations:resolveParked" => json!({"verb": "RETRY", "code": "STORAGE_DENIED"}),
        verb if verb.ends_with(":move") => json!({"buildId": "next"}),
        verb if verb.ends_with(":skip") || verb.ends_with(":abandon") => json!({"reason": "the test"}),
        _ => json!({}),
    }
}

async fn call(caller: &Caller, method: &Method, path: &str) -> crate::world::Answer {
    let body = (method == Method::POST).then(|| body(path).to_string());
    caller.send(method.clone(), path, body, &[]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn another_tenants_key_is_refused_on_every_path_of_the_document() {
    let world = World::new().await;
    let (tenant, owner) = world.tenant("acme", Some(ConsentGrant::ALL)).await;
    let (_, other) = world.tenant("globex", Some(ConsentGrant::ALL)).await;
    let export = owner.post(&format!("/v1/tenants/{tenant}/exports"), &json!({"object": "Lead"})).await.expect(202);
    let ids = Ids { operation: export["operationId"].as_str().unwrap().parse().unwrap(), tenant };

    let document = world.stranger().get("/openapi.json").await.expect(200);
    assert_eq!(document["openapi"], "3.1.0");
    let routes = routes(&document);
    assert_eq!(routes.len(), 27, "a route came or went: {routes:?}");
    for (method, template) in &routes {
        let path = ids.fill(template);
        let unknown = call(&world.stranger(), method, &path).await;
        assert_eq!(unknown.problem(), (401, "UNAUTHENTICATED"), "{method} {path}");
        if template == "/v1/operations" {
            let listed = call(&other, method, &path).await.expect(200);
            let seen = listed["operations"].as_array().unwrap();
            assert!(seen.iter().all(|o| o["tenantId"] != ids.tenant.as_str()), "{listed}");
            continue;
        }
        if template == "/v1/operations:resolveParked" {
            // It reaches the caller's own operations whatever it names, as its own test shows.
            call(&other, method, &path).await.expect(200);
            continue;
        }
        let refused = call(&other, method, &path).await;
        assert!(matches!(refused.problem().0, 403 | 404), "{method} {path}: {refused:?}");
        let own = call(&owner, method, &path).await;
        assert!(own.status != 405 && own.body["code"] != "NOT_FOUND" || own.status == 200, "{method} {path}: {own:?}");
    }
    let asked = other.get(&format!("/v1/operations?tenantId={}", ids.tenant)).await;
    assert_eq!(asked.problem(), (403, "FORBIDDEN"));
    let asked = other.get(&format!("/v1/predictions/request-1?tenantId={}", ids.tenant)).await;
    assert_eq!(asked.problem(), (403, "FORBIDDEN"));
}

#[tokio::test(flavor = "multi_thread")]
async fn whether_another_tenant_exists_cannot_be_told() {
    let world = World::new().await;
    let (existing, _) = world.tenant("acme", None).await;
    let (_, other) = world.tenant("globex", None).await;
    let missing = TenantId::random();
    let [seen, unseen] = [existing, missing.clone()].map(|tenant| format!("/v1/tenants/{tenant}/status"));
    let (seen, unseen) = (other.get(&seen).await, other.get(&unseen).await);
    assert_eq!((seen.problem(), seen.body["detail"].as_str()), (unseen.problem(), unseen.body["detail"].as_str()));
    let operator = world.operator.get(&format!("/v1/tenants/{missing}/status")).await;
    assert_eq!(operator.problem(), (404, "TENANT_NOT_FOUND"));
    let body = json!({"object": "Lead"});
    let operator = world.operator.post(&format!("/v1/tenants/{missing}/exports"), &body).await;
    assert_eq!(operator.problem(), (404, "TENANT_NOT_FOUND"));
    assert_eq!(world.operator.post("/v1/tenants/x/exports", &body).await.problem(), (404, "TENANT_NOT_FOUND"));
    assert_eq!(world.count("SELECT count(*) FROM operations WHERE kind = 'export_dataset'").await, 0);
}
