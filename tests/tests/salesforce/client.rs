//! leadline's client against the simulator: what is read is right on every road, and what goes wrong is told apart.

use std::collections::HashMap;

use futures::TryStreamExt;
use futures::future::join_all;
use leadline_domain::value::{ObjectSchema, Value};
use leadline_domain::{Class, Code};
use leadline_salesforce::{
    AllOrNone, Credentials, JobState, Locator, Missing, Options, OrgClient, QueryJob, RecordUpdate, Row, SalesforceError, soql,
};
use leadline_simulator::{Config, Running, Simulator};
use serde_json::{Map, Value as Json, json};
use tempfile::TempDir;

/// A simulated org of a few thousand records, and the folder that holds its state.
struct Org {
    running: Running,
    _folder: TempDir,
}

impl Org {
    async fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder for the org's state");
        let config = Config { records: 3_000, rest_page_rows: 250, ..Config::new(folder.path()) };
        let running = Simulator::start(config).await.expect("a simulated org");
        Self { running, _folder: folder }
    }

    fn credentials(&self, login_url: &str) -> Credentials {
        let app = &self.running.connected_app;
        let key = std::fs::read_to_string(&self.running.private_key_pem).expect("the connected app's key");
        Credentials::new(login_url, &app.client_id, &app.username, key, login_url).expect("a safe URL")
    }

    async fn connect(&self) -> OrgClient {
        let credentials = self.credentials(&self.running.http_url);
        OrgClient::connect(credentials, Options::default()).await.expect("the org grants a session")
    }

    async fn inject(&self, fault: Json) {
        let url = format!("{}/__simulator/faults", self.running.http_url);
        let answer = reqwest::Client::new().post(url).json(&fault).send().await.expect("the simulator answers");
        assert!(answer.status().is_success(), "{fault}: {}", answer.status());
    }

    async fn clear_faults(&self) {
        let url = format!("{}/__simulator/faults", self.running.http_url);
        reqwest::Client::new().delete(url).send().await.expect("the simulator answers");
    }
}

async fn lead_schema(client: &OrgClient) -> ObjectSchema {
    client.describe("Lead").await.expect("a describe of Lead").to_schema().0
}

async fn completed_job(client: &OrgClient, soql: &str) -> QueryJob {
    let mut job = client.create_query_job(soql).await.expect("a job");
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(60);
    while !job.is_complete().expect("the job does not fail") {
        assert!(tokio::time::Instant::now() < deadline, "the job did not end: {job:?}");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        job = client.query_job(&job.id).await.expect("the job's state");
    }
    job
}

async fn read_page(
    client: &OrgClient,
    job: &QueryJob,
    schema: &ObjectSchema,
    at: Option<&Locator>,
    size: u32,
) -> Result<(Vec<Row>, Option<Locator>), SalesforceError> {
    let page = client.query_results_page(&job.id, at, size).await?;
    let next = page.next.clone();
    let rows: Vec<Vec<Row>> = page.rows(schema).into_stream().try_collect().await?;
    Ok((rows.concat(), next))
}

async fn read_job(client: &OrgClient, job: &QueryJob, schema: &ObjectSchema, size: u32) -> Vec<Row> {
    let (mut rows, mut next) = read_page(client, job, schema, None, size).await.expect("the first page");
    while let Some(locator) = next {
        let (more, after) = read_page(client, job, schema, Some(&locator), size).await.expect("a further page");
        assert!(!more.is_empty() && more.len() <= size as usize);
        rows.extend(more);
        next = after;
    }
    rows
}

