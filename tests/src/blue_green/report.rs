//! What came of a deployment.

use std::{collections::BTreeMap, fmt, time::Duration};

use chrono::{DateTime, Utc};
use leadline_worker::replay::RecordedRun;
use serde_json::Value as Json;
use temporalio_common::protos::temporal::api::{
    enums::v1::EventType,
    history::v1::{HistoryEvent, history_event::Attributes},
};

use super::{BLUE, GREEN, Switch};
use crate::versions::builds_in;

#[derive(Debug, Default)]
pub struct Report {
    started: usize,
    /// Runs by the build that they ran on.
    on: BTreeMap<String, usize>,
    /// Runs that began while the builds were being switched.
    amid: usize,
    /// Failed workflow tasks by their cause.
    failed_tasks: BTreeMap<&'static str, usize>,
    pub(super) drained_within: Option<Duration>,
    /// What `leadline replay` says of the runs of the product's own build, and how long it took.
    pub(super) replayed: Option<String>,
    pub(super) replayed_within: Option<Duration>,
    /// What it says first of those of the changed build.
    pub(super) not_replayed: Option<String>,
    pub violations: Vec<String>,
}

impl Report {
    pub(super) fn expect(&mut self, holds: bool, otherwise: impl FnOnce() -> String) {
        if !holds {
            self.violations.push(otherwise());
        }
    }

    /// How many runs ran on this build alone.
    pub(super) fn on(&self, build: &str) -> usize {
        self.on.get(build).copied().unwrap_or_default()
    }

    pub(super) fn add(&mut self, operation: &Json, run: Option<&RecordedRun>, switch: Option<Switch>) {
        let id = operation["operationId"].as_str().unwrap_or_default();
        if operation["state"] != "SUCCEEDED" {
            self.violations.push(format!("{id} is {}: {}", operation["state"], operation["error"]));
        }
        let Some(run) = run else {
            self.violations.push(format!("{id} has no run"));
            return;
        };
        for event in run.events() {
            if let Some(Attributes::WorkflowTaskFailedEventAttributes(failed)) = &event.attributes {
                *self.failed_tasks.entry(failed.cause().as_str_name()).or_default() += 1;
                let message = failed.failure.as_ref().map(|failure| failure.message.as_str()).unwrap_or_default();
                self.violations.push(format!("{}: event {}: {message}", run.name, event.event_id));
            }
        }
        let builds = builds_in(run);
        *self.on.entry(builds.join(" and ")).or_default() += 1;
        let (Some(switch), Some(began)) = (switch, first_task(run)) else { return };
        let expected: &[&str] = match began {
            early if early < switch.began => &[BLUE],
            late if late > switch.ended => &[GREEN],
            _ => &[BLUE, GREEN],
        };
        self.amid += usize::from(expected.len() > 1);
        if builds.len() != 1 || !expected.contains(&builds[0].as_str()) {
            self.violations.push(format!("{} began at {began} and ran on {builds:?}", run.name));
        }
    }

    pub(super) fn close(mut self, started: usize, pinned: bool) -> Self {
        self.started = started;
        for build in [BLUE, GREEN] {
            if pinned && !self.on.contains_key(build) {
                self.violations.push(format!("no run on {build}: nothing is shown"));
            }
        }
        self
    }
}

/// When the run's first workflow task was started, which decides where it belongs: it may have waited for a worker since its start.
fn first_task(run: &RecordedRun) -> Option<DateTime<Utc>> {
    run.events().iter().find(|event| event.event_type() == EventType::WorkflowTaskStarted).and_then(time)
}

fn time(event: &HistoryEvent) -> Option<DateTime<Utc>> {
    let time = event.event_time?;
    DateTime::from_timestamp(time.seconds, u32::try_from(time.nanos).ok()?)
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "started                        {}", self.started)?;
        for (builds, runs) in &self.on {
            let builds = if builds.is_empty() { "no build" } else { builds };
            writeln!(f, "{:<30} {runs}", format!("ran on {builds}"))?;
        }
        writeln!(f, "began amid the switch          {}", self.amid)?;
        writeln!(f, "failed workflow tasks          {}", self.failed_tasks.values().sum::<usize>())?;
        for (cause, tasks) in &self.failed_tasks {
            writeln!(f, "  {cause}: {tasks}")?;
        }
        if let Some(within) = self.drained_within {
            writeln!(f, "{BLUE} drained within            {:.1} s", within.as_secs_f64())?;
        }
        if let (Some(replayed), Some(within)) = (&self.replayed, self.replayed_within) {
            writeln!(f, "replay of {BLUE}'s runs          {replayed} (with listing and fetching {:.1} s)", within.as_secs_f64())?;
        }
        if let Some(said) = &self.not_replayed {
            writeln!(f, "replay of {GREEN}'s runs         {said}")?;
        }
        writeln!(f, "errors                         {}", self.violations.len())?;
        self.violations.iter().take(20).try_for_each(|violation| writeln!(f, "  {violation}"))
    }
}
