//! The Salesforce client: OAuth, REST and Bulk API 2.0, as the vendor's wire is, with every vendor error in leadline's taxonomy.
//!
//! One [`OrgClient`] is one connected org. It does what a client alone can know: it signs in with the JWT bearer flow,
//! renews a session once when the org says it has expired, pages, checks what arrives against what was asked, and counts its
//! calls. It does not retry: a caller on Temporal has better means, and two layers of backoff multiply.
//!
//! Two rules hold everywhere in this crate. Memory is flat: results are streams, and no answer is read beyond a bound. And
//! nothing of a record reaches an error or a log: errors carry codes, API names, ids, statuses and counts.

mod apex;
mod bulk_query;
mod bulk_rows;
mod call;
mod client;
mod collections;
mod credentials;
mod csv;
mod describe;
mod error;
mod limits;
mod meter;
mod oauth;
mod org_id;
mod query;
mod refusal;
mod session;
pub mod soql;
pub mod tls;

pub use apex::ApexAnswer;
pub use bulk_query::{ByteStream, JobState, Locator, QueryJob, ResultsPage};
pub use bulk_rows::{Row, RowBatches};
pub use client::{Identity, Options, OrgClient};
pub use collections::{AllOrNone, MAX_COLLECTION_SIZE, RecordResult, RecordUpdate};
pub use credentials::Credentials;
pub use csv::{MAX_FIELD_CHARACTERS, PageDecoder};
pub use describe::{ExcludedField, Exclusion, FieldDescription, ObjectDescription, PicklistValue};
pub use error::{BulkLimit, ColumnMismatch, Missing, SalesforceError, TokenRejection};
pub use limits::{ApiUsage, Limit, Limits};
pub use meter::Meter;
pub use org_id::OrgId;
pub use query::Record;
