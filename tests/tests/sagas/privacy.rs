//! No history tells anything of a person, neither as the server keeps it nor as an operator reads it; and what it tells, only
//! leadline's own keys tell.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use futures::{FutureExt as _, StreamExt as _, future::BoxFuture};
use leadline_codec::{KEY_ID, SCOPE, TenantCodec, data_converter};
use leadline_domain::{Code, ConsentGrant, OperationId, OperationKind, OperationState, Verb};
use leadline_salesforce::{AllOrNone, OrgClient, RecordUpdate};
use prost::Message;
use serde_json::{Map, json};
use temporalio_client::Client;
use temporalio_common::{
    data_converters::{PayloadConversionError, SerializationContextData},
    payload_visitor::{AsyncPayloadVisitor, PayloadField, PayloadFieldData, PayloadVisitable, decode_payloads},
    protos::temporal::api::{
        common::v1::{Payload, WorkflowExecution},
        history::v1::History,
        workflow::v1::{PendingActivityInfo, WorkflowExecutionInfo},
        workflowservice::v1::{
            DescribeWorkflowExecutionRequest, DescribeWorkflowExecutionResponse, GetWorkflowExecutionHistoryRequest,
            ListWorkflowExecutionsRequest,
        },
    },
};

use leadline_tests::scenario::Scenario;

use crate::exporting::lead_ids;

const EXPORT: OperationKind = OperationKind::ExportDataset;
const FIRST_NAME: &str = "Zebedee";
const LAST_NAME: &str = "Quillfeather";
const MAILBOX: &str = "quill.feather";
const PHONE: &str = "+44 7700 900461";
const PLANTED: [&str; 4] = [FIRST_NAME, LAST_NAME, MAILBOX, PHONE];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_of_a_person_is_in_any_history_encrypted_or_decoded() {
    let scenario = Scenario::onboarded(6000).await;
    let org = scenario.org().await;
    let leads = plant(&org).await;
    let mut read = Reading::new(&scenario);

    learn_and_predict(&scenario, &leads).await;
    fail_on_rows_and_messages(&scenario).await;
    fail_in_mid_page(&scenario, &mut read).await;
    let other = Scenario::new(1).await;
    other.inject(&json!({ "kind": "revoked_user" })).await;
    let refused = other.onboard("refused").await;
    other.parked(&refused, Code::SalesforceAuthRefused).await;
    other
        .decide(OperationKind::OnboardTenant, &refused, Verb::Abandon, json!({ "reason": "another key is needed" }))
        .await
        .unwrap();
    other.failed(&refused, Code::OperationAbandoned).await;

    read.everything().await;
    read.assert_nothing_planted();
    assert_eq!(read.plain, BTreeSet::new(), "only search attributes and the API's trace context are plain");
    for tenant in [&scenario.tenant, &other.tenant] {
        assert!(read.scopes.contains(tenant.as_str()), "{:?}", read.scopes);
    }
    // What an activity is in its saga is the same word for every tenant, and what an operator types knows of no tenant.
    let nobodys = ["temporal.api.sdk.v1.UserMetadata.summary", "temporal.api.update.v1.Input.args"];
    assert_eq!(read.unstamped, BTreeSet::from(nobodys));
    assert!(read.decoded > 300 && read.failures > 15, "{} payloads, {} failures", read.decoded, read.failures);
    read.assert_no_key_opens_anothers().await;
    other.end().await;
    scenario.end().await;
}

/// Gives every lead of the org the planted values, where it has values at all: what a model learns from them stays.
async fn plant(org: &OrgClient) -> Vec<String> {
    let rows: Vec<_> = org.query("SELECT Id, Email, Phone, IsConverted FROM Lead").map(|row| row.unwrap()).collect().await;
    let updates: Vec<RecordUpdate> = rows
        .iter()
        .enumerate()
        .map(|(n, row)| {
            let mut fields = Map::from_iter([
                ("FirstName".to_owned(), json!(FIRST_NAME)),
                ("LastName".to_owned(), json!(format!("{LAST_NAME}{n}"))),
            ]);
            if let Some((_, host)) = row.fields["Email"].as_str().and_then(|email| email.split_once('@')) {
                fields.insert("Email".to_owned(), json!(format!("{MAILBOX}{n}@{host}")));
            }
            if row.fields["Phone"].is_string() {
                fields.insert("Phone".to_owned(), json!(PHONE));
            }
            RecordUpdate { id: row.id().unwrap().to_owned(), fields }
        })
        .collect();
    for chunk in updates.chunks(200) {
        let results = org.update_records("Lead", chunk, AllOrNone::Yes).await.unwrap();
        assert!(results.iter().all(|result| result.outcome.is_ok()), "{:?}", results[0]);
    }
    assert!(lead_ids(org).await.len() == updates.len());
    rows.iter().filter(|row| row.fields["IsConverted"] == false).map(|row| row.id().unwrap().to_owned()).collect()
}

