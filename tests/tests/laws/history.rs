//! What a run did, read from its history: activities with their roles, in the order in which they were scheduled.

use futures::StreamExt as _;
use leadline_codec::data_converter;
use leadline_domain::{OperationId, OperationKind};
use leadline_tests::scenario::Scenario;
use leadline_worker::replay::{RecordedRun, Replayer};
use leadline_workflows::envelope::ACCEPTANCE;
use serde_json::Value as Json;
use temporalio_client::UntypedWorkflow;
use temporalio_common::{
    data_converters::SerializationContextData,
    payload_visitor::decode_payloads,
    protos::temporal::api::{
        common::v1::Payload,
        history::v1::{History, HistoryEvent, history_event::Attributes},
    },
};

/// What an activity is in its saga; the saga says so in the activity's summary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    Step,
    StepWithoutUndo,
    Pivot,
    AfterPivot,
    Undo,
    /// Keeps the operation's row.
    Course,
}

impl Role {
    fn read(summary: Option<&Payload>) -> Self {
        match summary.and_then(json).as_ref().and_then(Json::as_str) {
            Some("step") => Self::Step,
            Some("step, nothing to undo") => Self::StepWithoutUndo,
            Some("pivot") => Self::Pivot,
            Some("after the pivot") => Self::AfterPivot,
            Some("undo") => Self::Undo,
            None => Self::Course,
            Some(other) => panic!("a summary that the laws do not know: {other}"),
        }
    }

    /// Whether a failure there is undone.
    pub fn is_undone(self) -> bool {
        matches!(self, Self::Step | Self::StepWithoutUndo | Self::Pivot)
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Activity {
    pub name: String,
    pub role: Role,
    /// The step's name in the ledger: for an undo, that of the step that it undoes.
    pub step: String,
}

async fn events(scenario: &Scenario, kind: OperationKind, id: &OperationId) -> Vec<HistoryEvent> {
    let handle = scenario.temporal.get_workflow_handle::<UntypedWorkflow>(scenario.reference(kind, id).workflow_id());
    let events: Vec<_> = handle.fetch_history(Default::default()).collect().await;
    events.into_iter().map(|event| event.expect("the server keeps the history")).collect()
}

/// What was scheduled, without repetitions of the same activity in a row: a retry of the saga is one visit.
pub async fn activities(scenario: &Scenario, kind: OperationKind, id: &OperationId) -> Vec<Activity> {
    let mut history = History { events: events(scenario, kind, id).await };
    let converter = data_converter(&scenario.keyring);
    decode_payloads(&mut history, converter.codec(), &SerializationContextData::None).await.expect("the keyring opens it");
    let mut seen: Vec<Activity> = history.events.iter().filter_map(activity).collect();
    seen.dedup();
    seen
}

/// Law 10: the history, and every prefix of it that ends where a workflow task was started, replays on today's code. Answers how many.
pub async fn replay(scenario: &Scenario, kind: OperationKind, id: &OperationId) -> usize {
    let history = History { events: events(scenario, kind, id).await };
    let run = RecordedRun::new(history).expect("the server's histories are whole");
    let replayer = Replayer::new().data_converter(data_converter(&scenario.keyring));
    let mut lengths: Vec<_> = run.prefixes().collect();
    lengths.push(run);
    for length in &lengths {
        replayer.replay(length).await.unwrap_or_else(|failure| panic!("law 10: {failure}"));
    }
    lengths.len()
}

fn activity(event: &HistoryEvent) -> Option<Activity> {
    let Some(Attributes::ActivityTaskScheduledEventAttributes(scheduled)) = &event.attributes else { return None };
    let input = scheduled.input.as_ref().and_then(|payloads| payloads.payloads.first()).and_then(json);
    let step = input.and_then(|input| input["step"].as_str().map(str::to_owned)).expect("a step's input names its step");
    let summary = event.user_metadata.as_ref().and_then(|metadata| metadata.summary.as_ref());
    let name = scheduled.activity_type.as_ref().expect("an activity has a type").name.clone();
    Some(Activity { name, role: Role::read(summary), step })
}

fn json(payload: &Payload) -> Option<Json> {
    serde_json::from_slice(&payload.data).ok()
}

/// Every step that any run of the operation has begun is undone if it has an undo, as the happy run says; in the reverse order, and the
/// acceptance last.
pub fn assert_undone_in_reverse(happy: &[Activity], seen: &[Activity], begun: Vec<String>) {
    let mut undone: Vec<&str> = seen.iter().filter(|a| a.role == Role::Undo).map(|a| a.step.as_str()).collect();
    // One that had to wait for a person is scheduled again.
    undone.dedup();
    let has_undo = |step: &str| happy.iter().any(|activity| activity.role == Role::Step && activity.step == step);
    let mut expected: Vec<&str> = begun.iter().map(String::as_str).filter(|step| has_undo(step)).collect();
    expected.reverse();
    expected.extend(undone.contains(&ACCEPTANCE).then_some(ACCEPTANCE));
    assert_eq!(undone, expected, "each step is undone, newest first");
}
