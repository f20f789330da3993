//! The org as a client sees it over HTTP, where no third-party client looks: restarts, faults, the corners of Bulk.

use leadline_simulator::{Config, Running, Simulator, SimulatorError};
use reqwest::{Client, Method, RequestBuilder, Response};
use serde_json::{Value as Json, json};
use std::path::Path;
use std::time::{Duration, Instant};

const DATA: &str = "/services/data/v60.0";

struct Org {
    running: Running,
    http: Client,
    token: String,
}

impl Org {
    async fn start(state: &Path) -> Self {
        Self::start_with(state, |_| {}).await
    }

    async fn start_with(state: &Path, change: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config::new(state);
        config.records = 5_000;
        config.rest_page_rows = 500;
        change(&mut config);
        let running = Simulator::start(config).await.unwrap();
        // An error means that another test was first.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = Client::builder().no_gzip().build().unwrap();
        let mut org = Self { running, http, token: String::new() };
        org.token = org.sign_in().await;
        org
    }

    async fn sign_in(&self) -> String {
        let app = &self.running.connected_app;
        let form = [
            ("grant_type", "password"),
            ("client_id", &app.client_id),
            ("client_secret", &app.client_secret),
            ("username", &app.username),
            ("password", &app.password),
        ];
        let url = format!("{}/services/oauth2/token", self.running.http_url);
        let answer: Json = self.http.post(url).form(&form).send().await.unwrap().json().await.unwrap();
        answer["access_token"].as_str().unwrap().to_owned()
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.running.http_url)).bearer_auth(&self.token)
    }

    async fn get(&self, path: &str) -> Response {
        self.request(Method::GET, path).send().await.unwrap()
    }

    async fn json(&self, path: &str) -> Json {
        self.get(path).await.json().await.unwrap()
    }

    async fn query(&self, soql: &str) -> Json {
        let request = self.request(Method::GET, &format!("{DATA}/query")).query(&[("q", soql)]);
        request.send().await.unwrap().json().await.unwrap()
    }

    async fn inject(&self, fault: Json) {
        let answer = self.request(Method::POST, "/__simulator/faults").json(&fault).send().await.unwrap();
        assert_eq!(answer.status(), 201, "{fault}");
    }

    async fn create_job(&self, soql: &str) -> String {
        let body = json!({ "operation": "query", "query": soql });
        let answer = self.request(Method::POST, &format!("{DATA}/jobs/query")).json(&body).send().await.unwrap();
        assert_eq!(answer.status(), 200);
        let job: Json = answer.json().await.unwrap();
        assert_eq!((&job["state"], &job["apiVersion"]), (&json!("UploadComplete"), &json!(60.0)));
        format!("{DATA}/jobs/query/{}", job["id"].as_str().unwrap())
    }

    /// Polls until the job is in this state, a minute at most.
    async fn until(&self, job: &str, state: &str) -> Json {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            let info = self.json(job).await;
            if info["state"] == state {
                return info;
            }
            assert!(Instant::now() < deadline, "{job} did not reach {state}: {info}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    async fn patch(&self, path: &str, body: Json) -> Response {
        self.request(Method::PATCH, path).json(&body).send().await.unwrap()
    }
}

