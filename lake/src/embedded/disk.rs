//! Buckets on disk, and the one short critical section in which objects appear and disappear.
//!
//! Bodies are received into temporary files outside of it. [`Disk::publish`] then checks the condition and renames under one
//! lock, so that of any number of concurrent conditional puts exactly one sees the key as it expects it. The section is a
//! few system calls long, so one lock for all keys serves as well as one for each, and it also keeps the pruning of empty
//! directories from racing with their creation. A lock file keeps a second server off the same directory.

use std::{
    fs::{self, File, TryLockError},
    io,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

use s3s::{S3Error, S3Result, dto::ETagCondition, s3_error};
use tempfile::{NamedTempFile, TempPath};

use super::{
    layout,
    object::{Meta, Stored},
};

#[derive(Debug)]
pub(super) struct Disk {
    root: PathBuf,
    commit: Mutex<()>,
    /// Held for the server's life.
    _lock: File,
}

/// What a request demands of the object that is there.
#[derive(Debug, Clone, Default)]
pub(super) struct Condition {
    pub if_match: Option<ETagCondition>,
    pub if_none_match: Option<ETagCondition>,
}

impl Condition {
    fn check(&self, current: Option<&Meta>) -> S3Result<()> {
        let matches = |condition: &ETagCondition| match (condition, current) {
            (_, None) => false,
            (ETagCondition::Any, Some(_)) => true,
            (ETagCondition::ETag(tag), Some(meta)) => tag.value() == meta.e_tag,
        };
        if self.if_match.as_ref().is_some_and(|c| !matches(c)) || self.if_none_match.as_ref().is_some_and(matches) {
            return Err(s3_error!(PreconditionFailed, "At least one of the pre-conditions you specified did not hold"));
        }
        Ok(())
    }
}

impl Disk {
    /// Opens or creates the store below `root` and drops what an earlier process left half-received.
    ///
    /// # Errors
    /// `WouldBlock` when another server holds the directory.
    pub(super) fn open(root: &Path) -> io::Result<Self> {
        fs::create_dir_all(root)?;
        let lock = File::create(root.join("lock"))?;
        lock.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => io::Error::new(io::ErrorKind::WouldBlock, "another server uses this directory"),
            TryLockError::Error(error) => error,
        })?;
        let disk = Self { root: root.canonicalize()?, commit: Mutex::new(()), _lock: lock };
        fs::create_dir_all(disk.root.join("buckets"))?;
        fs::create_dir_all(disk.uploads())?;
        match fs::remove_dir_all(disk.incoming()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => fs::create_dir_all(disk.incoming())?,
        }
        Ok(disk)
    }

    fn incoming(&self) -> PathBuf {
        self.root.join("incoming")
    }

    pub(super) fn uploads(&self) -> PathBuf {
        self.root.join("uploads")
    }

    pub(super) fn bucket(&self, bucket: &str) -> PathBuf {
        self.root.join("buckets").join(bucket)
    }

    /// # Errors
    /// `NoSuchBucket`.
    pub(super) fn existing_bucket(&self, bucket: &str) -> S3Result<PathBuf> {
        let path = self.bucket(bucket);
        if path.is_dir() { Ok(path) } else { Err(s3_error!(NoSuchBucket)) }
    }

    fn object(&self, bucket: &str, key: &str) -> S3Result<PathBuf> {
        layout::object_path(&self.existing_bucket(bucket)?, key).ok_or_else(|| s3_error!(KeyTooLongError))
    }

    /// A file for a body on its way in; it goes away with its handle unless it is published.
    pub(super) fn temporary(&self) -> io::Result<NamedTempFile> {
        NamedTempFile::new_in(self.incoming())
    }

    pub(super) fn commit_lock(&self) -> MutexGuard<'_, ()> {
        // The lock guards files, not memory, and a rename is all or nothing: a poisoned lock is as good as any.
        self.commit.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// # Errors
    /// `NoSuchBucket`, `NoSuchKey`.
    pub(super) fn get(&self, bucket: &str, key: &str) -> S3Result<Stored> {
        open_object(&self.object(bucket, key)?)?.ok_or_else(|| s3_error!(NoSuchKey))
    }

    /// Makes a sealed file the object at `key` if the condition holds at that instant. A multipart upload that has made the
    /// object already succeeds again, whatever the condition.
    ///
    /// # Errors
    /// `PreconditionFailed`, `NoSuchBucket`, `KeyTooLongError`.
    pub(super) fn publish(&self, file: TempPath, meta: &Meta, bucket: &str, key: &str, condition: &Condition) -> S3Result<()> {
        let _committing = self.commit_lock();
        let path = self.object(bucket, key)?;
        let current = open_object(&path)?.map(|stored| stored.meta);
        if meta.upload.is_some() && current.as_ref().is_some_and(|c| c.upload == meta.upload) {
            return Ok(());
        }
        condition.check(current.as_ref())?;
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(S3Error::internal_error)?;
        }
        file.persist(&path).map_err(|error| S3Error::internal_error(error.error))
    }

    /// Removes the object if it is there and the condition holds, and the directories that this leaves empty.
    ///
    /// # Errors
    /// `PreconditionFailed`, `NoSuchBucket`.
    pub(super) fn delete(&self, bucket: &str, key: &str, condition: &Condition) -> S3Result<()> {
        let _committing = self.commit_lock();
        let root = self.existing_bucket(bucket)?;
        let path = self.object(bucket, key)?;
        if condition.if_match.is_some() {
            condition.check(open_object(&path)?.map(|stored| stored.meta).as_ref())?;
        }
        match fs::remove_file(&path) {
            Ok(()) => {}
            Err(error) if is_absent(&error) => return Ok(()),
            Err(error) => return Err(S3Error::internal_error(error)),
        }
        for parent in path.ancestors().skip(1).take_while(|parent| *parent != root) {
            if fs::remove_dir(parent).is_err() {
                break;
            }
        }
        Ok(())
    }
}

/// Absence as an ordinary answer: no file, or a key below a segment that is no directory.
fn open_object(path: &Path) -> S3Result<Option<Stored>> {
    match Stored::open(path) {
        Ok(stored) => Ok(Some(stored)),
        Err(error) if is_absent(&error) => Ok(None),
        Err(error) => Err(S3Error::internal_error(error)),
    }
}

pub(super) fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}
