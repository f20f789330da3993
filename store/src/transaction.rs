//! The two pools, and the transactions that every statement runs in.

use std::{fmt, str::FromStr as _, time::Duration};

use leadline_domain::TenantId;
use sqlx::{
    AssertSqlSafe, Connection as _, PgConnection, PgPool, Postgres, Transaction,
    postgres::{PgConnectOptions, PgPoolOptions},
};

use crate::Result;

/// How long a pooled connection may have been idle before it is tried with a round trip of its own.
const TRUSTED_IDLE: Duration = Duration::from_secs(10);

/// Settings of every session. A worker that froze in the middle of a transaction, or whose machine is gone, holds the locks of
/// its step: the server gives such a session up, so that the undo of the step can close the epoch. What the session had not
/// committed is gone then, and its attempt changes nothing.
const SESSION_SETTINGS: [(&str, &str); 5] = [
    ("idle_in_transaction_session_timeout", "60s"),
    ("statement_timeout", "300s"),
    ("tcp_keepalives_idle", "30"),
    ("tcp_keepalives_interval", "10"),
    ("tcp_keepalives_count", "3"),
];

#[derive(Clone)]
pub struct StoreConfig {
    /// `postgres://` URL of the role `leadline_tenant`.
    pub tenant_url: String,
    /// `postgres://` URL of the role `leadline_operator`.
    pub operator_url: String,
    /// Of each of the two pools.
    pub max_connections: u32,
    /// How long to wait for a free connection before the call fails as unavailable.
    pub acquire_timeout: Duration,
}

impl fmt::Debug for StoreConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoreConfig")
            .field("max_connections", &self.max_connections)
            .field("acquire_timeout", &self.acquire_timeout)
            .finish_non_exhaustive()
    }
}

/// Connections to PostgreSQL under two roles: one that sees a single tenant, one for operators. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Store {
    tenant: PgPool,
    operator: PgPool,
}

impl Store {
    /// Opens both pools and makes sure that each can be reached.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`](crate::StoreError), or `Statement` when the roles may not connect.
    pub async fn connect(config: &StoreConfig) -> Result<Self> {
        let tenant = pool(config, &config.tenant_url)?;
        let operator = pool(config, &config.operator_url)?;
        tenant.acquire().await?;
        operator.acquire().await?;
        Ok(Self { tenant, operator })
    }

    /// Begins a transaction that sees and writes the rows of `tenant` only.
    pub async fn tenant(&self, tenant: &TenantId) -> Result<TenantTx> {
        begin_for(&self.tenant, "BEGIN", tenant).await
    }

    /// As [`Store::tenant`], but read-only, for reads on the path of a request.
    pub async fn tenant_read(&self, tenant: &TenantId) -> Result<TenantTx> {
        begin_for(&self.tenant, "BEGIN READ ONLY", tenant).await
    }

    /// Begins an operators' transaction that is bound to one tenant, for what no tenant may do by itself, such as accepting the
    /// operation that creates it.
    pub async fn operator_for(&self, tenant: &TenantId) -> Result<TenantTx> {
        begin_for(&self.operator, "BEGIN", tenant).await
    }

    /// Begins a transaction that sees every tenant.
    pub async fn operator(&self) -> Result<OperatorTx> {
        Ok(OperatorTx { tx: self.operator.begin().await? })
    }

    pub(crate) fn tenant_pool(&self) -> &PgPool {
        &self.tenant
    }

    pub(crate) fn operator_pool(&self) -> &PgPool {
        &self.operator
    }

    /// One round trip on each pool, for health checks.
    pub async fn ping(&self) -> Result<()> {
        sqlx::query("SELECT 1").execute(&self.tenant).await?;
        sqlx::query("SELECT 1").execute(&self.operator).await?;
        Ok(())
    }

    /// Waits until the connections in use are given back, and closes all.
    pub async fn close(&self) {
        self.tenant.close().await;
        self.operator.close().await;
    }
}

fn pool(config: &StoreConfig, url: &str) -> Result<PgPool> {
    let options = PgConnectOptions::from_str(url)?.application_name("leadline").options(SESSION_SETTINGS);
    let pool = PgPoolOptions::new()
        .max_connections(config.max_connections)
        .acquire_timeout(config.acquire_timeout)
        // A round trip before every use would cost each prediction as much as its query. A connection that was used a moment
        // ago is trusted instead; if it broke since, its call fails as unavailable.
        .test_before_acquire(false)
        .before_acquire(|connection, usage| {
            Box::pin(async move { Ok(usage.idle_for < TRUSTED_IDLE || connection.ping().await.is_ok()) })
        })
        .connect_lazy_with(options);
    Ok(pool)
}

/// Begins and names the tenant in one round trip. The setting ends with the transaction, so that nothing of it is left on the
/// pooled connection.
async fn begin_for(pool: &PgPool, begin: &str, tenant: &TenantId) -> Result<TenantTx> {
    // An id has only letters, digits and _: its type has no other way in.
    let statement = AssertSqlSafe(format!("{begin}; SET LOCAL leadline.tenant = '{tenant}'"));
    Ok(TenantTx { tx: pool.begin_with(statement).await?, tenant: tenant.clone() })
}

/// A transaction of one tenant. Dropped without [`TenantTx::commit`], it leaves nothing behind.
pub struct TenantTx {
    tx: Transaction<'static, Postgres>,
    tenant: TenantId,
}

/// A transaction over all tenants. Dropped without [`OperatorTx::commit`], it leaves nothing behind.
pub struct OperatorTx {
    tx: Transaction<'static, Postgres>,
}

impl TenantTx {
    pub fn tenant(&self) -> &TenantId {
        &self.tenant
    }

    pub async fn commit(self) -> Result<()> {
        Ok(self.tx.commit().await?)
    }

    pub async fn rollback(self) -> Result<()> {
        Ok(self.tx.rollback().await?)
    }
}

impl OperatorTx {
    pub async fn commit(self) -> Result<()> {
        Ok(self.tx.commit().await?)
    }
}

/// A transaction, whoever it speaks for. What a statement sees is up to row-level security.
pub trait Transact: sealed::Sealed + Send {
    fn connection(&mut self) -> &mut PgConnection;
}

impl Transact for TenantTx {
    fn connection(&mut self) -> &mut PgConnection {
        &mut self.tx
    }
}

impl Transact for OperatorTx {
    fn connection(&mut self) -> &mut PgConnection {
        &mut self.tx
    }
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for super::TenantTx {}
    impl Sealed for super::OperatorTx {}
}
