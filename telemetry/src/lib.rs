//! What a process tells about itself: metrics as a page for Prometheus, traces to an OpenTelemetry collector, and the context
//! by which a trace goes on in another process.
//!
//! ```text
//!   traceparent ─► request (API) ─► start ─► saga (worker) ─► step, step, step …
//!                    HTTP, gRPC       └───── Temporal header ─────┘
//! ```
//!
//! Traces are off unless a collector is named (`OTEL_EXPORTER_OTLP_ENDPOINT`): no thread, no layer, no header then. Neither
//! metrics nor spans name a person, a record or a value; spans name operations and tenants by their ids, metrics do not.

pub mod metrics;
pub mod propagation;
pub mod traces;
