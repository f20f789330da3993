//! The lake: everything that leadline keeps in S3, through aws-sdk-s3, whatever stands behind it.
//!
//! * data sets: Parquet parts and a manifest whose conditional put is the commit ([`PartWriter`], [`Manifest`], [`Dataset`]);
//! * artifacts of models, named by their content ([`ArtifactInfo`]);
//! * keys that cannot leave their tenant ([`Key`], [`Prefix`]);
//! * an S3 server over a directory for development and tests ([`embedded`]).
//!
//! Rows go in and come out as [`leadline_domain::value::Value`], in batches and with flat memory.

mod artifact;
mod client;
mod columns;
mod dataset;
pub mod embedded;
mod error;
mod key;
mod object;
mod part;
mod reader;
mod row_set;
mod upload;

pub use artifact::ArtifactInfo;
pub use client::{Lake, LakeConfig};
pub use dataset::{CreatedBy, Manifest};
pub use error::LakeError;
pub use key::{Key, Prefix};
pub use object::ObjectInfo;
pub use part::{PartInfo, PartWriter};
pub use reader::Dataset;
