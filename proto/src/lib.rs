//! The API of leadline as generated from `proto/leadline/v1`: messages, gRPC clients and servers, proto3 JSON, REST routes,
//! and the OpenAPI document.

pub mod wkt;

/// Messages and services of package `leadline.v1`.
pub mod v1 {
    #![allow(clippy::all, unused_qualifications)]
    include!(concat!(env!("OUT_DIR"), "/leadline.v1.rs"));
    include!(concat!(env!("OUT_DIR"), "/leadline.v1.serde.rs"));
    include!(concat!(env!("OUT_DIR"), "/leadline.v1.rest.rs"));
}

/// The REST transcoder over every service, and what its routes are.
pub mod rest {
    #![allow(clippy::all, unused_qualifications)]
    use crate as leadline;
    include!(concat!(env!("OUT_DIR"), "/transcoder.rest.rs"));

    /// Every rpc of every service.
    pub const RPCS: &[&str] = include!(concat!(env!("OUT_DIR"), "/rpcs.rs"));

    /// The rpcs that answer 202 over REST: they ask for work that goes on after the answer.
    pub const ACCEPTING: &[&str] = include!(concat!(env!("OUT_DIR"), "/accepting.rs"));

    /// Every method that a route may have.
    const METHODS: [&str; 5] = ["GET", "POST", "PUT", "PATCH", "DELETE"];

    /// The name of the rpc that `method` on `path` (without its query) reaches.
    pub fn rpc(method: &str, path: &str) -> Option<String> {
        use ::rest_over_grpc::codegen_helpers::RouteMatch as _;
        let route = Route::resolve(method, path)?;
        // The generator numbers services, since two of them may have an rpc of the same name.
        let name = route.name();
        Some(name.rsplit_once('_').map_or(name, |(rpc, _)| rpc).to_owned())
    }

    /// The methods that `path` (without its query) answers to; empty when there is no such path.
    pub fn allowed_methods(path: &str) -> Vec<&'static str> {
        METHODS.into_iter().filter(|method| Route::resolve(*method, path).is_some()).collect()
    }
}

/// The encoded descriptor set, for gRPC reflection.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/leadline.v1.bin"));

/// The OpenAPI 3.1 document of the REST side, as JSON. A copy is committed as `proto/openapi.json`.
pub const OPENAPI: &str = include_str!(concat!(env!("OUT_DIR"), "/openapi.json"));
