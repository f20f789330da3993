//! One disposable cluster, and on it a migrated database for each test.

use std::{
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use leadline_domain::{OperationId, OperationKind, TenantId};
use leadline_store::{
    Store, StoreConfig, TenantTx,
    cluster::{ClusterConfig, PrivateCluster, RunningCluster},
    migrate::{OPERATOR_ROLE, RolePasswords, TENANT_ROLE, migrate},
    operations::{self, NewOperation, Operation},
    tenants::{self, NewTenant, OrgConnection},
};
use serde_json::json;
use sqlx::{Connection as _, PgConnection};
use tokio::sync::OnceCell;

/// Ends with the process, which closes the cluster's lifeline.
static CLUSTER: OnceCell<RunningCluster> = OnceCell::const_new();
static DATABASES: AtomicU32 = AtomicU32::new(0);

pub async fn cluster() -> &'static RunningCluster {
    CLUSTER.get_or_init(|| async { PrivateCluster::start(&ClusterConfig::disposable()).await.unwrap() }).await
}

pub fn passwords() -> RolePasswords {
    RolePasswords { tenant: "tenant's secret".into(), operator: "operator".into() }
}

pub struct Database {
    pub store: Store,
    pub owner_url: String,
}

/// A new database, migrated, with pools of `max_connections` each.
pub async fn database_with(max_connections: u32) -> Database {
    let cluster = cluster().await;
    let name = format!("store_{}", DATABASES.fetch_add(1, Ordering::Relaxed));
    let owner_url = cluster.ensure_database(&name).await.unwrap();
    migrate(&owner_url, Some(&passwords())).await.unwrap();
    let store = Store::connect(&StoreConfig {
        tenant_url: cluster.url(TENANT_ROLE, "tenant%27s%20secret", &name),
        operator_url: cluster.url(OPERATOR_ROLE, "operator", &name),
        max_connections,
        acquire_timeout: Duration::from_secs(30),
    })
    .await
    .unwrap();
    Database { store, owner_url }
}

impl Database {
    /// Waits until a statement waits for a lock that another transaction holds.
    pub async fn until_a_lock_is_waited_for(&self) {
        let mut owner = PgConnection::connect(&self.owner_url).await.unwrap();
        let waiting =
            "SELECT EXISTS (SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock')";
        while !sqlx::query_scalar::<_, bool>(waiting).fetch_one(&mut owner).await.unwrap() {
            tokio::task::yield_now().await;
        }
    }
}

pub async fn database() -> Database {
    database_with(8).await
}

pub fn new_tenant(name: &str, created_by: &OperationId) -> NewTenant {
    NewTenant {
        name: name.into(),
        display_name: name.to_uppercase(),
        connection: OrgConnection {
            login_url: "https://login.example".into(),
            client_id: "client".into(),
            username: "integration@example.org".into(),
            audience: "https://login.example".into(),
        },
        created_by: created_by.clone(),
    }
}

/// An active tenant, and the operation that created it.
pub async fn tenant(store: &Store, name: &str) -> (TenantId, OperationId) {
    let (id, operation) = (TenantId::random(), OperationId::random());
    let mut tx = store.operator_for(&id).await.unwrap();
    tenants::insert(&mut tx, &new_tenant(name, &operation)).await.unwrap();
    tenants::activate(&mut tx).await.unwrap();
    tx.commit().await.unwrap();
    (id, operation)
}

pub fn new_operation(kind: OperationKind) -> NewOperation {
    NewOperation {
        id: OperationId::random(),
        kind,
        params: json!({ "object": "Lead" }),
        requested_by: "lk_test".into(),
        consent_version: None,
    }
}

pub async fn accepted(tx: &mut TenantTx, kind: OperationKind) -> Operation {
    operations::accept(tx, &new_operation(kind), None).await.unwrap().operation
}
