//! The server's surface: listeners, routing, and the REST API. Bulk has a room of its own, [`crate::bulk`].

mod collections;
mod composite;
mod control;
mod dispatch;
mod limits;
pub(crate) mod listen;
mod page;
pub(crate) mod proxy;
pub(crate) mod query;
mod records;
pub(crate) use records::commit;
pub(crate) mod request;
mod rest;
mod sync;
pub(crate) mod tls;
