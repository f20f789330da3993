//! Row-level security holds whatever a query says.

use leadline_domain::{ConsentGrant, OperationId, OperationKind, TenantId};
use leadline_store::{
    StoreError, Transact, consents,
    operations::{self, OperationFilter},
    tenants,
};
use sqlx::{Connection as _, PgConnection, Row as _};

use crate::fixture::{self, accepted, database, database_with, new_tenant};

/// Every table but sqlx's own, counted by the role of the transaction.
async fn visible_rows(tx: &mut impl Transact) -> Vec<(String, i64)> {
    let tables =
        sqlx::query("SELECT tablename::text FROM pg_tables WHERE schemaname = 'public' AND tablename <> '_sqlx_migrations'")
            .fetch_all(tx.connection())
            .await
            .unwrap();
    let mut counts = Vec::new();
    for table in tables {
        let table: String = table.get(0);
        let count = sqlx::query_scalar(sqlx::AssertSqlSafe(format!("SELECT count(*) FROM {table}")))
            .fetch_one(tx.connection())
            .await
            .unwrap();
        counts.push((table, count));
    }
    counts
}

#[tokio::test]
async fn a_query_that_forgets_its_tenant_sees_that_tenant_only_and_a_reused_connection_nothing_of_the_one_before() {
    // One connection: both tenants use it in turn.
    let db = database_with(1).await;
    let (first, _) = fixture::tenant(&db.store, "first").await;
    let (second, _) = fixture::tenant(&db.store, "second").await;

    let mut tx = db.store.tenant(&first).await.unwrap();
    let operation = accepted(&mut tx, OperationKind::ExportDataset).await;
    tx.commit().await.unwrap();

    let mut tx = db.store.tenant(&first).await.unwrap();
    let names: Vec<String> = sqlx::query_scalar("SELECT name FROM tenants").fetch_all(tx.connection()).await.unwrap();
    assert_eq!(names, ["first"]);
    assert_eq!(operations::get(&mut tx, &operation.id).await.unwrap(), operation);
    drop(tx);

    let mut tx = db.store.tenant(&second).await.unwrap();
    let everything = OperationFilter { tenant: Some(first.clone()), ..OperationFilter::default() };
    assert_eq!(operations::list(&mut tx, &everything, &Default::default()).await.unwrap().items, []);
    assert_eq!(operations::get(&mut tx, &operation.id).await.unwrap_err().failure().code.as_str(), "OPERATION_NOT_FOUND");
    let touched = sqlx::query("UPDATE operations SET code = 'INTERNAL'").execute(tx.connection()).await.unwrap();
    assert_eq!(touched.rows_affected(), 0);
    tx.rollback().await.unwrap();

    let mut tx = db.store.operator().await.unwrap();
    assert_eq!(tenants::list(&mut tx, &Default::default()).await.unwrap().items.len(), 2);
}

#[tokio::test]
async fn without_a_tenant_the_tenants_role_sees_no_row_of_any_table_and_writes_none() {
    let db = database().await;
    let (tenant, operation) = fixture::tenant(&db.store, "only").await;
    let mut tx = db.store.tenant(&tenant).await.unwrap();
    accepted(&mut tx, OperationKind::TrainModel).await;
    tx.commit().await.unwrap();

    let mut owner = PgConnection::connect(&db.owner_url).await.unwrap();
    let unprotected: Vec<String> = sqlx::query_scalar(
        "SELECT relname::text FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace
           AND relname <> '_sqlx_migrations' AND NOT (relrowsecurity AND relforcerowsecurity)",
    )
    .fetch_all(&mut owner)
    .await
    .unwrap();
    assert_eq!(unprotected, Vec::<String>::new(), "every table is isolated");

    // A setting that was made and reset by a transaction before reads as an empty text.
    let mut bare = db.store.tenant(&tenant).await.unwrap();
    sqlx::query("SET LOCAL leadline.tenant = ''").execute(bare.connection()).await.unwrap();
    for (table, rows) in visible_rows(&mut bare).await {
        assert_eq!(rows, 0, "{table}");
    }
    let refused = tenants::insert(&mut bare, &new_tenant("smuggled", &operation)).await.unwrap_err();
    assert!(matches!(refused, StoreError::Statement { .. }), "{refused}");
}

