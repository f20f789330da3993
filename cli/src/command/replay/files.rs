//! Histories that lie in files.

use std::{
    io,
    path::{Path, PathBuf},
};

use leadline_worker::replay::{RecordedRun, RunName};

use super::{Found, History};
use crate::error::{CliError, Result};

/// The files themselves, and every .json file below the directories, in a stable order.
///
/// # Errors
/// When a path is not there, or a directory holds no history: a check of nothing must not pass.
pub fn below(paths: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for path in paths {
        let before = files.len();
        collect(path, &mut files).map_err(|error| unreadable(path, &error))?;
        files[before..].sort();
        if files.len() == before {
            return Err(CliError::environment(
                format!("{} holds no .json file", path.display()),
                "name files as `temporal workflow show --output json` writes them, or directories of such files",
            ));
        }
    }
    Ok(files)
}

fn collect(path: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    if !std::fs::metadata(path)?.is_dir() {
        files.push(path.to_owned());
        return Ok(());
    }
    for entry in std::fs::read_dir(path)? {
        let inner = entry?.path();
        if inner.is_dir() || inner.extension().is_some_and(|extension| extension == "json") {
            collect(&inner, files)?;
        }
    }
    Ok(())
}

/// Reads one; what is no history is found to be invalid.
///
/// # Errors
/// When the file cannot be read.
pub fn read(file: PathBuf) -> Result<Found> {
    let text = std::fs::read(&file).map_err(|error| unreadable(&file, &error))?;
    let (run, history) = match RecordedRun::from_json(&text) {
        Ok(run) => (run.name.clone(), History::Whole(Box::new(run))),
        Err(invalid) => (RunName::default(), History::Invalid(invalid)),
    };
    Ok(Found { run, file: Some(file), history })
}

fn unreadable(path: &Path, error: &io::Error) -> CliError {
    CliError::environment(format!("cannot read {}: {error}", path.display()), "check the path")
}
