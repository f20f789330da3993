//! Small files of state, replaced as a whole: a reader sees the old or the new content, whenever the process dies.

use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

pub(crate) fn write_json<T: Serialize>(path: &Path, content: &T) -> io::Result<()> {
    let bytes = serde_json::to_vec_pretty(content).map_err(io::Error::other)?;
    replace(path, &bytes, 0o644)
}

/// For keys and passwords: readable by the owner only.
pub(crate) fn write_secret(path: &Path, content: &[u8]) -> io::Result<()> {
    replace(path, content, 0o600)
}

fn replace(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let temporary = path.with_extension("partial");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(&temporary)?;
    file.write_all(bytes)?;
    file.sync_data()?;
    std::fs::rename(&temporary, path)
}

/// The content, or none when there is no such file.
pub(crate) fn read_json<T: DeserializeOwned>(path: &Path) -> io::Result<Option<T>> {
    match File::open(path) {
        Ok(file) => serde_json::from_reader(io::BufReader::new(file)).map(Some).map_err(io::Error::other),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
