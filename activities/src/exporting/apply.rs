//! From a committed data set to the current state of its records in PostgreSQL.

use futures::StreamExt as _;
use leadline_domain::{
    Code, Failure,
    operation::ExportDataset,
    value::{ObjectSchema, Value},
};
use leadline_lake::Dataset;
use leadline_store::{
    datasets, ledger, object_schemas, operations,
    records::{self, RecordVersion},
};
use leadline_workflows::export_dataset::AppliedRows;
use serde_json::{Map, Value as Json, json};

use super::job::{ID_FIELD, VERSION_FIELD};
use crate::{
    lake,
    step::{Attempt, Done},
};

/// The fact that says how many rows are in: a data set is read in the same order each time.
const APPLIED: &str = "applied";

pub(super) async fn apply(attempt: Attempt, export: ExportDataset) -> Result<Done<AppliedRows>, Failure> {
    let services = attempt.services();
    let dataset = Dataset::open(&services.lake, attempt.tenant(), &export.dataset).await.map_err(lake)?;
    let schema = dataset.manifest().schema.clone();
    let total = i64::try_from(dataset.manifest().rows).unwrap_or(i64::MAX);
    let columns = Columns::of(&schema)?;
    let already = attempt.facts().get(APPLIED).and_then(Json::as_i64).unwrap_or(0);
    let mut seen = 0;
    let mut batches = dataset.rows(services.config.apply_rows);
    while let Some(batch) = batches.next().await {
        attempt.go_on()?;
        let batch = batch.map_err(lake)?;
        seen += i64::try_from(batch.len()).unwrap_or_default();
        if seen <= already {
            continue;
        }
        let versions = batch.iter().map(|row| columns.version(&schema, row)).collect::<Result<Vec<_>, _>>()?;
        let mut tx = attempt.fence().await?;
        records::upsert_batch(&mut tx, &schema.object, &versions, &export.dataset).await?;
        ledger::record_facts(&mut tx, attempt.key(), &json!({ APPLIED: seen })).await?;
        let progress = attempt.progress("rows", seen, Some(total));
        operations::progress(&mut tx, &attempt.key().operation, &attempt.key().step, &progress).await?;
        tx.commit().await?;
    }
    let mut tx = attempt.fence().await?;
    object_schemas::upsert(&mut tx, &schema, &export.dataset).await?;
    datasets::mark_applied(&mut tx, &export.dataset).await?;
    attempt.finish(tx, &AppliedRows { rows: seen }).await
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
