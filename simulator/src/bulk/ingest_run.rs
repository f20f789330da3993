//! The run of an ingest job: rows in batches of 200, each with an outcome in one of the result files.

use super::csv_text::push_row;
use super::job::{Job, JobInfo, State, Work};
use super::{begin, finish};
use crate::app::App;
use crate::error::RecordError;
use crate::faults::{Event, FaultKind, Point};
use crate::http::commit;
use crate::ids::RecordId;
use crate::org::cells::from_text;
use crate::org::table::Table;
use crate::org::writes::{Action, Outcome, Target, Write, writable_field};
use csv::ByteRecord;
use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, Write as _};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

const BATCH: usize = 200;
const SET_NULL: &str = "#N/A";

pub(super) fn run(app: &App, job: &Job) {
    if !begin(job) {
        return;
    }
    let info = job.info();
    let started = Instant::now();
    let event = Event { object: Some(&info.object), id: Some(&job.id), path: "/jobs/ingest", ..Event::default() };
    let mut injected = None;
    for fault in app.faults.strike(Point::Job, &event) {
        match fault {
            FaultKind::SlowBulkJob { delay_ms } => super::linger(app, job, Duration::from_millis(delay_ms)),
            FaultKind::FailedBulkJob { message } => {
                injected = Some(message.unwrap_or_else(|| "InternalServerError : unknown".to_owned()))
            }
            _ => {}
        }
    }
    let ran = match injected {
        Some(message) => Err(io::Error::other(message)),
        None => ingest(app, job, &info),
    };
    if ran.is_err()
        && let Err(error) = keep_unprocessed(job, &info)
    {
        tracing::error!(%error, job = job.id, "cannot write the unprocessed records of a bulk job");
    }
    let elapsed = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    finish(app, job, |info| {
        info.processing_ms = elapsed;
        match ran {
            Ok(()) => info.state = State::JobComplete,
            Err(error) => {
                info.state = State::Failed;
                info.error_message = Some(error.to_string());
            }
        }
    });
}

fn ingest(app: &App, job: &Job, info: &JobInfo) -> io::Result<()> {
    let table = app.org.table(&info.object).ok_or_else(|| io::Error::other("the object is gone"))?;
    let mut reader = open(job, info)?;
    let header = header_of(&mut reader)?;
    check_header(table, info, &header)?;
    let mut files = Outcomes::open(job, info, &header)?;
    // A run that a stop interrupted goes on after the batches that it had written down.
    let mut rows = reader.into_byte_records().skip(info.processed as usize);
    loop {
        let batch: Vec<ByteRecord> = rows
            .by_ref()
            .take(BATCH)
            .collect::<Result<_, _>>()
            .map_err(|error| io::Error::other(format!("InvalidBatch : Failed to parse CSV: {error}")))?;
        if batch.is_empty() {
            return files.write_unprocessed(&[]);
        }
        if app.stop.is_cancelled() {
            return Ok(());
        }
        if job.is_aborted() {
            files.write_unprocessed(&batch)?;
            return files.write_unprocessed(&rows.collect::<Result<Vec<_>, _>>().map_err(io::Error::other)?);
        }
        let writes = batch.iter().map(|row| write_of(table, info, &header, row)).collect();
        let outcomes = commit(app, "/jobs/ingest", writes, false).map_err(|error| io::Error::other(error.message))?;
        let failed = outcomes.iter().filter(|outcome| outcome.is_err()).count() as u64;
        files.write(&batch, &outcomes)?;
        job.progress.fetch_add(batch.len() as u64, Ordering::Relaxed);
        job.change(|info| {
            info.failed += failed;
            Ok::<(), io::Error>(())
        })?;
    }
}

fn open(job: &Job, info: &JobInfo) -> io::Result<csv::Reader<BufReader<File>>> {
    let file = BufReader::with_capacity(1 << 16, File::open(job.file("upload"))?);
    Ok(csv::ReaderBuilder::new().delimiter(info.delimiter.byte()).from_reader(file))
}

fn header_of(reader: &mut csv::Reader<BufReader<File>>) -> io::Result<Vec<String>> {
    let header = reader.byte_headers().map_err(io::Error::other)?;
    let text = |name: &[u8]| String::from_utf8_lossy(name).trim_start_matches('\u{feff}').trim().to_owned();
    Ok(header.iter().map(text).collect())
}

fn check_header(table: &Table, info: &JobInfo, header: &[String]) -> io::Result<()> {
    for name in header {
        if table.def.field(name).is_none() {
            return Err(io::Error::other(format!("InvalidBatch : Field name not found : {name}")));
        }
    }
    let needs_id = matches!(info.operation(), "update" | "delete" | "hardDelete");
    if needs_id && !header.iter().any(|name| name.eq_ignore_ascii_case("Id")) {
        return Err(io::Error::other("InvalidBatch : Field name not found : Id"));
    }
    Ok(())
}

