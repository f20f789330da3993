//! An object as one file: its body, then what is known about it, so that both become visible by one rename.
//!
//! `body | meta as JSON | length of the JSON, u32 little-endian | magic`. A file that lacks its closing magic was torn by a
//! power cut (nothing is synced to disk here) and is refused instead of being served short.

use std::{
    collections::HashMap,
    fs::File,
    io::{self, Read, Seek, SeekFrom, Write},
    path::Path,
};

use serde::{Deserialize, Serialize};

const MAGIC: &[u8; 8] = b"leadobj1";
const FOOTER: u64 = MAGIC.len() as u64 + 4;

/// What is known about an object beside its body.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Meta {
    /// Opaque; equal only for equal bodies.
    pub e_tag: String,
    #[serde(flatten)]
    pub headers: Headers,
    /// The multipart upload that made this object, so that a repeated completion can be answered with success.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upload: Option<String>,
}

/// The headers that a client may give an object.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Headers {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_type: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_encoding: Option<String>,
    #[serde(default, skip_serializing_if = "HashMap::is_empty")]
    pub metadata: HashMap<String, String>,
}

/// A stored object, open. It stays whole and unchanged even if its key is overwritten or deleted meanwhile.
#[derive(Debug)]
pub(super) struct Stored {
    pub file: File,
    /// Of the body, in bytes.
    pub length: u64,
    pub modified: std::time::SystemTime,
    pub meta: Meta,
}

impl Stored {
    /// # Errors
    /// `NotFound`, also for a directory; `InvalidData` for a torn file.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let mut file = File::open(path)?;
        let stat = file.metadata()?;
        let torn = || io::Error::new(io::ErrorKind::InvalidData, "the object's file is torn");
        let footer_at = stat.len().checked_sub(FOOTER).ok_or_else(torn)?;

        file.seek(SeekFrom::Start(footer_at))?;
        let mut footer = [0u8; FOOTER as usize];
        file.read_exact(&mut footer)?;
        let (size, magic) = footer.split_at(4);
        if magic != MAGIC {
            return Err(torn());
        }
        let size = u64::from(u32::from_le_bytes(size.try_into().expect("four bytes were split off")));

        let length = footer_at.checked_sub(size).ok_or_else(torn)?;
        file.seek(SeekFrom::Start(length))?;
        let meta = serde_json::from_reader((&file).take(size)).map_err(|_| torn())?;
        file.seek(SeekFrom::Start(0))?;
        Ok(Self { file, length, modified: stat.modified()?, meta })
    }
}

/// Closes a file whose body has been written.
pub(super) fn seal(file: &mut File, meta: &Meta) -> io::Result<()> {
    let json = serde_json::to_vec(meta)?;
    let size = u32::try_from(json.len()).map_err(|_| io::Error::from(io::ErrorKind::FileTooLarge))?;
    file.write_all(&[json.as_slice(), &size.to_le_bytes(), MAGIC].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_reads_back_and_a_torn_one_is_refused() {
        let mut temp = tempfile::NamedTempFile::new().unwrap();
        let meta = Meta { e_tag: "abc".into(), upload: Some("u".into()), ..Meta::default() };
        temp.write_all(b"body").unwrap();
        seal(temp.as_file_mut(), &meta).unwrap();

        let mut stored = Stored::open(temp.path()).unwrap();
        let mut body = String::new();
        (&mut stored.file).take(stored.length).read_to_string(&mut body).unwrap();
        assert_eq!((body.as_str(), &stored.meta), ("body", &meta));

        let whole = temp.as_file().metadata().unwrap().len();
        for cut in 0..whole {
            temp.as_file().set_len(cut).unwrap();
            assert_eq!(Stored::open(temp.path()).unwrap_err().kind(), io::ErrorKind::InvalidData, "cut at {cut}");
            temp.as_file().set_len(0).unwrap();
            temp.rewind().unwrap();
            temp.write_all(b"body").unwrap();
            seal(temp.as_file_mut(), &meta).unwrap();
        }
    }
}
