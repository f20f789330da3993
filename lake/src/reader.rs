//! Reads a committed data set as batches of rows, with flat memory.
//!
//! A part is first brought into an unnamed scratch file and checked against its SHA-256, so that not one row of a damaged
//! part is ever delivered, and so that memory does not grow with the size of parts.

use std::{
    fs::File,
    io::{Seek, SeekFrom},
};

use futures::Stream;
use leadline_domain::{
    DatasetId, TenantId,
    value::{ObjectSchema, Value},
};
use parquet::{arrow::arrow_reader::ParquetRecordBatchReaderBuilder, errors::ParquetError};
use sha2::{Digest, Sha256};
use tokio::{io::AsyncWriteExt, sync::mpsc};

use crate::{Key, Lake, LakeError, Manifest, PartInfo, Prefix, columns::to_rows, object::broken_off};

/// Batches that wait for the consumer.
const BATCHES_AHEAD: usize = 2;

type Batch = Result<Vec<Vec<Value>>, LakeError>;

/// A committed data set, open for reading.
#[derive(Debug, Clone)]
pub struct Dataset {
    lake: Lake,
    manifest: Manifest,
}

impl Dataset {
    /// # Errors
    /// [`LakeError::DatasetNotFound`] when there is no such data set or it is not committed, [`LakeError::Corrupt`] when its
    /// manifest does not add up, and those of the connection.
    pub async fn open(lake: &Lake, tenant: &TenantId, dataset: &DatasetId) -> Result<Self, LakeError> {
        let manifest = lake.manifest(tenant, dataset).await?;
        let manifest = manifest.ok_or_else(|| LakeError::DatasetNotFound(dataset.clone()))?;
        Ok(Self { lake: lake.clone(), manifest })
    }

    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// All rows, part after part, each row in the schema's field order, in batches of at most `batch_rows`. The stream ends
    /// after its first error, and reading stops when it is dropped.
    ///
    /// The items may be [`LakeError::Corrupt`] (a part is not what the manifest says), [`LakeError::NotFound`], and errors of
    /// the connection and of local scratch space.
    pub fn rows(&self, batch_rows: usize) -> impl Stream<Item = Batch> + Send + Unpin + use<> {
        let (sender, receiver) = mpsc::channel(BATCHES_AHEAD);
        let Self { lake, manifest } = self.clone();
        let whole = Whole { receiver, missing: manifest.rows, dataset: manifest.dataset.clone() };
        tokio::spawn(async move {
            for part in &manifest.parts {
                match read_part(&lake, &manifest, part, batch_rows.max(1), &sender).await {
                    Ok(Consumer::Listening) => {}
                    Ok(Consumer::Gone) => return,
                    // A consumer that has gone has no use for the error either.
                    Err(error) => return sender.send(Err(error)).await.unwrap_or_default(),
                }
            }
        });
        whole.batches()
    }
}

/// What comes from the reading task, which may end without a word: when it panics, or when its runtime stops. That must not look
/// like the end of the data.
struct Whole {
    receiver: mpsc::Receiver<Batch>,
    missing: u64,
    dataset: DatasetId,
}

impl Whole {
    fn batches(mut self) -> impl Stream<Item = Batch> + Send + Unpin + use<> {
        futures::stream::poll_fn(move |context| {
            let next = std::task::ready!(self.receiver.poll_recv(context));
            std::task::Poll::Ready(match next {
                Some(Ok(rows)) => {
                    self.missing = self.missing.saturating_sub(rows.len() as u64);
                    Some(Ok(rows))
                }
                Some(Err(error)) => {
                    self.missing = 0;
                    Some(Err(error))
                }
                None if self.missing > 0 => {
                    self.missing = 0;
                    let cause = "the reader was stopped before the last row".to_owned();
                    Some(Err(LakeError::Unreachable { action: "read", what: self.dataset.to_string(), cause }))
                }
                None => None,
            })
        })
    }
}

enum Consumer {
    Listening,
    Gone,
}

async fn read_part(
    lake: &Lake,
    manifest: &Manifest,
    part: &PartInfo,
    batch_rows: usize,
    sender: &mpsc::Sender<Batch>,
) -> Result<Consumer, LakeError> {
    let key = Prefix::dataset(&manifest.tenant, &manifest.dataset).parse(&part.key)?;
    let file = fetch(lake, &key, part).await?;
    let (schema, rows, sender, name) = (manifest.schema.clone(), part.rows, sender.clone(), key.clone());
    let decoded = tokio::task::spawn_blocking(move || decode(file, &schema, rows, batch_rows, &sender, &name));
    decoded.await.map_err(|error| LakeError::Scratch { what: key.to_string(), source: error.into() })?
}

/// The part in a scratch file, complete and undamaged.
async fn fetch(lake: &Lake, key: &Key, part: &PartInfo) -> Result<File, LakeError> {
    let scratch = |source| LakeError::Scratch { what: key.to_string(), source };
    let mut body = lake.open(key).await?;
    let mut file = tokio::fs::File::from_std(tempfile::tempfile().map_err(scratch)?);
    let mut hasher = Sha256::new();
    while let Some(bytes) = body.try_next().await.map_err(|_| broken_off(key))? {
        hasher.update(&bytes);
        file.write_all(&bytes).await.map_err(scratch)?;
    }
    file.flush().await.map_err(scratch)?;
    if hex::encode(hasher.finalize()) != part.sha256 {
        return Err(LakeError::corrupt(key, "its SHA-256 is not the one in the manifest"));
    }
    Ok(file.into_std().await)
}

fn decode(
    mut file: File,
    schema: &ObjectSchema,
    rows: u64,
    batch_rows: usize,
    sender: &mpsc::Sender<Batch>,
    key: &Key,
) -> Result<Consumer, LakeError> {
    let unreadable = |error: ParquetError| LakeError::corrupt(key, error);
    file.seek(SeekFrom::Start(0)).map_err(|source| LakeError::Scratch { what: key.to_string(), source })?;
    let reader = ParquetRecordBatchReaderBuilder::try_new(file).map_err(unreadable)?;
    let mut read = 0;
    for batch in reader.with_batch_size(batch_rows).build().map_err(unreadable)? {
        let batch = batch.map_err(|error| LakeError::corrupt(key, error))?;
        read += batch.num_rows() as u64;
        if sender.blocking_send(Ok(to_rows(schema, &batch)?)).is_err() {
            return Ok(Consumer::Gone);
        }
    }
    if read == rows { Ok(Consumer::Listening) } else { Err(LakeError::corrupt(key, format!("it has {read} rows, not {rows}"))) }
}

#[cfg(test)]
mod tests {
    use futures::StreamExt as _;
    use leadline_domain::OperationId;

    use super::*;

    #[tokio::test]
    async fn a_reader_that_ends_too_early_is_an_error_and_no_end() {
        let (sender, receiver) = mpsc::channel(BATCHES_AHEAD);
        let mut batches = Whole { receiver, missing: 3, dataset: OperationId::random().dataset() }.batches();
        sender.send(Ok(vec![vec![Value::Null], vec![Value::Null]])).await.unwrap();
        drop(sender);
        assert_eq!(batches.next().await.unwrap().unwrap().len(), 2);
        assert!(matches!(batches.next().await, Some(Err(LakeError::Unreachable { .. }))));
        assert!(batches.next().await.is_none());
    }
}
