//! Result pages of a query job, streamed from its file with flat memory.

use super::csv_text::push_row;
use super::job::{Job, JobInfo, State};
use super::page_faults;
use crate::app::App;
use crate::error::ApiError;
use crate::faults::{Event, FaultKind, Point};
use crate::http::request::Call;
use axum::Json;
use axum::body::{Body, Bytes};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use flate2::Compression;
use flate2::write::GzEncoder;
use futures::StreamExt;
use serde_json::json;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

const CHUNK: usize = 128 << 10;
/// Chunks that may wait for a slow reader.
const AHEAD: usize = 4;
const PAGES_AT_ONCE: u64 = 5;

/// Rows `first..end` of a result.
#[derive(Clone, Copy)]
struct Span {
    first: u64,
    end: u64,
}

pub(super) fn page(app: &App, call: &Call, job: &Job) -> Result<Response, ApiError> {
    let info = finished(call, job)?;
    let first = match call.parameter("locator").filter(|locator| !locator.is_empty()) {
        Some(locator) => row_of(locator, &info).ok_or_else(bad_locator)?,
        None => 0,
    };
    let size = match call.parameter("maxRecords") {
        Some(text) => text.parse().ok().filter(|size| *size > 0).ok_or_else(bad_size)?,
        None => app.config.bulk_page_rows,
    };
    let span = Span { first, end: first.saturating_add(size).min(info.processed) };
    let next = if span.end < info.processed { locator(&info, span.end) } else { "null".to_owned() };
    let event = Event { path: &call.target, method: call.method.as_str(), object: Some(&info.object), id: Some(&job.id) };
    let faults = app.faults.strike(Point::Page, &event);
    let accepts = call.header("accept-encoding").unwrap_or_default();
    let gzip = accepts.split(',').any(|coding| coding.trim().split(';').next() == Some("gzip"));
    let body = stream(app, job, &info, span, gzip, faults).map_err(|error| ApiError::unexpected("reading a result", &error))?;
    let mut answer = Response::builder()
        .status(StatusCode::OK)
        .header(header::CONTENT_TYPE, "text/csv; charset=UTF-8")
        .header("Sforce-Locator", next)
        .header("Sforce-NumberOfRecords", span.end - span.first);
    if gzip {
        answer = answer.header(header::CONTENT_ENCODING, "gzip");
    }
    answer.body(body).map_err(|error| ApiError::unexpected("answering with a page", &error))
}

/// `resultPages`: where up to five pages are, to be fetched side by side.
pub(super) fn pages(app: &App, call: &Call, job: &Job) -> Result<Response, ApiError> {
    let info = finished(call, job)?;
    let first = match call.parameter("locator") {
        Some(locator) => row_of(locator, &info).ok_or_else(bad_locator)?,
        None => 0,
    };
    let base = format!("/services/data/v{}/jobs/query/{}", info.api_version, info.id);
    let mut urls = Vec::new();
    let mut at = first;
    while (urls.len() as u64) < PAGES_AT_ONCE && (at < info.processed || urls.is_empty()) {
        urls.push(json!({ "resultUrl": format!("{base}/results?locator={}", locator(&info, at)) }));
        at = at.saturating_add(app.config.bulk_page_rows);
    }
    let done = at >= info.processed;
    let mut answer = json!({ "resultPages": urls, "done": done });
    if !done {
        answer["nextRecordsUrl"] = json!(format!("{base}/resultpages?locator={}", locator(&info, at)));
    }
    Ok(Json(answer).into_response())
}

fn finished(call: &Call, job: &Job) -> Result<JobInfo, ApiError> {
    let info = job.info();
    if call.version() != info.api_version {
        let message = format!("API version {} does not match the version of the job, {}", call.version(), info.api_version);
        return Err(ApiError::new(StatusCode::CONFLICT, "API_VERSION_MISMATCH", message));
    }
    if info.state == State::JobComplete {
        return Ok(info);
    }
    let message = format!("Job is in state {:?}; results are available in state JobComplete only", info.state);
    Err(ApiError::bad_request("INVALIDJOBSTATE", message))
}

fn bad_locator() -> ApiError {
    ApiError::bad_request("INVALID_QUERY_LOCATOR", "invalid query locator")
}

fn bad_size() -> ApiError {
    ApiError::bad_request("INVALIDREQUEST", "maxRecords must be a positive number")
}

