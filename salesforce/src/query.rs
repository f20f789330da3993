//! SOQL over REST, for what is too small for a Bulk job, and reading records by id.

use std::collections::VecDeque;

use futures::{Stream, stream};
use leadline_domain::value::{ObjectSchema, Value};
use serde::Deserialize;
use serde_json::{Map, Value as Json};

use crate::call::Call;
use crate::client::OrgClient;
use crate::error::{ColumnMismatch, Missing, SalesforceError};
use crate::soql;

/// The vendor refuses request lines above 16,384 bytes; host, path and encoding need some of them.
const MAX_QUERY_BYTES: usize = 12_000;
const MAX_IDS_PER_QUERY: usize = 200;
/// 18 characters, two quotes and a comma, which encoding makes three bytes each.
const ID_BYTES: usize = 27;

/// One record as REST gives it: JSON by field name, a parent record under its relationship's name.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(from = "Map<String, Json>")]
pub struct Record {
    pub object: String,
    pub fields: Map<String, Json>,
}

impl From<Map<String, Json>> for Record {
    fn from(mut fields: Map<String, Json>) -> Self {
        let attributes = fields.remove("attributes").unwrap_or_default();
        Self { object: attributes["type"].as_str().unwrap_or_default().to_owned(), fields }
    }
}

impl Record {
    pub fn id(&self) -> Option<&str> {
        self.fields.get("Id").and_then(Json::as_str)
    }

    /// The record as a row of the schema: the same values that a Bulk page would give for it.
    ///
    /// # Errors
    /// [`SalesforceError::ColumnMismatch`] if a field of the schema was not selected, [`SalesforceError::TypeMismatch`] (as of
    /// row 1) if one holds another type.
    pub fn values(&self, schema: &ObjectSchema) -> Result<Vec<Value>, SalesforceError> {
        schema
            .fields
            .iter()
            .map(|field| {
                let missing = || SalesforceError::ColumnMismatch(ColumnMismatch::Missing(field.name.clone()));
                let json = self.fields.get(&field.name).ok_or_else(missing)?;
                Value::from_json(field.field_type, json).map_err(|e| SalesforceError::TypeMismatch {
                    row: 1,
                    field: field.name.clone(),
                    shape: e.shape,
                })
            })
            .collect()
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct QueryPage {
    total_size: u64,
    done: bool,
    next_records_url: Option<String>,
    records: Vec<Record>,
}

enum Cursor {
    Start(String),
    Next(String),
    End,
}

impl OrgClient {
    /// The records of a query, page after page as they are consumed; one page is held at a time.
    ///
    /// # Errors
    /// As any call; the stream ends after its first error. [`SalesforceError::CursorExpired`] asks for a new query.
    pub fn query(&self, soql: &str) -> impl Stream<Item = Result<Record, SalesforceError>> + Send + use<> {
        let start = (self.clone(), Cursor::Start(soql.to_owned()), VecDeque::new());
        stream::try_unfold(start, |(client, mut cursor, mut page)| async move {
            loop {
                if let Some(record) = page.pop_front() {
                    return Ok(Some((record, (client, cursor, page))));
                }
                (page, cursor) = match cursor {
                    Cursor::End => return Ok(None),
                    Cursor::Start(soql) => client.query_page(client.query_call(&soql)).await?,
                    Cursor::Next(path) => client.query_page(Call::get("the next page of a query", path)).await?,
                };
            }
        })
    }

    /// How many records a `SELECT COUNT() FROM ...` finds.
    ///
    /// # Errors
    /// As any call: see [`SalesforceError`].
    pub async fn count(&self, soql: &str) -> Result<u64, SalesforceError> {
        let page: QueryPage = self.send_for_json(&self.query_call(soql)).await?;
        Ok(page.total_size)
    }

    /// The named fields, and `Id`, of those of the records that exist, in no particular order.
    ///
    /// As many queries as the vendor's bound on request lines makes necessary: over groups of ids, and over groups of fields
    /// where an object is too wide for one.
    ///
    /// # Errors
    /// [`SalesforceError::InvalidRequest`] for ids and names that are none; otherwise as any call.
    pub async fn query_by_ids(&self, object: &str, ids: &[&str], fields: &[&str]) -> Result<Vec<Record>, SalesforceError> {
        check_ids(object, ids)?;
        let mut records = Vec::with_capacity(ids.len());
        for ids in ids.chunks(MAX_IDS_PER_QUERY) {
            let list = ids.iter().map(|id| format!("'{id}'")).collect::<Vec<_>>().join(",");
            let mut found: Vec<Record> = Vec::new();
            for group in field_groups(fields, MAX_QUERY_BYTES - ids.len() * ID_BYTES) {
                let soql = format!("{} WHERE Id IN ({list})", soql::select_fields(object, &group)?);
                found = merge_by_id(found, self.query_all_pages(&soql).await?);
            }
            records.append(&mut found);
        }
        Ok(records)
    }

    /// One record's named fields.
    ///
    /// # Errors
    /// [`SalesforceError::NotFound`] if the record does not exist or is in the recycle bin; otherwise as [`Self::query_by_ids`].
    pub async fn retrieve(&self, object: &str, id: &str, fields: &[&str]) -> Result<Record, SalesforceError> {
        check_ids(object, &[id])?;
        let mut whole: Option<Record> = None;
        for group in field_groups(fields, MAX_QUERY_BYTES) {
            soql::select_fields(object, &group)?;
            let path = self.data_path(&format!("/sobjects/{object}/{id}"));
            let call = Call::get(format!("retrieve of {object}"), path).about(Missing::Record).query("fields", group.join(","));
            let part: Record = self.send_for_json(&call).await?;
            match &mut whole {
                Some(record) => record.fields.extend(part.fields),
                None => whole = Some(part),
            }
        }
        whole.ok_or_else(|| SalesforceError::InvalidRequest {
            what: format!("retrieve of {object}"),
            reason: "no field is named".to_owned(),
        })
    }

    fn query_call(&self, soql: &str) -> Call {
        Call::get(format!("query of {}", object_of(soql)), self.data_path("/query")).query("q", soql)
    }

    async fn query_page(&self, call: Call) -> Result<(VecDeque<Record>, Cursor), SalesforceError> {
        let page: QueryPage = self.send_for_json(&call).await?;
        let cursor = match (page.done, page.next_records_url) {
            (true, _) => Cursor::End,
            (false, Some(path)) => Cursor::Next(path),
            (false, None) => {
                let reason = "it is not the last page and names no next one".to_owned();
                return Err(SalesforceError::MalformedResponse { what: call.what, reason });
            }
        };
        Ok((page.records.into(), cursor))
    }

    async fn query_all_pages(&self, soql: &str) -> Result<Vec<Record>, SalesforceError> {
        let mut records = Vec::new();
        let (mut page, mut cursor) = self.query_page(self.query_call(soql)).await?;
        loop {
            records.extend(page);
            let Cursor::Next(path) = cursor else { return Ok(records) };
            (page, cursor) = self.query_page(Call::get("the next page of a query", path)).await?;
        }
    }
}

fn check_ids(object: &str, ids: &[&str]) -> Result<(), SalesforceError> {
    let invalid = |reason: &str| SalesforceError::InvalidRequest { what: "reading by id".to_owned(), reason: reason.to_owned() };
    if !soql::is_name(object) {
        return Err(invalid("the object is not an API name"));
    }
    if !ids.iter().all(|id| soql::is_id(id)) {
        return Err(invalid("an id is not one"));
    }
    Ok(())
}

/// Splits a field list into groups whose names fit `budget` bytes; each group begins with `Id`.
fn field_groups<'a>(fields: &[&'a str], budget: usize) -> Vec<Vec<&'a str>> {
    let mut groups = vec![vec!["Id"]];
    let mut used = 0;
    for field in fields.iter().filter(|f| **f != "Id") {
        // A separator is a comma and a blank, which encoding makes at most six bytes.
        let cost = field.len() + 6;
        if used > 0 && used + cost > budget {
            groups.push(vec!["Id"]);
            used = 0;
        }
        used += cost;
        groups.last_mut().expect("the list begins with one group").push(field);
    }
    groups
}

