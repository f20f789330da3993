//! From a committed data set to the current state of its records in PostgreSQL: what is new is written, and what has gone from
//! the org is marked so. An export that a newer one of every field has overtaken changes nothing.

use std::hash::{DefaultHasher, Hasher as _};

use chrono::{DateTime, Utc};
use futures::StreamExt as _;
use leadline_domain::{
    Code, Failure,
    operation::ExportDataset,
    value::{ObjectSchema, Value},
};
use leadline_lake::Dataset;
use leadline_store::{
    datasets, ledger, object_schemas, operations,
    records::{self, RecordVersion, Snapshot},
};
use leadline_workflows::export_dataset::AppliedRows;
use serde_json::{Map, Value as Json, json};

use super::job::{self, ID_FIELD, VERSION_FIELD};
use crate::{
    attempt::{Attempt, Done},
    lake,
};

/// The fact that says how many rows are in: a data set is read in the same order each time.
const APPLIED: &str = "applied";

/// Ids looked at in one go when what has gone from the org is searched for.
const PRESENT_IDS: u32 = 10_000;

pub(super) async fn apply(attempt: Attempt, export: ExportDataset) -> Result<Done<AppliedRows>, Failure> {
    let services = attempt.services();
    let dataset = Dataset::open(&services.lake, attempt.tenant(), &export.dataset).await.map_err(lake)?;
    let schema = dataset.manifest().schema.clone();
    let names: Vec<String> = schema.fields.iter().map(|field| field.name.clone()).collect();
    let snapshot = Snapshot {
        object: &schema.object,
        dataset: &export.dataset,
        taken_at: taken_at(&attempt, &export).await?,
        fields: (!export.fields.is_empty()).then_some(names.as_slice()),
    };
    let mut tx = attempt.fence().await?;
    let registered = object_schemas::register(&mut tx, &schema, &snapshot).await?;
    tx.commit().await?;
    if registered && let Some(exported) = write_versions(&attempt, &dataset, &snapshot).await? {
        mark_absent(&attempt, &snapshot, &exported).await?;
    }
    let mut tx = attempt.fence().await?;
    datasets::mark_applied(&mut tx, &export.dataset).await?;
    attempt.finish(tx, &AppliedRows { rows: i64::try_from(dataset.manifest().rows).unwrap_or(i64::MAX) }).await
}

/// When the org was read. The vendor names the time at which it took the job; failing that, the data set's own is close.
async fn taken_at(attempt: &Attempt, export: &ExportDataset) -> Result<DateTime<Utc>, Failure> {
    let mut tx = attempt.read().await?;
    match job::of_operation(attempt, &mut tx).await?.taken_at {
        Some(at) => Ok(at),
        None => Ok(datasets::get(&mut tx, &export.dataset).await?.created_at),
    }
}

/// Writes the data set's rows, from the committed cursor on, and says which records it has; `None` when a newer export has
/// overtaken it meanwhile.
async fn write_versions(attempt: &Attempt, dataset: &Dataset, snapshot: &Snapshot<'_>) -> Result<Option<ExportedIds>, Failure> {
    let schema = &dataset.manifest().schema;
    let columns = Columns::of(schema)?;
    let total = i64::try_from(dataset.manifest().rows).unwrap_or(i64::MAX);
    let already = attempt.facts().get(APPLIED).and_then(Json::as_i64).unwrap_or(0);
    let (mut rows, mut exported) = (0, Vec::new());
    let mut batches = dataset.rows(attempt.services().config.apply_rows);
    while let Some(batch) = batches.next().await {
        attempt.go_on()?;
        let versions = batch.map_err(lake)?.iter().map(|row| columns.version(schema, row)).collect::<Result<Vec<_>, _>>()?;
        exported.extend(versions.iter().map(|version| ExportedIds::hash(&version.record_id)));
        rows += i64::try_from(versions.len()).unwrap_or_default();
        if rows <= already {
            continue;
        }
        let mut tx = attempt.fence().await?;
        if !object_schemas::is_current(&mut tx, snapshot).await? {
            return Ok(None);
        }
        records::upsert_batch(&mut tx, snapshot, &versions).await?;
        ledger::record_facts(&mut tx, attempt.key(), &json!({ APPLIED: rows })).await?;
        let progress = attempt.progress("rows", rows, Some(total));
        operations::progress(&mut tx, &attempt.key().operation, &attempt.key().step, &progress).await?;
        tx.commit().await?;
    }
    Ok(Some(ExportedIds::new(exported)))
}

