//! What a replay prints: a bar and what does not replay for people, one JSON object for each history for programs.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use leadline_worker::replay::{Reason, ReplayFailure};
use serde_json::{Map, Value, json};

use super::{Found, History};
use crate::output;

pub struct Report {
    json: bool,
    bar: ProgressBar,
    replayed: usize,
    failed: usize,
    vanished: usize,
    began: Instant,
    last: Instant,
}

/// What became of one history.
enum Verdict {
    Replayed { events: usize },
    Failed { event_id: Option<i64>, reason: Reason, message: String },
    Vanished,
}

impl Report {
    pub fn new(json: bool, histories: usize) -> Self {
        let style = ProgressStyle::with_template("{spinner} {bar:30} {human_pos}/{human_len} {msg} {elapsed}");
        let bar = if json { ProgressBar::hidden() } else { ProgressBar::new(histories as u64) };
        bar.set_style(style.expect("the template is a literal"));
        let now = Instant::now();
        Self { json, bar, replayed: 0, failed: 0, vanished: 0, began: now, last: now }
    }

    /// Counts and prints a history with what its replay, if there was one, said.
    pub fn add(&mut self, found: &Found, replayed: Option<Result<(), ReplayFailure>>) {
        let verdict = verdict(found, replayed);
        match verdict {
            Verdict::Replayed { .. } => self.replayed += 1,
            Verdict::Failed { .. } => self.failed += 1,
            Verdict::Vanished => self.vanished += 1,
        }
        let now = Instant::now();
        if self.json {
            println!("{}", object(found, &verdict, now - self.last));
        } else if let Verdict::Failed { event_id, reason, message } = &verdict {
            let event = event_id.map(|event| format!(" at event {event}")).unwrap_or_default();
            self.bar.suspend(|| println!("{}: {reason}{event}: {message}", called(found)));
        }
        self.last = now;
        self.bar.set_message(found.run.workflow_type.clone());
        self.bar.inc(1);
    }

    /// Prints the closing line, and answers how many histories did not replay, and of how many.
    pub fn close(self) -> (usize, usize) {
        self.bar.finish_and_clear();
        let count = |n: usize| output::count(i64::try_from(n).unwrap_or(i64::MAX));
        let gone = match self.vanished {
            0 => String::new(),
            n => format!(", {} vanished meanwhile", count(n)),
        };
        let took = output::duration(self.began.elapsed());
        let line = format!("{} replayed, {} failed{gone} in {took}", count(self.replayed), count(self.failed));
        // Standard output is the objects' alone.
        if self.json {
            eprintln!("{line}")
        } else {
            println!("{line}")
        }
        (self.failed, self.replayed + self.failed)
    }
}

fn verdict(found: &Found, replayed: Option<Result<(), ReplayFailure>>) -> Verdict {
    match (&found.history, replayed) {
        (_, Some(Err(ReplayFailure { event_id, reason, message, .. }))) => {
            Verdict::Failed { event_id: Some(event_id), reason, message }
        }
        (History::Whole(run), _) => Verdict::Replayed { events: run.events().len() },
        (History::Invalid(invalid), _) => {
            Verdict::Failed { event_id: None, reason: Reason::Invalid, message: invalid.to_string() }
        }
        (History::Vanished, _) => Verdict::Vanished,
    }
}

fn called(found: &Found) -> String {
    match (&found.file, found.run.workflow_id.is_empty()) {
        (None, _) => found.run.to_string(),
        (Some(file), true) => file.display().to_string(),
        (Some(file), false) => format!("{}: {}", file.display(), found.run),
    }
}

fn object(found: &Found, verdict: &Verdict, took: Duration) -> Value {
    let mut object = Map::new();
    let mut put = |name: &str, value: Value| drop(object.insert(name.to_owned(), value));
    put("workflowId", json!(found.run.workflow_id));
    put("workflowType", json!(found.run.workflow_type));
    put("runId", json!(found.run.run_id));
    if let Some(file) = &found.file {
        put("file", json!(file.display().to_string()));
    }
    match verdict {
        Verdict::Replayed { events } => {
            put("outcome", json!("replayed"));
            put("events", json!(events));
        }
        Verdict::Failed { event_id, reason, message } => {
            put("outcome", json!("failed"));
            put("reason", json!(reason.as_str()));
            put("eventId", json!(event_id));
            put("message", json!(message));
        }
        Verdict::Vanished => put("outcome", json!("vanished")),
    }
    put("milliseconds", json!(took.as_millis() as u64));
    Value::Object(object)
}
