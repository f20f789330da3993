//! Data sets, schemas and the current state of records.

use chrono::{DateTime, TimeDelta, Utc};
use leadline_domain::{
    Code, DatasetId, OperationId,
    value::{Field, FieldType, ObjectSchema},
};
use leadline_store::{
    PageRequest, TenantTx,
    datasets::{self, DatasetState, Manifest, NewDataset},
    object_schemas,
    records::{self, RecordVersion, Snapshot},
};
use serde_json::{Value as Json, json};

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
    let committed = datasets::commit(&mut tx, &kept.dataset(), &manifest("aa")).await.unwrap();
    assert_eq!((committed.state, committed.schema_hash), (DatasetState::Committed, Some(schema().hash())));
    datasets::commit(&mut tx, &kept.dataset(), &manifest("aa")).await.unwrap();
    let other = datasets::commit(&mut tx, &kept.dataset(), &manifest("bb")).await.unwrap_err();
    assert_eq!(other.code(), Some(Code::StorageConflict));
    datasets::mark_applied(&mut tx, &kept.dataset()).await.unwrap();
    let applied = datasets::get(&mut tx, &kept.dataset()).await.unwrap();
    assert_eq!((applied.schema, applied.row_count, applied.applied_at.is_some()), (Some(schema()), 7, true));

    assert!(!datasets::discard_staging(&mut tx, &kept.dataset()).await.unwrap());
    assert!(datasets::discard_staging(&mut tx, &dropped.dataset()).await.unwrap());
    assert!(!datasets::discard_staging(&mut tx, &dropped.dataset()).await.unwrap());
    assert_eq!(datasets::list(&mut tx, &PageRequest::default()).await.unwrap().items.len(), 1);
    assert_eq!(datasets::get(&mut tx, &dropped.dataset()).await.unwrap_err().code(), Some(Code::DatasetNotFound));

    assert_eq!(object_schemas::get(&mut tx, "Lead").await.unwrap_err().code(), Some(Code::ObjectNotFound));
    let (early, late) = (DateTime::UNIX_EPOCH, DateTime::UNIX_EPOCH + TimeDelta::hours(1));
    assert!(object_schemas::register(&mut tx, &schema(), &whole(&dropped.dataset(), early)).await.unwrap());
    assert!(object_schemas::register(&mut tx, &schema(), &whole(&kept.dataset(), late)).await.unwrap());
    let stored = object_schemas::get(&mut tx, "Lead").await.unwrap();
    assert_eq!((stored.schema, stored.dataset), (schema(), kept.dataset()));
    let older = dropped.dataset();
    let overtaken = whole(&older, early);
    assert!(!object_schemas::register(&mut tx, &schema(), &overtaken).await.unwrap());
    assert!(!object_schemas::is_current(&mut tx, &overtaken).await.unwrap());

    let mut narrow = schema();
    narrow.fields.truncate(1);
    narrow.fields.push(Field { name: "New__c".into(), label: "New".into(), field_type: FieldType::Text, nullable: true });
    let some = [narrow.fields[0].name.clone(), "New__c".to_owned()];
    let later = Snapshot { fields: Some(&some), ..whole(&older, late + TimeDelta::hours(1)) };
    assert!(object_schemas::register(&mut tx, &narrow, &later).await.unwrap());
    let shown = object_schemas::get(&mut tx, "Lead").await.unwrap().schema;
    assert_eq!(shown.fields.len(), schema().fields.len() + 1, "an export of some fields takes none away");
    assert!(shown.field("New__c").is_some());
}

fn whole(dataset: &DatasetId, taken_at: DateTime<Utc>) -> Snapshot<'_> {
    Snapshot { object: "Lead", dataset, taken_at, fields: None }
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

    let (one, two) = (whole(&first, later), whole(&second, later));
    let batch = [version("b", noon, 1), version("a", later, 2), version("a", noon, 3)];
    assert_eq!(records::upsert_batch(&mut tx, &one, &batch).await.unwrap(), 2);
    let stale = [version("a", noon, 4), version("b", later, 5), version("c", noon, 6)];
    assert_eq!(records::upsert_batch(&mut tx, &two, &stale).await.unwrap(), 2, "the stale one changes nothing");
    assert_eq!(records::upsert_batch(&mut tx, &two, &stale).await.unwrap(), 0, "nor does a repetition");

    let a = records::get(&mut tx, "Lead", "a").await.unwrap().unwrap();
    assert_eq!((a.fields["Score"].as_i64(), a.dataset), (Some(2), Some(first)));
    assert_eq!(records::get(&mut tx, "Lead", "b").await.unwrap().unwrap().fields["Score"], 5);
    assert_eq!(records::get(&mut tx, "Account", "a").await.unwrap(), None);
    assert_eq!(records::count(&mut tx, "Lead").await.unwrap(), 3);
    let page = records::list(&mut tx, "Lead", "a", 1).await.unwrap();
    assert_eq!(page[0].record_id, "b");
}

