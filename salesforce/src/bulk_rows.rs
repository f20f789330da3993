//! A results page as batches of typed rows, with its row count held against the vendor's.

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
    body: Option<ByteStream>,
    decoder: PageDecoder,
    expected: u64,
}

impl RowBatches {
    pub(crate) fn new(page: ResultsPage, schema: &ObjectSchema) -> Self {
        let expected = page.records;
        Self { body: Some(page.into_body()), decoder: PageDecoder::new(schema), expected }
    }

    /// The next batch, never empty; `None` once the page is complete and its row count right.
    ///
    /// # Errors
    /// [`SalesforceError::PageTruncated`] if the body broke off or has not the number of rows the vendor announced: read the page
    /// again. The errors of [`PageDecoder::push`] otherwise.
    pub async fn next(&mut self) -> Result<Option<Vec<Row>>, SalesforceError> {
        let Some(mut body) = self.body.take() else { return Ok(None) };
        let mut rows = Vec::new();
        let mut bytes = 0;
        while rows.len() < BATCH_ROWS && bytes < BATCH_BYTES {
            match body.try_next().await {
                Ok(Some(piece)) => {
                    bytes += piece.len();
                    self.decoder.push(&piece, &mut rows)?;
                }
                Ok(None) => {
                    self.finish(&mut rows)?;
                    return Ok((!rows.is_empty()).then_some(rows));
                }
                Err(error) => {
                    tracing::warn!(%error, received = self.decoder.rows(), expected = self.expected, "a results page broke off");
                    return Err(self.truncated());
                }
            }
        }
        self.body = Some(body);
        Ok(Some(rows))
    }

    /// The same as a stream of batches.
    pub fn into_stream(self) -> impl Stream<Item = Result<Vec<Row>, SalesforceError>> + Send {
        stream::try_unfold(self, |mut batches| async move { Ok(batches.next().await?.map(|rows| (rows, batches))) })
    }

    fn finish(&mut self, rows: &mut Vec<Row>) -> Result<(), SalesforceError> {
        let received = self.decoder.finish(rows)?;
        if received == self.expected { Ok(()) } else { Err(self.truncated()) }
    }

    fn truncated(&self) -> SalesforceError {
        SalesforceError::PageTruncated { expected: self.expected, received: self.decoder.rows() }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use futures::StreamExt;
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
}