/// The whole way of a model, and predictions that succeed, are refused and are called back late.
async fn learn_and_predict(scenario: &Scenario, leads: &[String]) {
    let trained = scenario.train().await;
    let ended = scenario.ended(&trained).await;
    assert_eq!(ended.state, OperationState::Succeeded, "{ended:?}");
    let promoted = scenario.ended(&scenario.promote(&trained.model()).await).await;
    assert_eq!(promoted.state, OperationState::Succeeded, "{promoted:?}");

    scenario.inject(&json!({ "kind": "service_unavailable", "match": { "path": "prediction-complete" } })).await;
    let sent = json!({ "FirstName": FIRST_NAME, "LastName": LAST_NAME, "Phone": PHONE });
    let written = scenario.predict_with(&leads[0], true, &sent).await;
    let ended = scenario.ended(&written).await;
    assert_eq!((ended.state, ended.result.unwrap()["written_back"].as_bool()), (OperationState::Succeeded, Some(true)));

    let wrong = json!({ "NumberOfEmployees": format!("{FIRST_NAME} {LAST_NAME}") });
    let refused = scenario.predict_with(&leads[1], true, &wrong).await;
    scenario.failed(&refused, Code::FieldTypeMismatch).await;
    let unknown = json!({ format!("{MAILBOX}@mailbox.example"): 1 });
    let refused = scenario.predict_with(&leads[1], true, &unknown).await;
    scenario.failed(&refused, Code::UnknownField).await;

    let lost = json!({ "kind": "lost_response", "match": { "path": &leads[2], "method": "PATCH" } });
    scenario.inject(&lost).await;
    let repeated = scenario.predict(&leads[2], true).await;
    assert_eq!(scenario.ended(&repeated).await.state, OperationState::Succeeded);
    scenario.consent(ConsentGrant { allow_write_back: false, ..ConsentGrant::ALL }).await;
    let forbidden = scenario.predict(&leads[3], true).await;
    scenario.failed(&forbidden, Code::ConsentWithdrawn).await;
    scenario.consent(ConsentGrant::ALL).await;
    scenario.clear_faults().await;
}

/// Every row holds planted values, so each of these failures is about one; and the org itself names a person in a message.
async fn fail_on_rows_and_messages(scenario: &Scenario) {
    let message = format!("{FIRST_NAME} {LAST_NAME} <{MAILBOX}@mailbox.example> has locked the job");
    let cases = [
        (json!({ "kind": "malformed_csv", "nth": 2 }), Code::CsvMalformed),
        (json!({ "kind": "non_utf8" }), Code::CsvNotUtf8),
        (json!({ "kind": "oversized_field", "column": "LastName" }), Code::CsvFieldTooLong),
        (json!({ "kind": "missing_column", "column": "Email" }), Code::CsvColumnMismatch),
        (json!({ "kind": "wrong_type" }), Code::CsvTypeMismatch),
        (json!({ "kind": "failed_bulk_job", "message": message }), Code::BulkJobFailed),
    ];
    for (fault, code) in cases {
        scenario.inject(&fault).await;
        scenario.failed(&scenario.export("Lead").await, code).await;
        scenario.clear_faults().await;
    }
}

/// What an activity has said of its progress; the first heartbeats say nothing.
fn heartbeat(activity: &PendingActivityInfo) -> Option<&Payload> {
    activity.heartbeat_details.as_ref()?.payloads.first().filter(|said| said.data.len() > b"null".len())
}

