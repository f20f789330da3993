//! Brings a database up to this version's schema. Run as the owner of the database.

use std::{fmt, str::FromStr as _};

use sqlx::{
    AssertSqlSafe, Connection as _, PgConnection,
    migrate::{MigrateError, Migrator},
    postgres::PgConnectOptions,
};

use crate::{Result, Store, StoreError};

static MIGRATIONS: Migrator = sqlx::migrate!("../migrations");

/// Any number that no other program locks by; two migrations at once wait for each other, roles included.
const LOCK: i64 = 0x6c65_6164_6c69_6e65;

pub const TENANT_ROLE: &str = "leadline_tenant";
pub const OPERATOR_ROLE: &str = "leadline_operator";

/// Passwords for the two login roles.
#[derive(Clone)]
pub struct RolePasswords {
    pub tenant: String,
    pub operator: String,
}

impl fmt::Debug for RolePasswords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RolePasswords")
    }
}

/// What a migration has done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Migrated {
    /// Version of the schema now.
    pub version: i64,
    /// How many migrations were applied by this run.
    pub applied: usize,
}

/// Makes the roles if they are missing (roles belong to the cluster, so another database may have made them), sets their
/// passwords when `passwords` are given, and applies what is missing. May be repeated, also at once.
///
/// # Errors
/// [`StoreError::Unavailable`]; [`StoreError::Statement`] when the owner may not do this, or when the database has a migration
/// that this version does not know or knows with other content.
pub async fn migrate(owner_url: &str, passwords: Option<&RolePasswords>) -> Result<Migrated> {
    let mut connection = PgConnection::connect_with(&PgConnectOptions::from_str(owner_url)?).await?;
    sqlx::query("SELECT pg_advisory_lock($1)").bind(LOCK).execute(&mut connection).await?;
    let migrated = migrate_locked(&mut connection, passwords).await;
    // The lock goes with the connection, also when this fails.
    let closed = connection.close().await;
    let migrated = migrated?;
    closed?;
    Ok(migrated)
}

async fn migrate_locked(connection: &mut PgConnection, passwords: Option<&RolePasswords>) -> Result<Migrated> {
    ensure_role(connection, TENANT_ROLE, passwords.map(|p| p.tenant.as_str())).await?;
    ensure_role(connection, OPERATOR_ROLE, passwords.map(|p| p.operator.as_str())).await?;
    let before = applied_versions(connection).await?.len();
    MIGRATIONS.run(&mut *connection).await.map_err(refused)?;
    // Health checks of every role compare the schema's version with their own.
    sqlx::query("GRANT SELECT ON _sqlx_migrations TO leadline_tenant, leadline_operator").execute(&mut *connection).await?;
    let after = applied_versions(connection).await?;
    Ok(Migrated { version: after.last().copied().unwrap_or(0), applied: after.len() - before })
}

async fn ensure_role(connection: &mut PgConnection, role: &'static str, password: Option<&str>) -> Result<()> {
    // Another database of the cluster may be migrated at the same time, and advisory locks belong to one database: `CREATE ROLE`
    // then loses against the other one's, which is as good.
    let create =
        format!("DO $$ BEGIN CREATE ROLE {role} LOGIN; EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$");
    sqlx::raw_sql(AssertSqlSafe(create)).execute(&mut *connection).await?;
    match password {
        Some(password) => set_password(connection, role, password).await,
        None => Ok(()),
    }
}

/// PostgreSQL refuses one of two concurrent changes of a role ("tuple concurrently updated"), so it is tried again.
async fn set_password(connection: &mut PgConnection, role: &'static str, password: &str) -> Result<()> {
    // Utility statements take no parameters: the server itself quotes the password.
    let statement: String = sqlx::query_scalar("SELECT format('ALTER ROLE %I LOGIN PASSWORD %L', $1::text, $2::text)")
        .bind(role)
        .bind(password)
        .fetch_one(&mut *connection)
        .await?;
    let mut attempts = 0;
    loop {
        attempts += 1;
        match sqlx::raw_sql(AssertSqlSafe(statement.clone())).execute(&mut *connection).await {
            Err(error) if is_concurrent_change(&error) && attempts < 20 => {}
            outcome => return Ok(outcome.map(drop)?),
        }
    }
}

fn is_concurrent_change(error: &sqlx::Error) -> bool {
    matches!(error, sqlx::Error::Database(refusal) if refusal.code().as_deref() == Some("XX000"))
}

async fn applied_versions(connection: &mut PgConnection) -> Result<Vec<i64>> {
    let exists: bool =
        sqlx::query_scalar("SELECT to_regclass('_sqlx_migrations') IS NOT NULL").fetch_one(&mut *connection).await?;
    if !exists {
        return Ok(Vec::new());
    }
    let versions = sqlx::query_scalar("SELECT version FROM _sqlx_migrations WHERE success ORDER BY version")
        .fetch_all(&mut *connection)
        .await?;
    Ok(versions)
}

#[track_caller]
fn refused(error: MigrateError) -> StoreError {
    match error {
        MigrateError::Execute(source) | MigrateError::ExecuteMigration(source, _) => source.into(),
        MigrateError::VersionMissing(version) => StoreError::statement(format!(
            "the database has migration {version}, which this version does not know: upgrade leadline"
        )),
        MigrateError::VersionMismatch(version) => {
            StoreError::statement(format!("migration {version} was applied with other content"))
        }
        MigrateError::Dirty(version) => StoreError::statement(format!("migration {version} was begun and not finished")),
        _ => StoreError::statement("the migrations cannot be applied".to_owned()),
    }
}

/// The schema of a database against the one that this version needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SchemaVersion {
    /// 0: never migrated.
    pub found: i64,
    pub needed: i64,
}

impl SchemaVersion {
    pub fn is_current(self) -> bool {
        self.found == self.needed
    }
}

/// For readiness and `doctor`.
pub async fn schema_version(store: &Store) -> Result<SchemaVersion> {
    let needed = MIGRATIONS.iter().map(|migration| migration.version).max().unwrap_or(0);
    let mut connection = store.operator_pool().acquire().await?;
    let found = applied_versions(&mut connection).await?.last().copied().unwrap_or(0);
    Ok(SchemaVersion { found, needed })
}
