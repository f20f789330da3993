//! A model's life, and what a prediction reads.

use futures::future::join_all;
use leadline_domain::{Code, ConsentGrant, ModelId, ModelState, OperationId, TenantId};
use leadline_store::{
    PageRequest, Store, TenantTx, consents,
    models::{self, ModelFilter, NewModel, StagedArtifact},
    records::{self, RecordVersion, Snapshot},
    serving,
};
use serde_json::json;
use sqlx::{Connection as _, PgConnection};

use crate::fixture::{self, database};

async fn draft(tx: &mut TenantTx, definition: &str) -> ModelId {
    let operation = OperationId::random();
    let new = NewModel {
        id: operation.model(),
        operation: operation.clone(),
        definition_name: definition.into(),
        object: "Lead".into(),
        definition: json!({ "name": definition }),
        training: json!({ "seed": 1 }),
        dataset: None,
        consent_version: 1,
    };
    models::create_draft(tx, &new).await.unwrap();
    models::create_draft(tx, &new).await.unwrap();
    new.id
}

fn artifact() -> StagedArtifact {
    StagedArtifact {
        schema_hash: "5c".into(),
        artifact_key: "t/artifacts/a".into(),
        artifact_digest: "d1".into(),
        card: json!({ "auc": 0.81 }),
        gates: json!([]),
        compared_with: None,
    }
}

async fn staged(store: &Store, tenant: &TenantId, definition: &str) -> ModelId {
    let mut tx = store.tenant(tenant).await.unwrap();
    let id = draft(&mut tx, definition).await;
    models::transition(&mut tx, &id, ModelState::Training).await.unwrap();
    let compared_with = models::active(&mut tx, definition).await.unwrap().map(|model| model.id);
    models::stage_artifact(&mut tx, &id, &StagedArtifact { compared_with, ..artifact() }).await.unwrap();
    models::transition(&mut tx, &id, ModelState::Validated).await.unwrap();
    models::transition(&mut tx, &id, ModelState::Staged).await.unwrap();
    tx.commit().await.unwrap();
    id
}

#[tokio::test]
async fn the_database_refuses_exactly_the_transitions_that_the_domain_refuses() {
    let db = database().await;
    let mut owner = PgConnection::connect(&db.owner_url).await.unwrap();
    let (tenant, _) = fixture::tenant(&db.store, "pinned").await;
    for from in ModelState::ALL {
        for to in ModelState::ALL {
            let mut tx = owner.begin().await.unwrap();
            sqlx::query(
                "INSERT INTO models (tenant_id, model_id, operation_id, definition_name, object, definition, training, state,
                                     consent_version, schema_hash, artifact_key, artifact_digest)
                 VALUES ($1, 'm', 'o', 'd', 'Lead', '{}', '{}', $2, 1, 's', 'k', 'd')",
            )
            .bind(tenant.as_str())
            .bind(from.as_str())
            .execute(&mut *tx)
            .await
            .unwrap();
            let updated = sqlx::query("UPDATE models SET state = $1").bind(to.as_str()).execute(&mut *tx).await;
            assert_eq!(updated.is_ok(), from == to || from.may_become(to), "{from} to {to}");
        }
    }
}

#[tokio::test]
async fn a_model_reaches_production_step_by_step_and_a_rollback_is_a_promotion() {
    let db = database().await;
    let (tenant, _) = fixture::tenant(&db.store, "learner").await;
    let old = staged(&db.store, &tenant, "lead").await;
    let mut tx = db.store.tenant(&tenant).await.unwrap();
    assert_eq!(models::active(&mut tx, "lead").await.unwrap(), None);
    assert_eq!(models::activate(&mut tx, &old).await.unwrap(), None);
    tx.commit().await.unwrap();
    let new = staged(&db.store, &tenant, "lead").await;
    let mut tx = db.store.tenant(&tenant).await.unwrap();
    assert_eq!(models::activate(&mut tx, &new).await.unwrap().as_ref(), Some(&old));
    assert_eq!(models::activate(&mut tx, &new).await.unwrap(), None, "a repetition changes nothing");
    assert_eq!(models::get(&mut tx, &old).await.unwrap().state, ModelState::Archived);
    assert_eq!(models::activate(&mut tx, &old).await.unwrap().as_ref(), Some(&new), "a rollback");
    let production = ModelFilter { state: Some(ModelState::Production), ..ModelFilter::default() };
    let listed = models::list(&mut tx, &production, &PageRequest::default()).await.unwrap().items;
    assert_eq!((listed.len(), &listed[0].card), (1, &None));
}

