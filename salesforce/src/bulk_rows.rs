//! A results page as batches of typed rows, with its row count held against the vendor's.

use bytes::Bytes;
use futures::{Stream, TryStreamExt, stream};
use leadline_domain::value::{ObjectSchema, Value};

use crate::bulk_query::{ByteStream, ResultsPage};
use crate::csv::PageDecoder;
use crate::error::SalesforceError;

/// The values of one record, in the order of its schema.
pub type Row = Vec<Value>;

/// A batch ends at this many rows or bytes of CSV, whichever comes first, and at most one network read later.
const BATCH_ROWS: usize = 4_096;
const BATCH_BYTES: usize = 4 * 1024 * 1024;

/// The rows of one page, in batches of bounded size. They are final only when [`RowBatches::next`] has given `None`: that a
/// page is cut short shows at its end.
pub struct RowBatches {
    body: Body,
    decoder: PageDecoder,
    /// Kept here and not in `next`, so that a call dropped in the middle of a read loses no rows.
    rows: Vec<Row>,
    bytes: usize,
    expected: u64,
}

enum Body {
    Open(ByteStream),
    Complete,
    Failed(SalesforceError),
}

impl RowBatches {
    pub(crate) fn new(page: ResultsPage, schema: &ObjectSchema) -> Self {
        let expected = page.records;
        let decoder = PageDecoder::new(schema);
        Self { body: Body::Open(page.into_body()), decoder, rows: Vec::new(), bytes: 0, expected }
    }

    /// The next batch, never empty; `None` once the page is complete and its row count right. Safe to drop at any point and
    /// to call again; after an error it gives that error again, never `None`.
    ///
    /// # Errors
    /// [`SalesforceError::PageTruncated`] if the body broke off or has not the number of rows the vendor announced: read the page
    /// again. The errors of [`PageDecoder::push`] otherwise.
    pub async fn next(&mut self) -> Result<Option<Vec<Row>>, SalesforceError> {
        while self.rows.len() < BATCH_ROWS && self.bytes < BATCH_BYTES {
            let piece = match &mut self.body {
                Body::Open(body) => body.try_next().await,
                Body::Complete => break,
                Body::Failed(error) => return Err(error.clone()),
            };
            if let Err(error) = self.take_in(piece) {
                self.body = Body::Failed(error.clone());
                return Err(error);
            }
        }
        self.bytes = 0;
        let rows = std::mem::take(&mut self.rows);
        Ok((!rows.is_empty()).then_some(rows))
    }

    /// The same as a stream of batches.
    pub fn into_stream(self) -> impl Stream<Item = Result<Vec<Row>, SalesforceError>> + Send {
        stream::try_unfold(self, |mut batches| async move { Ok(batches.next().await?.map(|rows| (rows, batches))) })
    }

    fn take_in(&mut self, piece: Result<Option<Bytes>, SalesforceError>) -> Result<(), SalesforceError> {
        match piece {
            Ok(Some(piece)) => {
                self.bytes += piece.len();
                self.decoder.push(&piece, &mut self.rows)
            }
            Ok(None) => {
                self.decoder.finish(self.expected)?;
                self.body = Body::Complete;
                Ok(())
            }
            Err(error) => {
                tracing::warn!(%error, received = self.decoder.rows(), expected = self.expected, "a results page broke off");
                Err(SalesforceError::PageTruncated { expected: self.expected, received: self.decoder.rows() })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::{FutureExt, StreamExt};
    use leadline_domain::value::{Field, FieldType};

    use super::*;

    fn lead_schema() -> ObjectSchema {
        let field = |name: &str| Field { name: name.into(), label: name.into(), field_type: FieldType::Text, nullable: true };
        ObjectSchema { object: "Lead".into(), fields: vec![field("Id"), field("City")] }
    }

    fn page(records: u64, pieces: Vec<Result<Bytes, SalesforceError>>) -> RowBatches {
        RowBatches::new(ResultsPage::new(records, None, stream::iter(pieces).boxed()), &lead_schema())
    }

    async fn read(mut batches: RowBatches) -> Result<Vec<usize>, SalesforceError> {
        let mut sizes = Vec::new();
        while let Some(rows) = batches.next().await? {
            sizes.push(rows.len());
        }
        Ok(sizes)
    }

    fn rows_text(count: usize) -> Bytes {
        (0..count).map(|i| format!("\"{i}\",\"Oslo\"\n")).collect::<String>().into()
    }

    #[tokio::test]
    async fn a_large_page_comes_in_bounded_batches() {
        let header = Ok(Bytes::from_static(b"\"Id\",\"City\"\n"));
        let pieces: Vec<_> = std::iter::once(header).chain((0..100).map(|_| Ok(rows_text(100)))).collect();
        let sizes = read(page(10_000, pieces)).await.unwrap();
        assert_eq!(sizes.iter().sum::<usize>(), 10_000);
        assert!(sizes.len() >= 2 && sizes.iter().all(|s| *s > 0 && *s <= BATCH_ROWS + 100), "{sizes:?}");
    }

    #[tokio::test]
    async fn a_page_with_another_number_of_rows_than_announced_is_truncated() {
        let body = || vec![Ok(Bytes::from_static(b"Id,City\n")), Ok(rows_text(3))];
        assert_eq!(read(page(3, body())).await, Ok(vec![3]));
        for expected in [2, 4] {
            let error = read(page(expected, body())).await.unwrap_err();
            assert_eq!(error, SalesforceError::PageTruncated { expected, received: 3 });
        }
        let broken = SalesforceError::Transport { what: "results page".into(), reason: "the connection broke".into() };
        let mut pieces = body();
        pieces.push(Err(broken));
        let error = read(page(9, pieces)).await.unwrap_err();
        assert_eq!(error, SalesforceError::PageTruncated { expected: 9, received: 3 });
        assert_eq!(read(page(0, vec![])).await, Ok(vec![]), "an empty result");
    }

    #[tokio::test]
    async fn a_failed_page_never_looks_complete_and_a_dropped_call_loses_no_rows() {
        let body = || vec![Ok(Bytes::from_static(b"Id,City\n")), Ok(rows_text(3))];
        let mut short = page(4, body());
        let first = short.next().await.unwrap_err();
        assert_eq!(short.next().await.unwrap_err(), first);

        let slow = stream::iter(body()).chain(stream::once(tokio::task::yield_now().map(|()| Ok(rows_text(2)))));
        let mut batches = RowBatches::new(ResultsPage::new(5, None, slow.boxed()), &lead_schema());
        assert!(batches.next().now_or_never().is_none(), "dropped while it waits for the last rows");
        assert_eq!(batches.next().await.unwrap().map(|rows| rows.len()), Some(5));
        assert_eq!(batches.next().await, Ok(None));
    }
}
