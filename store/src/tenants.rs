//! Tenants: a Salesforce org that is connected, without its secrets.
//!
//! The row is written when onboarding is accepted, and deleted, with all that hangs on it, when onboarding is undone: half a
//! tenant does not stay.

use std::{fmt, str::FromStr};

use chrono::{DateTime, Utc};
use leadline_domain::{Code, OperationId, TenantId};
use sqlx::{FromRow, Row as _, postgres::PgRow};

use crate::{
    OperatorTx, Page, PageRequest, Result, StoreError, TenantTx, Transact, error::violates, paging::Cursor, row::parsed,
};

/// How to reach the org; what is secret of it lies sealed elsewhere.
#[derive(Clone, PartialEq, Eq)]
pub struct OrgConnection {
    pub login_url: String,
    pub client_id: String,
    pub username: String,
    pub audience: String,
}

impl fmt::Debug for OrgConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OrgConnection").field("login_url", &self.login_url).finish_non_exhaustive()
    }
}

#[derive(Debug, Clone)]
pub struct NewTenant {
    /// Unique: lower-case letters, digits and hyphens, 2 to 63 characters.
    pub name: String,
    pub display_name: String,
    pub connection: OrgConnection,
    pub created_by: OperationId,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TenantState {
    Onboarding,
    Active,
}

/// A text that names no state of a tenant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a state of a tenant")]
pub struct UnknownTenantState;

impl FromStr for TenantState {
    type Err = UnknownTenantState;

