//! Faults that are injected at run time through `/__simulator/faults` (no session needed):
//!
//! * `POST` a fault, answered with its id; `GET` lists all with what they have seen and how often they fired; `DELETE` removes all,
//!   `DELETE /__simulator/faults/{id}` one. Faults survive a restart.
//!
//! ```json
//! { "kind": "dropped_connection", "after_bytes": 100000,
//!   "match": { "path": "/results", "method": "GET", "object": "Lead", "id": "00Q..." },
//!   "nth": 2, "count": 1 }
//! ```
//!
//! A fault looks at every event of its kind that fits `match` (each part may be left out; `path` is a part of path and query), lets
//! the first `nth - 1` pass (default 1: none) and fires on the next `count` (default 1; `null`: on all that follow).
//!
//! | kind | at | what happens |
//! |---|---|---|
//! | `request_limit_exceeded` | each API request | 403 REQUEST_LIMIT_EXCEEDED, "TotalRequests Limit exceeded." |
//! | `concurrent_limit` | each API request | 403 REQUEST_LIMIT_EXCEEDED, "ConcurrentPerOrgLongTxn Limit exceeded." |
//! | `service_unavailable` | each request | 503 SERVER_UNAVAILABLE |
//! | `latency` (`delay_ms`) | each request | the answer comes that much later |
//! | `lost_response` | each request | the request takes effect, then the connection is cut |
//! | `expired_session` | each API request | the session ends: 401 INVALID_SESSION_ID now and later |
//! | `revoked_user` | token and API requests | stands until deleted, whatever `count` says: no token is issued (invalid_grant, "user hasn't approved this consumer"), no session is valid |
//! | `row_lock` | each record written | UNABLE_TO_LOCK_ROW for that record |
//! | `entity_not_supported` | each Bulk query job created | 400 INVALIDENTITY, "Entity 'X' is not supported by the Bulk API." |
//! | `bulk_limit_exceeded` | each Bulk query job created | 400 LIMIT_EXCEEDED, "Max bulk v2 query jobs (10000) per 24 hrs has been reached" |
//! | `failed_bulk_job` (`message`) | each Bulk job run | the job ends as Failed |
//! | `slow_bulk_job` (`delay_ms`) | each Bulk job run | the job stays InProgress that much longer; it can be aborted meanwhile |
//! | `dropped_connection` (`after_bytes`) | each result page | the connection is cut in mid-page (default: after half of it) |
//! | `malformed_csv` | each result page | a quote in the middle of the page is never closed |
//! | `non_utf8` | each result page | bytes that are no UTF-8 in the middle row |
//! | `missing_column` (`column`) | each result page | the column (default: the last) is missing, header included |
//! | `oversized_field` (`column`, `length`) | each result page | a value of `length` characters (default 131,073) in the middle row |
//! | `wrong_type` (`column`) | each result page | a value that is not of the described type in the middle row |
//! | `short_page` | each result page | the last row is missing although `Sforce-NumberOfRecords` counts it |

use crate::ids::RecordId;
use crate::state;
use serde::{Deserialize, Serialize};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(crate) enum FaultKind {
    RequestLimitExceeded,
    ConcurrentLimit,
    ServiceUnavailable,
    Latency {
        delay_ms: u64,
    },
    LostResponse,
    ExpiredSession,
    RevokedUser,
    RowLock,
    EntityNotSupported,
    BulkLimitExceeded,
    FailedBulkJob {
        #[serde(default)]
        message: Option<String>,
    },
    SlowBulkJob {
        delay_ms: u64,
    },
    DroppedConnection {
        #[serde(default)]
        after_bytes: Option<u64>,
    },
    MalformedCsv,
    #[serde(rename = "non_utf8")]
    NonUtf8,
    MissingColumn {
        #[serde(default)]
        column: Option<String>,
    },
    OversizedField {
        #[serde(default)]
        column: Option<String>,
        #[serde(default)]
        length: Option<usize>,
    },
    WrongType {
        #[serde(default)]
        column: Option<String>,
    },
    ShortPage,
}

/// Where a fault can strike.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Point {
    Request,
    Record,
    JobCreation,
    Job,
    Page,
}