/// Opaque to clients; of the form that was seen in the wild, `0:{18-character id}:{number}`.
fn locator(info: &JobInfo, row: u64) -> String {
    URL_SAFE_NO_PAD.encode(format!("0:{}:{row}", info.id))
}

fn row_of(locator: &str, info: &JobInfo) -> Option<u64> {
    let text = String::from_utf8(URL_SAFE_NO_PAD.decode(locator.trim_end_matches('=')).ok()?).ok()?;
    let row: u64 = text.strip_prefix("0:")?.strip_prefix(info.id.as_str())?.strip_prefix(':')?.parse().ok()?;
    (row <= info.processed).then_some(row)
}

fn stream(app: &App, job: &Job, info: &JobInfo, span: Span, gzip: bool, faults: Vec<FaultKind>) -> io::Result<Body> {
    let index = File::open(job.file("index"))?;
    let offset = |row: u64| -> io::Result<u64> {
        let mut bytes = [0; 8];
        index.read_exact_at(&mut bytes, row * 8)?;
        Ok(u64::from_le_bytes(bytes))
    };
    let (from, to) = (offset(span.first)?, offset(span.end)?);
    let mut rows = File::open(job.file("csv"))?;
    rows.seek(SeekFrom::Start(from))?;
    let mut head = Vec::new();
    push_row(&mut head, &info.header, info.delimiter, info.line_ending);
    let plain = io::Cursor::new(head).chain(rows.take(to - from));
    let damage = page_faults::Damage::of(&faults, to - from);
    let source: Box<dyn Read + Send> = match damage.content {
        Some(content) => Box::new(io::Cursor::new(page_faults::damaged(plain, info, &content, &app.org)?)),
        None => Box::new(plain),
    };
    let (sender, receiver) = mpsc::channel(AHEAD);
    let cut_after = damage.cut_after;
    tokio::task::spawn_blocking(move || produce(source, gzip, cut_after, sender));
    let chunks = ReceiverStream::new(receiver);
    if cut_after.is_none() {
        return Ok(Body::from_stream(chunks));
    }
    // An error in the body makes the server drop the connection. It first gets a turn to send what it has, or the client would
    // see no page at all instead of half of one.
    let cut = futures::stream::once(async {
        tokio::task::yield_now().await;
        Err(io::Error::new(io::ErrorKind::ConnectionReset, "injected: connection dropped in mid-page"))
    });
    Ok(Body::from_stream(chunks.chain(cut)))
}

/// Copies the page to the client in chunks, waiting for it; a client that goes away ends it.
fn produce(source: Box<dyn Read + Send>, gzip: bool, cut_after: Option<u64>, sender: mpsc::Sender<io::Result<Bytes>>) {
    let limited = source.take(cut_after.unwrap_or(u64::MAX));
    let sink = ChunkSink { sender: sender.clone(), buffer: Vec::with_capacity(CHUNK) };
    let copied = if gzip { copy_gzipped(limited, sink, cut_after.is_some()) } else { copy_plain(limited, sink) };
    if let Err(error) = copied {
        // If the client is gone, nobody is left to tell.
        let _ = sender.blocking_send(Err(error));
    }
}

fn copy_plain(mut source: impl Read, mut sink: ChunkSink) -> io::Result<()> {
    io::copy(&mut source, &mut sink)?;
    sink.flush()
}

/// A cut stream is sent without the trailer that would make it look whole.
fn copy_gzipped(mut source: impl Read, sink: ChunkSink, cut: bool) -> io::Result<()> {
    let mut encoder = GzEncoder::new(sink, Compression::fast());
    let mut buffer = vec![0; CHUNK];
    loop {
        let read = source.read(&mut buffer)?;
        if read == 0 {
            break;
        }
        encoder.write_all(&buffer[..read])?;
    }
    if cut {
        return encoder.flush();
    }
    encoder.finish()?.flush()
}

struct ChunkSink {
    sender: mpsc::Sender<io::Result<Bytes>>,
    buffer: Vec<u8>,
}

impl Write for ChunkSink {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.buffer.extend_from_slice(data);
        if self.buffer.len() >= CHUNK {
            self.flush()?;
        }
        Ok(data.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let chunk = Bytes::from(std::mem::replace(&mut self.buffer, Vec::with_capacity(CHUNK)));
        let gone = |_| io::Error::new(io::ErrorKind::BrokenPipe, "the client is gone");
        self.sender.blocking_send(Ok(chunk)).map_err(gone)
    }
}
