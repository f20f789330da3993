//! Bringing a database up to date.

use std::time::Duration;

use futures::future::join_all;
use leadline_store::{
    Store, StoreConfig, StoreError,
    migrate::{OPERATOR_ROLE, TENANT_ROLE, migrate, schema_version},
};
use sqlx::{Connection as _, PgConnection};

use crate::fixture::{cluster, passwords};

#[tokio::test]
async fn four_migrations_at_once_apply_each_step_once_and_a_later_one_nothing() {
    let url = cluster().await.ensure_database("migrated_at_once").await.unwrap();
    let passwords = passwords();
    let outcomes = join_all((0..4).map(|_| migrate(&url, Some(&passwords)))).await;
    let migrated: Vec<_> = outcomes.into_iter().map(|outcome| outcome.unwrap()).collect();
    assert_eq!(migrated.iter().map(|m| m.applied).sum::<usize>(), migrated[0].version as usize);
    assert!(migrated.iter().all(|m| m.version == migrated[0].version));
    assert_eq!(migrate(&url, None).await.unwrap().applied, 0);

    let mut owner = PgConnection::connect(&url).await.unwrap();
    sqlx::query("UPDATE _sqlx_migrations SET checksum = 'x' WHERE version = 1").execute(&mut owner).await.unwrap();
    let changed = migrate(&url, None).await.unwrap_err();
    assert!(changed.to_string().contains("other content"), "{changed}");
}

#[tokio::test]
async fn an_owner_who_is_no_superuser_migrates_and_is_bound_by_the_policies_too() {
    let cluster = cluster().await;
    let url = cluster.ensure_database("managed").await.unwrap();
    // The roles are there before, as on a managed server.
    let other = cluster.ensure_database("elsewhere").await.unwrap();
    migrate(&other, Some(&passwords())).await.unwrap();
    let mut superuser = PgConnection::connect(&url).await.unwrap();
    for statement in [
        "CREATE ROLE landlord LOGIN CREATEROLE PASSWORD 'landlord'",
        "ALTER DATABASE managed OWNER TO landlord",
        "ALTER SCHEMA public OWNER TO landlord",
    ] {
        sqlx::query(statement).execute(&mut superuser).await.unwrap();
    }
    let owner_url = cluster.url("landlord", "landlord", "managed");
    migrate(&owner_url, None).await.unwrap();

    let store = Store::connect(&StoreConfig {
        tenant_url: cluster.url(TENANT_ROLE, "tenant%27s%20secret", "managed"),
        operator_url: cluster.url(OPERATOR_ROLE, "operator", "managed"),
        max_connections: 2,
        acquire_timeout: Duration::from_secs(30),
    })
    .await
    .unwrap();
    assert!(schema_version(&store).await.unwrap().is_current());
    store.ping().await.unwrap();

    crate::fixture::tenant(&store, "hidden").await;
    let key = leadline_secrets::ApiKey::generate().unwrap();
    let mut tx = store.operator().await.unwrap();
    let scope = leadline_store::api_keys::KeyScope::Operator;
    leadline_store::api_keys::create(&mut tx, &key, &scope, "ops", None).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(leadline_store::api_keys::authenticate(&store, &key).await.unwrap(), Some(scope));
    let mut owner = PgConnection::connect(&owner_url).await.unwrap();
    let seen: i64 = sqlx::query_scalar("SELECT count(*) FROM tenants").fetch_one(&mut owner).await.unwrap();
    assert_eq!(seen, 0, "row-level security is forced");
    store.close().await;
}

#[tokio::test]
async fn a_server_that_does_not_answer_is_unavailable_and_no_error_shows_the_password() {
    let url = "postgres://leadline_tenant:hunter2@127.0.0.1:1/leadline".to_owned();
    let config = StoreConfig {
        tenant_url: url.clone(),
        operator_url: url.clone(),
        max_connections: 1,
        acquire_timeout: Duration::from_secs(2),
    };
    let refused = Store::connect(&config).await.unwrap_err();
    assert!(matches!(refused, StoreError::Unavailable { .. }), "{refused}");
    assert_eq!(refused.failure().code.as_str(), "DATABASE_UNAVAILABLE");
    let unmigrated = migrate(&url, None).await.unwrap_err();
    for text in [format!("{refused:?} {refused}"), format!("{unmigrated:?}"), format!("{config:?}"), format!("{:?}", passwords())]
    {
        assert!(!text.contains("hunter2") && !text.contains("secret"), "{text}");
    }
}