#[tokio::test]
async fn an_export_of_some_fields_keeps_the_others_and_a_later_one_sees_what_no_stamp_tells() {
    let db = database().await;
    let (tenant, _) = fixture::tenant(&db.store, "fields").await;
    let mut tx = db.store.tenant(&tenant).await.unwrap();
    let dataset = OperationId::random().dataset();
    let noon = DateTime::from_timestamp(1_700_000_000, 0).unwrap();
    let row = |fields: Json| RecordVersion { record_id: "a".into(), modified_at: noon, fields };
    let at = |minutes: i64| noon + TimeDelta::minutes(minutes);
    let city = ["Id".to_owned(), "City".to_owned()];
    let narrow = |minutes| Snapshot { fields: Some(&city), ..whole(&dataset, at(minutes)) };
    async fn fields(tx: &mut TenantTx) -> Json {
        records::get(tx, "Lead", "a").await.unwrap().unwrap().fields
    }

    records::upsert_batch(&mut tx, &narrow(2), &[row(json!({"Id": "a", "City": "Rome"}))]).await.unwrap();
    records::upsert_batch(&mut tx, &whole(&dataset, at(1)), &[row(json!({"Id": "a", "City": "Bari", "Age": 4}))]).await.unwrap();
    assert_eq!(
        fields(&mut tx).await,
        json!({"Id": "a", "City": "Rome", "Age": 4}),
        "an older export fills in, and takes nothing back"
    );

    records::upsert_batch(&mut tx, &narrow(3), &[row(json!({"Id": "a"}))]).await.unwrap();
    assert_eq!(fields(&mut tx).await, json!({"Id": "a", "Age": 4}), "a null that was exported is one");
    let formula = row(json!({"Id": "a", "City": "Rome", "Score__c": 9}));
    assert_eq!(records::upsert_batch(&mut tx, &whole(&dataset, at(4)), std::slice::from_ref(&formula)).await.unwrap(), 1);
    assert_eq!(fields(&mut tx).await, formula.fields);
    assert_eq!(
        records::upsert_batch(&mut tx, &whole(&dataset, at(5)), &[formula]).await.unwrap(),
        0,
        "what is equal is not written"
    );
}

#[tokio::test]
async fn a_record_that_an_export_has_no_more_is_gone_until_a_later_one_has_it_again() {
    let db = database().await;
    let (tenant, _) = fixture::tenant(&db.store, "absent").await;
    let mut tx = db.store.tenant(&tenant).await.unwrap();
    let dataset = OperationId::random().dataset();
    let noon = DateTime::from_timestamp(1_700_000_000, 0).unwrap();
    let at = |minutes: i64| noon + TimeDelta::minutes(minutes);
    let rows = [version("a", noon, 1), version("new", at(9), 2)];
    records::upsert_batch(&mut tx, &whole(&dataset, at(1)), &rows).await.unwrap();
    assert_eq!(records::ids(&mut tx, "Lead", "", 9).await.unwrap(), ["a", "new"]);

    let both = ["a".to_owned(), "new".to_owned()];
    assert_eq!(records::mark_absent(&mut tx, &whole(&dataset, at(3)), &both).await.unwrap(), 1, "what is newer may be missing");
    assert_eq!(records::get(&mut tx, "Lead", "a").await.unwrap(), None);
    let late_arrival = [version("a", noon, 1)];
    assert_eq!(records::upsert_batch(&mut tx, &whole(&dataset, at(2)), &late_arrival).await.unwrap(), 0);
    assert_eq!(records::get(&mut tx, "Lead", "a").await.unwrap(), None, "an older export does not bring it back");
    records::upsert_batch(&mut tx, &whole(&dataset, at(4)), &late_arrival).await.unwrap();
    assert!(records::get(&mut tx, "Lead", "a").await.unwrap().is_some());
    assert_eq!(
        records::mark_absent(&mut tx, &whole(&dataset, at(3)), &both).await.unwrap(),
        0,
        "nor does one take it away again"
    );
}
