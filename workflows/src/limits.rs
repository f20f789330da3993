//! How long steps may take, and how long the saga keeps trying.
//!
//! The limits belong to the worker and not to the input, so that an operator can lengthen one for runs that are already under
//! way. That is safe for replay as long as they are only ever durations of timers and timeouts, which replay does not compare:
//! **no decision in workflow code may depend on a limit.**

use std::time::Duration;

use crate::lane::Lane;

/// Typed configuration of a worker's sagas.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Silence after which an attempt counts as dead.
    pub heartbeat: Duration,
    /// One attempt of a light step.
    pub light_attempt: Duration,
    /// One attempt of an extraction or compute step. Liveness is the heartbeat's affair, so this may be long.
    pub long_attempt: Duration,
    /// All attempts of a step together, with the waits between them. Then the step ends with `STEP_TIMED_OUT`.
    pub light_patience: Duration,
    pub long_patience: Duration,
    /// Backoff between attempts: the first wait, doubled up to the longest.
    pub first_retry: Duration,
    pub longest_retry: Duration,
    /// How long a parked operation waits for a person.
    pub park_deadline: Duration,
    /// Waits between rounds of a step that must succeed (an undo, or what comes after the pivot) and has used its patience up.
    pub first_round: Duration,
    pub longest_round: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            heartbeat: Duration::from_secs(20),
            light_attempt: Duration::from_secs(60),
            long_attempt: Duration::from_secs(24 * 3600),
            light_patience: Duration::from_secs(3600),
            long_patience: Duration::from_secs(48 * 3600),
            first_retry: Duration::from_millis(500),
            longest_retry: Duration::from_secs(60),
            park_deadline: Duration::from_secs(7 * 24 * 3600),
            first_round: Duration::from_secs(5),
            longest_round: Duration::from_secs(900),
        }
    }
}

impl Limits {
    /// The longest that one attempt, and that all attempts together, may take.
    pub(crate) fn of(&self, lane: Lane) -> (Duration, Duration) {
        match lane {
            Lane::Light => (self.light_attempt, self.light_patience),
            Lane::Extraction | Lane::Compute => (self.long_attempt, self.long_patience),
        }
    }
}
