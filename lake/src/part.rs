//! Writes one part of a data set: rows in, one Parquet file out, with flat memory.
//!
//! Encoding runs beside the caller, one batch deep: while a batch is compressed, the caller reads the next one, and full
//! chunks are on their way to the store.

use bytes::Bytes;
use leadline_domain::{
    DatasetId, TenantId,
    value::{ObjectSchema, Value},
};
use parquet::{
    arrow::ArrowWriter,
    basic::{Compression, ZstdLevel},
    errors::ParquetError,
    file::properties::WriterProperties,
};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tokio::task::JoinHandle;

use arrow::datatypes::SchemaRef;

use crate::{
    Key, Lake, LakeError, Prefix,
    columns::{arrow_schema, to_batch},
    row_set::{RowEncoder, RowSum},
    upload::Upload,
};

const ROW_GROUP_ROWS: usize = 64 * 1024;
/// Keeps memory flat when texts are long (a field holds up to 131,072 characters).
const ROW_GROUP_BYTES: usize = 64 * 1024 * 1024;
const ZSTD_LEVEL: i32 = 3;

/// A finished part: what a manifest needs to know about it, and what a resuming export keeps as its committed cursor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartInfo {
    /// Full key of the Parquet file.
    pub key: String,
    pub rows: u64,
    /// Size of the file.
    pub bytes: u64,
    /// Sum of the row hashes modulo 2^256, in hex; the sums of parts add up to the data set's.
    pub rows_digest: String,
    /// SHA-256 of the file, in hex.
    pub sha256: String,
}

/// An open part. Nothing is visible before [`PartWriter::finish`]; dropping it gives the part up.
///
/// The key is `{tenant}/datasets/{dataset}/e{epoch}/part-{number}-{random}.parquet`. The random end keeps a part that has
/// been recorded from being overwritten by an older attempt of the same epoch that wakes up late; what such an attempt leaves
/// is removed when the data set is committed or discarded.
#[derive(Debug)]
pub struct PartWriter {
    key: Key,
    upload: Upload,
    encoder: EncoderState,
}

#[derive(Debug)]
enum EncoderState {
    Idle(Box<Encoder>),
    Busy(JoinHandle<Result<(Box<Encoder>, Bytes), LakeError>>),
    /// An error has been returned.
    Failed,
}

impl PartWriter {
    /// Opens part `number` of the data set, in `epoch`.
    ///
    /// # Errors
    /// [`LakeError::Invalid`] for a schema that Parquet cannot hold.
    pub fn new(
        lake: &Lake,
        tenant: &TenantId,
        dataset: &DatasetId,
        epoch: i64,
        number: u32,
        schema: &ObjectSchema,
    ) -> Result<Self, LakeError> {
        let name = format!("part-{number:05}-{:08x}.parquet", rand::random::<u32>());
        let key = Prefix::dataset(tenant, dataset).epoch(epoch).fixed(name);
        let encoder = EncoderState::Idle(Box::new(Encoder::new(schema)?));
        Ok(Self { upload: Upload::new(lake.clone(), key.clone()), key, encoder })
    }

    pub fn key(&self) -> &Key {
        &self.key
    }

    /// Adds rows in the schema's field order; batches of some thousand rows serve best. Returns when the batch before this
    /// one is encoded and this one is under way, so an error may belong to the batch before.
    ///
    /// # Errors
    /// [`LakeError::SchemaMismatch`] for a row that does not fit, and those of the connection. The part is lost then.
    pub async fn append(&mut self, rows: Vec<Vec<Value>>) -> Result<(), LakeError> {
        let mut encoder = self.settle().await?;
        self.encoder = EncoderState::Busy(tokio::task::spawn_blocking(move || {
            let encoded = encoder.append(&rows)?;
            Ok((encoder, encoded))
        }));
        Ok(())
    }

    /// Closes the file and makes it visible under its key; it stays unreferenced until a manifest names it.
    ///
    /// # Errors
    /// As [`PartWriter::append`].
    pub async fn finish(mut self) -> Result<PartInfo, LakeError> {
        let encoder = self.settle().await?;
        let closed = tokio::task::spawn_blocking(move || encoder.close());
        let (tail, summary) = closed.await.map_err(|error| encoder_lost(&self.key, &error))??;
        self.upload.push(&tail).await?;
        self.upload.finish().await?;
        Ok(PartInfo {
            key: self.key.as_str().to_owned(),
            rows: summary.rows,
            bytes: summary.bytes,
            rows_digest: summary.sum.to_hex(),
            sha256: summary.sha256,
        })
    }

