//! A caller of leadline's REST API, as a user would write one.

use std::time::{Duration, Instant};

use reqwest::{Method, StatusCode};
use serde_json::{Value as Json, json};

use crate::{dev_stack::DevStack, tools};

const LOOK_AGAIN: Duration = Duration::from_millis(100);
/// Far beyond what any operation here takes: a test that gets there has found a stuck one.
const END_WITHIN: Duration = Duration::from_secs(180);

#[derive(Clone)]
pub struct Api {
    http: reqwest::Client,
    base: String,
    key: String,
}

/// An answer with its body read as JSON.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub content_type: String,
    pub body: Json,
}

impl Answer {
    /// The body of an answer that has this status.
    ///
    /// # Panics
    /// When it has another.
    #[track_caller]
    pub fn expect(self, status: u16) -> Json {
        assert_eq!(self.status.as_u16(), status, "{}", self.body);
        self.body
    }

    /// The error code of a problem document.
    pub fn code(&self) -> &str {
        self.body["code"].as_str().unwrap_or_default()
    }
}

impl Api {
    /// The API as the stack's operator.
    pub fn operator(stack: &DevStack) -> Self {
        Self::new(stack.endpoint("/api_url"), stack.operator_key())
    }

    pub fn new(base: String, key: String) -> Self {
        Self { http: tools::http(), base, key }
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.call(Method::GET, path, None, None).await
    }

    pub async fn post(&self, path: &str, body: &Json) -> Answer {
        self.call(Method::POST, path, Some(body), None).await
    }

    pub async fn post_once(&self, path: &str, idempotency_key: &str, body: &Json) -> Answer {
        self.call(Method::POST, path, Some(body), Some(idempotency_key)).await
    }

    async fn call(&self, method: Method, path: &str, body: Option<&Json>, idempotency_key: Option<&str>) -> Answer {
        let mut request = self.http.request(method, format!("{}{path}", self.base)).bearer_auth(&self.key);
        if let Some(body) = body {
            request = request.json(body);
        }
        if let Some(key) = idempotency_key {
            request = request.header("Idempotency-Key", key);
        }
        let answer = request.send().await.expect("the API answers");
        let status = answer.status();
        let content_type = answer.headers().get("content-type").and_then(|v| v.to_str().ok()).unwrap_or_default().to_owned();
        let text = answer.text().await.expect("the API's answer is text");
        let body = serde_json::from_str(&text).unwrap_or(Json::String(text));
        Answer { status, content_type, body }
    }

    /// Starts an operation and returns its id.
    pub async fn start(&self, path: &str, body: &Json) -> String {
        let operation = self.post(path, body).await.expect(202);
        operation["operationId"].as_str().expect("an operation has an id").to_owned()
    }

    pub async fn operation(&self, id: &str) -> Json {
        self.get(&format!("/v1/operations/{id}")).await.expect(200)
    }

    /// Waits until the operation has ended.
    ///
    /// # Panics
    /// When it does not.
    pub async fn ended(&self, id: &str) -> Json {
        self.until(id, "has ended", |operation| matches!(operation["state"].as_str(), Some("SUCCEEDED" | "FAILED" | "CANCELLED")))
            .await
    }

    /// Waits until the operation looks as wanted.
    ///
    /// # Panics
    /// When it does not.
    pub async fn until(&self, id: &str, what: &str, wanted: impl Fn(&Json) -> bool) -> Json {
        let began = Instant::now();
        loop {
            let operation = self.operation(id).await;
            if wanted(&operation) {
                return operation;
            }
            assert!(began.elapsed() < END_WITHIN, "operation {id} never {what}: {operation}");
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    /// Starts an operation that has to succeed and returns it.
    pub async fn succeed(&self, path: &str, body: &Json) -> Json {
        let id = self.start(path, body).await;
        let ended = self.ended(&id).await;
        assert_eq!(ended["state"], "SUCCEEDED", "{ended}");
        ended
    }

    /// Connects the stack's org and gives every consent. Returns the tenant's id.
    pub async fn onboard(&self, stack: &DevStack, name: &str) -> String {
        let ended = self.succeed("/v1/tenants", &crate::org::connection(stack, name)).await;
        let tenant = ended["tenantId"].as_str().expect("the operation names its tenant").to_owned();
        self.consent(&tenant, true).await;
        tenant
    }

    /// Records a consent in which everything is allowed, or nothing.
    pub async fn consent(&self, tenant: &str, allowed: bool) -> Json {
        let consent = json!({
            "allowExport": allowed, "allowTraining": allowed, "allowStorePredictions": allowed, "allowWriteBack": allowed,
            "decidedBy": "the test suite",
        });
        self.post(&format!("/v1/tenants/{tenant}/consent"), &consent).await.expect(200)
    }
}
