//! The API of leadline as generated from `proto/leadline/v1`: messages, gRPC clients and servers, proto3 JSON, REST routes.

/// Messages and services of package `leadline.v1`.
pub mod v1 {
    #![allow(clippy::all, unused_qualifications)]
    include!(concat!(env!("OUT_DIR"), "/leadline.v1.rs"));
    include!(concat!(env!("OUT_DIR"), "/leadline.v1.serde.rs"));
    include!(concat!(env!("OUT_DIR"), "/leadline.v1.rest.rs"));
}

/// The REST transcoder over every service.
pub mod rest {
    #![allow(clippy::all, unused_qualifications)]
    use crate as leadline;
    include!(concat!(env!("OUT_DIR"), "/transcoder.rest.rs"));
}

/// The encoded descriptor set, for gRPC reflection and for building the OpenAPI document.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/leadline.v1.bin"));
