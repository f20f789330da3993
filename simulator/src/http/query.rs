//! `/query` and `/queryAll`: the first page by SOQL, the next ones by cursor.
//!
//! A cursor file holds the query and the row numbers of its answer, so paging is repeatable and survives a restart; the values are
//! read when a page is asked for. Cursors live two days, as the vendor's do.

use super::records::attributes;
use super::request::Call;
use super::rest::Answer;
use crate::app::App;
use crate::auth::connected_app::random_text;
use crate::error::{ApiError, SimulatorError};
use crate::org::row::RowRef;
use crate::soql::ast::Query;
use crate::soql::column::{Column, Parents};
use crate::soql::plan::Plan;
use crate::soql::{aggregate, parser};
use axum::Json;
use axum::response::IntoResponse;
use serde_json::{Map, Value as JsonValue, json};
use std::collections::HashSet;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

const LIFETIME: Duration = Duration::from_secs(2 * 86_400);
const CURSOR_LENGTH: usize = 18;

pub(crate) struct Cursors {
    folder: PathBuf,
}

impl Cursors {
    /// Opens the folder of cursors and drops those past their life.
    pub fn open(state_dir: &Path) -> Result<Self, SimulatorError> {
        let folder = state_dir.join("cursors");
        let sweep = || -> io::Result<()> {
            std::fs::create_dir_all(&folder)?;
            for entry in std::fs::read_dir(&folder)? {
                let entry = entry?;
                let modified = entry.metadata()?.modified()?;
                if SystemTime::now().duration_since(modified).is_ok_and(|age| age > LIFETIME) {
                    std::fs::remove_file(entry.path())?;
                }
            }
            Ok(())
        };
        sweep().map_err(SimulatorError::file("opening", &folder))?;
        Ok(Self { folder })
    }

    /// Header: whether deleted rows count, length of the query, the query; then row numbers, `u64` little endian.
    fn keep(&self, soql: &str, include_deleted: bool, rows: &[u64]) -> io::Result<String> {
        let name = format!("0r8{}", random_text(CURSOR_LENGTH - 3));
        let mut file = io::BufWriter::new(std::fs::File::create(self.folder.join(&name))?);
        file.write_all(&[u8::from(include_deleted)])?;
        file.write_all(&u32::try_from(soql.len()).map_err(io::Error::other)?.to_le_bytes())?;
        file.write_all(soql.as_bytes())?;
        for row in rows {
            file.write_all(&row.to_le_bytes())?;
        }
        file.flush()?;
        Ok(name)
    }

    /// The query, whether deleted rows count, all rows' count, and the rows of one page.
    fn page(&self, name: &str, first: u64, size: usize) -> io::Result<Kept> {
        let mut file = std::fs::File::open(self.folder.join(name))?;
        let mut head = [0; 5];
        file.read_exact(&mut head)?;
        let length = u64::from(u32::from_le_bytes([head[1], head[2], head[3], head[4]]));
        let mut soql = String::new();
        (&mut file).take(length).read_to_string(&mut soql)?;
        let start = 5 + length;
        let total = (file.metadata()?.len() - start) / 8;
        file.seek(SeekFrom::Start(start + first.min(total) * 8))?;
        let mut bytes = Vec::new();
        file.take(size as u64 * 8).read_to_end(&mut bytes)?;
        let rows = bytes.as_chunks::<8>().0.iter().map(|chunk| u64::from_le_bytes(*chunk)).collect();
        Ok(Kept { soql, include_deleted: head[0] != 0, total, rows })
    }
}

struct Kept {
    soql: String,
    include_deleted: bool,
    total: u64,
    rows: Vec<u64>,
}

pub(super) fn first_page(app: &App, call: &Call, include_deleted: bool) -> Answer {
    let Some(soql) = call.parameter("q") else {
        return Err(ApiError::bad_request("MALFORMED_QUERY", "SOQL statements cannot be empty or null"));
    };
    let query = parser::parse(soql)?;
    let failed = |error: io::Error| ApiError::unexpected("running a query", &error);
    if query.is_bare_count() {
        let plan = Plan::bind(&app.org, soql, &query, include_deleted)?;
        let total = aggregate::count(&plan).map_err(failed)?;
        return Ok(Json(json!({ "totalSize": total, "done": true, "records": [] })).into_response());
    }
    if query.is_aggregate() {
        let records = aggregate::records(&app.org, soql, &query, include_deleted)?;
        return Ok(Json(json!({ "totalSize": records.len(), "done": true, "records": records })).into_response());
    }
    let plan = Plan::bind(&app.org, soql, &query, include_deleted)?;
    let rows = plan.row_numbers().map_err(failed)?;
    let size = page_size(app, call);
    let records = records(&plan, &rows[..rows.len().min(size)], call.version()).map_err(failed)?;
    let mut answer = json!({ "totalSize": rows.len(), "done": rows.len() <= size });
    if rows.len() > size {
        let cursor = app.cursors.keep(soql, include_deleted, &rows).map_err(failed)?;
        answer["nextRecordsUrl"] = json!(next_url(call, &cursor, size as u64));
    }
    answer["records"] = JsonValue::Array(records);
    Ok(Json(answer).into_response())
}

