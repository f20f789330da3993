//! What calls cost: how many were sent, and what the org says it has left after them.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::limits::ApiUsage;

/// Counts the calls of the clients that carry it. Signing in is no API call, and not counted.
#[derive(Debug, Default)]
pub struct Meter {
    calls: AtomicU64,
    api_usage: Mutex<Option<ApiUsage>>,
}

impl Meter {
    /// Calls sent since the last take, whether or not they were answered: the org may have counted them.
    pub fn take_calls(&self) -> u64 {
        self.calls.swap(0, Ordering::Relaxed)
    }

    /// Whether calls were sent since the last take.
    pub fn has_calls(&self) -> bool {
        self.calls.load(Ordering::Relaxed) > 0
    }

    /// The org's API calls of the last 24 hours, as the latest REST answer reported them.
    pub fn api_usage(&self) -> Option<ApiUsage> {
        *self.api_usage.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn count(&self) {
        self.calls.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn note_usage(&self, usage: ApiUsage) {
        *self.api_usage.lock().unwrap_or_else(PoisonError::into_inner) = Some(usage);
    }
}
