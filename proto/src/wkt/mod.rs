//! Well-known types whose proto3 JSON form differs from what pbjson-types writes: times end in `Z` here and not in `+00:00`,
//! whole numbers in a Struct have no `.0`, and its fields keep one order.

mod structure;
mod timestamp;

pub use structure::{Kind, ListValue, NotFinite, NullValue, Struct, Value};
pub use timestamp::{OutOfRange, Timestamp};
