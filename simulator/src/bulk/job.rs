//! A Bulk 2.0 job: what it was asked, where it is, and its file on disk.

use crate::state;
use serde::{Deserialize, Serialize};
use serde_json::{Value as JsonValue, json};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum State {
    Open,
    UploadComplete,
    InProgress,
    JobComplete,
    Failed,
    Aborted,
}

impl State {
    pub fn is_terminal(self) -> bool {
        matches!(self, Self::JobComplete | Self::Failed | Self::Aborted)
    }
}

/// The vendor's delimiter names.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub(crate) enum Delimiter {
    Backquote,
    Caret,
    #[default]
    Comma,
    Pipe,
    Semicolon,
    Tab,
}

impl Delimiter {
    pub fn byte(self) -> u8 {
        match self {
            Self::Backquote => b'`',
            Self::Caret => b'^',
            Self::Comma => b',',
            Self::Pipe => b'|',
            Self::Semicolon => b';',
            Self::Tab => b'\t',
        }
    }
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub(crate) enum LineEnding {
    #[default]
    Lf,
    Crlf,
}

impl LineEnding {
    pub fn bytes(self) -> &'static [u8] {
        match self {
            Self::Lf => b"\n",
            Self::Crlf => b"\r\n",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Work {
    Query {
        soql: String,
        include_deleted: bool,
        /// ORDER BY and LIMIT switch it off.
        #[serde(default)]
        pk_chunking: bool,
    },
    Ingest {
        operation: String,
        external_id_field: Option<String>,
    },
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct JobInfo {
    pub id: String,
    pub work: Work,
    pub object: String,
    pub created_by: String,
    /// REST form, `2018-12-10T17:50:19.000+0000`.
    pub created: String,
    pub modified: String,
    pub state: State,
    /// `60.0`
    pub api_version: String,
    pub delimiter: Delimiter,
    pub line_ending: LineEnding,
    pub error_message: Option<String>,
    pub processing_ms: u64,
    pub processed: u64,
    pub failed: u64,
    /// Column names of the result, set when the job completes.
    pub header: Vec<String>,
    pub result_bytes: u64,
}

impl JobInfo {
    /// The short form is the answer to creation, the long one that to a look at the job.
    pub fn to_json(&self, long: bool) -> JsonValue {
        let mut answer = json!({
            "id": self.id,
            "operation": self.operation(),
            "object": self.object,
            "createdById": self.created_by,
            "createdDate": self.created,
            "systemModstamp": self.modified,
            "state": self.state,
            "concurrencyMode": "Parallel",
            "contentType": "CSV",
            "apiVersion": self.api_version.parse::<f64>().unwrap_or_default(),
            "lineEnding": self.line_ending,
            "columnDelimiter": self.delimiter,
        });
        if let Work::Ingest { external_id_field, .. } = &self.work {
            answer["contentUrl"] = json!(format!("services/data/v{}/jobs/ingest/{}/batches", self.api_version, self.id));
            answer["externalIdFieldName"] = json!(external_id_field);
            if external_id_field.is_none() {
                answer.as_object_mut().expect("it was made as one").remove("externalIdFieldName");
            }
        }
        if long {
            self.add_progress(&mut answer);
        }
        answer
    }

    fn add_progress(&self, answer: &mut JsonValue) {
        answer["numberRecordsProcessed"] = json!(self.processed);
        answer["retries"] = json!(0);
        answer["totalProcessingTime"] = json!(self.processing_ms);
        match self.work {
            Work::Query { pk_chunking, .. } => {
                answer["jobType"] = json!("V2Query");
                answer["isPkChunkingSupported"] = json!(pk_chunking);
            }
            Work::Ingest { .. } => {
                answer["jobType"] = json!("V2Ingest");
                answer["numberRecordsFailed"] = json!(self.failed);
                answer["apiActiveProcessingTime"] = json!(self.processing_ms);
                answer["apexProcessingTime"] = json!(0);
            }
        }
        if let Some(message) = &self.error_message {
            answer["errorMessage"] = json!(message);
        }
    }

    pub fn operation(&self) -> &str {
        match &self.work {
            Work::Query { include_deleted: true, .. } => "queryAll",
            Work::Query { .. } => "query",
            Work::Ingest { operation, .. } => operation,
        }
    }

    pub fn is_query(&self) -> bool {
        matches!(self.work, Work::Query { .. })
    }
}

/// A job as the running server knows it.
pub(crate) struct Job {
    pub id: String,
    folder: PathBuf,
    info: Mutex<JobInfo>,
    /// Records done by the run that is under way; the file has it only when the state moves.
    pub progress: AtomicU64,
    pub abort: AtomicBool,
    /// Set under the lock of `info`.
    removed: AtomicBool,
}

impl Job {
    pub fn new(folder: &Path, info: JobInfo) -> Self {
        let progress = AtomicU64::new(info.processed);
        let abort = AtomicBool::new(info.state == State::Aborted);
        Self {
            id: info.id.clone(),
            folder: folder.to_owned(),
            info: Mutex::new(info),
            progress,
            abort,
            removed: AtomicBool::new(false),
        }
    }

    pub fn info(&self) -> JobInfo {
        let mut info = self.info.lock().expect("no holder panics").clone();
        info.processed = self.progress.load(Ordering::Relaxed);
        info
    }

    /// Changes the job and writes it down. `change` decides; when it gives an error nothing is written. A removed job does not
    /// change any more.
    pub fn change<E: From<io::Error>>(&self, change: impl FnOnce(&mut JobInfo) -> Result<(), E>) -> Result<JobInfo, E> {
        let mut info = self.info.lock().expect("no holder panics");
        if self.is_removed() {
            return Err(io::Error::new(io::ErrorKind::NotFound, "the job was deleted").into());
        }
        let mut next = info.clone();
        next.processed = self.progress.load(Ordering::Relaxed);
        change(&mut next)?;
        next.modified = super::now();
        state::write_json(&self.file("json"), &next)?;
        *info = next.clone();
        Ok(next)
    }

    pub fn is_aborted(&self) -> bool {
        self.abort.load(Ordering::Relaxed)
    }

    /// A file of this job: `json`, `csv` and `index` of a query, `upload`, `successful`, `failed` and `unprocessed` of an ingest.
    pub fn file(&self, extension: &str) -> PathBuf {
        self.folder.join(format!("{}.{extension}", self.id))
    }

    pub fn is_removed(&self) -> bool {
        self.removed.load(Ordering::Relaxed)
    }

    /// Removes the job for good: whoever still works on it writes nothing more down.
    pub fn remove(&self) -> io::Result<()> {
        let _info = self.info.lock().expect("no holder panics");
        self.removed.store(true, Ordering::Relaxed);
        self.remove_files()
    }

    pub fn remove_files(&self) -> io::Result<()> {
        for extension in ["json", "csv", "index", "upload", "uploading", "successful", "failed", "unprocessed"] {
            match std::fs::remove_file(self.file(extension)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }
}
