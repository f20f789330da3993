//! The vocabulary of leadline: ids, values, state machines with their guards, the failure taxonomy.
//!
//! No I/O, no clock, no async: everything here is a pure function of its arguments, so that workflows may use all of it.

pub mod consent;
pub mod failure;
pub mod ids;
pub mod model;
pub mod operation;
pub mod parking;
pub mod record_id;
pub mod value;

pub use consent::ConsentGrant;
pub use failure::{Class, Code, Failure};
pub use ids::{ApiKeyId, DatasetId, ModelId, OperationId, RequestId, TenantId};
pub use model::ModelState;
pub use operation::{OperationKind, OperationRef, OperationState};
pub use parking::Verb;
