//! Data sets, schemas and the current state of records.

use chrono::{DateTime, TimeDelta, Utc};
use leadline_domain::{
    Code, OperationId,
    value::{Field, FieldType, ObjectSchema},
};
use leadline_store::{
    PageRequest,
    datasets::{self, DatasetState, Manifest, NewDataset},
    object_schemas,
    records::{self, RecordVersion},
};
use serde_json::json;

use crate::fixture::{self, database};

fn schema() -> ObjectSchema {
    let field = |name: &str, field_type| Field { name: name.into(), label: name.into(), field_type, nullable: true };
    ObjectSchema { object: "Lead".into(), fields: vec![field("Id", FieldType::Reference), field("Score", FieldType::Number)] }
}

fn manifest(address: &str) -> Manifest {
    Manifest {
        schema: schema(),
        content_address: address.into(),
        row_count: 7,
        byte_count: 900,
        manifest_key: "k/manifest.json".into(),
    }
}

#[tokio::test]
async fn a_data_set_is_staged_then_committed_once_and_only_a_staged_one_can_be_discarded() {
    let db = database().await;
    let (tenant, _) = fixture::tenant(&db.store, "exporter").await;
    let mut tx = db.store.tenant(&tenant).await.unwrap();
    let new = |operation: &OperationId| NewDataset {
        id: operation.dataset(),
        operation: operation.clone(),
        object: "Lead".into(),
        consent_version: 1,
    };
    let (kept, dropped) = (OperationId::random(), OperationId::random());
    for operation in [&kept, &kept, &dropped] {
        datasets::begin(&mut tx, &new(operation)).await.unwrap();
    }
    assert_eq!(datasets::latest(&mut tx, "Lead").await.unwrap(), None);
    let committed = datasets::commit(&mut tx, &kept.dataset(), &manifest("aa")).await.unwrap();
    assert_eq!((committed.state, committed.schema_hash), (DatasetState::Committed, Some(schema().hash())));
    datasets::commit(&mut tx, &kept.dataset(), &manifest("aa")).await.unwrap();
    let other = datasets::commit(&mut tx, &kept.dataset(), &manifest("bb")).await.unwrap_err();
    assert_eq!(other.code(), Some(Code::StorageConflict));
    datasets::mark_applied(&mut tx, &kept.dataset()).await.unwrap();
    let latest = datasets::latest(&mut tx, "Lead").await.unwrap().unwrap();
    assert_eq!((latest.schema, latest.row_count, latest.applied_at.is_some()), (Some(schema()), 7, true));

    assert!(!datasets::discard_staging(&mut tx, &kept.dataset()).await.unwrap());
    assert!(datasets::discard_staging(&mut tx, &dropped.dataset()).await.unwrap());
    assert!(!datasets::discard_staging(&mut tx, &dropped.dataset()).await.unwrap());
    assert_eq!(datasets::list(&mut tx, &PageRequest::default()).await.unwrap().items.len(), 1);
    assert_eq!(datasets::get(&mut tx, &dropped.dataset()).await.unwrap_err().code(), Some(Code::DatasetNotFound));

    assert_eq!(object_schemas::get(&mut tx, "Lead").await.unwrap_err().code(), Some(Code::ObjectNotFound));
    object_schemas::upsert(&mut tx, &schema(), &dropped.dataset()).await.unwrap();
    object_schemas::upsert(&mut tx, &schema(), &kept.dataset()).await.unwrap();
    let stored = object_schemas::get(&mut tx, "Lead").await.unwrap();
    assert_eq!((stored.schema, stored.dataset), (schema(), kept.dataset()));
}

fn version(id: &str, at: DateTime<Utc>, score: i64) -> RecordVersion {
    RecordVersion { record_id: id.into(), modified_at: at, fields: json!({ "Id": id, "Score": score }) }
}

#[tokio::test]
async fn the_latest_version_of_a_record_wins_whatever_the_order_of_arrival() {
    let db = database().await;
    let (tenant, _) = fixture::tenant(&db.store, "current").await;
    let mut tx = db.store.tenant(&tenant).await.unwrap();
    let (first, second) = (OperationId::random().dataset(), OperationId::random().dataset());
    let noon = DateTime::from_timestamp(1_700_000_000, 0).unwrap();
    let later = noon + TimeDelta::milliseconds(1);

    let batch = [version("b", noon, 1), version("a", later, 2), version("a", noon, 3)];
    assert_eq!(records::upsert_batch(&mut tx, "Lead", &batch, &first).await.unwrap(), 2);
    let stale = [version("a", noon, 4), version("b", later, 5), version("c", noon, 6)];
    assert_eq!(records::upsert_batch(&mut tx, "Lead", &stale, &second).await.unwrap(), 2, "the stale one changes nothing");
    assert_eq!(records::upsert_batch(&mut tx, "Lead", &stale, &second).await.unwrap(), 0, "nor does a repetition");

    let a = records::get(&mut tx, "Lead", "a").await.unwrap().unwrap();
    assert_eq!((a.fields["Score"].as_i64(), a.dataset), (Some(2), Some(first)));
    let both = records::get_many(&mut tx, "Lead", &["c".into(), "b".into(), "zz".into()]).await.unwrap();
    assert_eq!(both.iter().map(|r| r.fields["Score"].as_i64().unwrap()).collect::<Vec<_>>(), [5, 6]);
    assert_eq!(records::get(&mut tx, "Account", "a").await.unwrap(), None);
    assert_eq!(records::count(&mut tx, "Lead").await.unwrap(), 3);
    let page = records::list(&mut tx, "Lead", "a", 1).await.unwrap();
    assert_eq!(page[0].record_id, "b");
}
