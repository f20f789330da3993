//! The facade: gRPC and REST on one port, from one contract.
//!
//! A call is authenticated, takes its tenant's rate token, is validated, and then either reads, or writes an operation with its
//! idempotency key in one transaction and answers before any workflow has started. A synchronous prediction is answered in
//! the process; it never waits on Temporal, and neither does an acceptance.
//!
//! ```text
//! request -> observation -> open: health, metrics, OpenAPI, reflection, error pages
//!                        -> panics -> time -> size -> codec, for the Temporal UI
//!                        -> panics -> time -> size -> authentication -> rate -> gRPC services
//!                                                                           -> REST -> the same services
//! ```

mod acceptance;
mod caller;
mod codec;
mod config;
mod failing_task;
mod failures;
mod health;
mod keys;
mod layers;
mod metrics;
mod reconciler;
mod reference;
mod rest;
mod server;
mod services;
mod shapes;
mod start_limit;
mod starter;
mod temporal;

pub use config::{ApiConfig, CodecConfig, RateLimit, SweepConfig};
pub use reference::error_section;
pub use server::{Api, ApiError, Services};
pub use temporal::Temporal;
