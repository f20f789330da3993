//! What the end-to-end suites share: a whole dev stack in processes of its own, and the clients that talk to it.
//!
//! Nothing here stands in for a part of leadline. A suite runs the binary that users run, against the Temporal server,
//! PostgreSQL, object storage and org that it brings up, and looks at the outcome from outside: by the API, by the org's own
//! REST API, by listing the bucket, by Temporal's CLI.

pub mod api;
pub mod backup;
pub mod blue_green;
pub mod chaos;
pub mod collector;
pub mod crashing;
pub mod dev_stack;
pub mod ground;
mod interventions;
pub mod org;
pub mod orgs;
pub mod proxy;
pub mod scenario;
pub mod starts;
mod told;
pub mod tools;
pub mod vendor;
pub mod versions;