impl FaultKind {
    fn point(&self) -> Point {
        match self {
            Self::RowLock => Point::Record,
            Self::EntityNotSupported | Self::BulkLimitExceeded => Point::JobCreation,
            Self::FailedBulkJob { .. } | Self::SlowBulkJob { .. } => Point::Job,
            Self::DroppedConnection { .. }
            | Self::MalformedCsv
            | Self::NonUtf8
            | Self::MissingColumn { .. }
            | Self::OversizedField { .. }
            | Self::WrongType { .. }
            | Self::ShortPage => Point::Page,
            _ => Point::Request,
        }
    }
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Match {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    path: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    method: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    object: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    id: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Fault {
    #[serde(default)]
    pub id: String,
    #[serde(flatten)]
    kind: FaultKind,
    #[serde(default, rename = "match")]
    matching: Match,
    #[serde(default = "one")]
    nth: u64,
    #[serde(default = "once")]
    count: Option<u64>,
    #[serde(default)]
    seen: u64,
    #[serde(default)]
    fired: u64,
}

fn one() -> u64 {
    1
}

fn once() -> Option<u64> {
    Some(1)
}

/// What happens, for a fault to look at.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Event<'a> {
    pub path: &'a str,
    pub method: &'a str,
    pub object: Option<&'a str>,
    pub id: Option<&'a str>,
}

impl Match {
    fn fits(&self, event: &Event<'_>) -> bool {
        let same = |wanted: &Option<String>, found: Option<&str>| match (wanted, found) {
            (None, _) => true,
            (Some(wanted), Some(found)) => wanted.eq_ignore_ascii_case(found),
            (Some(_), None) => false,
        };
        self.path.as_ref().is_none_or(|part| event.path.contains(part.as_str()))
            && same(&self.method, Some(event.method).filter(|method| !method.is_empty()))
            && same(&self.object, event.object)
            && same(&self.id, event.id)
    }
}

pub(crate) struct Faults {
    path: PathBuf,
    active: Mutex<Vec<Fault>>,
}

impl Faults {
    pub fn open(state_dir: &Path) -> io::Result<Self> {
        let path = state_dir.join("faults.json");
        let active = state::read_json(&path)?.unwrap_or_default();
        Ok(Self { path, active: Mutex::new(active) })
    }

    pub fn list(&self) -> Vec<Fault> {
        self.active.lock().expect("no holder panics").clone()
    }

    pub fn add(&self, mut fault: Fault) -> io::Result<Fault> {
        let mut active = self.active.lock().expect("no holder panics");
        let last = active.iter().filter_map(|fault| fault.id.strip_prefix('f')?.parse::<u64>().ok()).max().unwrap_or(0);
        (fault.id, fault.seen, fault.fired) = (format!("f{}", last + 1), 0, 0);
        active.push(fault.clone());
        state::write_json(&self.path, &*active)?;
        Ok(fault)
    }

    /// Removes one fault, or all; gives how many there were.
    pub fn remove(&self, id: Option<&str>) -> io::Result<usize> {
        let mut active = self.active.lock().expect("no holder panics");
        let before = active.len();
        active.retain(|fault| id.is_some_and(|id| fault.id != id));
        state::write_json(&self.path, &*active)?;
        Ok(before - active.len())
    }

    /// The faults that fire on this event, each counted.
    pub fn strike(&self, point: Point, event: &Event<'_>) -> Vec<FaultKind> {
        let mut active = self.active.lock().expect("no holder panics");
        let mut fired = Vec::new();
        let mut moved = false;
        for fault in active.iter_mut().filter(|fault| fault.kind.point() == point && fault.matching.fits(event)) {
            fault.seen += 1;
            let standing = fault.kind == FaultKind::RevokedUser;
            // What an exhausted fault goes on to see is not worth a write to the disk.
            moved |= standing || fault.count.is_none_or(|count| fault.fired < count);
            if standing || (fault.seen >= fault.nth && fault.count.is_none_or(|count| fault.fired < count)) {
                fault.fired += 1;
                fired.push(fault.kind.clone());
            }
        }
        if moved && let Err(error) = state::write_json(&self.path, &*active) {
            tracing::warn!(%error, "cannot keep the state of the injected faults");
        }
        fired
    }

    /// Whether the write of this record meets a lock.
    pub fn row_lock(&self, path: &str, object: &str, id: Option<&RecordId>) -> bool {
        let event = Event { path, method: "", object: Some(object), id: id.map(RecordId::as_str) };
        !self.strike(Point::Record, &event).is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_lets_the_first_events_pass_fires_as_often_as_told_and_survives_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let faults = Faults::open(folder.path()).unwrap();
        let text = r#"{ "kind": "non_utf8", "match": { "path": "/results", "object": "lead" }, "nth": 2, "count": 2 }"#;
        faults.add(serde_json::from_str(text).unwrap()).unwrap();
        let event = Event { path: "/jobs/query/750/results?locator=x", object: Some("Lead"), ..Event::default() };
        let elsewhere = Event { object: Some("Account"), ..event };

        assert!(faults.strike(Point::Page, &event).is_empty());
        assert!(faults.strike(Point::Page, &elsewhere).is_empty(), "another object is not counted");
        assert_eq!(faults.strike(Point::Page, &event), [FaultKind::NonUtf8]);
        let faults = Faults::open(folder.path()).unwrap();
        assert!(faults.strike(Point::Request, &event).is_empty(), "a page fault does not strike requests");
        assert_eq!(faults.strike(Point::Page, &event), [FaultKind::NonUtf8]);
        assert!(faults.strike(Point::Page, &event).is_empty());
        assert_eq!(faults.remove(Some("f1")).unwrap(), 1);
        assert!(serde_json::from_str::<Fault>(r#"{ "kind": "no_such_kind" }"#).is_err());
    }
}
