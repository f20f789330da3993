//! Who did what: append-only, also by grant. Details hold ids, codes, states and reasons that a person wrote for the log.

use chrono::{DateTime, Utc};
use leadline_domain::{OperationId, TenantId};
use serde_json::Value as Json;
use sqlx::{FromRow, Row as _, postgres::PgRow};

use crate::{
    Page, PageRequest, Result, Transact,
    paging::Cursor,
    row::{parsed, parsed_opt},
};

#[derive(Debug, Clone)]
pub struct AuditEntry<'a> {
    pub tenant: &'a TenantId,
    pub operation: Option<&'a OperationId>,
    /// An API key's id, or the name of the part of leadline that acted.
    pub actor: &'a str,
    /// Noun and verb, such as `operation.cancel`.
    pub action: &'a str,
    pub detail: Json,
}

#[derive(Debug, Clone, PartialEq)]
pub struct AuditRow {
    pub audit_id: i64,
    pub tenant: TenantId,
    pub operation: Option<OperationId>,
    pub actor: String,
    pub action: String,
    pub detail: Json,
    pub at: DateTime<Utc>,
}

impl FromRow<'_, PgRow> for AuditRow {
    fn from_row(row: &PgRow) -> sqlx::Result<Self> {
        Ok(Self {
            audit_id: row.try_get("audit_id")?,
            tenant: parsed(row, "tenant_id")?,
            operation: parsed_opt(row, "operation_id")?,
            actor: row.try_get("actor")?,
            action: row.try_get("action")?,
            detail: row.try_get("detail")?,
            at: row.try_get("at")?,
        })
    }
}

pub async fn append(tx: &mut impl Transact, entry: &AuditEntry<'_>) -> Result<()> {
    sqlx::query("INSERT INTO audit_log (tenant_id, operation_id, actor, action, detail) VALUES ($1, $2, $3, $4, $5)")
        .bind(entry.tenant.as_str())
        .bind(entry.operation.map(OperationId::as_str))
        .bind(entry.actor)
        .bind(entry.action)
        .bind(&entry.detail)
        .execute(tx.connection())
        .await?;
    Ok(())
}

/// Newest first; of one operation, or of all that the transaction sees.
pub async fn list(tx: &mut impl Transact, operation: Option<&OperationId>, page: &PageRequest) -> Result<Page<AuditRow>> {
    let cursor = page.cursor()?;
    let before: Option<i64> = cursor.and_then(|c| c.id.parse().ok());
    let rows = sqlx::query_as(
        "SELECT audit_id, tenant_id, operation_id, actor, action, detail, at FROM audit_log
         WHERE ($1::text IS NULL OR operation_id = $1) AND ($2::bigint IS NULL OR audit_id < $2)
         ORDER BY audit_id DESC LIMIT $3",
    )
    .bind(operation.map(OperationId::as_str))
    .bind(before)
    .bind(page.fetch())
    .fetch_all(tx.connection())
    .await?;
    Ok(Page::cut(rows, page, |row: &AuditRow| Cursor::new(row.at, row.audit_id.to_string())))
}
