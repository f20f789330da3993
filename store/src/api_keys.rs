//! API keys: who may call, and for whom. Only hashes are kept.

use chrono::{DateTime, Utc};
use leadline_domain::{ApiKeyId, Code, TenantId};
use leadline_secrets::ApiKey;
use sqlx::{FromRow, Row as _, postgres::PgRow};

use crate::{
    OperatorTx, Result, Store, StoreError, Transact as _,
    row::{parsed, parsed_opt},
};

/// Whom a key speaks for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum KeyScope {
    Operator,
    Tenant(TenantId),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiKeyRow {
    pub id: ApiKeyId,
    /// `None`: an operator's key.
    pub tenant: Option<TenantId>,
    pub label: String,
    pub created_at: DateTime<Utc>,
    pub expires_at: Option<DateTime<Utc>>,
    pub revoked_at: Option<DateTime<Utc>>,
}

impl FromRow<'_, PgRow> for ApiKeyRow {
    fn from_row(row: &PgRow) -> sqlx::Result<Self> {
        Ok(Self {
            id: parsed(row, "key_id")?,
            tenant: parsed_opt(row, "tenant_id")?,
            label: row.try_get("label")?,
            created_at: row.try_get("created_at")?,
            expires_at: row.try_get("expires_at")?,
            revoked_at: row.try_get("revoked_at")?,
        })
    }
}

/// Keeps the hash of `key`.
///
/// # Errors
/// `TENANT_NOT_FOUND`.
pub async fn create(
    tx: &mut OperatorTx,
    key: &ApiKey,
    scope: &KeyScope,
    label: &str,
    expires_at: Option<DateTime<Utc>>,
) -> Result<ApiKeyRow> {
    let tenant = match scope {
        KeyScope::Operator => None,
        KeyScope::Tenant(tenant) => Some(tenant.as_str()),
    };
    let row = sqlx::query_as(
        "INSERT INTO api_keys (key_id, secret_hash, tenant_id, label, expires_at) VALUES ($1, $2, $3, $4, $5)
         RETURNING key_id, tenant_id, label, created_at, expires_at, revoked_at",
    )
    .bind(key.id().as_str())
    .bind(key.secret_hash().as_slice())
    .bind(tenant)
    .bind(label)
    .bind(expires_at)
    .fetch_one(tx.connection())
    .await?;
    Ok(row)
}

/// Whom `key` speaks for, or `None` when it is unknown, wrong, revoked or expired. The look-up comes before any tenant is known
/// and goes through the one function that may read past row-level security.
pub async fn authenticate(store: &Store, key: &ApiKey) -> Result<Option<KeyScope>> {
    let found = sqlx::query("SELECT secret_hash, tenant_id FROM find_api_key($1)")
        .bind(key.id().as_str())
        .fetch_optional(store.tenant_pool())
        .await?;
    let Some(row) = found else { return Ok(None) };
    if !key.matches(row.try_get("secret_hash")?) {
        return Ok(None);
    }
    Ok(Some(parsed_opt(&row, "tenant_id")?.map_or(KeyScope::Operator, KeyScope::Tenant)))
}

/// Of one tenant, or all, operators' keys included. Newest first.
pub async fn list(tx: &mut OperatorTx, tenant: Option<&TenantId>) -> Result<Vec<ApiKeyRow>> {
    let rows = sqlx::query_as(
        "SELECT key_id, tenant_id, label, created_at, expires_at, revoked_at FROM api_keys
         WHERE $1::text IS NULL OR tenant_id = $1 ORDER BY created_at DESC, key_id",
    )
    .bind(tenant.map(TenantId::as_str))
    .fetch_all(tx.connection())
    .await?;
    Ok(rows)
}

/// Revokes at once; a revoked key stays revoked, with its first time.
///
/// # Errors
/// `NOT_FOUND`.
pub async fn revoke(tx: &mut OperatorTx, id: &ApiKeyId) -> Result<ApiKeyRow> {
    sqlx::query_as(
        "UPDATE api_keys SET revoked_at = coalesce(revoked_at, now()) WHERE key_id = $1
         RETURNING key_id, tenant_id, label, created_at, expires_at, revoked_at",
    )
    .bind(id.as_str())
    .fetch_optional(tx.connection())
    .await?
    .ok_or_else(|| StoreError::refused(Code::NotFound, format!("there is no API key {id}")))
}