/// Joins the fields of the same records, read in groups; a record that was deleted in between is dropped.
fn merge_by_id(found: Vec<Record>, part: Vec<Record>) -> Vec<Record> {
    if found.is_empty() {
        return part;
    }
    let mut by_id: std::collections::HashMap<String, Record> =
        part.into_iter().filter_map(|r| r.id().map(str::to_owned).map(|id| (id, r))).collect();
    found
        .into_iter()
        .filter_map(|mut record| {
            let more = by_id.remove(record.id()?)?;
            record.fields.extend(more.fields);
            Some(record)
        })
        .collect()
}

/// The object a query reads, for errors; the rest of a query may hold values.
pub(crate) fn object_of(soql: &str) -> &str {
    let mut words = soql.split_whitespace().skip_while(|w| !w.eq_ignore_ascii_case("from"));
    words.nth(1).filter(|w| soql::is_name(w)).unwrap_or("an object")
}

#[cfg(test)]
mod tests {
    use leadline_domain::value::{Field, FieldType};
    use serde_json::json;

    use super::*;

    fn record(json: Json) -> Record {
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn a_rest_record_gives_the_values_of_its_schema() {
        let field = |name: &str, field_type| Field { name: name.into(), label: name.into(), field_type, nullable: true };
        let schema = ObjectSchema {
            object: "Lead".into(),
            fields: vec![
                field("Id", FieldType::Reference),
                field("Score__c", FieldType::Number),
                field("Rating", FieldType::Picklist),
            ],
        };
        let lead =
            record(json!({ "attributes": { "type": "Lead", "url": "/x" }, "Rating": null, "Score__c": 0.25, "Id": "00Q" }));
        assert_eq!(lead.object, "Lead");
        assert_eq!(lead.values(&schema).unwrap(), [Value::Text("00Q".into()), Value::Number(0.25), Value::Null]);
        let partial = record(json!({ "Id": "00Q", "Rating": "Hot" }));
        assert!(
            matches!(partial.values(&schema), Err(SalesforceError::ColumnMismatch(ColumnMismatch::Missing(f))) if f == "Score__c")
        );
    }

    #[test]
    fn a_wide_object_is_read_in_groups_and_put_together_again() {
        let names: Vec<String> = (0..100).map(|i| format!("Field_{i:03}__c")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let groups = field_groups(&names, 500);
        assert!(groups.len() > 3 && groups.iter().all(|g| g[0] == "Id" && g.join(", ").len() <= 510));
        assert_eq!(groups.iter().map(|g| g.len() - 1).sum::<usize>(), 100);
        assert_eq!(field_groups(&["Id"], 500), [["Id"]]);

        let merged = merge_by_id(
            vec![record(json!({ "Id": "1", "A": 1 })), record(json!({ "Id": "2", "A": 2 }))],
            vec![record(json!({ "Id": "2", "B": 3 }))],
        );
        assert_eq!(merged, [record(json!({ "Id": "2", "A": 2, "B": 3 }))]);
    }

    #[test]
    fn errors_name_the_object_of_a_query_and_nothing_else_of_it() {
        assert_eq!(object_of("select Id from Lead where Email = 'ada@example.org'"), "Lead");
        assert_eq!(object_of("SELECT 'from ada@example.org'"), "an object");
    }
}