/// An export that is between two attempts: its heartbeats, and why the last attempt failed, are the server's, and not yet history.
async fn fail_in_mid_page(scenario: &Scenario, read: &mut Reading<'_>) {
    let slow = json!({ "kind": "latency", "delay_ms": 60_000, "match": { "path": "/results" }, "nth": 3 });
    scenario.inject(&slow).await;
    let id = scenario.export("Lead").await;
    let beating = read.pending(&id, |activity| heartbeat(activity).is_some()).await;
    assert_eq!(TenantCodec::tenant(heartbeat(&beating).unwrap()).as_ref(), Some(&scenario.tenant));
    scenario.cancel(EXPORT, &id).await;
    assert_eq!(scenario.ended(&id).await.state, OperationState::Cancelled);
    scenario.clear_faults().await;

    let down = json!({ "kind": "service_unavailable", "match": { "path": "/results" }, "nth": 3, "count": null });
    scenario.inject(&down).await;
    let id = scenario.export("Lead").await;
    let failing = read.pending(&id, |activity| activity.last_failure.is_some()).await;
    let failure = failing.last_failure.as_ref().unwrap();
    assert_eq!(failure.message, "SALESFORCE_UNAVAILABLE");
    let hidden = failure.encoded_attributes.as_ref().expect("the message, encrypted");
    assert_eq!(TenantCodec::tenant(hidden).as_ref(), Some(&scenario.tenant));
    scenario.cancel(EXPORT, &id).await;
    assert_eq!(scenario.ended(&id).await.state, OperationState::Cancelled);
    scenario.clear_faults().await;
}

/// What was read of the server: bytes to look through, and what the payloads in them were.
struct Reading<'s> {
    scenario: &'s Scenario,
    client: Client,
    /// What was read, by where: raw, and decoded.
    raw: Vec<(String, Vec<u8>)>,
    opened: Vec<(String, Vec<u8>)>,
    /// Where a payload is not encrypted, but for what must not be.
    plain: BTreeSet<&'static str>,
    /// Where a payload names no tenant.
    unstamped: BTreeSet<&'static str>,
    scopes: BTreeSet<String>,
    samples: BTreeMap<String, Payload>,
    decoded: usize,
    failures: usize,
}

impl<'s> Reading<'s> {
    fn new(scenario: &'s Scenario) -> Self {
        Self {
            scenario,
            client: scenario.temporal.clone(),
            raw: Vec::new(),
            opened: Vec::new(),
            plain: BTreeSet::new(),
            unstamped: BTreeSet::new(),
            scopes: BTreeSet::new(),
            samples: BTreeMap::new(),
            decoded: 0,
            failures: 0,
        }
    }

