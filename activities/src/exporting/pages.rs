//! From the org's result pages to Parquet parts, one page to one part, with a cursor that is committed beside each part.

use leadline_domain::{Code, Failure, operation::ExportDataset, value::ObjectSchema};
use leadline_lake::{Key, PartInfo, PartWriter};
use leadline_salesforce::{Locator, OrgClient};
use leadline_store::{
    TenantTx,
    export_parts::{self, ExportPart},
    operations,
};
use leadline_workflows::export_dataset::ExtractedPages;

use super::job::{self, JobFacts};
use crate::{
    attempt::{Attempt, Done, Undoing},
    calls, lake,
};

/// The first look at a job comes after this part of the longest wait; then the waits double.
const FIRST_LOOK: u32 = 10;
/// After so many looks at a job more calls are reserved.
const LOOKS: u32 = 20;

struct Extraction {
    attempt: Attempt,
    client: OrgClient,
    export: ExportDataset,
    job: String,
    schema: ObjectSchema,
    /// Rows that the vendor says the job has.
    total: Option<i64>,
}

/// How far the committed cursor is.
#[derive(Default)]
struct Cursor {
    parts: i32,
    rows: i64,
    bytes: i64,
    /// Where the next page begins; `None` before the first.
    next: Option<String>,
    complete: bool,
}

impl Cursor {
    fn take(&mut self, part: &ExportPart) {
        self.parts = part.part + 1;
        self.rows += part.rows;
        self.bytes += part.bytes;
        self.complete = part.next_locator.is_none();
        self.next.clone_from(&part.next_locator);
    }
}

pub(super) async fn extract(attempt: Attempt, export: ExportDataset) -> Result<Done<ExtractedPages>, Failure> {
    let mut tx = attempt.read().await?;
    let JobFacts { job, schema, .. } = job::of_operation(&attempt, &mut tx).await?;
    let committed = export_parts::parts(&mut tx, &attempt.operation().operation, attempt.key().epoch).await?;
    drop(tx);
    let (Some(job), Some(schema)) = (job, schema) else {
        return Err(Failure::new(Code::Internal, "the ledger has no bulk job for this export"));
    };
    let client = attempt.org().await?;
    let mut extraction = Extraction { attempt, client, export, job, schema, total: None };
    let mut cursor = Cursor::default();
    committed.iter().for_each(|part| cursor.take(part));
    if !cursor.complete {
        extraction.wait_for_job(&cursor).await?;
    }
    while !cursor.complete {
        let part = extraction.extract_page(&cursor).await?;
        cursor.take(&part);
    }
    if cursor.rows == 0 {
        return Err(Failure::new(Code::DatasetEmpty, format!("{} has no records to export", extraction.export.object)));
    }
    let extracted =
        ExtractedPages { parts: u32::try_from(cursor.parts).unwrap_or_default(), rows: cursor.rows, bytes: cursor.bytes };
    extraction.attempt.finish_alone(&extracted).await
}

impl Extraction {
    async fn wait_for_job(&mut self, cursor: &Cursor) -> Result<(), Failure> {
        let longest = self.attempt.services().config.job_poll;
        let mut pause = longest / FIRST_LOOK;
        let reserved = self.attempt.services().config.export_calls;
        for look in 1.. {
            let job = self.client.query_job(&self.job).await?;
            self.total = job.number_records_processed.and_then(|rows| i64::try_from(rows).ok());
            if job.is_complete()? {
                break;
            }
            self.attempt.progress("rows", cursor.rows, None);
            if look % LOOKS == 0 {
                calls::settle(self.attempt.services(), self.attempt.operation(), self.attempt.meter()).await;
                calls::reserve(&self.attempt, &self.client, reserved).await?;
            }
            self.attempt.pause(pause).await?;
            pause = (pause * 2).min(longest);
        }
        let pages = self.total.map_or(0, |rows| rows / i64::from(self.attempt.services().config.page_rows) + 1);
        calls::reserve(&self.attempt, &self.client, pages + reserved).await
    }

