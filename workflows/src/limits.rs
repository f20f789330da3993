//! How long steps may take, and how long the saga keeps trying.
//!
//! The limits belong to the worker and not to the input, so that an operator can lengthen one for runs that are already under
//! way. That is safe for replay as long as they are only ever durations of timers and timeouts, which replay does not compare:
//! **no decision in workflow code may depend on a limit.**

use std::time::Duration;

use temporalio_common::RetryPolicy;

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
    /// The same for extraction and compute: a step that stood in line for long has used its short waits up, and is not to lose a minute
    /// more when its worker dies.
    pub longest_heavy_retry: Duration,
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
            longest_heavy_retry: Duration::from_secs(10),
            park_deadline: Duration::from_secs(7 * 24 * 3600),
            first_round: Duration::from_secs(5),
            longest_round: Duration::from_secs(900),
        }
    }
}

/// Limits that contradict each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{shorter} must not be longer than {longer}, and neither may be zero")]
pub struct LimitsError {
    shorter: &'static str,
    longer: &'static str,
}

impl Limits {
    /// What the server would refuse at every step, and what could never end.
    ///
    /// # Errors
    /// Names the pair that contradicts itself.
    pub fn check(&self) -> Result<(), LimitsError> {
        let pairs = [
            (("first_retry", self.first_retry), ("longest_retry", self.longest_retry)),
            (("first_retry", self.first_retry), ("longest_heavy_retry", self.longest_heavy_retry)),
            (("first_round", self.first_round), ("longest_round", self.longest_round)),
            (("light_attempt", self.light_attempt), ("light_patience", self.light_patience)),
            (("long_attempt", self.long_attempt), ("long_patience", self.long_patience)),
            (("heartbeat", self.heartbeat), ("long_patience", self.long_patience)),
        ];
        let contradicts = |((_, shorter), (_, longer)): &((_, Duration), (_, Duration))| shorter.is_zero() || shorter > longer;
        match pairs.into_iter().find(contradicts) {
            None => Ok(()),
            Some(((shorter, _), (longer, _))) => Err(LimitsError { shorter, longer }),
        }
    }

    pub(crate) fn retry(&self, lane: Lane) -> RetryPolicy {
        let longest = match lane {
            Lane::Light => self.longest_retry,
            Lane::Extraction | Lane::Compute => self.longest_heavy_retry,
        };
        RetryPolicy::builder().initial_interval(self.first_retry).maximum_interval(longest).build()
    }

    /// The longest that one attempt, and that all attempts together, may take.
    pub(crate) fn of(&self, lane: Lane) -> (Duration, Duration) {
        match lane {
            Lane::Light => (self.light_attempt, self.light_patience),
            Lane::Extraction | Lane::Compute => (self.long_attempt, self.long_patience),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_first_wait_that_is_longer_than_the_longest_is_refused_by_name() {
        assert_eq!(Limits::default().check(), Ok(()));
        let refused = Limits { first_retry: Duration::from_secs(20), ..Limits::default() }.check().unwrap_err();
        assert_eq!(refused.to_string(), "first_retry must not be longer than longest_heavy_retry, and neither may be zero");
        assert!(Limits { first_round: Duration::ZERO, ..Limits::default() }.check().is_err());
    }
}
