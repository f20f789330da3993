//! Accepting an operation: one transaction, then a start that nobody waits for.
//!
//! A caller gets its 202 when the operation is committed. The start runs beside the answer; if it fails, or if the process
//! dies before it, the sweeper repeats it.

use leadline_domain::{Failure, OperationId, OperationKind};
use leadline_store::{
    TenantTx,
    operations::{self, Accepted, Idempotency, IdempotencyScope, NewOperation, Operation},
};
use serde::Serialize;
use serde_json::{Map, Value as Json};

use crate::caller::Call;

/// What a call asks to be started.
pub struct Start<'a, M, P> {
    pub id: OperationId,
    pub kind: OperationKind,
    /// Names the call for its idempotency key.
    pub rpc: &'static str,
    pub scope: IdempotencyScope,
    /// The request: a repeated key must come with the same one.
    pub request: &'a M,
    pub params: &'a P,
    pub consent_version: Option<i64>,
}

/// Writes the operation and its key. The rows that it brings along, and the checks that a replay must not fail, come after
/// this and before the commit.
///
/// # Errors
/// `IDEMPOTENCY_KEY_REUSED`, `DATABASE_UNAVAILABLE`.
pub async fn accept<M: Serialize, P: Serialize>(
    tx: &mut TenantTx,
    call: &Call,
    start: Start<'_, M, P>,
) -> Result<Accepted, Failure> {
    let idempotency = idempotency(call, start.rpc, start.scope, start.request);
    let new = NewOperation {
        id: start.id,
        kind: start.kind,
        params: serde_json::to_value(start.params).expect("parameters are plain data"),
        requested_by: call.caller.key.to_string(),
        consent_version: start.consent_version,
    };
    Ok(operations::accept(tx, &new, idempotency.as_ref()).await?)
}

/// The operation that the call's idempotency key already names, for calls that must look things up before they can accept.
///
/// # Errors
/// `IDEMPOTENCY_KEY_REUSED`, `DATABASE_UNAVAILABLE`.
pub async fn replayed<M: Serialize>(
    tx: &mut TenantTx,
    call: &Call,
    rpc: &'static str,
    request: &M,
) -> Result<Option<Operation>, Failure> {
    match idempotency(call, rpc, IdempotencyScope::Tenant, request) {
        Some(key) => Ok(operations::replay(tx, &key).await?),
        None => Ok(None),
    }
}

fn idempotency<M: Serialize>(call: &Call, rpc: &'static str, scope: IdempotencyScope, request: &M) -> Option<Idempotency> {
    let key = call.idempotency_key.as_deref()?;
    Some(Idempotency::new(scope, rpc, key, &canonical(request)))
}

/// The same bytes for the same message, whatever the transport, the spacing and the order of its fields.
pub fn canonical<M: Serialize>(message: &M) -> Vec<u8> {
    let json = serde_json::to_value(message).unwrap_or_default();
    serde_json::to_vec(&sorted(json)).expect("JSON always serializes")
}

fn sorted(json: Json) -> Json {
    match json {
        Json::Object(fields) => {
            let mut fields: Vec<_> = fields.into_iter().map(|(name, value)| (name, sorted(value))).collect();
            fields.sort_by(|a, b| a.0.cmp(&b.0));
            Json::Object(Map::from_iter(fields))
        }
        Json::Array(items) => Json::Array(items.into_iter().map(sorted).collect()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use leadline_proto::v1::PredictRequest;

    use super::*;

    #[test]
    fn a_message_is_the_same_bytes_however_it_was_written() {
        let one: PredictRequest =
            serde_json::from_str(r#"{"recordId": "00Q1", "fields": {"a": 1, "b": {"x": 1, "y": [2]}}}"#).unwrap();
        let other: PredictRequest =
            serde_json::from_str(r#"{"fields":{"b":{"y":[2.0],"x":1},"a":1},"record_id":"00Q1"}"#).unwrap();
        assert_eq!(canonical(&one), canonical(&other));
        let changed = PredictRequest { record_id: "00Q2".into(), ..one.clone() };
        assert_ne!(canonical(&one), canonical(&changed));
    }
}