#[tokio::test]
async fn an_operators_transaction_sees_all_tenants_until_it_is_bound_to_one() {
    let db = database().await;
    let (first, _) = fixture::tenant(&db.store, "one").await;
    let (second, operation) = fixture::tenant(&db.store, "two").await;

    let mut bound = db.store.operator_for(&first).await.unwrap();
    assert!(tenants::get(&mut bound, &second).await.is_err());
    assert!(!tenants::discard(&mut bound, &operation).await.unwrap());
    bound.commit().await.unwrap();

    let mut tx = db.store.operator().await.unwrap();
    assert_eq!(tenants::find_by_name(&mut tx, "two").await.unwrap().unwrap().id, second);
    assert_eq!(tenants::get(&mut tx, &TenantId::random()).await.unwrap_err().failure().code.as_str(), "TENANT_NOT_FOUND");
    let erased = sqlx::query("DELETE FROM audit_log").execute(tx.connection()).await;
    assert!(erased.is_err(), "the audit log is append-only for operators too");
}

#[tokio::test]
async fn a_consent_that_was_recorded_stands_and_goes_only_with_its_tenant() {
    let db = database().await;
    let (tenant, operation) = (TenantId::random(), OperationId::random());
    let mut tx = db.store.tenant(&tenant).await.unwrap();
    tenants::insert(&mut tx, &new_tenant("consenting", &operation)).await.unwrap();
    consents::record(&mut tx, ConsentGrant::default(), "lk", "").await.unwrap();
    tx.commit().await.unwrap();
    for statement in ["UPDATE consents SET allow_export = true", "DELETE FROM consents"] {
        let mut tx = db.store.tenant(&tenant).await.unwrap();
        assert!(sqlx::query(statement).execute(tx.connection()).await.is_err(), "{statement} by the tenant");
        let mut tx = db.store.operator().await.unwrap();
        assert!(sqlx::query(statement).execute(tx.connection()).await.is_err(), "{statement} by an operator");
    }
    let mut tx = db.store.tenant(&tenant).await.unwrap();
    assert!(tenants::discard(&mut tx, &operation).await.unwrap());
    assert!(consents::current(&mut tx).await.unwrap().is_none());
}

#[tokio::test]
async fn a_tenants_life_goes_from_onboarding_to_active_or_leaves_nothing() {
    let db = database().await;
    let (id, operation) = (TenantId::random(), OperationId::random());
    let mut tx = db.store.tenant(&id).await.unwrap();
    tenants::insert(&mut tx, &new_tenant("acme", &operation)).await.unwrap();
    assert_eq!(tenants::active(&mut tx, &id).await.unwrap_err().failure().code.as_str(), "TENANT_NOT_READY");
    tenants::set_org(&mut tx, "https://acme.example", "00D000000000001AAA").await.unwrap();
    tenants::set_lake_prefix(&mut tx, &format!("{id}/")).await.unwrap();
    tenants::activate(&mut tx).await.unwrap();
    let tenant = tenants::active(&mut tx, &id).await.unwrap();
    assert_eq!(tenant.org_id.as_deref(), Some("00D000000000001AAA"));
    assert!(!format!("{tenant:?}").contains("integration@"), "no personal data in debug output");
    tx.commit().await.unwrap();

    for (name, org) in [("acme", "00D000000000002AAA"), ("other", "00D000000000001AAA")] {
        let (id, operation) = (TenantId::random(), OperationId::random());
        let mut tx = db.store.tenant(&id).await.unwrap();
        let taken = match tenants::insert(&mut tx, &new_tenant(name, &operation)).await {
            Ok(_) => tenants::set_org(&mut tx, "https://x.example", org).await.unwrap_err(),
            Err(error) => error,
        };
        assert_eq!(taken.failure().code.as_str(), "TENANT_EXISTS");
    }

    let mut tx = db.store.tenant(&id).await.unwrap();
    assert!(!tenants::discard(&mut tx, &OperationId::random()).await.unwrap(), "not its creator");
    assert!(tenants::discard(&mut tx, &operation).await.unwrap());
    assert!(!tenants::discard(&mut tx, &operation).await.unwrap());
    tx.commit().await.unwrap();
    let mut tx = db.store.operator().await.unwrap();
    assert_eq!(tenants::find_by_name(&mut tx, "acme").await.unwrap(), None);
}
