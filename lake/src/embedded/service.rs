//! The S3 operations that leadline and its tools use, over [`Disk`]. What is not here answers `NotImplemented`.

use std::sync::Arc;

use async_trait::async_trait;
use s3s::{S3, S3Error, S3Request, S3Response, S3Result, dto::*, s3_error};
use std::io::SeekFrom;
use tokio::io::{AsyncReadExt, AsyncSeekExt};
use tokio_util::io::ReaderStream;

use super::{
    body::{declared, receive},
    disk::{Condition, Disk},
    listing::{self, Item, Query},
    object::{self, Headers, Meta, Stored},
};

const PAGE_MAX: i32 = 1000;
const READ_BUFFER: usize = 256 * 1024;

#[derive(Debug, Clone)]
pub(super) struct Service {
    pub disk: Arc<Disk>,
}

impl Service {
    /// Runs file system work where it may block.
    async fn on_disk<T: Send + 'static>(&self, work: impl FnOnce(&Disk) -> S3Result<T> + Send + 'static) -> S3Result<T> {
        let disk = Arc::clone(&self.disk);
        tokio::task::spawn_blocking(move || work(&disk)).await.map_err(S3Error::internal_error)?
    }
}

fn headers(content_type: Option<String>, content_encoding: Option<String>, metadata: Option<Metadata>) -> Headers {
    Headers { content_type, content_encoding, metadata: metadata.unwrap_or_default() }
}

fn length(bytes: u64) -> S3Result<i64> {
    i64::try_from(bytes).map_err(S3Error::internal_error)
}

/// A condition on a read is refused: it would otherwise be taken for granted.
fn unconditional(conditions: &[bool]) -> S3Result<()> {
    match conditions.contains(&true) {
        true => Err(s3_error!(NotImplemented, "Reads have no conditions here")),
        false => Ok(()),
    }
}

fn respond<T>(output: T) -> S3Result<S3Response<T>> {
    Ok(S3Response::new(output))
}

#[async_trait]
impl S3 for Service {
    async fn create_bucket(&self, req: S3Request<CreateBucketInput>) -> S3Result<S3Response<CreateBucketOutput>> {
        let bucket = req.input.bucket;
        self.on_disk(move |disk| match std::fs::create_dir(disk.bucket(&bucket)) {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Err(s3_error!(BucketAlreadyOwnedByYou)),
            Err(error) => Err(S3Error::internal_error(error)),
        })
        .await?;
        respond(CreateBucketOutput::default())
    }

    async fn delete_bucket(&self, req: S3Request<DeleteBucketInput>) -> S3Result<S3Response<DeleteBucketOutput>> {
        let bucket = req.input.bucket;
        self.on_disk(move |disk| {
            let _committing = disk.commit_lock();
            std::fs::remove_dir(disk.existing_bucket(&bucket)?).map_err(|error| s3_error!(error, BucketNotEmpty))
        })
        .await?;
        respond(DeleteBucketOutput::default())
    }

    async fn head_bucket(&self, req: S3Request<HeadBucketInput>) -> S3Result<S3Response<HeadBucketOutput>> {
        self.on_disk(move |disk| disk.existing_bucket(&req.input.bucket)).await?;
        respond(HeadBucketOutput::default())
    }

    async fn get_bucket_location(&self, req: S3Request<GetBucketLocationInput>) -> S3Result<S3Response<GetBucketLocationOutput>> {
        self.on_disk(move |disk| disk.existing_bucket(&req.input.bucket)).await?;
        respond(GetBucketLocationOutput::default())
    }

