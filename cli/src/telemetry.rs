//! Logs, structured, on standard error, so that standard output stays the command's own; and the spans of the parts that serve.

use std::io::IsTerminal;

use clap::{Args, ValueEnum};
use leadline_telemetry::traces::Traces;
use tracing_subscriber::{EnvFilter, Layer, Registry, fmt, layer::SubscriberExt, util::SubscriberInitExt};

use crate::error::{CliError, Result};

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people: one readable line each.
    Pretty,
    /// For programs: one JSON object each.
    Json,
}

#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Logging")]
pub struct LogArgs {
    /// How log lines look; pretty on a terminal, JSON elsewhere
    #[arg(long, env = "LEADLINE_LOG_FORMAT", global = true, value_enum)]
    pub log_format: Option<LogFormat>,
}

/// Starts logging: `RUST_LOG` decides what, without it `default_filter` does. Starts sending spans as `service`, if it is one and the
/// environment names a collector; stop what is returned at the very end.
///
/// # Errors
/// When the `OTEL_*` environment does not make sense.
pub fn start(args: &LogArgs, default_filter: &str, service: Option<&'static str>) -> Result<Option<Traces>> {
    let traces = service.map(Traces::start).transpose().map_err(|error| {
        CliError::environment(error.to_string(), "correct or unset the OTEL_* variables; docs/guide.md lists them")
    })?;
    let traces = traces.flatten();
    // The filter is the log's alone: a quiet log must not silence the traces.
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(default_filter));
    let spans = traces.as_ref().map(Traces::layer);
    tracing_subscriber::registry().with(log(args).with_filter(filter)).with(spans).init();
    Ok(traces)
}

fn log(args: &LogArgs) -> Box<dyn Layer<Registry> + Send + Sync> {
    let terminal = std::io::stderr().is_terminal();
    let lines = fmt::layer().with_writer(std::io::stderr);
    match args.log_format.unwrap_or(if terminal { LogFormat::Pretty } else { LogFormat::Json }) {
        LogFormat::Pretty => lines.with_ansi(terminal).boxed(),
        LogFormat::Json => lines.json().flatten_event(true).with_current_span(true).boxed(),
    }
}
