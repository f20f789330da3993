//! Where a key lives on disk.
//!
//! A key is a text, a path is a tree. The mapping is injective, so that `a` and `a/b`, `a//b` and `a/b`, or `x/../y` and `y`
//! stay different objects, and nothing leaves its bucket: every segment is percent-encoded, and directories, but no object,
//! end in `+`, which an encoded segment cannot contain.

use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
};

/// The longest file name that the usual file systems take.
const NAME_MAX: usize = 255;
const DIRECTORY_MARK: char = '+';
const EMPTY_SEGMENT: &str = "%";

/// The file of `key` below `bucket`; `None` when a segment is too long for a file name.
pub(super) fn object_path(bucket: &Path, key: &str) -> Option<PathBuf> {
    let mut path = bucket.to_owned();
    let mut segments = key.split('/').peekable();
    while let Some(segment) = segments.next() {
        let mut name = encode(segment);
        if segments.peek().is_some() {
            name.push(DIRECTORY_MARK);
        }
        if name.len() > NAME_MAX {
            return None;
        }
        path.push(name);
    }
    Some(path)
}

/// What a directory entry stands for in a key.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Entry {
    Object(String),
    /// With its closing slash.
    Directory(String),
}

impl Entry {
    /// `None` for a name that this module did not write.
    pub(super) fn read(name: &OsStr) -> Option<Self> {
        let name = name.to_str()?;
        match name.strip_suffix(DIRECTORY_MARK) {
            Some(encoded) => decode(encoded).map(|segment| Self::Directory(format!("{segment}/"))),
            None => decode(name).map(Self::Object),
        }
    }

    /// Orders siblings as their keys are ordered.
    pub(super) fn text(&self) -> &str {
        match self {
            Self::Object(text) | Self::Directory(text) => text,
        }
    }
}

fn encode(segment: &str) -> String {
    match segment {
        "" => EMPTY_SEGMENT.to_owned(),
        "." => "%2E".to_owned(),
        ".." => "%2E%2E".to_owned(),
        _ => segment.bytes().fold(String::with_capacity(segment.len()), |mut out, byte| {
            if byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-') {
                out.push(char::from(byte));
            } else {
                out.push_str(&format!("%{byte:02X}"));
            }
            out
        }),
    }
}

fn decode(name: &str) -> Option<String> {
    if name == EMPTY_SEGMENT {
        return Some(String::new());
    }
    let mut bytes = Vec::with_capacity(name.len());
    let mut rest = name.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        if byte == b'%' {
            let mut value = [0];
            hex::decode_to_slice(tail.get(..2)?, &mut value).ok()?;
            bytes.push(value[0]);
            rest = &tail[2..];
        } else {
            bytes.push(byte);
            rest = tail;
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    /// The key that a path stands for, by reading its names back.
    fn key_of(path: &Path) -> String {
        path.iter().map(|name| Entry::read(name).unwrap().text().to_owned()).collect()
    }

    #[test]
    fn keys_that_look_alike_stay_apart_and_inside_their_bucket() {
        let keys = ["a", "a/", "a/b", "a//b", "/a", "a+", "a%", "a/../b", "..", ".", "é/ü", "a b", "a%2Fb"];
        let paths: HashSet<_> = keys.iter().map(|key| object_path(Path::new(""), key).unwrap()).collect();
        assert_eq!(paths.len(), keys.len());
        for path in paths {
            assert!(path.components().all(|c| matches!(c, std::path::Component::Normal(_))), "{path:?}");
        }
        assert_eq!(object_path(Path::new(""), &"x".repeat(256)), None);
    }

    proptest! {
        #[test]
        fn every_key_reads_back_from_its_path(key in "[a-zé%+./ \\-]{1,40}") {
            let path = object_path(Path::new(""), &key).unwrap();
            prop_assert_eq!(key_of(&path), key);
        }
    }
}
