//! A client that never gives up on an answer that it may ask for again, as docs/api.md tells clients to do.

use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde_json::Value as Json;

use crate::{dev_stack::DevStack, tools};

const AGAIN: Duration = Duration::from_millis(300);

#[derive(Clone)]
pub struct Caller {
    http: reqwest::Client,
    base: String,
    key: String,
}

/// An answer that no repeat changes.
#[derive(Debug)]
pub struct Refused {
    pub code: String,
}

impl Caller {
    pub fn operator(stack: &DevStack) -> Self {
        Self { http: tools::http(), base: stack.endpoint("/api_url"), key: stack.operator_key() }
    }

    pub async fn get(&self, path: &str) -> Result<Json, Refused> {
        self.call(Method::GET, path, None).await
    }

    /// Repeats the call under the same key until it is answered for good.
    pub async fn post(&self, path: &str, key: &str, body: &Json) -> Result<Json, Refused> {
        self.call(Method::POST, path, Some((key, body))).await
    }

    async fn call(&self, method: Method, path: &str, post: Option<(&str, &Json)>) -> Result<Json, Refused> {
        loop {
            let mut request = self.http.request(method.clone(), format!("{}{path}", self.base)).bearer_auth(&self.key);
            if let Some((key, body)) = post {
                request = request.header("Idempotency-Key", key).json(body);
            }
            if let Ok(answer) = request.timeout(Duration::from_secs(30)).send().await {
                let status = answer.status();
                let again = status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS;
                if !again && let Ok(body) = answer.json::<Json>().await {
                    let code = body["code"].as_str().unwrap_or_default().to_owned();
                    return if status.is_success() { Ok(body) } else { Err(Refused { code }) };
                }
            }
            tokio::time::sleep(AGAIN).await;
        }
    }
}
