//! Multipart uploads: a directory each, with what was asked for and one sealed file per part.
//!
//! A failed completion leaves the upload as it was, and a completed one answers a repeated completion with success, since the
//! client may have lost the first answer.

use std::{
    fs,
    io::{self, Read, Write},
    path::PathBuf,
    time::{Duration, SystemTime},
};

use s3s::{
    S3Error, S3Result,
    dto::{CompletedPart, ETag},
    s3_error,
};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{
    body::Received,
    disk::{Condition, Disk, is_absent},
    object::{self, Headers, Meta, Stored},
};

/// S3 refuses smaller parts, but for the last.
const PART_MIN: u64 = 5 * 1024 * 1024;
const DESCRIPTION: &str = "upload.json";

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Upload {
    pub id: String,
    pub bucket: String,
    pub key: String,
    headers: Headers,
    initiated_unix_ms: u64,
}

impl Upload {
    pub(super) fn initiated(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_millis(self.initiated_unix_ms)
    }
}

impl Disk {
    /// Begins an upload and returns its id.
    pub(super) fn create_upload(&self, bucket: &str, key: &str, headers: Headers) -> S3Result<String> {
        self.existing_bucket(bucket)?;
        let id = hex::encode(rand::random::<[u8; 16]>());
        let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let upload = Upload {
            id: id.clone(),
            bucket: bucket.to_owned(),
            key: key.to_owned(),
            headers,
            initiated_unix_ms: u64::try_from(since_epoch.as_millis()).unwrap_or_default(),
        };
        let mut file = self.temporary().map_err(S3Error::internal_error)?;
        file.write_all(&serde_json::to_vec(&upload).map_err(S3Error::internal_error)?).map_err(S3Error::internal_error)?;
        let directory = self.uploads().join(&id);
        fs::create_dir(&directory).map_err(S3Error::internal_error)?;
        file.persist(directory.join(DESCRIPTION)).map_err(|error| S3Error::internal_error(error.error))?;
        Ok(id)
    }

