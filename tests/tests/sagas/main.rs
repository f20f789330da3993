//! The sagas on a real Temporal server, PostgreSQL, object storage and org, with the worker inside the test.
//!
//! Each test has an org, a tenant and task queues of its own; server, database and bucket are shared by the whole binary.

mod drill;
mod exporting;
mod golden;
mod lost_runs;
mod moving;
mod onboarding;
mod parking;
mod permits;
mod predicting;
mod privacy;
mod recording;
mod replaying;
mod replaying_live;
mod restoring;
mod training;
mod verbs;
mod zombies;