#[tokio::test]
async fn a_connected_org_says_who_it_is_and_what_is_left_of_its_allowances() {
    let org = Org::start().await;
    let client = org.connect().await;
    assert_eq!(client.meter().api_usage(), None, "the token endpoint reports no usage");
    assert_eq!(&client.identity().await.unwrap().org_id, client.org_id());
    let limits = client.limits().await.unwrap();
    let calls = limits.daily_api_requests().expect("DailyApiRequests");
    let usage = client.meter().api_usage().expect("every REST answer reports the usage");
    assert_eq!(usage.max as i64, calls.max);
    assert!(usage.used > 0 && calls.remaining < calls.max);
    assert!(limits.daily_bulk_query_jobs().is_some_and(|l| l.max == 10_000));
    let shown = format!("{client:?}");
    assert!(!shown.contains("Bearer") && !shown.contains('!'), "{shown}");
}

#[tokio::test]
async fn a_record_has_the_same_values_by_bulk_by_query_and_by_id() {
    let org = Org::start().await;
    let client = org.connect().await;
    let (schema, excluded) = client.describe("Lead").await.unwrap().to_schema();
    assert!(excluded.iter().all(|e| schema.field(&e.name).is_none()));
    let select = soql::select(&schema).unwrap();
    let id = schema.position("Id").expect("Id");
    let key = |row: &Row| match &row[id] {
        Value::Text(id) => id.clone(),
        other => panic!("an id is a text, not {other:?}"),
    };

    let job = completed_job(&client, &select).await;
    let bulk = read_job(&client, &job, &schema, 250).await;
    let count = client.count("SELECT COUNT() FROM Lead").await.unwrap();
    assert_eq!(bulk.len() as u64, count);
    let by_bulk: HashMap<String, &Row> = bulk.iter().map(|row| (key(row), row)).collect();
    assert_eq!(by_bulk.len(), bulk.len(), "no record twice");

    let mut by_query = 0;
    let records = client.query(&select);
    futures::pin_mut!(records);
    while let Some(record) = records.try_next().await.unwrap() {
        let row = record.values(&schema).unwrap();
        assert_eq!(&&row, by_bulk.get(&key(&row)).expect("the same records"));
        by_query += 1;
    }
    assert_eq!(by_query, count);

    let fields: Vec<&str> = schema.fields.iter().map(|f| f.name.as_str()).collect();
    let ids: Vec<&str> = by_bulk.keys().take(300).map(String::as_str).collect();
    let by_ids = client.query_by_ids("Lead", &ids, &fields).await.unwrap();
    assert_eq!(by_ids.len(), 300);
    assert!(by_ids.iter().all(|r| &r.values(&schema).unwrap() == by_bulk[r.id().unwrap()]));
    let one = client.retrieve("Lead", ids[0], &fields).await.unwrap();
    assert_eq!(&one.values(&schema).unwrap(), by_bulk[ids[0]]);

    let empty = completed_job(&client, &format!("{select} WHERE Id = '00Q000000000000AAA'")).await;
    assert_eq!(read_job(&client, &empty, &schema, 250).await, Vec::<Row>::new());
}

#[tokio::test]
async fn an_expired_session_is_renewed_without_the_caller_noticing_and_a_revoked_user_is_a_persons_affair() {
    let org = Org::start().await;
    let client = org.connect().await;
    org.inject(json!({ "kind": "expired_session" })).await;
    let counts = join_all((0..20).map(|_| client.count("SELECT COUNT() FROM Lead"))).await;
    assert!(counts.iter().all(|c| c == &counts[0] && c.is_ok()), "{counts:?}");

    org.inject(json!({ "kind": "expired_session", "count": null })).await;
    let error = client.limits().await.unwrap_err();
    assert!(matches!(error, SalesforceError::SessionExpired { .. }), "{error}");
    assert_eq!(error.failure().class(), Class::Retryable);
    org.clear_faults().await;
    client.limits().await.expect("the next call starts afresh");

    org.inject(json!({ "kind": "revoked_user" })).await;
    let refusals = join_all((0..5).map(|_| client.limits())).await;
    for refusal in refusals {
        let failure = refusal.unwrap_err().failure();
        assert_eq!((failure.code, failure.class()), (Code::SalesforceAuthRefused, Class::NeedsOperator));
    }
    let again = OrgClient::connect(org.credentials(&org.running.http_url), Options::default()).await;
    assert_eq!(again.unwrap_err().failure().code, Code::SalesforceAuthRefused);
}