pub(super) fn next_page(app: &App, call: &Call, cursor: &str) -> Answer {
    let invalid = || ApiError::bad_request("INVALID_QUERY_LOCATOR", "invalid query locator");
    let (name, first) = cursor.split_once('-').ok_or_else(invalid)?;
    let first: u64 = first.parse().map_err(|_| invalid())?;
    if name.len() != CURSOR_LENGTH || !name.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return Err(invalid());
    }
    let size = page_size(app, call);
    let kept = app.cursors.page(name, first, size).map_err(|_| invalid())?;
    let query: Query = parser::parse(&kept.soql)?;
    let plan = Plan::bind(&app.org, &kept.soql, &query, kept.include_deleted)?;
    let records = records(&plan, &kept.rows, call.version()).map_err(|error| ApiError::unexpected("running a query", &error))?;
    let next = first + kept.rows.len() as u64;
    let mut answer = json!({ "totalSize": kept.total, "done": next >= kept.total });
    if next < kept.total {
        answer["nextRecordsUrl"] = json!(next_url(call, name, next));
    }
    answer["records"] = JsonValue::Array(records);
    Ok(Json(answer).into_response())
}

fn next_url(call: &Call, cursor: &str, first: u64) -> String {
    format!("/services/data/v{}/query/{cursor}-{first}", call.version())
}

/// `Sforce-Query-Options: batchSize=500`, within the vendor's 200 to 2,000.
fn page_size(app: &App, call: &Call) -> usize {
    let asked = call
        .header("sforce-query-options")
        .and_then(|value| value.split([',', ';']).find_map(|part| part.trim().strip_prefix("batchSize=")));
    asked.and_then(|size| size.trim().parse().ok()).map_or(app.config.rest_page_rows, |size: usize| size.clamp(200, 2_000))
}

fn records(plan: &Plan, rows: &[u64], version: &str) -> io::Result<Vec<JsonValue>> {
    let snapshot = plan.table.snapshot();
    let mut parents = Parents::default();
    let mut records = Vec::with_capacity(rows.len());
    for row in rows {
        if let Some(content) = snapshot.get(*row)? {
            records.push(record(plan, content.as_ref(), &mut parents, version));
        }
    }
    if !plan.children.is_empty() {
        add_children(plan, rows, &mut records, version)?;
    }
    Ok(records)
}

fn record(plan: &Plan, row: RowRef<'_>, parents: &mut Parents, version: &str) -> JsonValue {
    let mut fields = Map::new();
    fields.insert("attributes".to_owned(), attributes(&plan.table, row, version));
    for column in &plan.columns {
        place(&mut fields, column, 0, row, parents, version);
    }
    JsonValue::Object(fields)
}

/// Puts a column's value where its path says: `Owner.Name` goes into the object `Owner`, which is null when there is no owner.
fn place(
    fields: &mut Map<String, JsonValue>,
    column: &Column,
    depth: usize,
    row: RowRef<'_>,
    parents: &mut Parents,
    version: &str,
) {
    let Some(hop) = column.hops.get(depth) else {
        fields.insert(column.field.name.clone(), column.to_json(row, parents));
        return;
    };
    let parent = column.parent(row, parents, depth + 1);
    let entry = fields.entry(hop.relationship.clone()).or_insert_with(|| match &parent {
        Some((table, parent)) => json!({ "attributes": attributes(table, parent.as_ref(), version) }),
        None => JsonValue::Null,
    });
    if let JsonValue::Object(inner) = entry {
        place(inner, column, depth + 1, row, parents, version);
    }
}

fn add_children(plan: &Plan, rows: &[u64], records: &mut [JsonValue], version: &str) -> io::Result<()> {
    let ids: Vec<String> = rows.iter().map(|row| plan.table.id(*row).to_string()).collect();
    let wanted: HashSet<String> = ids.iter().cloned().collect();
    for children in &plan.children {
        let found = children.rows_of(&wanted)?;
        for (id, record) in ids.iter().zip(records.iter_mut()) {
            record[&children.relationship] = match found.get(id) {
                Some(rows) => {
                    let records = self::records(&children.plan, rows, version)?;
                    json!({ "totalSize": records.len(), "done": true, "records": records })
                }
                None => JsonValue::Null,
            };
        }
    }
    Ok(())
}