#[tokio::test]
async fn of_two_models_that_were_compared_with_the_same_one_only_the_first_is_promoted() {
    let db = database().await;
    let (tenant, _) = fixture::tenant(&db.store, "rivals").await;
    let rivals = [staged(&db.store, &tenant, "lead").await, staged(&db.store, &tenant, "lead").await];
    let outcomes = join_all(rivals.iter().map(|id| async {
        let mut tx = db.store.tenant(&tenant).await.unwrap();
        let outcome = models::activate(&mut tx, id).await;
        if outcome.is_ok() {
            tx.commit().await.unwrap();
        }
        outcome.map_err(|error| error.code())
    }))
    .await;
    let refused: Vec<_> = outcomes.iter().filter(|outcome| outcome.is_err()).collect();
    assert_eq!(refused, [&Err(Some(Code::ComparisonOutdated))]);
    let mut tx = db.store.tenant(&tenant).await.unwrap();
    let active = models::all_active(&mut tx).await.unwrap();
    assert_eq!(active.len(), 1);
    let loser = rivals.iter().find(|id| **id != active[0].id).unwrap();
    assert_eq!(models::get(&mut tx, loser).await.unwrap().state, ModelState::Staged, "nothing of the refused one is left");
}

#[tokio::test]
async fn a_rejected_run_keeps_its_first_reason_and_its_card_and_nothing_that_could_be_served() {
    let db = database().await;
    let (tenant, _) = fixture::tenant(&db.store, "modest").await;
    let registered = staged(&db.store, &tenant, "churn").await;
    let mut tx = db.store.tenant(&tenant).await.unwrap();
    let id = draft(&mut tx, "lead").await;
    models::transition(&mut tx, &id, ModelState::Training).await.unwrap();
    models::transition(&mut tx, &id, ModelState::Training).await.unwrap();
    models::set_dataset(&mut tx, &id, &OperationId::random().dataset()).await.unwrap();
    let skipped = models::transition(&mut tx, &id, ModelState::Production).await.unwrap_err();
    assert_eq!(skipped.code(), Some(Code::ModelStateForbids));
    models::stage_artifact(&mut tx, &id, &artifact()).await.unwrap();
    models::reject(&mut tx, &id, Code::GateRefused, "no skill").await.unwrap();
    models::reject(&mut tx, &id, Code::Cancelled, "cancelled").await.unwrap();
    let rejected = models::get(&mut tx, &id).await.unwrap();
    assert_eq!((rejected.state, rejected.code, rejected.artifact_key), (ModelState::Rejected, Some(Code::GateRefused), None));
    assert_eq!(rejected.dataset, None, "its own data set went with it");
    assert_eq!(rejected.card, Some(json!({ "auc": 0.81 })));
    let late = models::reject(&mut tx, &registered, Code::Cancelled, "").await.unwrap_err();
    assert_eq!(late.code(), Some(Code::ModelStateForbids));
    let shown = ModelFilter { state: Some(ModelState::Staged), ..ModelFilter::default() };
    let listed = models::list(&mut tx, &shown, &PageRequest::default()).await.unwrap().items;
    assert_eq!(listed.iter().map(|m| &m.id).collect::<Vec<_>>(), [&registered]);
    assert_eq!(models::get(&mut tx, &ModelId::random()).await.unwrap_err().code(), Some(Code::ModelNotFound));
}

#[tokio::test]
async fn one_statement_gives_a_prediction_its_consent_model_and_record() {
    let db = database().await;
    let (tenant, _) = fixture::tenant(&db.store, "serving").await;
    let mut tx = db.store.tenant_read(&tenant).await.unwrap();
    assert_eq!(serving::answer_basis(&mut tx, Some("lead"), None).await.unwrap_err().code(), Some(Code::NoActiveModel));
    drop(tx);

    let model = staged(&db.store, &tenant, "lead").await;
    let mut tx = db.store.tenant(&tenant).await.unwrap();
    models::activate(&mut tx, &model).await.unwrap();
    let version = RecordVersion { record_id: "00Q1".into(), modified_at: chrono::Utc::now(), fields: json!({ "Id": "00Q1" }) };
    let dataset = OperationId::random().dataset();
    let export = Snapshot { object: "Lead", dataset: &dataset, taken_at: version.modified_at, fields: None };
    records::upsert_batch(&mut tx, &export, &[version]).await.unwrap();
    let basis = serving::answer_basis(&mut tx, None, Some("00Q1")).await.unwrap();
    assert_eq!((basis.consent, basis.training_was_allowed), (None, false));
    assert_eq!((basis.model.id, basis.model.object.as_str()), (model, "Lead"));
    assert_eq!(basis.fields, Some(json!({ "Id": "00Q1" })));

    consents::record(&mut tx, ConsentGrant::ALL, "lk", "").await.unwrap();
    consents::record(&mut tx, ConsentGrant::default(), "lk", "").await.unwrap();
    let basis = serving::answer_basis(&mut tx, Some("lead"), Some("00Q2")).await.unwrap();
    assert_eq!((basis.consent, basis.training_was_allowed, basis.fields), (Some(ConsentGrant::default()), true, None));
    tx.commit().await.unwrap();

    let second = staged(&db.store, &tenant, "churn").await;
    let mut tx = db.store.tenant(&tenant).await.unwrap();
    models::activate(&mut tx, &second).await.unwrap();
    assert_eq!(serving::answer_basis(&mut tx, None, None).await.unwrap_err().code(), Some(Code::InvalidArgument));
    drop(tx);
    let mut tx = db.store.tenant(&TenantId::random()).await.unwrap();
    assert_eq!(serving::answer_basis(&mut tx, None, None).await.unwrap_err().code(), Some(Code::TenantNotFound));
}