/// Marks the records that the org no longer has.
async fn mark_absent(attempt: &Attempt, snapshot: &Snapshot<'_>, exported: &ExportedIds) -> Result<(), Failure> {
    let mut after = String::new();
    loop {
        attempt.go_on()?;
        let mut tx = attempt.fence().await?;
        if !object_schemas::is_current(&mut tx, snapshot).await? {
            return Ok(());
        }
        let present = records::ids(&mut tx, snapshot.object, &after, PRESENT_IDS).await?;
        let Some(last) = present.last() else { return Ok(()) };
        after.clone_from(last);
        let gone: Vec<String> = present.into_iter().filter(|id| !exported.contains(id)).collect();
        if !gone.is_empty() {
            records::mark_absent(&mut tx, snapshot, &gone).await?;
        }
        tx.commit().await?;
        attempt.pulse().beat(None);
    }
}

/// Which records an export had: 8 bytes each, so that ten million take 80 MB. Two ids of one hash, of which one has gone, would
/// keep a record too long; among ten million records the chance of that is one in 300,000.
struct ExportedIds(Vec<u64>);

impl ExportedIds {
    fn new(mut hashes: Vec<u64>) -> Self {
        hashes.sort_unstable();
        Self(hashes)
    }

    fn hash(id: &str) -> u64 {
        let mut hasher = DefaultHasher::new();
        hasher.write(id.as_bytes());
        hasher.finish()
    }

    fn contains(&self, id: &str) -> bool {
        self.0.binary_search(&Self::hash(id)).is_ok()
    }
}

/// Where a row has what orders and names its record.
struct Columns {
    id: usize,
    version: usize,
}

impl Columns {
    fn of(schema: &ObjectSchema) -> Result<Self, Failure> {
        match (schema.position(ID_FIELD), schema.position(VERSION_FIELD)) {
            (Some(id), Some(version)) => Ok(Self { id, version }),
            _ => Err(Failure::new(Code::StorageCorrupt, format!("a data set of {} has no id or no version", schema.object))),
        }
    }

    /// Nulls are left out: a field that a record has not is null to every reader.
    fn version(&self, schema: &ObjectSchema, row: &[Value]) -> Result<RecordVersion, Failure> {
        let (Value::Text(id), Value::DateTime(modified_at)) = (&row[self.id], &row[self.version]) else {
            return Err(Failure::new(Code::StorageCorrupt, format!("a record of {} has no id or no version", schema.object)));
        };
        let present = schema.fields.iter().zip(row).filter(|(_, value)| !value.is_null());
        let fields: Map<String, Json> = present.map(|(field, value)| (field.name.clone(), value.to_json())).collect();
        Ok(RecordVersion { record_id: id.clone(), modified_at: *modified_at, fields: Json::Object(fields) })
    }
}

#[cfg(test)]
mod tests {
    use chrono::{TimeZone as _, Utc};
    use leadline_domain::value::{Field, FieldType};

    use super::*;

    fn schema() -> ObjectSchema {
        let field = |name: &str, field_type| Field { name: name.into(), label: name.into(), field_type, nullable: true };
        let fields = vec![
            field("Id", FieldType::Reference),
            field("City", FieldType::Text),
            field("Age", FieldType::Number),
            field("SystemModstamp", FieldType::DateTime),
        ];
        ObjectSchema { object: "Lead".into(), fields }
    }

    #[test]
    fn a_row_becomes_a_version_of_its_record_without_its_nulls() {
        let columns = Columns::of(&schema()).unwrap();
        let at = Utc.with_ymd_and_hms(2024, 3, 5, 10, 11, 12).unwrap();
        let id = Value::Text("00QE0000000Hq5dMAC".into());
        let row = [id.clone(), Value::Null, Value::Number(41.0), Value::DateTime(at)];
        let version = columns.version(&schema(), &row).unwrap();
        assert_eq!((version.record_id.as_str(), version.modified_at), ("00QE0000000Hq5dMAC", at));
        assert_eq!(version.fields.get("Age"), Some(&json!(41.0)));
        assert!(version.fields.get("City").is_none());

        let unversioned = [id, Value::Null, Value::Null, Value::Null];
        assert_eq!(columns.version(&schema(), &unversioned).unwrap_err().code, Code::StorageCorrupt);
    }
}
