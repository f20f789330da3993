//! Sessions: issued by a login, ended by idleness, by a fault, or by a person. They survive a restart, as an org's do.
//!
//! Tokens are kept as their SHA-256 only; the file is of no use to whoever finds it.

use crate::state;
use chrono::{DateTime, Duration, Utc};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Session {
    pub user_id: String,
    /// Which flow issued it.
    pub flow: String,
    pub created: DateTime<Utc>,
    pub last_used: DateTime<Utc>,
}

pub(crate) struct Sessions {
    path: PathBuf,
    timeout: Duration,
    by_digest: Mutex<HashMap<String, Session>>,
}

impl Sessions {
    pub fn open(state_dir: &Path, timeout: std::time::Duration) -> io::Result<Self> {
        let path = state_dir.join("sessions.json");
        let by_digest = state::read_json(&path)?.unwrap_or_default();
        let timeout = Duration::from_std(timeout).unwrap_or(Duration::MAX);
        Ok(Self { path, timeout, by_digest: Mutex::new(by_digest) })
    }

    /// A new access token: the org's 15-character id, `!`, and 96 random characters.
    pub fn issue(&self, org_id: &str, user_id: &str, flow: &str) -> io::Result<String> {
        let token = format!("{}!{}", &org_id[..15], super::connected_app::random_text(96));
        let now = Utc::now();
        let session = Session { user_id: user_id.to_owned(), flow: flow.to_owned(), created: now, last_used: now };
        let mut sessions = self.by_digest.lock().expect("no holder panics");
        sessions.retain(|_, session| self.alive(session, now));
        sessions.insert(digest(&token), session);
        state::write_json(&self.path, &*sessions)?;
        Ok(token)
    }

    /// The session of a token, if it is still alive; using it keeps it so.
    pub fn find(&self, token: &str) -> Option<Session> {
        let mut sessions = self.by_digest.lock().expect("no holder panics");
        let now = Utc::now();
        let session = sessions.get_mut(&digest(token))?;
        if !self.alive(session, now) {
            return None;
        }
        session.last_used = now;
        Some(session.clone())
    }

    pub fn end(&self, token: &str) -> io::Result<bool> {
        let mut sessions = self.by_digest.lock().expect("no holder panics");
        let ended = sessions.remove(&digest(token)).is_some();
        state::write_json(&self.path, &*sessions)?;
        Ok(ended)
    }

    /// Ends all; gives how many there were.
    pub fn end_all(&self) -> io::Result<usize> {
        let mut sessions = self.by_digest.lock().expect("no holder panics");
        let ended = sessions.len();
        sessions.clear();
        state::write_json(&self.path, &*sessions)?;
        Ok(ended)
    }

    /// Living sessions, the newest first.
    pub fn list(&self) -> Vec<Session> {
        let now = Utc::now();
        let sessions = self.by_digest.lock().expect("no holder panics");
        let mut living: Vec<Session> = sessions.values().filter(|session| self.alive(session, now)).cloned().collect();
        living.sort_by_key(|session| std::cmp::Reverse(session.created));
        living
    }

    /// Writes the times of last use; the answers to requests do not wait for that.
    pub fn flush(&self) -> io::Result<()> {
        state::write_json(&self.path, &*self.by_digest.lock().expect("no holder panics"))
    }

    fn alive(&self, session: &Session, now: DateTime<Utc>) -> bool {
        now - session.last_used < self.timeout
    }
}

fn digest(token: &str) -> String {
    hex::encode(Sha256::digest(token.as_bytes()))
}