    /// Waits for the batch under way and passes its bytes on.
    async fn settle(&mut self) -> Result<Box<Encoder>, LakeError> {
        match std::mem::replace(&mut self.encoder, EncoderState::Failed) {
            EncoderState::Idle(encoder) => Ok(encoder),
            EncoderState::Busy(task) => {
                let (encoder, encoded) = task.await.map_err(|error| encoder_lost(&self.key, &error))??;
                self.upload.push(&encoded).await?;
                Ok(encoder)
            }
            EncoderState::Failed => {
                Err(LakeError::Invalid { what: self.key.to_string(), reason: "an earlier batch of it has failed".to_owned() })
            }
        }
    }
}

/// The blocking pool is shutting down, or the encoder panicked: the attempt is over, another may do better.
fn encoder_lost(key: &Key, error: &tokio::task::JoinError) -> LakeError {
    let cause = if error.is_cancelled() { "the process is stopping" } else { "the encoder panicked" };
    LakeError::Unreachable { action: "encode", what: key.to_string(), cause: cause.to_owned() }
}

/// Rows to Parquet bytes, counted and hashed on the way.
struct Encoder {
    schema: ObjectSchema,
    arrow: SchemaRef,
    writer: ArrowWriter<Vec<u8>>,
    row_encoder: RowEncoder,
    sum: RowSum,
    rows: u64,
    file_hash: Sha256,
    bytes: u64,
}

impl std::fmt::Debug for Encoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Encoder").field("rows", &self.rows).field("bytes", &self.bytes).finish_non_exhaustive()
    }
}

struct Summary {
    rows: u64,
    bytes: u64,
    sum: RowSum,
    sha256: String,
}

impl Encoder {
    fn new(schema: &ObjectSchema) -> Result<Self, LakeError> {
        let arrow = arrow_schema(schema);
        let level = ZstdLevel::try_new(ZSTD_LEVEL).expect("zstd has a level 3");
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(level))
            .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
            .set_max_row_group_bytes(Some(ROW_GROUP_BYTES))
            .build();
        let writer = ArrowWriter::try_new(Vec::new(), SchemaRef::clone(&arrow), Some(properties)).map_err(|error| {
            LakeError::Invalid { what: format!("the schema of {}", schema.object), reason: error.to_string() }
        })?;
        Ok(Self {
            row_encoder: RowEncoder::new(schema),
            schema: schema.clone(),
            arrow,
            writer,
            sum: RowSum::default(),
            rows: 0,
            file_hash: Sha256::new(),
            bytes: 0,
        })
    }

    /// Returns the bytes that are ready: none until a row group is full.
    fn append(&mut self, rows: &[Vec<Value>]) -> Result<Bytes, LakeError> {
        let batch = to_batch(&self.schema, &self.arrow, rows)?;
        for row in rows {
            self.sum.add_row(&mut self.row_encoder, row);
        }
        self.rows += rows.len() as u64;
        self.writer.write(&batch).map_err(|error| self.unencodable(&error))?;
        let ready = std::mem::take(self.writer.inner_mut());
        Ok(self.count(ready))
    }

    fn close(mut self: Box<Self>) -> Result<(Bytes, Summary), LakeError> {
        self.writer.finish().map_err(|error| self.unencodable(&error))?;
        let ready = std::mem::take(self.writer.inner_mut());
        let tail = self.count(ready);
        let Self { rows, bytes, sum, file_hash, .. } = *self;
        Ok((tail, Summary { rows, bytes, sum, sha256: hex::encode(file_hash.finalize()) }))
    }

    fn count(&mut self, ready: Vec<u8>) -> Bytes {
        self.file_hash.update(&ready);
        self.bytes += ready.len() as u64;
        Bytes::from(ready)
    }

    fn unencodable(&self, error: &ParquetError) -> LakeError {
        LakeError::Invalid { what: format!("a part of {}", self.schema.object), reason: error.to_string() }
    }
}
