//! The sagas on a real Temporal server, PostgreSQL, object storage and org, with the worker inside the test.
//!
//! Each test has an org, a tenant and task queues of its own; server, database and bucket are shared by the whole binary.

mod exporting;
mod ground;
mod onboarding;
mod predicting;
mod privacy;
mod scenario;
mod training;
mod zombies;