    /// # Errors
    /// `NoSuchUpload` unless `id` is an open upload to this very key.
    fn upload(&self, bucket: &str, key: &str, id: &str) -> S3Result<(PathBuf, Upload)> {
        if id.len() != 32 || !id.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(s3_error!(NoSuchUpload));
        }
        let directory = self.uploads().join(id);
        match read_description(&directory) {
            Ok(upload) if upload.bucket == bucket && upload.key == key => Ok((directory, upload)),
            Ok(_) => Err(s3_error!(NoSuchUpload)),
            Err(error) if is_absent(&error) => Err(s3_error!(NoSuchUpload)),
            Err(error) => Err(S3Error::internal_error(error)),
        }
    }

    pub(super) fn check_upload(&self, bucket: &str, key: &str, id: &str) -> S3Result<()> {
        self.upload(bucket, key, id).map(drop)
    }

    /// Keeps a received body as part `number`, in place of an earlier one of that number.
    pub(super) fn store_part(&self, bucket: &str, key: &str, id: &str, number: i32, body: Received) -> S3Result<String> {
        let (directory, _) = self.upload(bucket, key, id)?;
        let Received { mut file, e_tag } = body;
        object::seal(file.as_file_mut(), &Meta { e_tag: e_tag.clone(), ..Meta::default() }).map_err(S3Error::internal_error)?;
        match file.persist(directory.join(part_name(number))) {
            Ok(_) => Ok(e_tag),
            Err(error) if is_absent(&error.error) => Err(s3_error!(NoSuchUpload)),
            Err(error) => Err(S3Error::internal_error(error.error)),
        }
    }

    /// Joins the named parts into the object and ends the upload. Returns the object's entity tag.
    ///
    /// # Errors
    /// `InvalidPart`, `InvalidPartOrder`, `EntityTooSmall`, `NoSuchUpload`, `PreconditionFailed`; the upload stays open.
    pub(super) fn complete_upload(
        &self,
        bucket: &str,
        key: &str,
        id: &str,
        parts: &[CompletedPart],
        condition: &Condition,
    ) -> S3Result<String> {
        let (directory, upload) = match self.upload(bucket, key, id) {
            Ok(open) => open,
            Err(no_such_upload) => {
                let made = self.get(bucket, key).ok().filter(|object| object.meta.upload.as_deref() == Some(id));
                return made.map(|object| object.meta.e_tag).ok_or(no_such_upload);
            }
        };
        let stored = named_parts(&directory, parts)?;
        let mut tags = Sha256::new();
        let mut joined = self.temporary().map_err(S3Error::internal_error)?;
        for part in &stored {
            tags.update(&part.meta.e_tag);
            io::copy(&mut (&part.file).take(part.length), joined.as_file_mut()).map_err(S3Error::internal_error)?;
        }
        let e_tag = format!("{}-{}", hex::encode(tags.finalize()), stored.len());
        let meta = Meta { e_tag: e_tag.clone(), headers: upload.headers, upload: Some(upload.id) };
        object::seal(joined.as_file_mut(), &meta).map_err(S3Error::internal_error)?;
        self.publish(joined.into_temp_path(), &meta, bucket, key, condition)?;
        remove_upload(&directory)?;
        Ok(e_tag)
    }

    /// # Errors
    /// `NoSuchUpload`.
    pub(super) fn abort_upload(&self, bucket: &str, key: &str, id: &str) -> S3Result<()> {
        let (directory, _) = self.upload(bucket, key, id)?;
        remove_upload(&directory)
    }

    /// The stored parts with their numbers, in order.
    pub(super) fn parts(&self, bucket: &str, key: &str, id: &str) -> S3Result<Vec<(i32, Stored)>> {
        let (directory, _) = self.upload(bucket, key, id)?;
        let mut parts = Vec::new();
        for name in fs::read_dir(&directory).map_err(S3Error::internal_error)? {
            let name = name.map_err(S3Error::internal_error)?;
            if let Some(number) = name.file_name().to_str().and_then(|name| name.parse().ok()) {
                parts.push((number, Stored::open(&name.path()).map_err(S3Error::internal_error)?));
            }
        }
        parts.sort_by_key(|(number, _)| *number);
        Ok(parts)
    }

    /// The open uploads to keys that start with `prefix`, by key.
    pub(super) fn open_uploads(&self, bucket: &str, prefix: &str) -> S3Result<Vec<Upload>> {
        let mut uploads = Vec::new();
        for name in fs::read_dir(self.uploads()).map_err(S3Error::internal_error)? {
            match read_description(&name.map_err(S3Error::internal_error)?.path()) {
                Ok(upload) if upload.bucket == bucket && upload.key.starts_with(prefix) => uploads.push(upload),
                Ok(_) => {}
                Err(error) if is_absent(&error) => {}
                Err(error) => return Err(S3Error::internal_error(error)),
            }
        }
        uploads.sort_by(|a, b| (&a.key, &a.id).cmp(&(&b.key, &b.id)));
        Ok(uploads)
    }
}

fn named_parts(directory: &std::path::Path, parts: &[CompletedPart]) -> S3Result<Vec<Stored>> {
    if parts.is_empty() {
        return Err(s3_error!(InvalidPart, "You must specify at least one part"));
    }
    let mut stored: Vec<Stored> = Vec::with_capacity(parts.len());
    let mut last = 0;
    for part in parts {
        let number = part.part_number.unwrap_or_default();
        if number <= last {
            return Err(s3_error!(InvalidPartOrder));
        }
        last = number;
        let found = Stored::open(&directory.join(part_name(number))).map_err(|_| s3_error!(InvalidPart))?;
        if part.e_tag.as_ref().map(ETag::value) != Some(&found.meta.e_tag) {
            return Err(s3_error!(InvalidPart));
        }
        if stored.last().is_some_and(|previous| previous.length < PART_MIN) {
            return Err(s3_error!(EntityTooSmall));
        }
        stored.push(found);
    }
    Ok(stored)
}

fn part_name(number: i32) -> String {
    format!("{number:05}")
}

fn read_description(directory: &std::path::Path) -> io::Result<Upload> {
    Ok(serde_json::from_slice(&fs::read(directory.join(DESCRIPTION))?)?)
}

/// The description goes first: an upload that is half removed must not be found again after a restart.
fn remove_upload(directory: &std::path::Path) -> S3Result<()> {
    let gone = |result: io::Result<()>| match result {
        Err(error) if !is_absent(&error) => Err(S3Error::internal_error(error)),
        _ => Ok(()),
    };
    gone(fs::remove_file(directory.join(DESCRIPTION)))?;
    gone(fs::remove_dir_all(directory))
}
