//! Consent, in versions. A permission counts as the latest version gives it, at the moment the transaction commits.
//!
//! A new version is a new row, so locking the latest row would not keep a newer one from appearing. Both sides lock the tenant's
//! row instead: who relies on consent takes it shared, who records a version takes it for update. So a withdrawal comes either
//! before the reliance, which then sees it, or after its commit.

use chrono::{DateTime, Utc};
use leadline_domain::{Code, ConsentGrant, Failure};
use sqlx::{FromRow, Row as _, postgres::PgRow};

use crate::{Result, StoreError, TenantTx, Transact as _};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Consent {
    /// From 1 on, without gaps.
    pub version: i64,
    pub grant: ConsentGrant,
    pub recorded_by: String,
    pub note: String,
    pub recorded_at: DateTime<Utc>,
}

impl FromRow<'_, PgRow> for Consent {
    fn from_row(row: &PgRow) -> sqlx::Result<Self> {
        Ok(Self {
            version: row.try_get("version")?,
            grant: ConsentGrant {
                allow_export: row.try_get("allow_export")?,
                allow_training: row.try_get("allow_training")?,
                allow_store_predictions: row.try_get("allow_store_predictions")?,
                allow_write_back: row.try_get("allow_write_back")?,
            },
            recorded_by: row.try_get("recorded_by")?,
            note: row.try_get("note")?,
            recorded_at: row.try_get("recorded_at")?,
        })
    }
}

macro_rules! columns {
    () => {
        "version, allow_export, allow_training, allow_store_predictions, allow_write_back, recorded_by, note, recorded_at"
    };
}

/// Records the next version.
///
/// # Errors
/// `TENANT_NOT_FOUND`.
pub async fn record(tx: &mut TenantTx, grant: ConsentGrant, recorded_by: &str, note: &str) -> Result<Consent> {
    let tenant = tx.tenant().clone();
    let locked = sqlx::query("SELECT 1 FROM tenants WHERE tenant_id = $1 FOR NO KEY UPDATE")
        .bind(tenant.as_str())
        .fetch_optional(tx.connection())
        .await?;
    if locked.is_none() {
        return Err(StoreError::refused(Code::TenantNotFound, format!("there is no tenant {tenant}")));
    }
    let consent = sqlx::query_as(concat!(
        "INSERT INTO consents (tenant_id, version, allow_export, allow_training, allow_store_predictions, allow_write_back,
                               recorded_by, note)
         SELECT $1, coalesce(max(version), 0) + 1, $2, $3, $4, $5, $6, $7 FROM consents WHERE tenant_id = $1
         RETURNING ",
        columns!()
    ))
    .bind(tenant.as_str())
    .bind(grant.allow_export)
    .bind(grant.allow_training)
    .bind(grant.allow_store_predictions)
    .bind(grant.allow_write_back)
    .bind(recorded_by)
    .bind(note)
    .fetch_one(tx.connection())
    .await?;
    Ok(consent)
}

/// The version in force, or `None` before the first.
pub async fn current(tx: &mut TenantTx) -> Result<Option<Consent>> {
    let tenant = tx.tenant().clone();
    let consent =
        sqlx::query_as(concat!("SELECT ", columns!(), " FROM consents WHERE tenant_id = $1 ORDER BY version DESC LIMIT 1"))
            .bind(tenant.as_str())
            .fetch_optional(tx.connection())
            .await?;
    Ok(consent)
}

/// As [`current`], and no other version can be recorded until the transaction ends.
pub async fn current_locked(tx: &mut TenantTx) -> Result<Option<Consent>> {
    let tenant = tx.tenant().clone();
    // A statement of its own: the next one must see what was committed while this one waited.
    sqlx::query("SELECT 1 FROM tenants WHERE tenant_id = $1 FOR SHARE").bind(tenant.as_str()).execute(tx.connection()).await?;
    current(tx).await
}

/// One version.
///
/// # Errors
/// `NOT_FOUND`.
pub async fn version(tx: &mut TenantTx, version: i64) -> Result<Consent> {
    let tenant = tx.tenant().clone();
    sqlx::query_as(concat!("SELECT ", columns!(), " FROM consents WHERE tenant_id = $1 AND version = $2"))
        .bind(tenant.as_str())
        .bind(version)
        .fetch_optional(tx.connection())
        .await?
        .ok_or_else(|| StoreError::refused(Code::NotFound, format!("tenant {tenant} has no consent version {version}")))
}

/// The version in force if it gives what `need` asks for; it then holds until the transaction ends. `permission` names it in
/// the message, such as `allowExport`.
///
/// # Errors
/// `CONSENT_MISSING` when no version ever gave it, `CONSENT_WITHDRAWN` when an earlier one did.
pub async fn require(tx: &mut TenantTx, permission: &str, need: fn(&ConsentGrant) -> bool) -> Result<Consent> {
    let current = current_locked(tx).await?;
    match current {
        Some(consent) if need(&consent.grant) => Ok(consent),
        _ => Err(refusal(tx, permission, need).await?.into()),
    }
}

async fn refusal(tx: &mut TenantTx, permission: &str, need: fn(&ConsentGrant) -> bool) -> Result<Failure> {
    let tenant = tx.tenant().clone();
    let versions: Vec<Consent> =
        sqlx::query_as(concat!("SELECT ", columns!(), " FROM consents WHERE tenant_id = $1 ORDER BY version DESC"))
            .bind(tenant.as_str())
            .fetch_all(tx.connection())
            .await?;
    let latest = versions.first().map_or(0, |c| c.version);
    Ok(match versions.iter().find(|c| need(&c.grant)) {
        Some(given) => Failure::new(
            Code::ConsentWithdrawn,
            format!("tenant {tenant} gave {permission} in consent version {} and withdrew it by version {latest}", given.version),
        ),
        None => Failure::new(Code::ConsentMissing, format!("tenant {tenant} has never consented to {permission}")),
    })
}
