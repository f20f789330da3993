//! Single objects: put, conditional put, get, list, and removal by prefix.

use std::time::Duration;

use aws_sdk_s3::{
    primitives::ByteStream,
    types::{Delete, ObjectIdentifier},
};
use bytes::Bytes;

use crate::{Key, Lake, LakeError, Prefix};

/// S3 answers 409 when two conditional puts of one key overlap; the loser has to ask again to learn who won.
const OVERLAP_ATTEMPTS: u32 = 5;
const OVERLAP_PAUSE: Duration = Duration::from_millis(50);

/// An object as a listing shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectInfo {
    pub key: Key,
    pub bytes: u64,
}

impl Lake {
    /// Writes the object, whatever was there.
    pub async fn put(&self, key: &Key, body: Bytes) -> Result<(), LakeError> {
        let put = self.client.put_object().bucket(&self.bucket).key(key.as_str()).body(ByteStream::from(body)).send().await;
        put.map(drop).map_err(|error| LakeError::from_sdk("write", key, error))
    }

    /// Writes the object unless there is one. Returns whether this call wrote it; the same content already there is success.
    ///
    /// # Errors
    /// [`LakeError::AlreadyExists`] when the object has other content, and those of the connection.
    pub async fn put_if_absent(&self, key: &Key, body: Bytes) -> Result<bool, LakeError> {
        for attempt in 1.. {
            let request = self.client.put_object().bucket(&self.bucket).key(key.as_str()).if_none_match("*");
            let error = match request.body(ByteStream::from(body.clone())).send().await {
                Ok(_) => return Ok(true),
                Err(error) => error,
            };
            let overlap = error.raw_response().is_some_and(|answer| answer.status().as_u16() == 409);
            match LakeError::from_sdk("write", key, error) {
                LakeError::AlreadyExists { .. } if overlap && attempt < OVERLAP_ATTEMPTS => {
                    tokio::time::sleep(OVERLAP_PAUSE * attempt).await;
                }
                LakeError::AlreadyExists { .. } => break,
                error => return Err(error),
            }
        }
        // It may be this call's own first attempt, whose answer was lost.
        match self.get(key).await {
            Ok(found) if found == body => Ok(false),
            Ok(_) => Err(LakeError::AlreadyExists { what: key.to_string() }),
            Err(LakeError::NotFound { .. }) => {
                let cause = "an object that stood there was removed meanwhile".to_owned();
                Err(LakeError::Unreachable { action: "write", what: key.to_string(), cause })
            }
            Err(error) => Err(error),
        }
    }

    /// The whole object, in memory: for manifests and artifacts, not for parts.
    ///
    /// # Errors
    /// [`LakeError::NotFound`], and those of the connection.
    pub async fn get(&self, key: &Key) -> Result<Bytes, LakeError> {
        let body = self.open(key).await?;
        let collected = body.collect().await.map_err(|_| broken_off(key))?;
        Ok(collected.into_bytes())
    }

    /// The object's size in bytes; `None` when there is no such object.
    pub(crate) async fn size(&self, key: &Key) -> Result<Option<u64>, LakeError> {
        let answer = self.client.head_object().bucket(&self.bucket).key(key.as_str()).send().await;
        match answer.map_err(|error| LakeError::from_sdk("look at", key, error)) {
            Ok(found) => Ok(found.content_length.and_then(|size| u64::try_from(size).ok())),
            Err(LakeError::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub(crate) async fn open(&self, key: &Key) -> Result<ByteStream, LakeError> {
        let answer = self.client.get_object().bucket(&self.bucket).key(key.as_str()).send().await;
        answer.map(|answer| answer.body).map_err(|error| LakeError::from_sdk("read", key, error))
    }

    /// Removes the object; one that is not there is success.
    pub async fn delete(&self, key: &Key) -> Result<(), LakeError> {
        let deleted = self.client.delete_object().bucket(&self.bucket).key(key.as_str()).send().await;
        deleted.map(drop).map_err(|error| LakeError::from_sdk("delete", key, error))
    }

    /// All objects below the prefix, by key.
    pub async fn list(&self, prefix: &Prefix) -> Result<Vec<ObjectInfo>, LakeError> {
        let mut pages = self.client.list_objects_v2().bucket(&self.bucket).prefix(prefix.as_str()).into_paginator().send();
        let mut objects = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| LakeError::from_sdk("list", prefix, error))?;
            objects.extend(page.contents.unwrap_or_default().into_iter().filter_map(|object| {
                let bytes = object.size.and_then(|size| u64::try_from(size).ok()).unwrap_or_default();
                Some(ObjectInfo { key: Key::listed(object.key?), bytes })
            }));
        }
        Ok(objects)
    }

    /// Removes every object below the prefix, and what unfinished uploads have left there. Returns the number of objects.
    pub async fn delete_prefix(&self, prefix: &Prefix) -> Result<usize, LakeError> {
        self.abort_uploads(prefix).await?;
        let keys: Vec<Key> = self.list(prefix).await?.into_iter().map(|object| object.key).collect();
        self.delete_all(&keys).await?;
        Ok(keys.len())
    }

    pub(crate) async fn delete_all(&self, keys: &[Key]) -> Result<(), LakeError> {
        // The most that one request takes.
        for keys in keys.chunks(1000) {
            let identifiers: Result<Vec<_>, _> =
                keys.iter().map(|key| ObjectIdentifier::builder().key(key.as_str()).build()).collect();
            let what = format!("{} objects from {} on", keys.len(), keys[0]);
            let unbuilt = |_| LakeError::Invalid { what: what.clone(), reason: "the request cannot be built".to_owned() };
            let delete =
                Delete::builder().set_objects(Some(identifiers.map_err(unbuilt)?)).quiet(true).build().map_err(unbuilt)?;
            let answer = self.client.delete_objects().bucket(&self.bucket).delete(delete).send().await;
            let answer = answer.map_err(|error| LakeError::from_sdk("delete", &what, error))?;
            if let Some(error) = answer.errors().first() {
                let what = error.key().unwrap_or(&what).to_owned();
                return Err(LakeError::Refused { action: "delete", what, code: error.code().unwrap_or("no code").to_owned() });
            }
        }
        Ok(())
    }

    async fn abort_uploads(&self, prefix: &Prefix) -> Result<(), LakeError> {
        let (mut key_marker, mut id_marker) = (None, None);
        loop {
            let request = self.client.list_multipart_uploads().bucket(&self.bucket).prefix(prefix.as_str());
            let request = request.set_key_marker(key_marker).set_upload_id_marker(id_marker);
            let page = request.send().await.map_err(|error| LakeError::from_sdk("list the uploads of", prefix, error))?;
            for upload in page.uploads.unwrap_or_default() {
                if let (Some(key), Some(id)) = (upload.key, upload.upload_id) {
                    self.abort_upload(&Key::listed(key), &id).await?;
                }
            }
            if !page.is_truncated.unwrap_or_default() {
                return Ok(());
            }
            (key_marker, id_marker) = (page.next_key_marker, page.next_upload_id_marker);
        }
    }

    pub(crate) async fn abort_upload(&self, key: &Key, upload: &str) -> Result<(), LakeError> {
        let request = self.client.abort_multipart_upload().bucket(&self.bucket).key(key.as_str()).upload_id(upload);
        match request.send().await.map_err(|error| LakeError::from_sdk("abort the upload of", key, error)) {
            Ok(_) | Err(LakeError::NotFound { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

pub(crate) fn broken_off(key: &Key) -> LakeError {
    LakeError::Unreachable { action: "read", what: key.to_string(), cause: "the body broke off".to_owned() }
}
