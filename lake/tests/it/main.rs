//! The lake against the embedded S3, over loopback: the same client code that runs against AWS.

mod artifacts;
mod datasets;
mod fixture;
mod protocol;
mod server;