#[tokio::test]
async fn a_mangled_page_is_a_coded_error_and_the_next_reading_of_it_is_whole() {
    let org = Org::start().await;
    let client = org.connect().await;
    let schema = lead_schema(&client).await;
    let job = completed_job(&client, &soql::select(&schema).unwrap()).await;
    let (_, next) = read_page(&client, &job, &schema, None, 200).await.unwrap();
    let second = next.expect("a second page");
    let (whole, _) = read_page(&client, &job, &schema, Some(&second), 200).await.unwrap();

    let faults = [
        (json!({ "kind": "short_page" }), Code::PageTruncated, Class::Retryable),
        (json!({ "kind": "malformed_csv" }), Code::CsvMalformed, Class::Terminal),
        (json!({ "kind": "non_utf8" }), Code::CsvNotUtf8, Class::Terminal),
        (json!({ "kind": "missing_column" }), Code::CsvColumnMismatch, Class::Terminal),
        (json!({ "kind": "oversized_field", "column": "Company" }), Code::CsvFieldTooLong, Class::Terminal),
        (json!({ "kind": "wrong_type", "column": "CreatedDate" }), Code::CsvTypeMismatch, Class::Terminal),
    ];
    for (fault, code, class) in faults {
        org.inject(fault.clone()).await;
        let failure = read_page(&client, &job, &schema, Some(&second), 200).await.unwrap_err().failure();
        assert_eq!((failure.code, failure.class()), (code, class), "{fault}: {failure}");
        let (again, _) = read_page(&client, &job, &schema, Some(&second), 200).await.unwrap();
        assert_eq!(again, whole, "{fault}");
    }

    // The cut can outrun the head of the answer, and then there is no page yet.
    org.inject(json!({ "kind": "dropped_connection" })).await;
    let failure = read_page(&client, &job, &schema, Some(&second), 200).await.unwrap_err().failure();
    assert!(matches!(failure.code, Code::PageTruncated | Code::SalesforceUnavailable), "{failure}");
    assert_eq!(failure.class(), Class::Retryable);
    assert_eq!(read_page(&client, &job, &schema, Some(&second), 200).await.unwrap().0, whole);
}

#[tokio::test]
async fn what_the_org_refuses_is_told_apart_by_what_helps_against_it() {
    let org = Org::start().await;
    let client = org.connect().await;
    for (kind, code, class) in [
        ("request_limit_exceeded", Code::SalesforceLimitExceeded, Class::Quota),
        ("concurrent_limit", Code::SalesforceBusy, Class::Retryable),
        ("service_unavailable", Code::SalesforceUnavailable, Class::Retryable),
        ("lost_response", Code::SalesforceUnavailable, Class::Retryable),
    ] {
        org.inject(json!({ "kind": kind })).await;
        let failure = client.limits().await.expect_err(kind).failure();
        assert_eq!((failure.code, failure.class()), (code, class), "{failure}");
        assert_eq!(failure.retry_after_seconds.is_some(), class == Class::Quota, "{failure}");
        client.limits().await.expect("the fault is over");
    }

    let code = |error: SalesforceError| error.failure().code;
    assert_eq!(code(client.describe("Nothing__c").await.unwrap_err()), Code::ObjectNotFound);
    assert_eq!(code(client.count("SELECT COUNT() FROM Nothing__c").await.unwrap_err()), Code::ObjectNotFound);
    let records = client.query("SELECT Id, Nope__c FROM Lead WHERE Email = 'ada@example.org'");
    let error = records.try_collect::<Vec<_>>().await.unwrap_err();
    assert!(matches!(&error, SalesforceError::InvalidField { field: Some(f), .. } if f == "Nope__c"), "{error}");
    let error = client.query("SELEKT ada@example.org").try_collect::<Vec<_>>().await.unwrap_err();
    assert!(matches!(error, SalesforceError::MalformedQuery { .. }), "{error}");
    assert!(!error.to_string().contains("ada@"));
    let missing = client.retrieve("Lead", "00Q000000000000AAA", &["Id"]).await.unwrap_err();
    assert_eq!(code(missing), Code::RecordNotFound);
    let stranger = Credentials { client_id: "3MVG9nobody".into(), ..org.credentials(&org.running.http_url) };
    assert_eq!(code(OrgClient::connect(stranger, Options::default()).await.unwrap_err()), Code::SalesforceAuthRefused);
}

