//! The Bulk API job of an export: started once, found again if its id was lost, and never left behind.
//!
//! The vendor takes no idempotency key and no name for a query job, so a create whose answer was lost leaves a job that nothing
//! refers to. Three facts in the ledger make it findable: that a job was about to be created, which jobs the org had before,
//! and, once known, its id. See [`super::orphans`] for the search. The create runs under the fence, so that no undo searches
//! while it is under way.

use chrono::{DateTime, Utc};
use leadline_domain::{
    Code, Failure,
    operation::ExportDataset,
    value::{FieldType, ObjectSchema},
};
use leadline_salesforce::{OrgClient, QueryJob, SalesforceError, soql};
use leadline_store::{
    TenantTx, consents,
    datasets::{self, NewDataset},
    ledger,
};
use leadline_workflows::export_dataset::StartedJob;
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};

use super::orphans;
use crate::attempt::{Attempt, Done, Undoing};

/// The name under which the ledger keeps the job.
pub(super) const STEP: &str = "start_bulk_job";
/// The record's id, and when it last changed: without them the current state could not be kept.
pub(super) const ID_FIELD: &str = "Id";
pub(super) const VERSION_FIELD: &str = "SystemModstamp";

/// What the step records of the job.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct JobFacts {
    /// A job was about to be created.
    pub(super) creating: bool,
    /// Query jobs of the object that the org had before.
    pub(super) before: Vec<String>,
    pub(super) job: Option<String>,
    pub(super) schema: Option<ObjectSchema>,
    /// When the org took the job, by its own clock: what it answers with is at least as new.
    pub(super) taken_at: Option<DateTime<Utc>>,
}

impl JobFacts {
    pub(super) fn read(facts: &Json) -> Result<Self, Failure> {
        serde_json::from_value(facts.clone())
            .map_err(|_| Failure::new(Code::Internal, "the facts of a bulk job in the ledger do not parse"))
    }
}

pub(super) async fn start(attempt: Attempt, export: ExportDataset) -> Result<Done<StartedJob>, Failure> {
    let client = attempt.org().await?;
    if JobFacts::read(attempt.facts())?.creating {
        // An attempt before this one may have created a job and died before it knew the id.
        orphans::remove(&attempt.search(), &client, &export.object, attempt.facts()).await?;
    }
    let schema = schema_of(&client, &export).await?;
    let soql = soql::select(&schema)?;
    let before = client.list_query_jobs().await?.into_iter().filter(|job| job.object.as_deref() == Some(&export.object));
    let announced = json!({ "creating": true, "before": before.map(|job| job.id).collect::<Vec<_>>() });
    attempt.note(announced.clone()).await?;

    let permit = attempt.services().fenced_call().await;
    let tx = attempt.fence().await?;
    let mut made = None;
    let outcome = async {
        let mut tx = tx;
        consents::require(&mut tx, "allowExport", |grant| grant.allow_export).await?;
        let job = client.create_query_job(&soql).await?;
        made = Some(job.id.clone());
        record(&attempt, tx, &export, &schema, job).await
    };
    let outcome = outcome.await;
    drop(permit);
    let lost = is_lost(&attempt, made.as_deref());
    let take_back = async {
        match &made {
            Some(job) => remove(&client, job).await,
            None => orphans::remove(&attempt.search(), &client, &export.object, &announced).await,
        }
    };
    attempt.or_take_back(outcome, lost, take_back).await
}

/// Records the new job, and stages its data set.
async fn record(
    attempt: &Attempt,
    mut tx: TenantTx,
    export: &ExportDataset,
    schema: &ObjectSchema,
    job: QueryJob,
) -> Result<Done<StartedJob>, Failure> {
    ledger::record_facts(&mut tx, attempt.key(), &json!({ "job": job.id, "schema": schema, "taken_at": job.created_at() }))
        .await?;
    let staged = NewDataset {
        id: export.dataset.clone(),
        operation: attempt.operation().operation.clone(),
        object: export.object.clone(),
        consent_version: export.consent_version,
    };
    datasets::begin(&mut tx, &staged).await?;
    let started =
        StartedJob { job: job.id, fields: u32::try_from(schema.fields.len()).unwrap_or(u32::MAX), schema_hash: schema.hash() };
    attempt.finish(tx, &started).await
}