    fn from_str(text: &str) -> Result<Self, UnknownTenantState> {
        match text {
            "onboarding" => Ok(Self::Onboarding),
            "active" => Ok(Self::Active),
            _ => Err(UnknownTenantState),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tenant {
    pub id: TenantId,
    pub name: String,
    pub display_name: String,
    pub state: TenantState,
    pub connection: OrgConnection,
    pub instance_url: Option<String>,
    /// The 18-character id of the org, once it is verified.
    pub org_id: Option<String>,
    pub lake_prefix: Option<String>,
    pub created_by: OperationId,
    pub created_at: DateTime<Utc>,
}

impl FromRow<'_, PgRow> for Tenant {
    fn from_row(row: &PgRow) -> sqlx::Result<Self> {
        Ok(Self {
            id: parsed(row, "tenant_id")?,
            name: row.try_get("name")?,
            display_name: row.try_get("display_name")?,
            state: parsed(row, "state")?,
            connection: OrgConnection {
                login_url: row.try_get("login_url")?,
                client_id: row.try_get("client_id")?,
                username: row.try_get("username")?,
                audience: row.try_get("audience")?,
            },
            instance_url: row.try_get("instance_url")?,
            org_id: row.try_get("org_id")?,
            lake_prefix: row.try_get("lake_prefix")?,
            created_by: parsed(row, "created_by_operation")?,
            created_at: row.try_get("created_at")?,
        })
    }
}

macro_rules! columns {
    () => {
        "tenant_id, name, display_name, state, login_url, client_id, username, audience, instance_url, org_id, lake_prefix, \
         created_by_operation, created_at"
    };
}

/// Writes the row of the transaction's tenant, in state onboarding.
///
/// # Errors
/// `TENANT_EXISTS` when the name is taken.
pub async fn insert(tx: &mut TenantTx, new: &NewTenant) -> Result<Tenant> {
    let tenant = tx.tenant().clone();
    sqlx::query_as(concat!(
        "INSERT INTO tenants (tenant_id, name, display_name, state, login_url, client_id, username, audience, created_by_operation)
         VALUES ($1, $2, $3, 'onboarding', $4, $5, $6, $7, $8) RETURNING ",
        columns!()
    ))
    .bind(tenant.as_str())
    .bind(&new.name)
    .bind(&new.display_name)
    .bind(&new.connection.login_url)
    .bind(&new.connection.client_id)
    .bind(&new.connection.username)
    .bind(&new.connection.audience)
    .bind(new.created_by.as_str())
    .fetch_one(tx.connection())
    .await
    .map_err(|error| match violates(&error, "tenants_name_key") {
        true => StoreError::refused(Code::TenantExists, "a tenant of this name exists"),
        false => error.into(),
    })
}

/// # Errors
/// `TENANT_NOT_FOUND`.
pub async fn get(tx: &mut impl Transact, id: &TenantId) -> Result<Tenant> {
    sqlx::query_as(concat!("SELECT ", columns!(), " FROM tenants WHERE tenant_id = $1"))
        .bind(id.as_str())
        .fetch_optional(tx.connection())
        .await?
        .ok_or_else(|| not_found(id))
}

/// The tenant, if its onboarding is over.
///
/// # Errors
/// `TENANT_NOT_FOUND`, `TENANT_NOT_READY`.
pub async fn active(tx: &mut impl Transact, id: &TenantId) -> Result<Tenant> {
    let tenant = get(tx, id).await?;
    match tenant.state {
        TenantState::Active => Ok(tenant),
        TenantState::Onboarding => {
            Err(StoreError::refused(Code::TenantNotReady, format!("tenant {id} is still being onboarded")))
        }
    }
}

pub async fn find_by_name(tx: &mut impl Transact, name: &str) -> Result<Option<Tenant>> {
    let found = sqlx::query_as(concat!("SELECT ", columns!(), " FROM tenants WHERE name = $1"))
        .bind(name)
        .fetch_optional(tx.connection())
        .await?;
    Ok(found)
}

/// Newest first.
pub async fn list(tx: &mut OperatorTx, page: &PageRequest) -> Result<Page<Tenant>> {
    let cursor = page.cursor()?;
    let rows = sqlx::query_as(concat!(
        "SELECT ",
        columns!(),
        " FROM tenants WHERE $1::timestamptz IS NULL OR (created_at, tenant_id) < ($1, $2)
          ORDER BY created_at DESC, tenant_id DESC LIMIT $3"
    ))
    .bind(cursor.as_ref().map(|c| c.at))
    .bind(cursor.as_ref().map(|c| c.id.as_str()))
    .bind(page.fetch())
    .fetch_all(tx.connection())
    .await?;
    Ok(Page::cut(rows, page, |tenant: &Tenant| Cursor::new(tenant.created_at, tenant.id.as_str())))
}

/// Records which org answered under the tenant's credentials.
///
/// # Errors
/// `TENANT_EXISTS` when another tenant is connected to the org; `TENANT_NOT_FOUND`.
pub async fn set_org(tx: &mut TenantTx, instance_url: &str, org_id: &str) -> Result<()> {
    let tenant = tx.tenant().clone();
    let updated = sqlx::query("UPDATE tenants SET instance_url = $2, org_id = $3 WHERE tenant_id = $1")
        .bind(tenant.as_str())
        .bind(instance_url)
        .bind(org_id)
        .execute(tx.connection())
        .await
        .map_err(|error| match violates(&error, "tenants_org_id_key") {
            true => StoreError::refused(Code::TenantExists, "the org is connected to another tenant"),
            false => error.into(),
        })?;
    found(updated.rows_affected(), &tenant)
}

/// # Errors
/// `TENANT_NOT_FOUND`.
pub async fn set_lake_prefix(tx: &mut TenantTx, prefix: &str) -> Result<()> {
    let tenant = tx.tenant().clone();
    let updated = sqlx::query("UPDATE tenants SET lake_prefix = $2 WHERE tenant_id = $1")
        .bind(tenant.as_str())
        .bind(prefix)
        .execute(tx.connection())
        .await?;
    found(updated.rows_affected(), &tenant)
}

/// Ends the onboarding.
///
/// # Errors
/// `TENANT_NOT_FOUND`.
pub async fn activate(tx: &mut TenantTx) -> Result<()> {
    let tenant = tx.tenant().clone();
    let updated = sqlx::query("UPDATE tenants SET state = 'active' WHERE tenant_id = $1")
        .bind(tenant.as_str())
        .execute(tx.connection())
        .await?;
    found(updated.rows_affected(), &tenant)
}

/// Undoes [`insert`]: deletes the tenant with all that hangs on it, if `operation` created it. Says whether there was anything.
/// Operations, their ledger and the audit log stay.
pub async fn discard(tx: &mut TenantTx, operation: &OperationId) -> Result<bool> {
    let tenant = tx.tenant().clone();
    let deleted = sqlx::query("DELETE FROM tenants WHERE tenant_id = $1 AND created_by_operation = $2")
        .bind(tenant.as_str())
        .bind(operation.as_str())
        .execute(tx.connection())
        .await?;
    Ok(deleted.rows_affected() > 0)
}

fn found(rows: u64, tenant: &TenantId) -> Result<()> {
    if rows == 0 { Err(not_found(tenant)) } else { Ok(()) }
}

fn not_found(id: &TenantId) -> StoreError {
    StoreError::refused(Code::TenantNotFound, format!("there is no tenant {id}"))
}