    async fn put_object(&self, mut req: S3Request<PutObjectInput>) -> S3Result<S3Response<PutObjectOutput>> {
        let declared = declared!(req);
        let PutObjectInput { body, bucket, key, if_match, if_none_match, content_type, content_encoding, metadata, .. } =
            req.input;
        let temporary = self.on_disk(|disk| disk.temporary().map_err(S3Error::internal_error)).await?;
        let mut received = receive(temporary, body, declared).await?;
        let meta =
            Meta { e_tag: received.e_tag.clone(), headers: headers(content_type, content_encoding, metadata), upload: None };
        self.on_disk(move |disk| {
            object::seal(received.file.as_file_mut(), &meta).map_err(S3Error::internal_error)?;
            let condition = Condition { if_match, if_none_match };
            disk.publish(received.file.into_temp_path(), &meta, &bucket, &key, &condition)?;
            respond(PutObjectOutput { e_tag: Some(ETag::Strong(meta.e_tag)), ..Default::default() })
        })
        .await
    }

    async fn get_object(&self, req: S3Request<GetObjectInput>) -> S3Result<S3Response<GetObjectOutput>> {
        let GetObjectInput { bucket, key, range, if_match, if_none_match, if_modified_since, if_unmodified_since, .. } =
            req.input;
        let conditions =
            [if_match.is_some(), if_none_match.is_some(), if_modified_since.is_some(), if_unmodified_since.is_some()];
        unconditional(&conditions)?;
        let Stored { file, length: total, modified, meta } = self.on_disk(move |disk| disk.get(&bucket, &key)).await?;
        let window = range.map(|range| range.check(total)).transpose()?;
        let content_range = window.as_ref().map(|w| format!("bytes {}-{}/{total}", w.start, w.end - 1));
        let window = window.unwrap_or(0..total);

        let mut file = tokio::fs::File::from_std(file);
        file.seek(SeekFrom::Start(window.start)).await.map_err(S3Error::internal_error)?;
        let content_length = window.end - window.start;
        let body = ReaderStream::with_capacity(file.take(content_length), READ_BUFFER);
        respond(GetObjectOutput {
            body: Some(StreamingBlob::wrap(body)),
            accept_ranges: Some("bytes".to_owned()),
            content_length: Some(length(content_length)?),
            content_range,
            content_type: meta.headers.content_type,
            content_encoding: meta.headers.content_encoding,
            metadata: Some(meta.headers.metadata),
            e_tag: Some(ETag::Strong(meta.e_tag)),
            last_modified: Some(modified.into()),
            ..Default::default()
        })
    }

    async fn head_object(&self, req: S3Request<HeadObjectInput>) -> S3Result<S3Response<HeadObjectOutput>> {
        let HeadObjectInput { bucket, key, if_match, if_none_match, if_modified_since, if_unmodified_since, .. } = req.input;
        let conditions =
            [if_match.is_some(), if_none_match.is_some(), if_modified_since.is_some(), if_unmodified_since.is_some()];
        unconditional(&conditions)?;
        let Stored { length: total, modified, meta, .. } = self.on_disk(move |disk| disk.get(&bucket, &key)).await?;
        respond(HeadObjectOutput {
            accept_ranges: Some("bytes".to_owned()),
            content_length: Some(length(total)?),
            content_type: meta.headers.content_type,
            content_encoding: meta.headers.content_encoding,
            metadata: Some(meta.headers.metadata),
            e_tag: Some(ETag::Strong(meta.e_tag)),
            last_modified: Some(modified.into()),
            ..Default::default()
        })
    }

    async fn delete_object(&self, req: S3Request<DeleteObjectInput>) -> S3Result<S3Response<DeleteObjectOutput>> {
        let DeleteObjectInput { bucket, key, if_match, .. } = req.input;
        self.on_disk(move |disk| disk.delete(&bucket, &key, &Condition { if_match, if_none_match: None })).await?;
        respond(DeleteObjectOutput::default())
    }

