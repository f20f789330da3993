//! Writing records: up to 200 in one call, or a single one.

use reqwest::Method;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json, json};

use crate::call::Call;
use crate::client::OrgClient;
use crate::error::{Missing, SalesforceError};
use crate::refusal::VendorError;
use crate::soql;

/// The vendor's bound on the records of one collections call.
pub const MAX_COLLECTION_SIZE: usize = 200;

/// Whether one refused record rolls the others of its call back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AllOrNone {
    Yes,
    No,
}

/// New field values of an existing record, as JSON by field name.
#[derive(Debug, Clone, PartialEq)]
pub struct RecordUpdate {
    pub id: String,
    pub fields: Map<String, Json>,
}

/// What became of one record, in the order of the request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordResult {
    pub id: Option<String>,
    /// Only an upsert says it.
    pub created: Option<bool>,
    /// A refusal carries the vendor's code and the field names: see [`SalesforceError::RecordRefused`],
    /// [`SalesforceError::RowLocked`], [`SalesforceError::RolledBack`] and the others.
    pub outcome: Result<(), SalesforceError>,
}

#[derive(Deserialize)]
struct SaveResult {
    #[serde(default)]
    id: Option<String>,
    success: bool,
    #[serde(default)]
    created: Option<bool>,
    #[serde(default)]
    errors: Vec<VendorError>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct CollectionBody {
    all_or_none: bool,
    records: Vec<Json>,
}

impl OrgClient {
    /// Updates records by id. Never inserts.
    ///
    /// # Errors
    /// [`SalesforceError::InvalidRequest`] for no records, more than [`MAX_COLLECTION_SIZE`], or names and ids that are none;
    /// otherwise as any call. A refused record is no error of the call: see [`RecordResult::outcome`].
    pub async fn update_records(
        &self,
        object: &str,
        updates: &[RecordUpdate],
        all_or_none: AllOrNone,
    ) -> Result<Vec<RecordResult>, SalesforceError> {
        let what = format!("update of {object}");
        check_collection(&what, object, updates.len())?;
        if !updates.iter().all(|u| soql::is_id(&u.id)) {
            return Err(invalid(&what, "an id is not one"));
        }
        let records = updates.iter().map(|u| record_body(object, Some(&u.id), &u.fields)).collect();
        self.write_collection(what, "/composite/sobjects".to_owned(), records, all_or_none).await
    }

    /// Updates the records with the given external ids, and inserts those that match none.
    ///
    /// # Errors
    /// As [`Self::update_records`].
    pub async fn upsert_records(
        &self,
        object: &str,
        external_id_field: &str,
        records: &[Map<String, Json>],
        all_or_none: AllOrNone,
    ) -> Result<Vec<RecordResult>, SalesforceError> {
        let what = format!("upsert of {object}");
        check_collection(&what, object, records.len())?;
        if !soql::is_name(external_id_field) {
            return Err(invalid(&what, "the external id field is not an API name"));
        }
        let bodies = records.iter().map(|fields| record_body(object, None, fields)).collect();
        self.write_collection(what, format!("/composite/sobjects/{object}/{external_id_field}"), bodies, all_or_none).await
    }

    /// Updates one record.
    ///
    /// # Errors
    /// [`SalesforceError::NotFound`], [`SalesforceError::RecordRefused`], [`SalesforceError::RowLocked`]; otherwise as any call.
    pub async fn update_record(&self, object: &str, id: &str, fields: &Map<String, Json>) -> Result<(), SalesforceError> {
        let what = format!("update of {object}");
        check_collection(&what, object, 1)?;
        if !soql::is_id(id) {
            return Err(invalid(&what, "an id is not one"));
        }
        let path = self.data_path(&format!("/sobjects/{object}/{id}"));
        let call = Call::new(what, Method::PATCH, path).about(Missing::Record).brief().json(fields)?;
        match self.send(&call).await {
            Ok(_) => Ok(()),
            Err(SalesforceError::Refused { what, status: 400, code }) => {
                Err(SalesforceError::RecordRefused { what, code, fields: Vec::new() })
            }
            Err(other) => Err(other),
        }
    }

