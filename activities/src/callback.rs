//! Calls to the org's Apex REST service, signed.
//!
//! `X-Leadline-Signature: v1=` and the HMAC-SHA256, under the tenant's callback key, of timestamp, `.` and body, in hex;
//! `X-Leadline-Timestamp` in Unix seconds. The receiver refuses what is older than its replay window, so each attempt is signed
//! anew. A receiver may see a call twice, when its answer was lost, and tells by the ids in the body.

use std::time::Duration;

use chrono::{DateTime, Utc};
use leadline_domain::{Class, Code, Failure};
use leadline_salesforce::SalesforceError;
use leadline_secrets::{Purpose, hmac_sha256_hex};
use leadline_store::{TenantTx, ledger, sealed_secrets};
use serde::Deserialize as _;
use serde_json::{Value as Json, json};

use crate::{attempt::Attempt, calls, secrets};

const TIMESTAMP: &str = "X-Leadline-Timestamp";
const SIGNATURE: &str = "X-Leadline-Signature";
/// The facts that count attempts, and say when the first was made.
const ATTEMPTS: &str = "attempts";
const SINCE: &str = "since";

/// What an org is told.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Callback {
    PredictionComplete,
    ModelReady,
}

impl Callback {
    fn path(self) -> &'static str {
        match self {
            Self::PredictionComplete => "v1/salesforce/callbacks/prediction-complete",
            Self::ModelReady => "v1/salesforce/callbacks/model-ready",
        }
    }
}

/// A callback that did not get through, and when it goes out again.
pub(crate) struct Later {
    pub(crate) failure: Failure,
    pub(crate) next_in: Duration,
}

/// Makes one attempt.
///
/// # Errors
/// `CALLBACK_REFUSED` for what the org's service answers; what keeps the call from being made has its own code.
pub(crate) async fn post(attempt: &Attempt, callback: Callback, body: &Json) -> Result<(), Failure> {
    let services = attempt.services();
    let mut tx = attempt.read().await?;
    let sealed = sealed_secrets::get(&mut tx, Purpose::CallbackKey).await?;
    drop(tx);
    let key = services.keyring.open(attempt.tenant(), Purpose::CallbackKey, &sealed).map_err(secrets)?;
    let client = attempt.org().await?;
    calls::reserve(attempt, &client, 1).await?;
    let body = body.to_string();
    let timestamp = Utc::now().timestamp().to_string();
    let signature = format!("v1={}", hmac_sha256_hex(&key, &[timestamp.as_bytes(), b".", body.as_bytes()]));
    client.apex_rest_post(callback.path(), &[(TIMESTAMP, &timestamp), (SIGNATURE, &signature)], body).await.map_err(refusal)?;
    Ok(())
}

fn refusal(error: SalesforceError) -> Failure {
    let failure = error.failure();
    match failure.class() {
        _ if failure.code == Code::SalesforceAuthRefused => failure,
        Class::Retryable | Class::Quota => failure,
        Class::NeedsOperator | Class::Terminal => Failure::new(Code::CallbackRefused, failure.to_string()),
    }
}

/// Counts the attempt and says when the next one goes out: the saga waits as long as the failure names. What the org refuses for
/// good today it may take tomorrow, once its service is deployed or its key is set, so every refusal is tried again.
pub(crate) async fn next_attempt(attempt: &Attempt, tx: &mut TenantTx, refused: Failure) -> Result<Later, Failure> {
    let config = &attempt.services().config;
    let before = attempt.facts().get(ATTEMPTS).and_then(Json::as_u64).unwrap_or(0);
    let now = Utc::now();
    let since = attempt.facts().get(SINCE).and_then(|at| DateTime::<Utc>::deserialize(at).ok()).unwrap_or(now);
    ledger::record_facts(tx, attempt.key(), &json!({ ATTEMPTS: before + 1, SINCE: since })).await?;
    let doublings = u32::try_from(before).unwrap_or(u32::MAX).min(16);
    let next_in = (config.first_callback * 2_u32.pow(doublings)).min(config.longest_callback).max(Duration::from_secs(1));
    if (now - since).to_std().is_ok_and(|tried| tried > config.callback_patience) {
        let message =
            format!("for {} h the org has not taken the callback; last: {refused}", config.callback_patience.as_secs() / 3600);
        return Ok(Later { failure: Failure::new(Code::CallbackUndelivered, message), next_in });
    }
    // A quota says by itself how long it lasts.
    let next_in = match (refused.class(), refused.retry_after_seconds) {
        (Class::Quota, Some(seconds)) => next_in.max(Duration::from_secs(seconds)),
        _ => next_in,
    };
    Ok(Later { failure: refused.retry_after(next_in.as_secs()), next_in })
}

#[cfg(test)]
mod tests {
    use leadline_salesforce::TokenRejection;

    use super::*;

    #[test]
    fn only_what_the_orgs_service_says_is_a_refused_callback() {
        let refused = |error: SalesforceError| refusal(error).code;
        let denied = SalesforceError::Refused { what: "apex rest post".into(), status: 401, code: "BAD_SIGNATURE".into() };
        assert_eq!(refused(denied), Code::CallbackRefused);
        assert_eq!(refused(SalesforceError::TokenRejected(TokenRejection::NotApproved)), Code::SalesforceAuthRefused);
        assert_eq!(refused(SalesforceError::DailyLimitExceeded { what: "x".into() }), Code::SalesforceLimitExceeded);
    }
}
