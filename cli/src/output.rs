//! What verbs print: tables for people, JSON for programs.

use std::time::Duration;

use chrono::{DateTime, Utc};
use clap::Args;
use comfy_table::{ContentArrangement, Table, presets};
use leadline_proto::{v1, wkt::Timestamp};
use leadline_store::operations::Progress;
use serde_json::Value;

#[derive(Debug, Clone, Copy, Args)]
#[command(next_help_heading = "Output")]
pub struct OutputArgs {
    /// Print JSON, as the API answered it, instead of tables
    #[arg(long, env = "LEADLINE_JSON", global = true)]
    pub json: bool,
}

/// Prints a document on standard output.
pub fn json(value: &Value) {
    println!("{value:#}");
}

/// A table with a header line and no frame, easy to read and to cut apart.
pub fn table<const N: usize>(header: [&str; N]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(header.map(str::to_uppercase));
    table
}

/// A table of names and values, for one thing.
pub fn facts(rows: impl IntoIterator<Item = (&'static str, String)>) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
    for (name, value) in rows {
        if !value.is_empty() {
            table.add_row([name.to_owned(), value]);
        }
    }
    table
}

/// Prints a table without the blanks that a frame would need.
pub fn print(table: &Table) {
    for line in table.to_string().lines() {
        println!("{}", line.strip_prefix(' ').unwrap_or(line).trim_end());
    }
}

/// An instant to the second, or nothing.
pub fn time(stamp: Option<&Timestamp>) -> String {
    let instant = stamp.and_then(|stamp| DateTime::<Utc>::try_from(*stamp).ok());
    instant.map(|instant| instant.format("%Y-%m-%d %H:%M:%SZ").to_string()).unwrap_or_default()
}

/// The time between two instants.
pub fn between(from: Option<&Timestamp>, to: Option<&Timestamp>) -> Option<Duration> {
    let instant = |stamp: Option<&Timestamp>| stamp.and_then(|stamp| DateTime::<Utc>::try_from(*stamp).ok());
    (instant(to)? - instant(from)?).to_std().ok()
}

/// A duration as people say it: 0.4 s, 12.3 s, 2 min 05 s.
pub fn duration(time: Duration) -> String {
    let seconds = time.as_secs_f64();
    if seconds < 60.0 { format!("{seconds:.1} s") } else { format!("{} min {:02} s", time.as_secs() / 60, time.as_secs() % 60) }
}

/// How far a step is; `None` while there is nothing to tell.
pub fn progress(progress: &v1::Progress) -> Option<String> {
    match (progress.done, progress.unit.as_str()) {
        (0, Progress::IN_LINE) => Some("next in line".to_owned()),
        (0, _) => None,
        (done, unit) => {
            let of = progress.total.map(|total| format!(" of {}", count(total))).unwrap_or_default();
            Some(format!("{}{of} {unit}", count(done)))
        }
    }
}

/// A count with its thousands apart: 50,000.
pub fn count(n: i64) -> String {
    let digits = n.unsigned_abs().to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3 + 1);
    if n < 0 {
        out.push('-');
    }
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// An enum value of the API as people write it: `LEAD_CONVERSION` is lead-conversion.
pub fn name(proto: &str) -> String {
    proto.to_lowercase().replace('_', "-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_read_as_people_write_them() {
        assert_eq!(count(1_234_567), "1,234,567");
        assert_eq!(count(-100), "-100");
        assert_eq!(duration(Duration::from_millis(12_340)), "12.3 s");
        assert_eq!(duration(Duration::from_secs(125)), "2 min 05 s");
        assert_eq!(name("PENDING_CALLBACK"), "pending-callback");
    }

    #[test]
    fn a_step_that_is_next_in_line_says_so_and_one_that_has_done_nothing_says_nothing() {
        let told = |done, unit: &str, total| progress(&v1::Progress { done, unit: unit.to_owned(), total });
        assert_eq!(told(0, "ahead in line", None).as_deref(), Some("next in line"));
        assert_eq!(told(2, "ahead in line", None).as_deref(), Some("2 ahead in line"));
        assert_eq!(told(0, "records", Some(5)), None);
        assert_eq!(told(3, "records", Some(5)).as_deref(), Some("3 of 5 records"));
    }
}
