//! The one session of a client, and its renewal.
//!
//! When a session expires, every call in flight learns it at about the same time. They must not each ask for a token: the
//! login host counts logins, and a revoked app would be asked as often as there are calls. So renewals queue behind one
//! lock, and whoever waited takes the outcome of the attempt it waited for, success or failure.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use reqwest::Client;
use reqwest::header::HeaderValue;
use tokio::sync::Mutex;
use url::Url;

use crate::credentials::Credentials;
use crate::error::SalesforceError;
use crate::oauth::{Grant, request_token};
use crate::org_id::OrgId;

pub(crate) struct Session {
    pub(crate) authorization: HeaderValue,
    pub(crate) instance_url: Url,
    pub(crate) user_id: String,
    generation: u64,
}

pub(crate) struct Sessions {
    credentials: Credentials,
    /// Of one token request.
    timeout: Duration,
    org_id: OrgId,
    current: RwLock<Arc<Session>>,
    /// Renewals that have ended, well or not.
    attempts: AtomicU64,
    last_failure: Mutex<Option<SalesforceError>>,
}

impl Sessions {
    /// Signs in for the first time; which org answers is fixed from here on.
    pub(crate) async fn sign_in(http: &Client, credentials: Credentials, timeout: Duration) -> Result<Self, SalesforceError> {
        let Grant { authorization, instance_url, org_id, user_id } = request_token(http, &credentials, timeout).await?;
        let session = Session { authorization, instance_url, user_id, generation: 0 };
        Ok(Self {
            credentials,
            timeout,
            org_id,
            current: RwLock::new(Arc::new(session)),
            attempts: AtomicU64::new(0),
            last_failure: Mutex::new(None),
        })
    }

    pub(crate) fn org_id(&self) -> &OrgId {
        &self.org_id
    }

    pub(crate) fn current(&self) -> Arc<Session> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A session younger than `stale`: the one another caller has got meanwhile, or a new one.
    pub(crate) async fn renew(&self, http: &Client, stale: &Session) -> Result<Arc<Session>, SalesforceError> {
        let attempts_seen = self.attempts.load(Ordering::Acquire);
        let mut last_failure = self.last_failure.lock().await;
        let current = self.current();
        if current.generation > stale.generation {
            return Ok(current);
        }
        if self.attempts.load(Ordering::Acquire) > attempts_seen
            && let Some(failure) = last_failure.as_ref()
        {
            return Err(failure.clone());
        }
        let outcome = self.request_session(http, stale.generation + 1).await;
        self.attempts.fetch_add(1, Ordering::Release);
        match &outcome {
            Ok(session) => {
                *self.current.write().unwrap_or_else(PoisonError::into_inner) = session.clone();
                *last_failure = None;
                tracing::info!(org = %self.org_id, "renewed the salesforce session");
            }
            Err(failure) => *last_failure = Some(failure.clone()),
        }
        outcome
    }

    async fn request_session(&self, http: &Client, generation: u64) -> Result<Arc<Session>, SalesforceError> {
        let grant = request_token(http, &self.credentials, self.timeout).await?;
        if grant.org_id != self.org_id {
            let (expected, found) = (self.org_id.to_string(), grant.org_id.to_string());
            return Err(SalesforceError::OrgChanged { expected, found });
        }
        let Grant { authorization, instance_url, user_id, .. } = grant;
        Ok(Arc::new(Session { authorization, instance_url, user_id, generation }))
    }
}
