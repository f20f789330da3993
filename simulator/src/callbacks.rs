//! The Apex REST resource that an org's package offers to leadline: `POST .../v1/salesforce/callbacks/prediction-complete` and
//! `.../model-ready`, under any namespace.
//!
//! Besides the session, a callback proves itself: `X-Leadline-Timestamp` (Unix seconds) within five minutes of now, and
//! `X-Leadline-Signature: v1=<hex>`, the HMAC-SHA256 of `{timestamp}.{body}` under the callback key, not seen before. All callbacks are kept
//! in `callbacks.jsonl`, the refused ones with the reason and without their body.

use crate::app::App;
use crate::error::{ApiError, SimulatorError};
use crate::http::request::Call;
use axum::Json;
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize};
use serde_json::{Value as JsonValue, json};
use sha2::Sha256;
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

const WINDOW_SECONDS: i64 = 300;
const KINDS: [&str; 2] = ["prediction-complete", "model-ready"];

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Callback {
    pub received: DateTime<Utc>,
    pub kind: String,
    pub accepted: bool,
    /// Why it was refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<JsonValue>,
    /// Of an accepted one, to know a replay by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<String>,
}

pub(crate) struct Callbacks {
    path: PathBuf,
    received: Mutex<Vec<Callback>>,
}

impl Callbacks {
    pub fn open(state_dir: &Path) -> Result<Self, SimulatorError> {
        let path = state_dir.join("callbacks.jsonl");
        let mut received = Vec::new();
        match File::open(&path) {
            // A line that a crash cut short is passed over.
            Ok(file) => received
                .extend(BufReader::new(file).lines().map_while(Result::ok).filter_map(|line| serde_json::from_str(&line).ok())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(SimulatorError::file("reading", &path)(error)),
        }
        Ok(Self { path, received: Mutex::new(received) })
    }

    pub fn list(&self) -> Vec<Callback> {
        self.received.lock().expect("no holder panics").clone()
    }

    pub fn clear(&self) -> io::Result<usize> {
        let mut received = self.received.lock().expect("no holder panics");
        File::create(&self.path)?.sync_data()?;
        Ok(std::mem::take(&mut *received).len())
    }

    /// Judges and keeps a callback in one step, so that of two equal ones only the first is accepted.
    fn judge(&self, kind: &str, key: &str, headers: Proof<'_>, body: &[u8], now: DateTime<Utc>) -> io::Result<Callback> {
        let mut received = self.received.lock().expect("no holder panics");
        let seen = |signature: &str| received.iter().any(|callback| callback.signature.as_deref() == Some(signature));
        let verdict = check(key, headers, body, now.timestamp()).and_then(|signature| match seen(&signature) {
            true => Err("this signature was seen before"),
            false => Ok(signature),
        });
        let mut callback = Callback {
            received: now,
            kind: kind.to_owned(),
            accepted: verdict.is_ok(),
            reason: None,
            body: None,
            signature: None,
        };
        match verdict {
            Ok(signature) => {
                callback.body = Some(serde_json::from_slice(body).unwrap_or_else(|_| json!(String::from_utf8_lossy(body))));
                callback.signature = Some(signature);
            }
            Err(reason) => callback.reason = Some(reason.to_owned()),
        }
        let mut file = OpenOptions::new().create(true).append(true).open(&self.path)?;
        let mut line = serde_json::to_vec(&callback).map_err(io::Error::other)?;
        line.push(b'\n');
        file.write_all(&line)?;
        file.sync_data()?;
        received.push(callback.clone());
        Ok(callback)
    }
}

/// The two headers as they came.
#[derive(Clone, Copy)]
struct Proof<'a> {
    timestamp: Option<&'a str>,
    signature: Option<&'a str>,
}

