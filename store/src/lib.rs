//! PostgreSQL: the system of record, and the current state of CRM records.
//!
//! Every function takes a transaction, and nothing is written before it is committed: what belongs together, such as an
//! operation and its idempotency key, or an effect and its ledger row, is therefore all there or not at all. Row-level
//! security isolates tenants: a [`TenantTx`] names its tenant when it begins, and PostgreSQL shows it the rows of that tenant
//! only, also to a query that forgot to ask. SQL stands beside the type that it loads.

pub mod api_keys;
pub mod audit;
pub mod budgets;
pub mod claims;
pub mod cluster;
pub mod consents;
pub mod datasets;
pub mod drills;
mod error;
pub mod export_parts;
pub mod ledger;
pub mod migrate;
pub mod models;
pub mod object_schemas;
pub mod operations;
pub mod paging;
pub mod permits;
pub mod predictions;
pub mod records;
mod row;
pub mod sealed_secrets;
pub mod serving;
pub mod tenants;
mod transaction;

pub use error::{Result, StoreError};
pub use paging::{Page, PageRequest};
pub use transaction::{OperatorTx, Store, StoreConfig, TenantTx, Transact};
