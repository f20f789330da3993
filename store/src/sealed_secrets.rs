//! Sealed secrets of tenants. What opens them lies outside the database.

use leadline_domain::{Code, TenantId};
use leadline_secrets::{Purpose, Sealed};
use sqlx::{FromRow, Row as _, postgres::PgRow};

use crate::{OperatorTx, Result, StoreError, TenantTx, Transact as _, row::parsed};

/// A sealed secret with whose and what it is.
#[derive(Debug, Clone)]
pub struct SealedSecret {
    pub tenant: TenantId,
    pub purpose: Purpose,
    pub sealed: Sealed,
}

impl FromRow<'_, PgRow> for SealedSecret {
    fn from_row(row: &PgRow) -> sqlx::Result<Self> {
        Ok(Self {
            tenant: parsed(row, "tenant_id")?,
            purpose: parsed(row, "purpose")?,
            sealed: Sealed {
                key_id: row.try_get("key_id")?,
                wrapped_key: row.try_get("wrapped_key")?,
                sealed: row.try_get("sealed")?,
            },
        })
    }
}

/// Writes a secret, over the one that was there.
pub async fn put(tx: &mut TenantTx, purpose: Purpose, sealed: &Sealed) -> Result<()> {
    let tenant = tx.tenant().clone();
    sqlx::query(
        "INSERT INTO secrets (tenant_id, purpose, key_id, wrapped_key, sealed) VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT (tenant_id, purpose) DO UPDATE
         SET key_id = excluded.key_id, wrapped_key = excluded.wrapped_key, sealed = excluded.sealed, updated_at = now()",
    )
    .bind(tenant.as_str())
    .bind(purpose.as_str())
    .bind(&sealed.key_id)
    .bind(&sealed.wrapped_key)
    .bind(&sealed.sealed)
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// Writes a secret unless there is one; says whether it did. A repeated step thereby keeps the first key.
pub async fn put_if_absent(tx: &mut TenantTx, purpose: Purpose, sealed: &Sealed) -> Result<bool> {
    let tenant = tx.tenant().clone();
    let inserted = sqlx::query(
        "INSERT INTO secrets (tenant_id, purpose, key_id, wrapped_key, sealed) VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT (tenant_id, purpose) DO NOTHING",
    )
    .bind(tenant.as_str())
    .bind(purpose.as_str())
    .bind(&sealed.key_id)
    .bind(&sealed.wrapped_key)
    .bind(&sealed.sealed)
    .execute(tx.connection())
    .await?;
    Ok(inserted.rows_affected() > 0)
}

/// # Errors
/// `SECRET_UNREADABLE` when there is none.
pub async fn get(tx: &mut TenantTx, purpose: Purpose) -> Result<Sealed> {
    let tenant = tx.tenant().clone();
    let found: Option<SealedSecret> = sqlx::query_as(
        "SELECT tenant_id, purpose, key_id, wrapped_key, sealed FROM secrets WHERE tenant_id = $1 AND purpose = $2",
    )
    .bind(tenant.as_str())
    .bind(purpose.as_str())
    .fetch_optional(tx.connection())
    .await?;
    found
        .map(|row| row.sealed)
        .ok_or_else(|| StoreError::refused(Code::SecretUnreadable, format!("tenant {tenant} has no {purpose}")))
}

/// Says whether there was one.
pub async fn delete(tx: &mut TenantTx, purpose: Purpose) -> Result<bool> {
    let tenant = tx.tenant().clone();
    let deleted = sqlx::query("DELETE FROM secrets WHERE tenant_id = $1 AND purpose = $2")
        .bind(tenant.as_str())
        .bind(purpose.as_str())
        .execute(tx.connection())
        .await?;
    Ok(deleted.rows_affected() > 0)
}

/// Secrets that are wrapped by another key than `current`, locked for [`replace`]; what another rotation holds is left out.
pub async fn to_rewrap(tx: &mut OperatorTx, current: &str, limit: u32) -> Result<Vec<SealedSecret>> {
    let rows = sqlx::query_as(
        "SELECT tenant_id, purpose, key_id, wrapped_key, sealed FROM secrets WHERE key_id <> $1
         ORDER BY tenant_id, purpose LIMIT $2 FOR UPDATE SKIP LOCKED",
    )
    .bind(current)
    .bind(i64::from(limit))
    .fetch_all(tx.connection())
    .await?;
    Ok(rows)
}

/// Writes a rewrapped secret.
pub async fn replace(tx: &mut OperatorTx, secret: &SealedSecret) -> Result<()> {
    sqlx::query(
        "UPDATE secrets SET key_id = $3, wrapped_key = $4, sealed = $5, updated_at = now() WHERE tenant_id = $1 AND purpose = $2",
    )
    .bind(secret.tenant.as_str())
    .bind(secret.purpose.as_str())
    .bind(&secret.sealed.key_id)
    .bind(&secret.sealed.wrapped_key)
    .bind(&secret.sealed.sealed)
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// How many secrets each key wraps, by key id. A key that wraps none may be removed from the keyring.
pub async fn count_by_key(tx: &mut OperatorTx) -> Result<Vec<(String, i64)>> {
    let counts =
        sqlx::query_as("SELECT key_id, count(*) FROM secrets GROUP BY key_id ORDER BY key_id").fetch_all(tx.connection()).await?;
    Ok(counts)
}