/// The signature, when it is right and in time.
fn check(key: &str, proof: Proof<'_>, body: &[u8], now: i64) -> Result<String, &'static str> {
    let timestamp = proof.timestamp.ok_or("X-Leadline-Timestamp is missing")?;
    let seconds: i64 = timestamp.parse().map_err(|_| "X-Leadline-Timestamp is not in Unix seconds")?;
    let given = proof.signature.ok_or("X-Leadline-Signature is missing")?;
    let given = given.strip_prefix("v1=").ok_or("X-Leadline-Signature is not of the form v1=<hex>")?;
    let bytes = hex::decode(given).map_err(|_| "X-Leadline-Signature is not hex")?;
    let mut mac = Hmac::<Sha256>::new_from_slice(key.as_bytes()).expect("HMAC takes a key of any length");
    mac.update(timestamp.as_bytes());
    mac.update(b".");
    mac.update(body);
    mac.verify_slice(&bytes).map_err(|_| "the signature does not fit the body")?;
    if (now - seconds).abs() > WINDOW_SECONDS {
        return Err("the timestamp is outside the replay window of 300 seconds");
    }
    Ok(given.to_ascii_lowercase())
}

/// `POST /services/apexrest/...`; the session was checked before.
pub(crate) fn receive(app: &App, call: &Call, body: &[u8]) -> Result<Response, ApiError> {
    let segments: Vec<&str> = call.segments.iter().map(String::as_str).collect();
    let [.., "v1", "salesforce", "callbacks", kind] = segments.as_slice() else {
        let message = "Could not find a match for URL";
        return Err(ApiError::new(StatusCode::NOT_FOUND, "NOT_FOUND", message));
    };
    if !KINDS.contains(kind) {
        return Err(ApiError::new(StatusCode::NOT_FOUND, "NOT_FOUND", "Could not find a match for URL"));
    }
    if call.method != Method::POST {
        return Err(ApiError::method_not_allowed(call.method.as_str(), "POST"));
    }
    let proof = Proof { timestamp: call.header("x-leadline-timestamp"), signature: call.header("x-leadline-signature") };
    let judged = app.callbacks.judge(kind, &app.connected_app.callback_key, proof, body, Utc::now());
    let callback = judged.map_err(|error| ApiError::unexpected("keeping a callback", &error))?;
    match callback.reason {
        None => Ok(Json(json!({ "accepted": true })).into_response()),
        Some(reason) => Err(ApiError::new(StatusCode::UNAUTHORIZED, "INVALID_SIGNATURE", reason)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signed(key: &str, timestamp: &str, body: &[u8]) -> String {
        let mut mac = Hmac::<Sha256>::new_from_slice(key.as_bytes()).unwrap();
        mac.update(format!("{timestamp}.").as_bytes());
        mac.update(body);
        format!("v1={}", hex::encode(mac.finalize().into_bytes()))
    }

    #[test]
    fn a_callback_is_accepted_once_in_time_and_only_with_its_own_body() {
        let folder = tempfile::tempdir().unwrap();
        let callbacks = Callbacks::open(folder.path()).unwrap();
        let now = Utc::now();
        let stamp = now.timestamp().to_string();
        let body = br#"{"requestId":"r1"}"#;
        let signature = signed("key", &stamp, body);
        let judge = |callbacks: &Callbacks, timestamp: &str, signature: &str, body: &[u8]| {
            let proof = Proof { timestamp: Some(timestamp), signature: Some(signature) };
            callbacks.judge("model-ready", "key", proof, body, now).unwrap()
        };

        assert!(judge(&callbacks, &stamp, &signature, body).accepted);
        let callbacks = Callbacks::open(folder.path()).unwrap();
        assert!(judge(&callbacks, &stamp, &signature, body).reason.unwrap().contains("seen before"), "also after a restart");
        assert!(judge(&callbacks, &stamp, &signature, b"{}").reason.unwrap().contains("does not fit"));
        assert!(!judge(&callbacks, &stamp, &signed("other", &stamp, body), body).accepted);
        let old = (now.timestamp() - 301).to_string();
        assert!(judge(&callbacks, &old, &signed("key", &old, body), body).reason.unwrap().contains("replay window"));
        assert_eq!(callbacks.list().iter().filter(|callback| callback.accepted).count(), 1);
        assert!(callbacks.list().iter().filter(|callback| !callback.accepted).all(|callback| callback.body.is_none()));
    }
}
