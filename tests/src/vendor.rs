//! A scenario's org, as its users and the simulator's controls reach it.

use std::time::Duration;

use leadline_salesforce::{Credentials, Options, OrgClient};
use serde_json::Value as Json;

use crate::scenario::Scenario;

const MET_WITHIN: Duration = Duration::from_secs(90);
const LOOK_AGAIN: Duration = Duration::from_millis(30);

impl Scenario {
    /// How many events an injected fault has looked at, fired or not, by its kind.
    pub async fn seen_by_fault(&self, kind: &str) -> u64 {
        let url = format!("{}/__simulator/faults", self.simulator.http_url);
        let listed: Json = reqwest::get(url).await.expect("the simulator answers").json().await.expect("a list of faults");
        let faults = listed.as_array().or_else(|| listed["faults"].as_array()).expect("a list of faults");
        faults.iter().filter(|fault| fault["kind"] == kind).filter_map(|fault| fault["seen"].as_u64()).sum()
    }

    /// Waits until a request has met an injected fault.
    pub async fn until_met(&self, kind: &str) {
        let look = async {
            while self.seen_by_fault(kind).await == 0 {
                tokio::time::sleep(LOOK_AGAIN).await;
            }
        };
        tokio::time::timeout(MET_WITHIN, look).await.unwrap_or_else(|_| panic!("nothing meets {kind}"));
    }

    pub async fn org(&self) -> OrgClient {
        let app = &self.simulator.connected_app;
        let key = std::fs::read_to_string(&self.simulator.private_key_pem).unwrap();
        let credentials = Credentials::new(&app.login_url, &app.client_id, &app.username, key, &app.login_url).unwrap();
        OrgClient::connect(credentials, Options::default()).await.unwrap()
    }

    /// Deletes records as somebody does who works in the org.
    pub async fn delete_in_org(&self, object: &str, ids: impl IntoIterator<Item = &String>) {
        let app = &self.simulator.connected_app;
        let http = reqwest::Client::new();
        let sign_in =
            [("grant_type", "client_credentials"), ("client_id", &app.client_id), ("client_secret", &app.client_secret)];
        let token = http.post(format!("{}/services/oauth2/token", app.login_url)).form(&sign_in).send().await.unwrap();
        let token: Json = token.json().await.unwrap();
        for id in ids {
            let record = format!("{}/services/data/v60.0/sobjects/{object}/{id}", self.simulator.http_url);
            let answer = http.delete(record).bearer_auth(token["access_token"].as_str().unwrap()).send().await.unwrap();
            assert_eq!(answer.status(), 204, "{id}");
        }
    }

    pub async fn inject(&self, fault: &Json) {
        let url = format!("{}/__simulator/faults", self.simulator.http_url);
        let answer = reqwest::Client::new().post(url).json(fault).send().await.unwrap();
        assert!(answer.status().is_success(), "{fault}: {}", answer.text().await.unwrap_or_default());
    }

    pub async fn clear_faults(&self) {
        let url = format!("{}/__simulator/faults", self.simulator.http_url);
        assert!(reqwest::Client::new().delete(url).send().await.unwrap().status().is_success());
    }

    pub async fn callbacks(&self) -> Json {
        let url = format!("{}/__simulator/callbacks", self.simulator.http_url);
        reqwest::get(url).await.unwrap().json().await.unwrap()
    }
}