#[tokio::test]
async fn a_bulk_job_can_be_aborted_deleted_and_found_again() {
    let org = Org::start().await;
    let client = org.connect().await;
    let aggregate = client.create_query_job("SELECT Status, COUNT(Id) FROM Lead GROUP BY Status").await.unwrap_err();
    assert_eq!(aggregate.failure().class(), Class::Terminal, "{aggregate}");

    org.inject(json!({ "kind": "slow_bulk_job", "delay_ms": 60_000 })).await;
    let slow = client.create_query_job("SELECT Id FROM Lead").await.unwrap();
    assert!(slow.id.starts_with("750") && slow.object.as_deref() == Some("Lead"), "{slow:?}");
    while client.query_job(&slow.id).await.unwrap().state != JobState::InProgress {}
    assert_eq!(slow.is_complete(), Ok(false));
    assert!(client.query_results_page(&slow.id, None, 10).await.is_err(), "there is nothing to read yet");
    assert!(client.list_query_jobs().await.unwrap().iter().any(|j| j.id == slow.id));
    client.abort_query_job(&slow.id).await.unwrap();
    let aborted = client.query_job(&slow.id).await.unwrap();
    assert_eq!(aborted.state, JobState::Aborted);
    assert!(aborted.state.has_ended() && aborted.is_complete().is_err());
    client.delete_query_job(&slow.id).await.unwrap();
    let gone = client.query_job(&slow.id).await.unwrap_err();
    assert!(matches!(gone, SalesforceError::NotFound { missing: Missing::Job, .. }), "{gone}");

    let done = completed_job(&client, "SELECT Id FROM Lead").await;
    let late = client.abort_query_job(&done.id).await.unwrap_err();
    assert!(matches!(late, SalesforceError::JobStateForbids { .. }), "{late}");

    org.inject(json!({ "kind": "failed_bulk_job", "message": "Unexpected exception: ada@example.org" })).await;
    let mut job = client.create_query_job("SELECT Id FROM Lead").await.unwrap();
    while !job.state.has_ended() {
        job = client.query_job(&job.id).await.unwrap();
    }
    let failure = job.is_complete().unwrap_err().failure();
    assert_eq!(failure.code, Code::BulkJobFailed);
    assert!(!failure.message.contains("ada@"), "{failure}");
}

