//! `leadline migrate`: brings a database up to this version's schema.

use clap::Args;
use leadline_store::migrate::{RolePasswords, migrate};
use serde_json::json;

use super::Context;
use crate::{
    error::{CliError, Result},
    output,
};

/// Bring a database up to this version's schema
///
/// Makes the login roles leadline_tenant and leadline_operator where they are missing, and applies what is missing of the schema.
/// May be repeated, and run at several places at once.
#[derive(Debug, Args)]
pub struct Migrate {
    /// URL of the database's owner, who may create roles; that of the dev stack when absent
    #[arg(long, env = "LEADLINE_DATABASE_OWNER_URL", hide_env_values = true, value_name = "URL")]
    database_owner_url: Option<String>,
    /// Sets the password of leadline_tenant (with --operator-password; both stay as they are when absent)
    #[arg(
        long,
        env = "LEADLINE_TENANT_PASSWORD",
        hide_env_values = true,
        requires = "operator_password",
        value_name = "PASSWORD"
    )]
    tenant_password: Option<String>,
    /// Sets the password of leadline_operator
    #[arg(
        long,
        env = "LEADLINE_OPERATOR_PASSWORD",
        hide_env_values = true,
        requires = "tenant_password",
        value_name = "PASSWORD"
    )]
    operator_password: Option<String>,
}

impl Migrate {
    pub async fn run(self, context: &Context) -> Result<()> {
        let owner = self.database_owner_url.or_else(|| context.target.dev_file().map(|dev| dev.database.owner.to_string()));
        let owner = owner.ok_or_else(|| {
            let advice = "give it with --database-owner-url (LEADLINE_DATABASE_OWNER_URL), or start `leadline dev`";
            CliError::environment("no database was named", advice)
        })?;
        let passwords = self.tenant_password.zip(self.operator_password);
        let passwords = passwords.map(|(tenant, operator)| RolePasswords { tenant, operator });
        let migrated = migrate(&owner, passwords.as_ref()).await?;
        if context.output.json {
            output::json(&json!({"version": migrated.version, "applied": migrated.applied}));
        } else {
            println!("schema version {}; {} migrations applied", migrated.version, migrated.applied);
        }
        Ok(())
    }
}
