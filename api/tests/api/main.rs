//! The API as its callers see it: a real server on loopback over a private PostgreSQL cluster, spoken to over HTTP and gRPC.
//!
//! There is no worker and no Temporal in this suite. What is accepted has to stand all the same.

mod acceptance;
mod codec;
mod errors;
mod isolation;
mod model;
mod parking;
mod prediction;
mod reading;
mod training;
mod transports;
mod world;
