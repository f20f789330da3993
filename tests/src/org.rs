//! The simulated org as its own users see it, and its faults.

use std::{
    fs,
    path::{Path, PathBuf},
    pin::pin,
};

use base64::{Engine, prelude::BASE64_STANDARD};
use futures::StreamExt as _;
use leadline_salesforce::{Credentials, Options, OrgClient, SalesforceError};
use serde_json::{Value as Json, json};

use crate::{dev_stack::DevStack, tools};

/// The connected app as the simulator wrote it down at its first start.
fn connected_app(state: &Path) -> (Json, String) {
    let read = |name: &str| fs::read_to_string(state.join(name)).expect("the simulator writes its connected app");
    (serde_json::from_str(&read("connected-app.json")).expect("the connected app is JSON"), read("connected-app.pem"))
}

/// The body of `POST /v1/tenants` that connects the stack's org.
pub fn connection(stack: &DevStack, name: &str) -> Json {
    connection_of(&state_dir(stack), name)
}

/// The same for the simulator that keeps its org here.
pub fn connection_of(state: &Path, name: &str) -> Json {
    let (app, private_key) = connected_app(state);
    json!({
        "name": name,
        "displayName": format!("{name} of the test suite"),
        "salesforce": {
            "loginUrl": app["login_url"], "clientId": app["client_id"], "username": app["username"], "privateKeyPem": private_key,
        },
        "callbackKey": BASE64_STANDARD.encode(app["callback_key"].as_str().expect("the connected app has a callback key")),
    })
}

/// A client of the org, signed in.
pub async fn client(stack: &DevStack) -> OrgClient {
    client_of(&state_dir(stack)).await.expect("the org lets its own connected app in")
}

/// The same for the simulator that keeps its org here, which may be away.
pub async fn client_of(state: &Path) -> Result<OrgClient, SalesforceError> {
    let (app, private_key) = connected_app(state);
    let text = |name: &str| app[name].as_str().expect("the connected app is complete").to_owned();
    let credentials = Credentials::new(&text("login_url"), text("client_id"), text("username"), private_key, text("login_url"))
        .expect("the connected app's settings are complete");
    OrgClient::connect(credentials, Options::default()).await
}

fn state_dir(stack: &DevStack) -> PathBuf {
    stack.endpoint("/simulator/state_dir").into()
}

/// The simulator's own view and controls, below `/__simulator/`.
pub struct Controls {
    http: reqwest::Client,
    base: String,
}

impl Controls {
    pub fn of(stack: &DevStack) -> Self {
        Self { http: tools::http(), base: format!("{}/__simulator", stack.endpoint("/simulator/http")) }
    }

    pub async fn read(&self, what: &str) -> Json {
        let answer = self.http.get(format!("{}/{what}", self.base)).send().await.expect("the simulator answers");
        answer.json().await.expect("the simulator's view is JSON")
    }

    /// Injects a fault; see the simulator's `faults` module for the kinds.
    pub async fn inject(&self, fault: &Json) {
        let answer = self.http.post(format!("{}/faults", self.base)).json(fault).send().await.expect("the simulator answers");
        assert!(answer.status().is_success(), "{fault}: {}", answer.text().await.unwrap_or_default());
    }

    /// Takes all faults away.
    pub async fn clear(&self) {
        let answer = self.http.delete(format!("{}/faults", self.base)).send().await.expect("the simulator answers");
        assert!(answer.status().is_success());
    }
}

/// The id of a lead that is not converted.
///
/// # Panics
/// When the org has none.
pub async fn open_lead(org: &OrgClient) -> String {
    let mut records = pin!(org.query("SELECT Id FROM Lead WHERE IsConverted = false LIMIT 1"));
    let record = records.next().await.expect("the generated org has open leads").expect("the org answers a query");
    record.id().expect("a record has an id").to_owned()
}
