//! `leadline keys`: API keys, kept as hashes. Made here and not through the API, since the first key cannot ask with a key.

use chrono::{DateTime, TimeDelta, Utc};
use clap::{Args, Subcommand};
use leadline_domain::{ApiKeyId, TenantId};
use leadline_secrets::ApiKey;
use leadline_store::{
    Store,
    api_keys::{self, ApiKeyRow, KeyScope},
    tenants,
};
use serde_json::json;

use super::{Context, no_tenant};
use crate::{
    error::{CliError, Result},
    output,
    settings::DatabaseArgs,
};

#[derive(Debug, Subcommand)]
pub enum Keys {
    /// Make a key and show it: this once, since only its hash is kept
    Create(Create),
    /// List keys, newest first
    List {
        /// Only the keys of this tenant (id or name)
        #[arg(long)]
        tenant: Option<String>,
        #[command(flatten)]
        database: DatabaseArgs,
    },
    /// Revoke a key
    Revoke {
        /// The key's id: its part before the dot
        id: ApiKeyId,
        #[command(flatten)]
        database: DatabaseArgs,
    },
}

#[derive(Debug, Args)]
pub struct Create {
    #[command(flatten)]
    scope: Scope,
    /// What or whom the key is for
    #[arg(long)]
    label: String,
    /// Days until it expires; never when absent
    #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(u16).range(1..))]
    expires_in: Option<u16>,
    #[command(flatten)]
    database: DatabaseArgs,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub struct Scope {
    /// The key speaks for this tenant (id or name) and reaches no other
    #[arg(long)]
    tenant: Option<String>,
    /// The key speaks for operators and reaches every tenant
    #[arg(long)]
    operator: bool,
}

impl Keys {
    pub async fn run(self, context: &Context) -> Result<()> {
        match self {
            Self::Create(create) => create.run(context).await,
            Self::List { tenant, database } => {
                let store = database.connect(&context.target).await?;
                let tenant = match tenant {
                    Some(tenant) => Some(find_tenant(&store, &tenant).await?),
                    None => None,
                };
                let rows = api_keys::list(&mut store.operator().await?, tenant.as_ref()).await?;
                print(context, &rows);
                Ok(())
            }
            Self::Revoke { id, database } => {
                let store = database.connect(&context.target).await?;
                let mut tx = store.operator().await?;
                let row = api_keys::revoke(&mut tx, &id).await?;
                tx.commit().await?;
                print(context, &[row]);
                Ok(())
            }
        }
    }
}

impl Create {
    async fn run(self, context: &Context) -> Result<()> {
        let store = self.database.connect(&context.target).await?;
        let scope = match &self.scope.tenant {
            Some(tenant) => KeyScope::Tenant(find_tenant(&store, tenant).await?),
            None => KeyScope::Operator,
        };
        let expires_at = self.expires_in.map(|days| Utc::now() + TimeDelta::days(days.into()));
        let key = create(&store, &scope, &self.label, expires_at).await?;
        if context.output.json {
            output::json(&json!({"id": key.id(), "key": *key.reveal()}));
        } else {
            println!("{}", *key.reveal());
            eprintln!("keep it now: it cannot be shown again");
        }
        Ok(())
    }
}

/// Makes a key and keeps its hash.
pub async fn create(store: &Store, scope: &KeyScope, label: &str, expires_at: Option<DateTime<Utc>>) -> Result<ApiKey> {
    let key = ApiKey::generate().map_err(|error| CliError::part("API key", &error))?;
    let mut tx = store.operator().await?;
    api_keys::create(&mut tx, &key, scope, label, expires_at).await?;
    tx.commit().await?;
    Ok(key)
}

async fn find_tenant(store: &Store, tenant: &str) -> Result<TenantId> {
    if let Ok(id) = tenant.parse() {
        return Ok(id);
    }
    let found = tenants::find_by_name(&mut store.operator().await?, tenant).await?;
    found.map(|found| found.id).ok_or_else(|| no_tenant(tenant))
}

fn print(context: &Context, rows: &[ApiKeyRow]) {
    let time = |at: Option<DateTime<Utc>>| at.map(|at| at.format("%Y-%m-%d %H:%M:%SZ").to_string()).unwrap_or_default();
    if context.output.json {
        let rows: Vec<_> = rows
            .iter()
            .map(|row| {
                json!({"id": row.id, "tenantId": row.tenant, "label": row.label, "createTime": row.created_at,
                    "expireTime": row.expires_at, "revokeTime": row.revoked_at})
            })
            .collect();
        output::json(&json!({ "keys": rows }));
        return;
    }
    let mut table = output::table(["key", "speaks for", "label", "created", "expires", "revoked"]);
    for row in rows {
        table.add_row([
            row.id.to_string(),
            row.tenant.as_ref().map_or_else(|| "operators".to_owned(), ToString::to_string),
            row.label.clone(),
            time(Some(row.created_at)),
            time(row.expires_at),
            time(row.revoked_at),
        ]);
    }
    output::print(&table);
}
