//! Wires sagas and steps to Temporal's task queues: one connection, one worker for each lane.

mod config;
mod connection;
pub mod deployment;
mod interception;
mod meter;
pub mod replay;
pub mod restoring;
mod run;
mod search_attributes;
mod stamping;
mod starting;

pub use config::{LEAST_WORKFLOW_SLOTS, SLOTS_AT_MOST, Slots, Tuned, WorkerConfig};
pub use connection::{connect, open_connection};
pub use leadline_codec::data_converter;
pub use run::{WorkerError, run, run_activities};
pub use search_attributes::ensure_search_attributes;
pub use starting::start_options;
pub use temporalio_common::data_converters::DataConverter;