    async fn write_collection(
        &self,
        what: String,
        path: String,
        records: Vec<Json>,
        all_or_none: AllOrNone,
    ) -> Result<Vec<RecordResult>, SalesforceError> {
        let sent = records.len();
        let body = CollectionBody { all_or_none: all_or_none == AllOrNone::Yes, records };
        let call = Call::new(what, Method::PATCH, self.data_path(&path)).json(&body)?;
        let results: Vec<SaveResult> = self.send_for_json(&call).await?;
        if results.len() != sent {
            let reason = format!("{} results for {sent} records", results.len());
            return Err(SalesforceError::MalformedResponse { what: call.what, reason });
        }
        Ok(results.into_iter().map(|r| r.reading(&call.what)).collect())
    }
}

impl SaveResult {
    fn reading(self, what: &str) -> RecordResult {
        let outcome = match (self.success, self.errors.first()) {
            (true, _) => Ok(()),
            (false, Some(error)) => Err(error.of_record(what)),
            (false, None) => {
                let reason = "a failed record without an error".to_owned();
                Err(SalesforceError::MalformedResponse { what: what.to_owned(), reason })
            }
        };
        RecordResult { id: self.id, created: self.created, outcome }
    }
}

fn record_body(object: &str, id: Option<&str>, fields: &Map<String, Json>) -> Json {
    let mut body = Map::with_capacity(fields.len() + 2);
    body.insert("attributes".to_owned(), json!({ "type": object }));
    if let Some(id) = id {
        body.insert("id".to_owned(), json!(id));
    }
    body.extend(fields.iter().map(|(name, value)| (name.clone(), value.clone())));
    Json::Object(body)
}

fn check_collection(what: &str, object: &str, size: usize) -> Result<(), SalesforceError> {
    if !soql::is_name(object) {
        return Err(invalid("a write", "the object is not an API name"));
    }
    if size == 0 || size > MAX_COLLECTION_SIZE {
        return Err(invalid(what, &format!("{size} records; a call takes 1 to {MAX_COLLECTION_SIZE}")));
    }
    Ok(())
}

fn invalid(what: &str, reason: &str) -> SalesforceError {
    SalesforceError::InvalidRequest { what: what.to_owned(), reason: reason.to_owned() }
}

#[cfg(test)]
mod tests {
    use leadline_domain::Class;

    use super::*;

    #[test]
    fn each_record_of_a_partial_failure_has_its_own_outcome() {
        let answer = r#"[
            {"id":"00QE0000000Hq5dMAC","success":true,"errors":[],"created":false},
            {"success":false,"errors":[{"statusCode":"UNABLE_TO_LOCK_ROW","message":"unable to obtain","fields":[]}]},
            {"success":false,"errors":[{"statusCode":"STRING_TOO_LONG","message":"data too large: ada","fields":["City"]}]},
            {"success":false,"errors":[{"statusCode":"ALL_OR_NONE_OPERATION_ROLLED_BACK","message":"rolled back","fields":[]}]},
            {"success":false,"errors":[]}]"#;
        let saved: Vec<SaveResult> = serde_json::from_str(answer).unwrap();
        let results: Vec<RecordResult> = saved.into_iter().map(|r| r.reading("update of Lead")).collect();
        assert_eq!((results[0].id.as_deref(), results[0].created), (Some("00QE0000000Hq5dMAC"), Some(false)));
        assert_eq!(results[0].outcome, Ok(()));
        let error = |i: usize| results[i].outcome.clone().unwrap_err();
        assert_eq!(error(1).failure().class(), Class::Retryable);
        assert!(matches!(error(2), SalesforceError::RecordRefused { fields, .. } if fields == ["City"]));
        assert!(matches!(error(3), SalesforceError::RolledBack { .. }));
        assert!(matches!(error(4), SalesforceError::MalformedResponse { .. }));
    }
}
