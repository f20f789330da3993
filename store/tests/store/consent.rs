//! Consent is what the latest version says when the transaction that relies on it commits.

use leadline_domain::ConsentGrant;
use leadline_store::consents::{self, ConsentChange};

use crate::fixture::{self, database};

#[tokio::test]
async fn a_permission_is_missing_until_given_and_withdrawn_after_it_was_taken_back() {
    let db = database().await;
    let (tenant, _) = fixture::tenant(&db.store, "careful").await;
    let mut tx = db.store.tenant(&tenant).await.unwrap();
    let training = |grant: &ConsentGrant| grant.allow_training;
    let code = |outcome: leadline_store::Result<consents::Consent>| outcome.unwrap_err().failure().code.as_str();

    assert_eq!(consents::current(&mut tx).await.unwrap(), None);
    assert_eq!(code(consents::require(&mut tx, "allowTraining", training).await), "CONSENT_MISSING");
    let given = consents::record(&mut tx, ConsentGrant::ALL, "lk_a", "signed").await.unwrap();
    assert_eq!((given.version, given.recorded_by.as_str()), (1, "lk_a"));
    assert_eq!(consents::require(&mut tx, "allowTraining", training).await.unwrap().version, 1);

    let withdrawn = ConsentGrant { allow_training: false, ..ConsentGrant::ALL };
    assert_eq!(consents::record(&mut tx, withdrawn, "lk_b", "").await.unwrap().version, 2);
    assert_eq!(code(consents::require(&mut tx, "allowTraining", training).await), "CONSENT_WITHDRAWN");
    assert_eq!(consents::require(&mut tx, "allowExport", |g| g.allow_export).await.unwrap().version, 2);
    assert_eq!(consents::version(&mut tx, 1).await.unwrap(), given);
    assert_eq!(code(consents::version(&mut tx, 3).await), "NOT_FOUND");
    tx.commit().await.unwrap();
}

#[tokio::test]
async fn a_change_leaves_what_it_does_not_name_and_is_refused_over_another_version() {
    let db = database().await;
    let (tenant, _) = fixture::tenant(&db.store, "stepwise").await;
    let mut tx = db.store.tenant(&tenant).await.unwrap();
    let export = ConsentChange { allow_export: Some(true), expected_version: Some(0), ..Default::default() };
    let first = consents::record(&mut tx, export, "lk_a", "").await.unwrap();
    assert_eq!((first.version, first.grant), (1, ConsentGrant { allow_export: true, ..Default::default() }));
    let training = ConsentChange { allow_training: Some(true), ..Default::default() };
    let both = consents::record(&mut tx, training, "lk_a", "").await.unwrap();
    assert_eq!(both.grant, ConsentGrant { allow_export: true, allow_training: true, ..Default::default() });

    let refused = consents::record(&mut tx, ConsentChange { expected_version: Some(1), ..training }, "lk_a", "").await;
    assert_eq!(refused.unwrap_err().failure().code.as_str(), "CONSENT_CHANGED");
    assert_eq!(consents::current(&mut tx).await.unwrap(), Some(both));
}

#[tokio::test]
async fn a_withdrawal_waits_for_who_relies_on_consent_and_is_seen_by_whoever_comes_after() {
    let db = database().await;
    let (tenant, _) = fixture::tenant(&db.store, "racing").await;
    let mut tx = db.store.tenant(&tenant).await.unwrap();
    consents::record(&mut tx, ConsentGrant::ALL, "lk_a", "").await.unwrap();
    tx.commit().await.unwrap();

    let mut relying = db.store.tenant(&tenant).await.unwrap();
    consents::require(&mut relying, "allowTraining", |g| g.allow_training).await.unwrap();
    let withdrawing = tokio::spawn({
        let (store, tenant) = (db.store.clone(), tenant.clone());
        async move {
            let mut tx = store.tenant(&tenant).await.unwrap();
            consents::record(&mut tx, ConsentGrant::default(), "lk_b", "").await.unwrap();
            tx.commit().await.unwrap();
        }
    });
    db.until_a_lock_is_waited_for().await;
    assert!(consents::current(&mut relying).await.unwrap().unwrap().grant.allow_training, "the withdrawal waits");
    relying.commit().await.unwrap();
    withdrawing.await.unwrap();

    let mut late = db.store.tenant(&tenant).await.unwrap();
    let refused = consents::require(&mut late, "allowTraining", |g| g.allow_training).await.unwrap_err();
    assert_eq!(refused.failure().code.as_str(), "CONSENT_WITHDRAWN");
}