fn write_of(table: &Arc<Table>, info: &JobInfo, header: &[String], row: &ByteRecord) -> Result<Write, RecordError> {
    let Work::Ingest { operation, external_id_field } = &info.work else {
        return Err(RecordError::new("UNKNOWN_EXCEPTION", "not an ingest job"));
    };
    let cell = |wanted: &str| {
        let at = header.iter().position(|name| name.eq_ignore_ascii_case(wanted))?;
        row.get(at).map(|cell| String::from_utf8_lossy(cell).into_owned())
    };
    let by_id = || {
        let id = cell("Id").unwrap_or_default();
        let id = RecordId::parse(&id).filter(|id| id.prefix() == table.def.key_prefix);
        id.map(Target::Id)
            .ok_or_else(|| RecordError::new("MALFORMED_ID", format!("{} ID: id value of incorrect type", table.def.label)))
    };
    let (target, action) = match (operation.as_str(), external_id_field.as_deref()) {
        ("insert", _) => (Target::New, Action::Save),
        ("delete", _) => (by_id()?, Action::Delete),
        ("hardDelete", _) => (by_id()?, Action::Purge),
        ("upsert", Some("Id")) if cell("Id").is_none_or(|id| id.is_empty()) => (Target::New, Action::Save),
        ("upsert", Some(key)) if key != "Id" => {
            (Target::Key { field: key.to_owned(), value: cell(key).unwrap_or_default() }, Action::Save)
        }
        _ => (by_id()?, Action::Save),
    };
    let mut cells = std::collections::BTreeMap::new();
    if action == Action::Save {
        for (name, cell) in header.iter().zip(row) {
            let text = std::str::from_utf8(cell).map_err(|_| RecordError::on("INVALID_UTF8", "the value is not UTF-8", name))?;
            let skipped = name.eq_ignore_ascii_case("Id") || external_id_field.as_deref() == Some(name) || text.is_empty();
            if !skipped {
                let field = writable_field(&table.def, name)?;
                let value = if text == SET_NULL { String::new() } else { from_text(field, text)? };
                cells.insert(field.name.clone(), value);
            }
        }
    }
    Ok(Write { table: table.clone(), target, action, cells })
}

/// A job that failed as a whole leaves all rows that it had not come to as unprocessed.
fn keep_unprocessed(job: &Job, info: &JobInfo) -> io::Result<()> {
    let mut reader = open(job, info)?;
    let header = header_of(&mut reader)?;
    let mut files = Outcomes::open(job, info, &header)?;
    let done = job.info().processed as usize;
    let rest: Vec<ByteRecord> = reader.into_byte_records().skip(done).map_while(Result::ok).collect();
    files.write_unprocessed(&rest)
}

/// The three result files, each with its header.
struct Outcomes<'a> {
    info: &'a JobInfo,
    id_column: Option<usize>,
    successful: File,
    failed: File,
    unprocessed: File,
}

impl<'a> Outcomes<'a> {
    fn open(job: &Job, info: &'a JobInfo, header: &[String]) -> io::Result<Self> {
        let open = |extension: &str, own: &[&str]| -> io::Result<File> {
            let mut file = OpenOptions::new().create(true).append(true).open(job.file(extension))?;
            if file.metadata()?.len() == 0 {
                let names: Vec<&str> = own.iter().copied().chain(header.iter().map(String::as_str)).collect();
                let mut line = Vec::new();
                push_row(&mut line, &names, info.delimiter, info.line_ending);
                file.write_all(&line)?;
            }
            Ok(file)
        };
        Ok(Self {
            info,
            id_column: header.iter().position(|name| name.eq_ignore_ascii_case("Id")),
            successful: open("successful", &["sf__Id", "sf__Created"])?,
            failed: open("failed", &["sf__Id", "sf__Error"])?,
            unprocessed: open("unprocessed", &[])?,
        })
    }

    fn write(&mut self, batch: &[ByteRecord], outcomes: &[Outcome]) -> io::Result<()> {
        let (mut good, mut bad) = (Vec::new(), Vec::new());
        let id_of =
            |row: &ByteRecord| self.id_column.and_then(|at| row.get(at)).map(|id| String::from_utf8_lossy(id).into_owned());
        for (row, outcome) in batch.iter().zip(outcomes) {
            let (out, own) = match outcome {
                Ok(written) => (&mut good, [written.id.to_string(), written.created.to_string()]),
                Err(error) => (
                    &mut bad,
                    [id_of(row).unwrap_or_default(), format!("{}:{}:{}--", error.code, error.message, error.fields.join(" "))],
                ),
            };
            let cells: Vec<&[u8]> = own.iter().map(String::as_bytes).chain(row.iter()).collect();
            push_row(out, &cells, self.info.delimiter, self.info.line_ending);
        }
        self.successful.write_all(&good)?;
        self.failed.write_all(&bad)
    }

    fn write_unprocessed(&mut self, rows: &[ByteRecord]) -> io::Result<()> {
        let mut out = Vec::new();
        for row in rows {
            push_row(&mut out, &row.iter().collect::<Vec<_>>(), self.info.delimiter, self.info.line_ending);
        }
        self.unprocessed.write_all(&out)
    }
}
