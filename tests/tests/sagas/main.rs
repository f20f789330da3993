//! The sagas on a real Temporal server, PostgreSQL, object storage and org, with the worker inside the test.
//!
//! Each test has an org, a tenant and task queues of its own; server, database and bucket are shared by the whole binary.

mod drill;
mod exporting;
mod golden;
mod moving;
mod onboarding;
mod parking;
mod permits;
mod predicting;
mod privacy;
mod recording;
mod remembering;
mod replaying;
mod replaying_live;
mod training;
mod verbs;
mod zombies;