/// Whether nobody else will remove the job that this attempt has made: the ledger does not name it. Without an answer from the
/// org there may be one all the same; the next attempt looks for it, or the undo, unless that has gone by.
async fn is_lost(attempt: &Attempt, made: Option<&str>) -> Result<bool, Failure> {
    let Some(made) = made else { return attempt.is_closed().await };
    let (_tx, row) = attempt.row().await?;
    Ok(JobFacts::read(&row.facts)?.job.as_deref() != Some(made))
}

/// The columns to export: those asked for, or all, with id and version in any case.
async fn schema_of(client: &OrgClient, export: &ExportDataset) -> Result<ObjectSchema, Failure> {
    let (all, _) = client.describe(&export.object).await?.to_schema();
    for needed in [(ID_FIELD, None), (VERSION_FIELD, Some(FieldType::DateTime))] {
        let usable = all.field(needed.0).is_some_and(|field| needed.1.is_none_or(|of_type| field.field_type == of_type));
        if !usable {
            return Err(Failure::new(
                Code::FieldNotFound,
                format!("{} has no usable {}, so its records cannot be told apart or ordered", export.object, needed.0),
            ));
        }
    }
    if export.fields.is_empty() {
        return Ok(all);
    }
    if let Some(unknown) = export.fields.iter().find(|name| all.field(name).is_none()) {
        return Err(Failure::new(Code::FieldNotFound, format!("{} has no field {unknown} that can be exported", export.object)));
    }
    let wanted = |name: &str| name == ID_FIELD || name == VERSION_FIELD || export.fields.iter().any(|field| field == name);
    let fields = all.fields.into_iter().filter(|field| wanted(&field.name)).collect();
    Ok(ObjectSchema { object: all.object, fields })
}

pub(super) async fn abort(undoing: Undoing, export: ExportDataset) -> Result<(), Failure> {
    let facts = JobFacts::read(&undoing.facts)?;
    if facts.creating {
        let client = undoing.org().await?;
        match &facts.job {
            Some(job) => remove(&client, job).await?,
            None => orphans::remove(&undoing.search(), &client, &export.object, &undoing.facts).await?,
        }
    }
    discard_staging(undoing, export).await
}

pub(super) async fn discard_staging(undoing: Undoing, export: ExportDataset) -> Result<(), Failure> {
    let mut tx = undoing.begin().await?;
    datasets::discard_staging(&mut tx, &export.dataset).await?;
    Ok(tx.commit().await?)
}

pub(super) async fn delete(attempt: Attempt, _: ExportDataset) -> Result<Done<()>, Failure> {
    let mut tx = attempt.read().await?;
    let job = of_operation(&attempt, &mut tx).await?.job;
    drop(tx);
    if let Some(job) = job {
        let client = attempt.org().await?;
        match client.delete_query_job(&job).await {
            Ok(()) | Err(SalesforceError::NotFound { .. }) => {}
            Err(SalesforceError::JobStateForbids { .. }) => remove(&client, &job).await?,
            Err(error) => return Err(error.into()),
        }
    }
    attempt.finish_alone(&()).await
}

/// Ends a job, however far it is, and removes it. One that is gone is success.
pub(super) async fn remove(client: &OrgClient, job: &str) -> Result<(), Failure> {
    match client.abort_query_job(job).await {
        Ok(()) | Err(SalesforceError::JobStateForbids { .. } | SalesforceError::NotFound { .. }) => {}
        Err(error) => return Err(error.into()),
    }
    match client.delete_query_job(job).await {
        Ok(()) | Err(SalesforceError::NotFound { .. }) => Ok(()),
        // The abort takes a moment on the vendor's side.
        Err(SalesforceError::JobStateForbids { .. }) => {
            Err(Failure::new(Code::SalesforceBusy, format!("bulk query job {job} is still ending")))
        }
        Err(error) => Err(error.into()),
    }
}

/// The job that this operation has started, from the ledger.
pub(super) async fn of_operation(attempt: &Attempt, tx: &mut TenantTx) -> Result<JobFacts, Failure> {
    let steps = ledger::steps(tx, &attempt.operation().operation).await?;
    let row = steps.iter().find(|row| row.step == STEP && row.epoch == attempt.key().epoch);
    row.map_or_else(|| Ok(JobFacts::default()), |row| JobFacts::read(&row.facts))
}
