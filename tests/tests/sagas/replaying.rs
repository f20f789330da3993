//! Runs of earlier builds go on with this one: every golden history replays, and so does every prefix of it.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use futures::{FutureExt as _, future::BoxFuture};
use leadline_domain::{
    OperationKind,
    operation::{PromoteModel, SagaInput},
};
use leadline_worker::replay::{Reason, RecordedRun, Replayer};
use leadline_workflows::{
    Limits,
    parking::{Desk, SagaWorkflow},
    promote_model::PromoteSteps,
    saga,
};
use serde_json::{Value as Json, json};
use temporalio_common::{
    data_converters::{
        DataConverter, DefaultFailureConverter, PayloadCodec, PayloadConversionError, PayloadConverter, SerializationContextData,
    },
    protos::temporal::api::{
        common::v1::Payload,
        enums::v1::EventType,
        history::v1::{History, HistoryEvent, history_event::Attributes},
    },
};
use temporalio_macros::{workflow, workflow_methods};
use temporalio_sdk::{WorkflowContext, WorkflowResult};

use crate::golden::{self, Golden};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_golden_history_and_every_prefix_of_it_replays_and_a_changed_saga_does_not() {
    let golden = golden::all();
    let recorded: BTreeSet<&str> = golden.iter().map(|golden| golden.workflow.as_str()).collect();
    assert_eq!(recorded, OperationKind::ALL.iter().map(|kind| kind.as_str()).collect(), "each workflow has golden histories");

    let replayer = Replayer::new();
    let began = Instant::now();
    let mut replays = 0;
    for Golden { workflow, scenario, run } in &golden {
        assert_eq!(&run.name.workflow_type, workflow, "{scenario} lies in its workflow's folder");
        for prefix in run.prefixes().chain([run.clone()]) {
            let length = prefix.events().len();
            replayer.replay(&prefix).await.unwrap_or_else(|error| panic!("{scenario}, its first {length} events: {error}"));
            replays += 1;
        }
    }
    println!("{replays} replays of {} histories, {:?} each", golden.len(), began.elapsed() / replays);

    let changed = Replayer::of(|options| options.register_workflow::<UncheckedPromotion>().map(drop)).unwrap();
    let run = golden::one(OperationKind::PromoteModel, "succeeded");
    let failure = changed.replay(&run).await.expect_err("a promotion that checks nothing is another one");
    assert_eq!((failure.reason, &failure.run), (Reason::Nondeterminism, &run.name), "{failure}");
    let check = scheduled(&run, "check_promotion");
    assert!((check - 3..=check).contains(&failure.event_id), "its task begins right before event {check}: {failure}");
    assert!(failure.to_string().contains(&run.name.workflow_id), "{failure}");
    // The step that was left out is the last that this prefix shows, and what a last task does is not compared.
    let prefix = run.prefixes().filter(|prefix| prefix.events().len() < check as usize).last().unwrap();
    changed.replay(&prefix).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_that_is_still_open_is_compared_up_to_its_last_event() {
    let run = golden::one(OperationKind::PromoteModel, "succeeded");
    let changed = Replayer::of(|options| options.register_workflow::<UncheckedPromotion>().map(drop)).unwrap();
    let today = Replayer::new();
    let check = scheduled(&run, "check_promotion");
    for length in 1..run.events().len() {
        let open = history(&run, length);
        for recorded in [terminated(open.clone()), open] {
            let recorded = RecordedRun::new(recorded).unwrap();
            today.replay(&recorded).await.unwrap_or_else(|error| panic!("{length} events: {error}"));
            let replayed = changed.replay(&recorded).await;
            assert_eq!(replayed.is_err(), length >= check as usize, "{length} events, the check is at {check}: {replayed:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_replayed_says_why() {
    let run = golden::one(OperationKind::ExportDataset, "succeeded");
    let only_promotions = Replayer::of(|options| options.register_workflow::<UncheckedPromotion>().map(drop)).unwrap();
    let failure = only_promotions.replay(&run).await.expect_err("nobody knows exports");
    assert_eq!((failure.reason, &failure.run), (Reason::TaskFailed, &run.name), "{failure}");
    assert!(failure.message.contains("export_dataset"), "{failure}");

    let run = golden::one(OperationKind::PromoteModel, "succeeded");
    let spinning = Replayer::of(|options| options.register_workflow::<SpinningPromotion>().map(drop)).unwrap();
    let limit = Duration::from_millis(300);
    let began = Instant::now();
    let failure = spinning.time_limit(limit).replay(&run).await.expect_err("it never ends");
    assert_eq!((failure.reason, &failure.run), (Reason::TimedOut, &run.name), "{failure}");
    assert!(began.elapsed() < limit * 10, "{:?}", began.elapsed());

    let panicking = Replayer::of(|options| options.register_workflow::<PanickingPromotion>().map(drop)).unwrap();
    let failure = panicking.replay(&run).await.expect_err("it panics");
    assert_eq!((failure.reason, &failure.run), (Reason::TaskFailed, &run.name), "{failure}");
    assert!(failure.message.contains("no promotions today"), "{failure}");

    let mut gap = history(&run, run.events().len());
    gap.events.remove(4);
    assert_eq!(RecordedRun::new(gap).unwrap_err().to_string(), "event 5 is missing: event 6 stands in its place");
    assert!(RecordedRun::new(history(&run, 0)).is_err() && RecordedRun::from_json(b"{\"events\": 1}").is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_encoded_history_replays_with_the_converter_that_encoded_it() {
    let mut encoded = golden::one(OperationKind::PromoteModel, "succeeded").to_json();
    encode(&mut encoded);
    let run = RecordedRun::from_json(encoded.to_string().as_bytes()).unwrap();
    let unread = Replayer::new().replay(&run).await.expect_err("nobody can read its input");
    assert_eq!(unread.reason, Reason::TaskFailed, "{unread}");
    let converter = DataConverter::new(PayloadConverter::default(), DefaultFailureConverter::default(), Backwards);
    Replayer::new().data_converter(converter).replay(&run).await.unwrap();
}

#[test]
fn a_history_says_whether_it_takes_a_keyring() {
    let plain = golden::one(OperationKind::PromoteModel, "succeeded");
    assert!(!plain.is_encrypted());
    let mut json = plain.to_json();
    let payload = &mut json["events"][0]["workflowExecutionStartedEventAttributes"]["input"]["payloads"][0];
    payload["metadata"]["encoding"] = json!(BASE64.encode("binary/encrypted"));
    assert!(RecordedRun::from_json(json.to_string().as_bytes()).unwrap().is_encrypted());
}

/// Encodes every payload but those of search attributes, which no codec may touch.
fn encode(json: &mut Json) {
    match json {
        Json::Object(fields) if fields.contains_key("metadata") && fields.contains_key("data") => {
            let mut data = BASE64.decode(fields["data"].as_str().unwrap()).unwrap();
            data.reverse();
            fields["data"] = json!(BASE64.encode(data));
            fields["metadata"][BACKWARDS] = json!(BASE64.encode("yes"));
        }
        Json::Object(fields) => {
            fields.iter_mut().filter(|(name, _)| *name != "searchAttributes").for_each(|(_, field)| encode(field));
        }
        Json::Array(entries) => entries.iter_mut().for_each(encode),
        _ => {}
    }
}

const BACKWARDS: &str = "backwards";

/// A codec that turns the bytes of a payload around.
struct Backwards;

impl PayloadCodec for Backwards {
    fn encode(&self, _: &SerializationContextData, mut payloads: Vec<Payload>) -> Coded {
        for payload in &mut payloads {
            payload.data.reverse();
            payload.metadata.insert(BACKWARDS.to_owned(), b"yes".to_vec());
        }
        async { Ok(payloads) }.boxed()
    }

    fn decode(&self, _: &SerializationContextData, mut payloads: Vec<Payload>) -> Coded {
        for payload in &mut payloads {
            if payload.metadata.remove(BACKWARDS).is_some() {
                payload.data.reverse();
            }
        }
        async { Ok(payloads) }.boxed()
    }
}

type Coded = BoxFuture<'static, Result<Vec<Payload>, PayloadConversionError>>;

fn history(run: &RecordedRun, length: usize) -> History {
    History { events: run.events()[..length].to_vec() }
}

/// The same run, ended by hand.
fn terminated(mut history: History) -> History {
    let last = history.events.last().expect("a run has events");
    let terminated = Attributes::WorkflowExecutionTerminatedEventAttributes(Default::default());
    history.events.push(HistoryEvent {
        event_id: last.event_id + 1,
        event_time: last.event_time,
        event_type: EventType::WorkflowExecutionTerminated.into(),
        attributes: Some(terminated),
        ..Default::default()
    });
    history
}

/// The event that scheduled this activity.
fn scheduled(run: &RecordedRun, activity: &str) -> i64 {
    let scheduled = run.events().iter().find(|event| format!("{:?}", event.attributes).contains(&format!("name: {activity:?}")));
    scheduled.unwrap_or_else(|| panic!("{} schedules {activity}", run.name)).event_id
}

/// A promotion that activates whatever it is given.
#[workflow]
#[derive(Default)]
pub struct UncheckedPromotion {
    desk: Desk,
}

impl SagaWorkflow for UncheckedPromotion {
    fn desk(&self) -> &Desk {
        &self.desk
    }

    fn desk_mut(&mut self) -> &mut Desk {
        &mut self.desk
    }
}

#[workflow_methods]
impl UncheckedPromotion {
    #[run(name = "promote_model")]
    pub async fn run(ctx: &mut WorkflowContext<Self>, input: SagaInput<PromoteModel>) -> WorkflowResult<Json> {
        let story = async |saga: &mut saga::Saga<Self>, promote: PromoteModel| {
            let (activated, mut forward) = saga.pivot(PromoteSteps::activate_model, promote).await?;
            forward.optional_step(PromoteSteps::notify_org, PromoteSteps::forgo_notice, activated.clone()).await;
            Ok(json!(activated))
        };
        saga::run(ctx, Limits::default(), input, story).await
    }
}

/// A promotion that never gives its thread back.
#[workflow]
#[derive(Default)]
struct SpinningPromotion;

#[workflow_methods]
impl SpinningPromotion {
    #[run(name = "promote_model")]
    pub async fn run(_: &mut WorkflowContext<Self>, _: SagaInput<PromoteModel>) -> WorkflowResult<Json> {
        loop {
            std::thread::park();
        }
    }
}

/// A promotion with a defect.
#[workflow]
#[derive(Default)]
struct PanickingPromotion;

#[workflow_methods]
impl PanickingPromotion {
    #[run(name = "promote_model")]
    pub async fn run(_: &mut WorkflowContext<Self>, _: SagaInput<PromoteModel>) -> WorkflowResult<Json> {
        panic!("no promotions today")
    }
}