fn header<'a>(answer: &'a Response, name: &str) -> &'a str {
    answer.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_survives_a_restart() {
    let state = tempfile::tempdir().unwrap();
    let org = Org::start(state.path()).await;
    let token = org.token.clone();
    let first = org.query("SELECT Id FROM Lead").await;
    let lead = first["records"][7]["Id"].as_str().unwrap().to_owned();
    let path = format!("{DATA}/sobjects/Lead/{lead}");
    assert_eq!(org.patch(&path, json!({ "Leadline_Score__c": 0.625, "Title": "Größe \"9\"" })).await.status(), 204);
    let job = org.create_job("SELECT Id, Title FROM Lead").await;
    org.until(&job, "JobComplete").await;
    let page = org.get(&format!("{job}/results?maxRecords=700")).await;
    let locator = header(&page, "sforce-locator").to_owned();
    let second = org.get(&format!("{job}/results?maxRecords=700&locator={locator}")).await.bytes().await.unwrap();
    org.inject(json!({ "kind": "latency", "delay_ms": 1, "match": { "path": "never" } })).await;
    let used = org.json("/__simulator/status").await["apiRequests"]["used"].as_u64().unwrap();
    org.running.stop().await;

    let mut org = Org::start(state.path()).await;
    org.token = token;
    let read = org.json(&path).await;
    assert_eq!(
        (&read["Leadline_Score__c"], &read["Title"]),
        (&json!(0.625), &json!("Größe \"9\"")),
        "the old session reads the write"
    );
    assert!(read["SystemModstamp"].as_str() > read["CreatedDate"].as_str());
    let next = org.json(first["nextRecordsUrl"].as_str().unwrap()).await;
    assert_eq!((&next["totalSize"], next["records"].as_array().unwrap().len()), (&json!(2_000), 500));
    assert_eq!(org.until(&job, "JobComplete").await["numberRecordsProcessed"], 2_000);
    let again = org.get(&format!("{job}/results?maxRecords=700&locator={locator}")).await.bytes().await.unwrap();
    assert_eq!(again, second, "a locator stays valid and repeatable");
    let status = org.json("/__simulator/status").await;
    assert_eq!(status["faults"], 1);
    assert!(status["apiRequests"]["used"].as_u64().unwrap() > used);
    let job_after = org.create_job("SELECT Id FROM User").await;
    assert_ne!(job, job_after);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_a_stop_interrupts_runs_at_the_next_start() {
    let state = tempfile::tempdir().unwrap();
    let org = Org::start(state.path()).await;
    org.inject(json!({ "kind": "slow_bulk_job", "delay_ms": 600_000 })).await;
    let job = org.create_job("SELECT Id FROM Contact").await;
    org.until(&job, "InProgress").await;
    org.running.stop().await;
    let org = Org::start(state.path()).await;
    assert_eq!(org.until(&job, "JobComplete").await["numberRecordsProcessed"], 800);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_directory_serves_one_simulator_at_a_time() {
    let state = tempfile::tempdir().unwrap();
    let org = Org::start(state.path()).await;
    assert!(matches!(Simulator::start(Config::new(state.path())).await, Err(SimulatorError::InUse { .. })));
    org.running.stop().await;
    Org::start(state.path()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_join_to_the_whole_result_plain_and_gzipped() {
    let state = tempfile::tempdir().unwrap();
    let org = Org::start_with(state.path(), |config| config.bulk_page_rows = 300).await;
    let job = org.create_job("SELECT Id, Name, ConvertedAccount.Name, AnnualRevenue FROM Lead").await;
    assert_eq!(org.until(&job, "JobComplete").await["isPkChunkingSupported"], true);
    let (mut rows, mut locator) = (Vec::new(), String::new());
    for page in 0.. {
        let answer = org.get(&format!("{job}/results/?locator={locator}&maxRecords=900")).await;
        let count: usize = header(&answer, "sforce-numberofrecords").parse().unwrap();
        locator = header(&answer, "sforce-locator").to_owned();
        let text = answer.text().await.unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "\"Id\",\"Name\",\"ConvertedAccount.Name\",\"AnnualRevenue\"", "every page has the header");
        assert_eq!(lines.len() - 1, count);
        rows.extend(lines[1..].iter().map(|line| (*line).to_owned()));
        if locator == "null" {
            assert_eq!(page, 2);
            break;
        }
        assert!(!locator.contains('='), "locators are unpadded");
    }
    assert_eq!(rows.len(), 2_000);

    let gzipped = org.request(Method::GET, &format!("{job}/results?maxRecords=2000")).header("accept-encoding", "gzip, deflate");
    let answer = gzipped.send().await.unwrap();
    assert_eq!(header(&answer, "content-encoding"), "gzip");
    let bytes = answer.bytes().await.unwrap();
    let mut text = String::new();
    std::io::Read::read_to_string(&mut flate2::read::GzDecoder::new(bytes.as_ref()), &mut text).unwrap();
    assert!(text.lines().skip(1).eq(rows.iter().map(String::as_str)));

    let pages = org.json(&format!("{job}/resultPages")).await;
    assert_eq!((pages["resultPages"].as_array().unwrap().len(), &pages["done"]), (5, &json!(false)));
    let rest = org.json(pages["nextRecordsUrl"].as_str().unwrap()).await;
    assert_eq!((rest["resultPages"].as_array().unwrap().len(), &rest["done"]), (2, &json!(true)));
    assert_eq!(org.get(&format!("{}/results", job.replace("v60.0", "v61.0"))).await.status(), 409);
    assert_eq!(org.get(&format!("{job}/results?locator=bm9uc2Vuc2U")).await.status(), 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_can_be_aborted_deleted_and_made_to_fail() {
    let state = tempfile::tempdir().unwrap();
    let org = Org::start(state.path()).await;
    org.inject(json!({ "kind": "slow_bulk_job", "delay_ms": 600_000, "match": { "object": "Lead" } })).await;
    let slow = org.create_job("SELECT Id FROM Lead").await;
    org.until(&slow, "InProgress").await;
    assert_eq!(org.get(&format!("{slow}/results")).await.status(), 400, "there are no results yet");
    assert_eq!(org.request(Method::DELETE, &slow).send().await.unwrap().status(), 400, "a running job cannot be deleted");
    let aborted: Json = org.patch(&slow, json!({ "state": "Aborted" })).await.json().await.unwrap();
    assert_eq!(aborted["state"], "Aborted");
    assert_eq!(org.patch(&slow, json!({ "state": "Aborted" })).await.status(), 400);
    assert_eq!(org.request(Method::DELETE, &slow).send().await.unwrap().status(), 204);
    assert_eq!(org.get(&slow).await.status(), 404);

    org.inject(json!({ "kind": "failed_bulk_job", "message": "InternalServerError : out of luck" })).await;
    let failing = org.create_job("SELECT Id FROM Account").await;
    assert_eq!(org.until(&failing, "Failed").await["errorMessage"], "InternalServerError : out of luck");
    let listed = org.json(&format!("{DATA}/jobs/query")).await;
    assert_eq!((listed["records"].as_array().unwrap().len(), &listed["done"]), (1, &json!(true)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_cut_by_a_fault_is_seen_as_cut_and_a_lost_answer_has_taken_effect() {
    let state = tempfile::tempdir().unwrap();
    let org = Org::start(state.path()).await;
    let job = org.create_job("SELECT Id, Company, Email FROM Lead").await;
    org.until(&job, "JobComplete").await;
    for coding in ["identity", "gzip"] {
        org.inject(json!({ "kind": "dropped_connection", "match": { "path": "/results" } })).await;
        let page = || org.request(Method::GET, &format!("{job}/results")).header("accept-encoding", coding).send();
        let answer = page().await.unwrap();
        assert_eq!(answer.status(), 200);
        assert!(answer.bytes().await.is_err(), "{coding}: a cut page must not look whole");
        assert!(page().await.unwrap().bytes().await.is_ok(), "{coding}: the fault strikes once");
    }
    org.inject(json!({ "kind": "lost_response", "match": { "method": "POST", "object": "Lead" } })).await;
    let create =
        org.request(Method::POST, &format!("{DATA}/sobjects/Lead")).json(&json!({ "LastName": "Lost", "Company": "Answer" }));
    let lost = match create.send().await {
        Ok(answer) => answer.bytes().await.is_err(),
        Err(_) => true,
    };
    assert!(lost);
    assert_eq!(org.query("SELECT Id FROM Lead WHERE Company = 'Answer'").await["totalSize"], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_new_key_sent_ten_times_at_once_makes_one_record() {
    let state = tempfile::tempdir().unwrap();
    let org = Org::start(state.path()).await;
    let path = format!("{DATA}/sobjects/Lead/External_Id__c/one-only");
    let upserts = (0..10).map(|n| org.patch(&path, json!({ "LastName": "Racer", "Company": format!("Run {n}") })));
    let statuses: Vec<u16> = futures::future::join_all(upserts).await.iter().map(|answer| answer.status().as_u16()).collect();
    assert_eq!(statuses.iter().filter(|status| **status == 201).count(), 1, "{statuses:?}");
    assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 9, "{statuses:?}");
    assert_eq!(org.query("SELECT Id FROM Lead WHERE LastName = 'Racer'").await["totalSize"], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn paths_and_headers_that_clients_vary_are_tolerated_and_what_is_wrong_is_named() {
    let state = tempfile::tempdir().unwrap();
    let org = Org::start_with(state.path(), |config| config.daily_api_requests = 12).await;
    for path in
        ["/services/data/v59.0/limits/", "/services/data/v68.0/sobjects/lead/Describe/", "//services/data/v60.0//sobjects/"]
    {
        let answer = org.request(Method::GET, path).header("X-PrettyPrint", "1").send().await.unwrap();
        assert_eq!(answer.status(), 200, "{path}");
        assert!(header(&answer, "sforce-limit-info").starts_with("api-usage="), "{path}");
    }
    let versions = org.http.get(format!("{}/services/data/", org.running.http_url)).send().await.unwrap();
    assert!(versions.status() == 200 && header(&versions, "sforce-limit-info").is_empty());
    for (method, path, status, code) in [
        (Method::GET, "/services/data/v60.0/sobjects/Nope/describe", 404, "NOT_FOUND"),
        (Method::GET, "/services/data/v60.0/jobs/query/750gL00000zzzzz", 404, "NOT_FOUND"),
        (Method::PUT, "/services/data/v60.0/sobjects/Lead/x", 405, "METHOD_NOT_ALLOWED"),
        (Method::GET, "/services/data/v60.0/sobjects/Lead/not-an-id", 404, "NOT_FOUND"),
        (Method::GET, "/services/data/v99.0/limits", 404, "NOT_FOUND"),
        (Method::GET, "/services/data/v60.0/query/0r8nonsense-2000", 400, "INVALID_QUERY_LOCATOR"),
    ] {
        let answer = org.request(method, path).send().await.unwrap();
        assert_eq!(answer.status(), status, "{path}");
        assert_eq!(answer.json::<Json>().await.unwrap()[0]["errorCode"], code, "{path}");
    }
    let long = format!("{DATA}/query?q={}", "x".repeat(17_000));
    assert_eq!(org.get(&long).await.status(), 414);
    let wrong =
        org.http.get(format!("{}{DATA}/limits", org.running.http_url)).header("authorization", "Nonsense").send().await.unwrap();
    assert_eq!(wrong.json::<Json>().await.unwrap()[0]["errorCode"], "INVALID_AUTH_HEADER");
    while org.get(&format!("{DATA}/recent")).await.status() == 200 {}
    let exhausted = org.get(&format!("{DATA}/recent")).await;
    assert_eq!((exhausted.status().as_u16(), header(&exhausted, "sforce-limit-info")), (403, "api-usage=12/12"));
    let error: Json = exhausted.json().await.unwrap();
    assert_eq!(error, json!([{ "message": "TotalRequests Limit exceeded.", "errorCode": "REQUEST_LIMIT_EXCEEDED" }]));
}
