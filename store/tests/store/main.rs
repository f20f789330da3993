//! The store against a real PostgreSQL: one cluster for the whole binary, one database for each test.

mod accepting;
mod budgets;
mod consent;
mod data;
mod deciding;
mod fixture;
mod isolation;
mod keys;
mod ledger;
mod migration;
mod models;
mod permits;
mod predictions;
mod private_cluster;