    async fn delete_objects(&self, req: S3Request<DeleteObjectsInput>) -> S3Result<S3Response<DeleteObjectsOutput>> {
        let DeleteObjectsInput { bucket, delete, .. } = req.input;
        self.on_disk(move |disk| {
            let mut deleted = Vec::with_capacity(delete.objects.len());
            for object in delete.objects {
                let if_match = object.e_tag.map(ETagCondition::ETag);
                disk.delete(&bucket, &object.key, &Condition { if_match, if_none_match: None })?;
                deleted.push(DeletedObject { key: Some(object.key), ..Default::default() });
            }
            let deleted = (!delete.quiet.unwrap_or_default()).then_some(deleted);
            respond(DeleteObjectsOutput { deleted, ..Default::default() })
        })
        .await
    }

    async fn list_objects_v2(&self, req: S3Request<ListObjectsV2Input>) -> S3Result<S3Response<ListObjectsV2Output>> {
        let ListObjectsV2Input { bucket, continuation_token, delimiter, max_keys, prefix, start_after, .. } = req.input;
        if delimiter.as_deref().is_some_and(|d| d != "/") {
            return Err(s3_error!(NotImplemented, "The only delimiter here is the slash"));
        }
        // Hex keeps whatever a key may hold out of XML and query strings.
        let resumed = continuation_token.as_deref().map(|token| {
            let key = hex::decode(token).ok().and_then(|bytes| String::from_utf8(bytes).ok());
            key.ok_or_else(|| s3_error!(InvalidArgument, "The continuation token provided is incorrect"))
        });
        let max_keys = max_keys.unwrap_or(PAGE_MAX).clamp(0, PAGE_MAX);
        let query = Query {
            prefix: prefix.clone().unwrap_or_default(),
            after: resumed.transpose()?.or_else(|| start_after.clone()),
            by_directory: delimiter.is_some(),
            limit: usize::try_from(max_keys).map_err(S3Error::internal_error)?,
        };
        let root = bucket.clone();
        let page = self
            .on_disk(move |disk| listing::list(&disk.existing_bucket(&root)?, &query).map_err(S3Error::internal_error))
            .await?;

        let last = page.items.last().filter(|_| page.truncated);
        let next_continuation_token = last.map(|item| hex::encode(item.text()));
        let key_count = i32::try_from(page.items.len()).map_err(S3Error::internal_error)?;
        let (mut contents, mut common_prefixes) = (Vec::new(), Vec::new());
        for item in page.items {
            match item {
                Item::Object { key, length: bytes, e_tag, modified } => contents.push(Object {
                    key: Some(key),
                    size: Some(length(bytes)?),
                    e_tag: Some(ETag::Strong(e_tag)),
                    last_modified: Some(modified.into()),
                    ..Default::default()
                }),
                Item::CommonPrefix(prefix) => common_prefixes.push(CommonPrefix { prefix: Some(prefix) }),
            }
        }
        // `encoding_type` is not echoed: the keys are not encoded, and a client that asked decodes only if told so.
        respond(ListObjectsV2Output {
            name: Some(bucket),
            prefix,
            delimiter,
            start_after,
            continuation_token,
            next_continuation_token,
            max_keys: Some(max_keys),
            key_count: Some(key_count),
            is_truncated: Some(page.truncated),
            contents: Some(contents),
            common_prefixes: Some(common_prefixes),
            ..Default::default()
        })
    }

    async fn create_multipart_upload(
        &self,
        req: S3Request<CreateMultipartUploadInput>,
    ) -> S3Result<S3Response<CreateMultipartUploadOutput>> {
        let CreateMultipartUploadInput { bucket, key, content_type, content_encoding, metadata, .. } = req.input;
        self.on_disk(move |disk| {
            let id = disk.create_upload(&bucket, &key, headers(content_type, content_encoding, metadata))?;
            let (bucket, key) = (Some(bucket), Some(key));
            respond(CreateMultipartUploadOutput { bucket, key, upload_id: Some(id), ..Default::default() })
        })
        .await
    }

