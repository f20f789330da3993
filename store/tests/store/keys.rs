//! API keys and sealed secrets.

use chrono::{TimeDelta, Utc};
use leadline_domain::{ApiKeyId, Code, TenantId};
use leadline_secrets::{ApiKey, Keyring, Purpose};
use leadline_store::{
    api_keys::{self, KeyScope},
    sealed_secrets,
};

use crate::fixture::{self, database};

#[tokio::test]
async fn a_key_speaks_for_its_tenant_until_it_is_revoked_or_expired() {
    let db = database().await;
    let (tenant, _) = fixture::tenant(&db.store, "keyed").await;
    let (own, operators, old) = (ApiKey::generate().unwrap(), ApiKey::generate().unwrap(), ApiKey::generate().unwrap());
    let scope = KeyScope::Tenant(tenant.clone());

    let mut tx = db.store.operator().await.unwrap();
    api_keys::create(&mut tx, &own, &scope, "crm", None).await.unwrap();
    api_keys::create(&mut tx, &operators, &KeyScope::Operator, "ops", None).await.unwrap();
    api_keys::create(&mut tx, &old, &scope, "old", Some(Utc::now() - TimeDelta::days(1))).await.unwrap();
    tx.commit().await.unwrap();

    assert_eq!(api_keys::authenticate(&db.store, &own).await.unwrap(), Some(scope));
    assert_eq!(api_keys::authenticate(&db.store, &operators).await.unwrap(), Some(KeyScope::Operator));
    assert_eq!(api_keys::authenticate(&db.store, &old).await.unwrap(), None);
    let shown = ApiKey::generate().unwrap().reveal();
    let forged: ApiKey = format!("{}.{}", own.id(), shown.split_once('.').unwrap().1).parse().unwrap();
    assert_eq!(api_keys::authenticate(&db.store, &forged).await.unwrap(), None);

    let mut tx = db.store.operator().await.unwrap();
    let first = api_keys::revoke(&mut tx, own.id()).await.unwrap();
    assert_eq!(api_keys::revoke(&mut tx, own.id()).await.unwrap().revoked_at, first.revoked_at);
    assert_eq!(api_keys::list(&mut tx, Some(&tenant)).await.unwrap().len(), 2);
    assert_eq!(api_keys::list(&mut tx, None).await.unwrap().len(), 3);
    assert_eq!(api_keys::revoke(&mut tx, &ApiKeyId::random()).await.unwrap_err().code(), Some(Code::NotFound));
    tx.commit().await.unwrap();
    assert_eq!(api_keys::authenticate(&db.store, &own).await.unwrap(), None);

    let mut tx = db.store.operator().await.unwrap();
    let nobody = KeyScope::Tenant(TenantId::random());
    let refused = api_keys::create(&mut tx, &ApiKey::generate().unwrap(), &nobody, "x", None).await.unwrap_err();
    assert_eq!(refused.code(), Some(Code::TenantNotFound));
}

#[tokio::test]
async fn a_rotation_rewraps_every_tenants_secrets_and_the_old_key_is_free_then() {
    let db = database().await;
    let mut keyring = Keyring::generate().unwrap();
    let mut tenants = Vec::new();
    for name in ["one", "two", "three"] {
        let (tenant, _) = fixture::tenant(&db.store, name).await;
        let mut tx = db.store.tenant(&tenant).await.unwrap();
        let sealed = keyring.seal(&tenant, Purpose::CallbackKey, name.as_bytes()).unwrap();
        sealed_secrets::put(&mut tx, Purpose::CallbackKey, &sealed).await.unwrap();
        assert!(!sealed_secrets::put_if_absent(&mut tx, Purpose::CallbackKey, &sealed).await.unwrap());
        assert!(sealed_secrets::put_if_absent(&mut tx, Purpose::TenantDataKey, &sealed).await.unwrap());
        assert!(sealed_secrets::delete(&mut tx, Purpose::TenantDataKey).await.unwrap());
        let missing = sealed_secrets::get(&mut tx, Purpose::TenantDataKey).await.unwrap_err();
        assert_eq!(missing.failure().code.as_str(), "SECRET_UNREADABLE");
        tx.commit().await.unwrap();
        tenants.push((tenant, name));
    }
    let old = keyring.current_key_id().to_owned();
    let new = keyring.add_key().unwrap().to_owned();

    loop {
        let mut tx = db.store.operator().await.unwrap();
        let batch = sealed_secrets::to_rewrap(&mut tx, &new, 2).await.unwrap();
        if batch.is_empty() {
            break;
        }
        for mut secret in batch {
            secret.sealed = keyring.rewrap(&secret.tenant, secret.purpose, &secret.sealed).unwrap();
            sealed_secrets::replace(&mut tx, &secret).await.unwrap();
        }
        tx.commit().await.unwrap();
    }
    let mut tx = db.store.operator().await.unwrap();
    assert_eq!(sealed_secrets::count_by_key(&mut tx).await.unwrap(), [(new, 3)]);
    keyring.remove_key(&old).unwrap();
    for (tenant, name) in tenants {
        let mut tx = db.store.tenant(&tenant).await.unwrap();
        let sealed = sealed_secrets::get(&mut tx, Purpose::CallbackKey).await.unwrap();
        assert_eq!(&**keyring.open(&tenant, Purpose::CallbackKey, &sealed).unwrap(), name.as_bytes());
    }
}
