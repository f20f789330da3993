//! Acceptance: operation and idempotency key in one transaction, so that a key that was answered has its operation, and an
//! operation that stands is found by its key.

use leadline_domain::{Code, OperationId, OperationKind, OperationRef};
use serde_json::{Value as Json, json};
use sha2::{Digest as _, Sha256};
use sqlx::Row as _;

use super::{Operation, columns, get};
use crate::{
    Result, StoreError, TenantTx, Transact as _,
    audit::{self, AuditEntry},
    row::parsed,
};

#[derive(Debug, Clone)]
pub struct NewOperation {
    pub id: OperationId,
    pub kind: OperationKind,
    /// The saga's parameters: ids and small settings, no rows, personal data or credentials.
    pub params: Json,
    /// The API key's id.
    pub requested_by: String,
    /// The consent version that the operation relies on.
    pub consent_version: Option<i64>,
}

/// Among whose keys a key counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IdempotencyScope {
    /// The transaction's tenant.
    Tenant,
    /// Calls that no tenant makes, such as the creation of one. Needs a transaction of [`Store::operator_for`](crate::Store).
    Operator,
}

/// A caller's promise that a repeated call is the same call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Idempotency {
    scope: IdempotencyScope,
    method: String,
    key_hash: [u8; 32],
    body_hash: [u8; 32],
}

impl Idempotency {
    /// `method` names the call with what its path fixes; `body` must be the same bytes for the same request, so give it in
    /// canonical form.
    pub fn new(scope: IdempotencyScope, method: impl Into<String>, key: &str, body: &[u8]) -> Self {
        Self { scope, method: method.into(), key_hash: Sha256::digest(key).into(), body_hash: Sha256::digest(body).into() }
    }

    fn owner<'a>(&self, tx: &'a TenantTx) -> &'a str {
        match self.scope {
            IdempotencyScope::Tenant => tx.tenant().as_str(),
            IdempotencyScope::Operator => "operator",
        }
    }
}

#[derive(Debug, Clone)]
pub struct Accepted {
    pub operation: Operation,
    /// The key was known: this is the operation of the first call, running or ended, and nothing was written.
    pub replayed: bool,
}

/// Writes the operation and its key. Call it before the rows that the operation brings along, and write those only when the
/// answer is not a replay: of concurrent calls with one key, all but one wait here until the first has committed or gone.
///
/// # Errors
/// `IDEMPOTENCY_KEY_REUSED` when the key came with another body before.
pub async fn accept(tx: &mut TenantTx, new: &NewOperation, idempotency: Option<&Idempotency>) -> Result<Accepted> {
    if let Some(key) = idempotency
        && !claim_key(tx, key, &new.id).await?
    {
        let operation = replay(tx, key).await?.ok_or_else(|| {
            StoreError::refused(Code::Internal, "an idempotency key was given up while it was waited for; call again")
        })?;
        return Ok(Accepted { operation, replayed: true });
    }
    let operation = insert(tx, new).await?;
    let entry = AuditEntry {
        tenant: &operation.tenant,
        operation: Some(&operation.id),
        actor: &operation.requested_by,
        action: "operation.accept",
        detail: json!({ "kind": operation.kind }),
    };
    audit::append(tx, &entry).await?;
    Ok(Accepted { operation, replayed: false })
}

/// The operation that the key already names.
///
/// # Errors
/// `IDEMPOTENCY_KEY_REUSED` when the key came with another body before.
pub async fn replay(tx: &mut TenantTx, key: &Idempotency) -> Result<Option<Operation>> {
    let owner = key.owner(tx).to_owned();
    let found = sqlx::query(
        "SELECT body_hash, operation_id FROM idempotency_keys WHERE tenant_id = $1 AND method = $2 AND key_hash = $3",
    )
    .bind(owner)
    .bind(&key.method)
    .bind(key.key_hash.as_slice())
    .fetch_optional(tx.connection())
    .await?;
    let Some(row) = found else { return Ok(None) };
    if row.try_get::<&[u8], _>("body_hash")? != key.body_hash.as_slice() {
        return Err(StoreError::refused(
            Code::IdempotencyKeyReused,
            format!("the Idempotency-Key was used for {} with another body", key.method),
        ));
    }
    let id: OperationId = parsed(&row, "operation_id")?;
    match key.scope {
        IdempotencyScope::Tenant => get(tx, &id).await.map(Some),
        IdempotencyScope::Operator => get_unbound(tx, &id).await.map(Some),
    }
}

/// The first call of an operator's key named its operation's tenant itself, so it is another than this transaction's.
async fn get_unbound(tx: &mut TenantTx, id: &OperationId) -> Result<Operation> {
    let tenant = tx.tenant().clone();
    bind_tenant(tx, "").await?;
    let found = get(tx, id).await;
    bind_tenant(tx, tenant.as_str()).await?;
    found
}

async fn bind_tenant(tx: &mut TenantTx, tenant: &str) -> Result<()> {
    sqlx::query("SELECT set_config('leadline.tenant', $1, true)").bind(tenant).execute(tx.connection()).await?;
    Ok(())
}

/// Says whether the key was free. The row refers to an operation that is inserted next (the reference is checked at commit).
async fn claim_key(tx: &mut TenantTx, key: &Idempotency, operation: &OperationId) -> Result<bool> {
    let owner = key.owner(tx).to_owned();
    let inserted = sqlx::query(
        "INSERT INTO idempotency_keys (tenant_id, method, key_hash, body_hash, operation_id) VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT (tenant_id, method, key_hash) DO NOTHING",
    )
    .bind(owner)
    .bind(&key.method)
    .bind(key.key_hash.as_slice())
    .bind(key.body_hash.as_slice())
    .bind(operation.as_str())
    .execute(tx.connection())
    .await?;
    Ok(inserted.rows_affected() > 0)
}

async fn insert(tx: &mut TenantTx, new: &NewOperation) -> Result<Operation> {
    let reference = OperationRef { tenant: tx.tenant().clone(), operation: new.id.clone(), kind: new.kind };
    let operation = sqlx::query_as(concat!(
        "INSERT INTO operations (operation_id, tenant_id, kind, params, requested_by, consent_version, workflow_id)
         VALUES ($1, $2, $3, $4, $5, $6, $7) RETURNING ",
        columns!()
    ))
    .bind(new.id.as_str())
    .bind(reference.tenant.as_str())
    .bind(new.kind.as_str())
    .bind(&new.params)
    .bind(&new.requested_by)
    .bind(new.consent_version)
    .bind(reference.workflow_id())
    .fetch_one(tx.connection())
    .await?;
    Ok(operation)
}
