//! A file of unknown size on its way to object storage, with flat memory: a multipart upload that begins when the first part
//! is full, or a single put if none ever is. Nothing is visible before [`Upload::finish`].

use aws_sdk_s3::{
    primitives::ByteStream,
    types::{CompletedMultipartUpload, CompletedPart},
};
use bytes::{Bytes, BytesMut};
use tokio::task::JoinSet;

use crate::{Key, Lake, LakeError};

/// Of all parts but the last. S3 takes 10,000 parts of at least 5 MiB: this allows files of 78 GiB.
const PART_BYTES: usize = 8 * 1024 * 1024;
/// Parts under way while the next one fills.
const CONCURRENT_PARTS: usize = 2;

#[derive(Debug)]
pub(crate) struct Upload {
    lake: Lake,
    key: Key,
    buffer: BytesMut,
    id: Option<String>,
    next_number: i32,
    /// Bytes taken so far.
    size: u64,
    sending: JoinSet<Result<CompletedPart, LakeError>>,
    sent: Vec<CompletedPart>,
}

impl Upload {
    pub(crate) fn new(lake: Lake, key: Key) -> Self {
        Self { lake, key, buffer: BytesMut::new(), id: None, next_number: 1, size: 0, sending: JoinSet::new(), sent: Vec::new() }
    }

    /// Takes the next bytes of the file; waits while enough parts are under way.
    pub(crate) async fn push(&mut self, bytes: &[u8]) -> Result<(), LakeError> {
        self.buffer.extend_from_slice(bytes);
        self.size += bytes.len() as u64;
        while self.buffer.len() >= PART_BYTES {
            let part = self.buffer.split_to(PART_BYTES).freeze();
            self.send(part).await?;
        }
        Ok(())
    }

    /// Makes the file visible under its key.
    pub(crate) async fn finish(mut self) -> Result<(), LakeError> {
        let rest = self.buffer.split().freeze();
        if self.id.is_none() {
            return self.lake.put(&self.key, rest).await;
        }
        if !rest.is_empty() {
            self.send(rest).await?;
        }
        while !self.sending.is_empty() {
            self.collect_one().await?;
        }
        self.sent.sort_by_key(CompletedPart::part_number);
        let parts = CompletedMultipartUpload::builder().set_parts(Some(std::mem::take(&mut self.sent))).build();
        let request = self.lake.client.complete_multipart_upload().bucket(&self.lake.bucket).key(self.key.as_str());
        let request = request.set_upload_id(self.id.clone()).multipart_upload(parts);
        match request.send().await.map_err(|error| LakeError::from_sdk("complete", &self.key, error)) {
            Ok(_) => {}
            Err(LakeError::NotFound { .. }) => self.expect_completed().await?,
            Err(error) => return Err(error),
        }
        // Nothing is left to abort.
        self.id = None;
        Ok(())
    }

    /// S3 does not know an upload any more once it is completed, and the answer to the completion may have been lost: then the
    /// repeated request meets none, while the file is there.
    async fn expect_completed(&self) -> Result<(), LakeError> {
        match self.lake.size(&self.key).await? {
            Some(size) if size == self.size => Ok(()),
            _ => Err(LakeError::Unreachable {
                action: "complete",
                what: self.key.to_string(),
                cause: "its upload was given up meanwhile".to_owned(),
            }),
        }
    }

    async fn send(&mut self, part: Bytes) -> Result<(), LakeError> {
        let id = match &self.id {
            Some(id) => id.clone(),
            None => self.begin().await?,
        };
        while self.sending.len() >= CONCURRENT_PARTS {
            self.collect_one().await?;
        }
        let (lake, key, number) = (self.lake.clone(), self.key.clone(), self.next_number);
        self.next_number += 1;
        self.sending.spawn(async move {
            let request = lake.client.upload_part().bucket(&lake.bucket).key(key.as_str()).upload_id(id).part_number(number);
            let sent = request.body(ByteStream::from(part)).send().await;
            let sent = sent.map_err(|error| LakeError::from_sdk("write", &key, error))?;
            Ok(CompletedPart::builder().part_number(number).set_e_tag(sent.e_tag).build())
        });
        Ok(())
    }

    async fn begin(&mut self) -> Result<String, LakeError> {
        let request = self.lake.client.create_multipart_upload().bucket(&self.lake.bucket).key(self.key.as_str());
        let begun = request.send().await.map_err(|error| LakeError::from_sdk("begin", &self.key, error))?;
        let id = begun.upload_id.ok_or_else(|| LakeError::corrupt(&self.key, "its upload has no id"))?;
        self.id = Some(id.clone());
        Ok(id)
    }

    async fn collect_one(&mut self) -> Result<(), LakeError> {
        if let Some(joined) = self.sending.join_next().await {
            let sent = joined.map_err(|error| LakeError::Unreachable {
                action: "write",
                what: self.key.to_string(),
                cause: error.to_string(),
            })?;
            self.sent.push(sent?);
        }
        Ok(())
    }
}

/// An upload that is given up must not keep its parts in the store. What a crash leaves is aborted with the epoch's prefix.
impl Drop for Upload {
    fn drop(&mut self) {
        let (Some(id), Ok(runtime)) = (self.id.take(), tokio::runtime::Handle::try_current()) else { return };
        let (lake, key) = (self.lake.clone(), self.key.clone());
        runtime.spawn(async move {
            if let Err(error) = lake.abort_upload(&key, &id).await {
                tracing::warn!(%error, "an abandoned upload stays open");
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use leadline_domain::TenantId;

    use super::*;
    use crate::{
        LakeConfig, Prefix,
        embedded::{self, EmbeddedConfig},
    };

    /// Where a first completion has taken effect and its answer was lost, S3 knows the file and not the upload.
    #[tokio::test]
    async fn a_completion_that_meets_its_own_file_has_succeeded_and_one_that_meets_none_is_tried_again() {
        let directory = tempfile::tempdir().unwrap();
        let secret = || "test-secret".to_owned();
        let listen = "127.0.0.1:0".parse().unwrap();
        let served = EmbeddedConfig { root: directory.path().to_owned(), listen, access_key: secret(), secret_key: secret() };
        let server = embedded::serve(served).await.unwrap();
        let lake = Lake::connect(&LakeConfig {
            endpoint: Some(format!("http://{}", server.addr()).parse().unwrap()),
            region: "us-east-1".to_owned(),
            bucket: "leadline".to_owned(),
            access_key: Some(secret()),
            secret_key: Some(secret()),
            path_style: true,
        })
        .unwrap();
        lake.ensure_bucket().await.unwrap();
        let prefix = Prefix::tenant(&TenantId::random());
        let file = vec![7; PART_BYTES];
        let uploaded = async |name: &str| {
            let key = prefix.key(name).unwrap();
            let mut upload = Upload::new(lake.clone(), key.clone());
            upload.push(&file).await.unwrap();
            upload.collect_one().await.unwrap();
            lake.abort_upload(&key, upload.id.as_ref().unwrap()).await.unwrap();
            upload
        };

        let completed = uploaded("completed").await;
        lake.put(&completed.key, Bytes::from(file.clone())).await.unwrap();
        completed.finish().await.unwrap();
        let lost = uploaded("lost").await.finish().await.unwrap_err();
        assert!(matches!(lost, LakeError::Unreachable { .. }), "{lost}");
    }
}
