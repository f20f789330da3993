//! What a tenant allows leadline to do with its data. Every change is a new version; nothing is overwritten.

use serde::{Deserialize, Serialize};

/// The permissions of one consent version. Each is off until it is given.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConsentGrant {
    /// Read records out of the org into the lake.
    pub allow_export: bool,
    /// Train models on exported records.
    pub allow_training: bool,
    /// Keep predictions, so that they can be read back later.
    pub allow_store_predictions: bool,
    /// Write scores into the org's records.
    pub allow_write_back: bool,
}

impl ConsentGrant {
    pub const ALL: Self =
        Self { allow_export: true, allow_training: true, allow_store_predictions: true, allow_write_back: true };
}