    /// Reads one page into one part and commits it. Answers the part that stands in the cursor, which may be another attempt's.
    async fn extract_page(&mut self, cursor: &Cursor) -> Result<ExportPart, Failure> {
        self.attempt.go_on()?;
        let config = &self.attempt.services().config;
        let locator = cursor.next.clone().map(Locator::new);
        let page = self.client.query_results_page(&self.job, locator.as_ref(), config.page_rows).await?;
        let next = page.next.clone();
        let number = u32::try_from(cursor.parts).unwrap_or_default();
        let services = self.attempt.services();
        let (tenant, dataset) = (self.attempt.tenant(), &self.export.dataset);
        let mut writer =
            PartWriter::new(&services.lake, tenant, dataset, self.attempt.epoch(), number, &self.schema).map_err(lake)?;
        let mut rows = page.rows(&self.schema);
        let mut done = cursor.rows;
        while let Some(batch) = rows.next().await? {
            self.attempt.go_on()?;
            done += i64::try_from(batch.len()).unwrap_or_default();
            writer.append(batch).await.map_err(lake)?;
            self.attempt.progress("rows", done, self.total);
        }
        self.commit(writer, cursor, next).await
    }

    /// Makes the part visible and its cursor row with it, under the fence: whoever wakes up after the undo gets no further.
    async fn commit(&mut self, writer: PartWriter, cursor: &Cursor, next: Option<Locator>) -> Result<ExportPart, Failure> {
        let key = writer.key().clone();
        let tx = self.attempt.fence().await?;
        let outcome = self.commit_under(tx, writer, cursor, next).await;
        let services = self.attempt.services();
        let take_back = async { services.lake.delete(&key).await.map_err(lake) };
        self.attempt.or_take_back(outcome, self.is_lost(&key), take_back).await
    }

    /// Whether the cursor does not name the part, which only this attempt can have written.
    async fn is_lost(&self, part: &Key) -> Result<bool, Failure> {
        let (mut tx, _) = self.attempt.row().await?;
        let parts = export_parts::parts(&mut tx, &self.attempt.operation().operation, self.attempt.key().epoch).await?;
        Ok(parts.iter().all(|known| known.key != part.as_str()))
    }

    async fn commit_under(
        &self,
        mut tx: TenantTx,
        writer: PartWriter,
        cursor: &Cursor,
        next: Option<Locator>,
    ) -> Result<ExportPart, Failure> {
        let info = writer.finish().await.map_err(lake)?;
        let part = part_of(cursor.parts, cursor.next.clone(), next.map(|locator| locator.as_str().to_owned()), info);
        let stands = export_parts::commit_part(&mut tx, self.attempt.key(), &part).await?;
        calls::spend(self.attempt.services(), &mut tx, self.attempt.operation(), self.attempt.meter()).await?;
        let progress = self.attempt.progress("rows", cursor.rows + stands.rows, self.total);
        operations::progress(&mut tx, &self.attempt.key().operation, &self.attempt.key().step, &progress).await?;
        tx.commit().await?;
        Ok(stands)
    }
}

fn part_of(number: i32, locator: Option<String>, next_locator: Option<String>, info: PartInfo) -> ExportPart {
    ExportPart {
        part: number,
        locator,
        next_locator,
        key: info.key,
        rows: i64::try_from(info.rows).unwrap_or(i64::MAX),
        bytes: i64::try_from(info.bytes).unwrap_or(i64::MAX),
        sha256: info.sha256,
        rows_digest: info.rows_digest,
    }
}

/// Removes what this epoch has written, the manifest of a commit that never counted included.
pub(super) async fn discard(undoing: Undoing, export: ExportDataset) -> Result<(), Failure> {
    let services = undoing.services();
    services.lake.withdraw_dataset(undoing.tenant(), &export.dataset, undoing.epoch()).await.map_err(lake)?;
    let mut tx = undoing.begin().await?;
    export_parts::discard(&mut tx, &undoing.operation.operation, undoing.key.epoch).await?;
    Ok(tx.commit().await?)
}
