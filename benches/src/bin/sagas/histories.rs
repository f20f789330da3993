//! What the server has recorded of runs that have ended.

use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, ensure};
use leadline_domain::OperationRef;
use prost::Message as _;
use temporalio_client::{Client, UntypedWorkflow};
use temporalio_common::protos::temporal::api::history::v1::{HistoryEvent, history_event::Attributes};

/// One run's history.
#[derive(Debug, Clone, PartialEq)]
pub struct Recorded {
    pub events: usize,
    /// As the server stores it.
    pub bytes: usize,
    /// From scheduled to completed, of each activity.
    pub activities: Vec<Duration>,
}

impl Recorded {
    pub async fn of(client: &Client, operation: &OperationRef) -> Result<Self> {
        let run = client.get_workflow_handle::<UntypedWorkflow>(operation.workflow_id());
        let events = run.fetch_history(Default::default()).into_events().await?;
        let bytes = events.iter().map(HistoryEvent::encoded_len).sum();
        Ok(Self { events: events.len(), bytes, activities: activities(&events)? })
    }
}

fn activities(events: &[HistoryEvent]) -> Result<Vec<Duration>> {
    let mut took = Vec::new();
    for event in events {
        ensure!(
            !matches!(
                &event.attributes,
                Some(Attributes::ActivityTaskFailedEventAttributes(_) | Attributes::ActivityTaskTimedOutEventAttributes(_))
            ),
            "an activity has failed: {event:?}"
        );
        if let Some(Attributes::ActivityTaskCompletedEventAttributes(completed)) = &event.attributes {
            let scheduled = events.iter().find(|earlier| earlier.event_id == completed.scheduled_event_id);
            let scheduled = scheduled.context("an activity was completed that was never scheduled")?;
            took.push(time(event)?.duration_since(time(scheduled)?).unwrap_or_default());
        }
    }
    Ok(took)
}

fn time(event: &HistoryEvent) -> Result<SystemTime> {
    let time = event.event_time.context("an event without a time")?;
    SystemTime::try_from(time).context("an event's time")
}