#[tokio::test]
async fn written_scores_are_read_again_and_each_refused_record_says_why() {
    let org = Org::start().await;
    let client = org.connect().await;
    let leads: Vec<_> = client.query("SELECT Id FROM Lead LIMIT 3").try_collect().await.unwrap();
    let ids: Vec<String> = leads.iter().map(|r| r.id().expect("an id").to_owned()).collect();
    let score = |value: Json| -> Map<String, Json> { [("Leadline_Score__c".to_owned(), value)].into_iter().collect() };
    let update = |id: &str, value: f64| RecordUpdate { id: id.to_owned(), fields: score(json!(value)) };
    let read =
        async |id: &str| client.retrieve("Lead", id, &["Leadline_Score__c"]).await.unwrap().fields["Leadline_Score__c"].clone();

    org.inject(json!({ "kind": "row_lock", "match": { "id": ids[1] } })).await;
    let unknown = "00Q000000000000AAA";
    let updates = [update(&ids[0], 0.25), update(&ids[1], 0.5), update(unknown, 0.75)];
    let results = client.update_records("Lead", &updates, AllOrNone::No).await.unwrap();
    assert_eq!(results[0].outcome, Ok(()));
    assert!(matches!(results[1].outcome, Err(SalesforceError::RowLocked { .. })), "{results:?}");
    assert!(results[2].outcome.is_err());
    assert_eq!((read(&ids[0]).await, read(&ids[1]).await), (json!(0.25), Json::Null));

    let updates = [update(&ids[1], 0.5), update(unknown, 0.75)];
    let results = client.update_records("Lead", &updates, AllOrNone::Yes).await.unwrap();
    assert!(matches!(results[0].outcome, Err(SalesforceError::RolledBack { .. })), "{results:?}");
    assert_eq!(read(&ids[1]).await, Json::Null);

    client.update_record("Lead", &ids[2], &score(json!(0.875))).await.unwrap();
    assert_eq!(read(&ids[2]).await, json!(0.875));
    org.inject(json!({ "kind": "row_lock", "match": { "id": ids[2] } })).await;
    let locked = client.update_record("Lead", &ids[2], &score(json!(0.5))).await.unwrap_err();
    assert_eq!(locked.failure().code, Code::SalesforceBusy);
    let refused = client.update_record("Lead", &ids[2], &score(json!("ada@example.org"))).await.unwrap_err();
    assert_eq!(refused.failure().code, Code::WriteBackRefused, "{refused}");
    assert!(!refused.to_string().contains("ada@"));
    assert_eq!(read(&ids[2]).await, json!(0.875));

    let record = |key: &str, city: &str| -> Map<String, Json> {
        let fields =
            [("External_Id__c", json!(key)), ("LastName", json!("Upserted")), ("Company", json!("Acme")), ("City", json!(city))];
        fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    };
    let first = client.upsert_records("Lead", "External_Id__c", &[record("k-1", "Oslo")], AllOrNone::No).await.unwrap();
    let both = [record("k-1", "Bergen"), record("k-2", "Oslo")];
    let second = client.upsert_records("Lead", "External_Id__c", &both, AllOrNone::No).await.unwrap();
    assert_eq!([first[0].created, second[0].created, second[1].created], [Some(true), Some(false), Some(true)]);
    assert!(first[0].id.is_some() && first[0].id == second[0].id && second[0].id != second[1].id);

    let too_many: Vec<_> = (0..201).map(|_| update(&ids[0], 0.0)).collect();
    let error = client.update_records("Lead", &too_many, AllOrNone::No).await.unwrap_err();
    assert!(matches!(error, SalesforceError::InvalidRequest { .. }));
}

#[tokio::test]
async fn a_refused_callback_signature_is_not_mistaken_for_an_expired_session() {
    let org = Org::start().await;
    let client = org.connect().await;
    let headers = [("X-Leadline-Timestamp", "0"), ("X-Leadline-Signature", "v1=00")];
    let error = client.apex_rest_post("v1/salesforce/callbacks/model-ready", &headers, "{}").await.unwrap_err();
    assert!(matches!(error, SalesforceError::Refused { status: 401, .. }), "{error}");
    let nowhere = client.apex_rest_post("v1/nowhere", &[], "{}").await.unwrap_err();
    assert!(matches!(nowhere, SalesforceError::NotFound { .. }), "{nowhere}");
    assert!(client.apex_rest_post("../data/v60.0/limits", &[], "{}").await.is_err());
}

#[tokio::test]
async fn a_private_ca_is_trusted_only_when_it_is_named() {
    let org = Org::start().await;
    let credentials = || org.credentials(&org.running.https_url);
    let refused = OrgClient::connect(credentials(), Options::default()).await.unwrap_err();
    assert!(matches!(refused, SalesforceError::Transport { .. }), "{refused}");
    let ca = std::fs::read(&org.running.ca_pem).expect("the simulator's CA");
    let options = Options { extra_root_certificates_pem: Some(ca), ..Options::default() };
    let client = OrgClient::connect(credentials(), options).await.unwrap();
    assert!(client.count("SELECT COUNT() FROM Lead").await.unwrap() > 0);
}
