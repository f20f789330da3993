//! Writes and reads back 1,000,000 rows of 20 columns through the embedded S3, and prints rows per second and peak memory.
//!
//! `cargo run --release -p leadline-lake --example part_throughput`

use std::time::Instant;

use chrono::{DateTime, NaiveDate, TimeDelta};
use futures::TryStreamExt;
use leadline_domain::{
    OperationId, TenantId,
    value::{Field, FieldType, ObjectSchema, Value},
};
use leadline_lake::{
    Dataset, Lake, LakeConfig, Manifest, PartWriter,
    embedded::{self, EmbeddedConfig},
};

const ROWS: u64 = 1_000_000;
const PARTS: u64 = 10;
const BATCH: u64 = 5_000;
const COLUMNS: [FieldType; 20] = {
    use FieldType::{Boolean, Date, DateTime, Number, Picklist, Reference, Text};
    [
        Reference, Text, Text, Text, Picklist, Picklist, Picklist, Picklist, Number, Number, Number, Number, Number, Boolean,
        Boolean, Date, Date, DateTime, DateTime, Reference,
    ]
};

fn schema() -> ObjectSchema {
    let field = |(at, field_type): (usize, &FieldType)| Field {
        name: format!("F{at:02}"),
        label: String::new(),
        field_type: *field_type,
        nullable: true,
    };
    ObjectSchema { object: "Lead".into(), fields: COLUMNS.iter().enumerate().map(field).collect() }
}

/// Something like a CRM row: ids, names, short lists of labels, amounts, a tenth of it missing.
fn row(n: u64) -> Vec<Value> {
    let mix = |at: usize| (n.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ at as u64).wrapping_mul(0xBF58_476D_1CE4_E5B9) >> 20;
    let day = NaiveDate::from_ymd_opt(2020, 1, 1).expect("a day of the calendar");
    let value = |(at, field_type): (usize, &FieldType)| match (mix(at), field_type) {
        (chance, _) if at > 0 && chance.is_multiple_of(10) => Value::Null,
        (chance, FieldType::Text) => Value::Text(format!("Company {:x} of Street {}", chance, chance % 977)),
        (chance, FieldType::Picklist) => Value::Text(format!("Label {}", chance % 12)),
        (chance, FieldType::Reference) => Value::Text(format!("00Q{chance:015}")),
        (chance, FieldType::Boolean) => Value::Boolean(chance.is_multiple_of(3)),
        (chance, FieldType::Number) => Value::Number((chance % 1_000_000) as f64 / 100.0),
        (chance, FieldType::Date) => Value::Date(day + TimeDelta::days((chance % 2000) as i64)),
        (chance, FieldType::DateTime) => {
            Value::DateTime(DateTime::from_timestamp_millis((chance % 1_700_000_000_000) as i64).expect("in range"))
        }
    };
    COLUMNS.iter().enumerate().map(value).collect()
}

/// In MiB, of this process, the embedded server included.
fn peak_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|text| text.split_whitespace().next()).and_then(|kib| kib.parse::<u64>().ok()).unwrap_or_default() / 1024
}

fn report(what: &str, since: Instant) {
    let seconds = since.elapsed().as_secs_f64();
    println!("{what:<24} {:>10.0} rows/s {seconds:>7.2} s {:>5} MiB peak", ROWS as f64 / seconds, peak_memory());
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let directory = tempfile::tempdir()?;
    let server = embedded::serve(EmbeddedConfig {
        root: directory.path().to_owned(),
        listen: "127.0.0.1:0".parse()?,
        access_key: "bench".into(),
        secret_key: "bench-secret".into(),
    })
    .await?;
    let lake = Lake::connect(&LakeConfig {
        endpoint: Some(format!("http://{}", server.addr()).parse()?),
        region: "us-east-1".into(),
        bucket: "bench".into(),
        access_key: Some("bench".into()),
        secret_key: Some("bench-secret".into()),
        path_style: true,
    })?;
    lake.ensure_bucket().await?;

    let made = Instant::now();
    for n in 0..ROWS {
        std::hint::black_box(row(n));
    }
    report("making the rows alone", made);

    let (tenant, operation, schema) = (TenantId::random(), OperationId::random(), schema());
    let dataset = operation.dataset();
    let written = Instant::now();
    let mut parts = Vec::new();
    for part in 0..PARTS {
        let mut writer = PartWriter::new(&lake, &tenant, &dataset, 1, u32::try_from(part)?, &schema)?;
        let first = part * (ROWS / PARTS);
        for batch in (first..first + ROWS / PARTS).step_by(usize::try_from(BATCH)?) {
            writer.append((batch..batch + BATCH).map(row).collect()).await?;
        }
        parts.push(writer.finish().await?);
    }
    let bytes: u64 = parts.iter().map(|part| part.bytes).sum();
    lake.commit_dataset(&Manifest::new(&tenant, &operation, 1, schema, 1, parts)?).await?;
    report("making and writing them", written);

    let read = Instant::now();
    let mut rows = 0;
    let mut batches = Dataset::open(&lake, &tenant, &dataset).await?.rows(4096);
    while let Some(batch) = batches.try_next().await? {
        rows += batch.len();
    }
    report("reading them", read);
    println!("{rows} rows in {PARTS} parts, {:.1} MiB", bytes as f64 / 1024.0 / 1024.0);
    server.stop().await;
    Ok(())
}