    /// Waits for a pending activity of the export that is as wanted, and reads it.
    async fn pending(&mut self, id: &OperationId, wanted: impl Fn(&PendingActivityInfo) -> bool) -> PendingActivityInfo {
        let workflow = self.scenario.reference(EXPORT, id).workflow_id();
        for _ in 0..600 {
            let mut described = self.describe(&workflow, "").await;
            if let Some(found) = described.pending_activities.iter().find(|activity| wanted(activity)).cloned() {
                self.take(format!("pending activities of {workflow}"), &mut described).await;
                return found;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("{workflow} never had the pending activity");
    }

    /// Every run of the namespace: its history, its description and its line in the list.
    async fn everything(&mut self) {
        for mut listed in self.runs().await {
            let execution = listed.execution.clone().unwrap();
            self.take(format!("the list's {}", execution.workflow_id), &mut listed).await;
            let mut described = self.describe(&execution.workflow_id, &execution.run_id).await;
            self.take(format!("description of {}", execution.workflow_id), &mut described).await;
            let mut history = self.history(&execution).await;
            self.take(format!("history of {}", execution.workflow_id), &mut history).await;
        }
    }

    async fn runs(&self) -> Vec<WorkflowExecutionInfo> {
        // The visibility store follows; what has just ended is there within a moment.
        tokio::time::sleep(Duration::from_secs(2)).await;
        let mut service = self.client.connection().workflow_service();
        let (mut runs, mut next_page_token) = (Vec::new(), Vec::new());
        loop {
            let request =
                ListWorkflowExecutionsRequest { namespace: "default".to_owned(), next_page_token, ..Default::default() };
            let page = service.list_workflow_executions(tonic::Request::new(request)).await.unwrap().into_inner();
            runs.extend(page.executions);
            if page.next_page_token.is_empty() {
                return runs;
            }
            next_page_token = page.next_page_token;
        }
    }

    async fn describe(&self, workflow_id: &str, run_id: &str) -> DescribeWorkflowExecutionResponse {
        let execution = Some(WorkflowExecution { workflow_id: workflow_id.to_owned(), run_id: run_id.to_owned() });
        let request = DescribeWorkflowExecutionRequest { namespace: "default".to_owned(), execution };
        let mut service = self.client.connection().workflow_service();
        service.describe_workflow_execution(tonic::Request::new(request)).await.unwrap().into_inner()
    }

    async fn history(&self, execution: &WorkflowExecution) -> History {
        let mut service = self.client.connection().workflow_service();
        let (mut history, mut next_page_token) = (History::default(), Vec::new());
        loop {
            let request = GetWorkflowExecutionHistoryRequest {
                namespace: "default".to_owned(),
                execution: Some(execution.clone()),
                next_page_token,
                ..Default::default()
            };
            let page = service.get_workflow_execution_history(tonic::Request::new(request)).await.unwrap().into_inner();
            history.events.extend(page.history.unwrap_or_default().events);
            if page.next_page_token.is_empty() {
                return history;
            }
            next_page_token = page.next_page_token;
        }
    }

    /// Keeps a message as it came and as it decodes.
    async fn take<M: Message + PayloadVisitable>(&mut self, what: String, message: &mut M) {
        self.raw.push((what.clone(), message.encode_to_vec()));
        message.visit_payloads_mut(self).await.unwrap();
        let converter = data_converter(&self.scenario.keyring);
        decode_payloads(message, converter.codec(), &SerializationContextData::None).await.unwrap();
        self.opened.push((what, message.encode_to_vec()));
    }

    fn assert_nothing_planted(&self) {
        for (what, bytes) in self.raw.iter().chain(&self.opened) {
            for planted in PLANTED {
                assert!(!contains(bytes, planted), "{planted} is in the {what}");
            }
        }
        // That decoding shows anything at all: each input names its operation, and no raw history does so.
        let told = |read: &[(String, Vec<u8>)]| read.iter().filter(|(_, bytes)| contains(bytes, r#"{"operation":{"#)).count();
        assert_eq!(told(&self.raw), 0);
        assert!(told(&self.opened) > 10);
    }

    /// A payload under another tenant's name does not open, not with the same keyring either.
    async fn assert_no_key_opens_anothers(&self) {
        let codec = TenantCodec::new(&self.scenario.keyring);
        let mine = self.samples[self.scenario.tenant.as_str()].clone();
        assert_eq!(mine.metadata[KEY_ID], self.scenario.keyring.current_key_id().as_bytes());
        codec.open(mine.clone()).unwrap();
        for other in self.scopes.iter().filter(|scope| *scope != self.scenario.tenant.as_str()) {
            let mut relabelled = mine.clone();
            relabelled.metadata.insert(SCOPE.to_owned(), other.clone().into_bytes());
            codec.open(relabelled).unwrap_err();
        }
    }

    fn look_at(&mut self, path: &'static str, payload: &Payload) {
        let Some(scope) = payload.metadata.get(SCOPE).map(|scope| String::from_utf8(scope.clone()).unwrap()) else {
            // The server's own words for the cancel of an activity that waits for its next attempt.
            let servers = payload.data == br#""ACTIVITY_ID_NOT_STARTED""#;
            let says_nothing = payload.data.is_empty() || payload.data == b"null";
            if !servers && !says_nothing && !path.contains("SearchAttributes") && !path.contains("Header") {
                self.plain.insert(path);
            }
            return;
        };
        assert_eq!(payload.metadata["encoding"], b"binary/encrypted");
        self.decoded += 1;
        self.failures += usize::from(path.contains("Failure.encoded_attributes"));
        if scope == "platform" {
            self.unstamped.insert(path);
        }
        self.samples.entry(scope.clone()).or_insert_with(|| payload.clone());
        self.scopes.insert(scope);
    }
}

impl AsyncPayloadVisitor for Reading<'_> {
    fn visit<'a>(&'a mut self, field: PayloadField<'a>) -> BoxFuture<'a, Result<(), PayloadConversionError>> {
        let payloads = match field.data {
            PayloadFieldData::Single(payload) => std::slice::from_mut(payload),
            PayloadFieldData::Repeated(payloads) => payloads,
            PayloadFieldData::Payloads(payloads) => &mut payloads.payloads,
        };
        payloads.iter().for_each(|payload| self.look_at(field.path, payload));
        futures::future::ready(Ok(())).boxed()
    }
}

fn contains(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window.eq_ignore_ascii_case(text.as_bytes()))
}
