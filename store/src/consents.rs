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

/// What a new version changes. `None` leaves a permission as the version in force has it, and not given before the first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ConsentChange {
    pub allow_export: Option<bool>,
    pub allow_training: Option<bool>,
    pub allow_store_predictions: Option<bool>,
    pub allow_write_back: Option<bool>,
    /// The version in force that the change was decided on; 0 before the first.
    pub expected_version: Option<i64>,
}

impl ConsentChange {
    fn over(&self, before: ConsentGrant) -> ConsentGrant {
        ConsentGrant {
            allow_export: self.allow_export.unwrap_or(before.allow_export),
            allow_training: self.allow_training.unwrap_or(before.allow_training),
            allow_store_predictions: self.allow_store_predictions.unwrap_or(before.allow_store_predictions),
            allow_write_back: self.allow_write_back.unwrap_or(before.allow_write_back),
        }
    }
}

impl From<ConsentGrant> for ConsentChange {
    fn from(whole: ConsentGrant) -> Self {
        Self {
            allow_export: Some(whole.allow_export),
            allow_training: Some(whole.allow_training),
            allow_store_predictions: Some(whole.allow_store_predictions),
            allow_write_back: Some(whole.allow_write_back),
            expected_version: None,
        }
    }
}

/// Records the next version: the one in force as it is once the tenant's row is locked, so that of two changes at once neither
/// undoes the other.
///
/// # Errors
/// `TENANT_NOT_FOUND`; `CONSENT_CHANGED` when another version than the expected one is in force.
pub async fn record(tx: &mut TenantTx, change: impl Into<ConsentChange>, recorded_by: &str, note: &str) -> Result<Consent> {
    let change = change.into();
    let tenant = tx.tenant().clone();
    let locked = sqlx::query("SELECT 1 FROM tenants WHERE tenant_id = $1 FOR NO KEY UPDATE")
        .bind(tenant.as_str())
        .fetch_optional(tx.connection())
        .await?;
    if locked.is_none() {
        return Err(StoreError::refused(Code::TenantNotFound, format!("there is no tenant {tenant}")));
    }
    let (version, before) = current(tx).await?.map_or((0, ConsentGrant::default()), |now| (now.version, now.grant));
    if let Some(expected) = change.expected_version.filter(|expected| *expected != version) {
        let message = format!("consent version {version} of tenant {tenant} is in force, and not version {expected}");
        return Err(StoreError::refused(Code::ConsentChanged, message));
    }
    let grant = change.over(before);
    let consent = sqlx::query_as(concat!(
        "INSERT INTO consents (tenant_id, version, allow_export, allow_training, allow_store_predictions, allow_write_back,
                               recorded_by, note)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8) RETURNING ",
        columns!()
    ))
    .bind(tenant.as_str())
    .bind(version + 1)
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