    async fn upload_part(&self, mut req: S3Request<UploadPartInput>) -> S3Result<S3Response<UploadPartOutput>> {
        let declared = declared!(req);
        let UploadPartInput { body, bucket, key, upload_id, part_number, .. } = req.input;
        if !(1..=10_000).contains(&part_number) {
            return Err(s3_error!(InvalidArgument, "Part number must be an integer between 1 and 10000, inclusive"));
        }
        let (b, k, id) = (bucket.clone(), key.clone(), upload_id.clone());
        let temporary = self
            .on_disk(move |disk| {
                disk.check_upload(&b, &k, &id)?;
                disk.temporary().map_err(S3Error::internal_error)
            })
            .await?;
        let received = receive(temporary, body, declared).await?;
        let e_tag = self.on_disk(move |disk| disk.store_part(&bucket, &key, &upload_id, part_number, received)).await?;
        respond(UploadPartOutput { e_tag: Some(ETag::Strong(e_tag)), ..Default::default() })
    }

    async fn complete_multipart_upload(
        &self,
        req: S3Request<CompleteMultipartUploadInput>,
    ) -> S3Result<S3Response<CompleteMultipartUploadOutput>> {
        let CompleteMultipartUploadInput { bucket, key, upload_id, multipart_upload, if_match, if_none_match, .. } = req.input;
        let parts = multipart_upload.and_then(|upload| upload.parts).unwrap_or_default();
        self.on_disk(move |disk| {
            let condition = Condition { if_match, if_none_match };
            let e_tag = disk.complete_upload(&bucket, &key, &upload_id, &parts, &condition)?;
            let (bucket, key) = (Some(bucket), Some(key));
            respond(CompleteMultipartUploadOutput { bucket, key, e_tag: Some(ETag::Strong(e_tag)), ..Default::default() })
        })
        .await
    }

    async fn abort_multipart_upload(
        &self,
        req: S3Request<AbortMultipartUploadInput>,
    ) -> S3Result<S3Response<AbortMultipartUploadOutput>> {
        let AbortMultipartUploadInput { bucket, key, upload_id, .. } = req.input;
        self.on_disk(move |disk| disk.abort_upload(&bucket, &key, &upload_id)).await?;
        respond(AbortMultipartUploadOutput::default())
    }

    async fn list_parts(&self, req: S3Request<ListPartsInput>) -> S3Result<S3Response<ListPartsOutput>> {
        let ListPartsInput { bucket, key, upload_id, part_number_marker, .. } = req.input;
        self.on_disk(move |disk| {
            let mut parts = Vec::new();
            for (number, stored) in disk.parts(&bucket, &key, &upload_id)? {
                if number > part_number_marker.unwrap_or_default() {
                    parts.push(Part {
                        part_number: Some(number),
                        size: Some(length(stored.length)?),
                        e_tag: Some(ETag::Strong(stored.meta.e_tag)),
                        last_modified: Some(stored.modified.into()),
                        ..Default::default()
                    });
                }
            }
            let (bucket, key, upload_id) = (Some(bucket), Some(key), Some(upload_id));
            respond(ListPartsOutput {
                bucket,
                key,
                upload_id,
                parts: Some(parts),
                is_truncated: Some(false),
                ..Default::default()
            })
        })
        .await
    }

    async fn list_multipart_uploads(
        &self,
        req: S3Request<ListMultipartUploadsInput>,
    ) -> S3Result<S3Response<ListMultipartUploadsOutput>> {
        let ListMultipartUploadsInput { bucket, prefix, .. } = req.input;
        self.on_disk(move |disk| {
            let open = disk.open_uploads(&bucket, prefix.as_deref().unwrap_or_default())?;
            let upload = |upload: super::upload::Upload| MultipartUpload {
                initiated: Some(upload.initiated().into()),
                key: Some(upload.key),
                upload_id: Some(upload.id),
                ..Default::default()
            };
            let uploads = Some(open.into_iter().map(upload).collect());
            let is_truncated = Some(false);
            respond(ListMultipartUploadsOutput { bucket: Some(bucket), prefix, uploads, is_truncated, ..Default::default() })
        })
        .await
    }
}
