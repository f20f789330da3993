//! Faults for tests: what is to go wrong at which activity. A worker has none unless whoever makes it adds some.
//!
//! They sit in the shell of every step ([`crate::step`]), where a repeated body, a lost answer and a body that is held past its
//! timeout can be had at will; an interceptor of the SDK cannot run a body twice.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use leadline_domain::Failure;
use serde::{Deserialize, Serialize};

const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// What goes wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultKind {
    /// The body runs twice with the same input.
    Repeat,
    /// The activity fails and has done nothing.
    Refuse(Failure),
    /// The activity takes effect, and then fails, whatever its own answer was.
    LoseAnswer(Failure),
    /// The body does not get on until the fault is taken away.
    Hold,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// The activity's name.
    pub activity: String,
    pub kind: FaultKind,
    /// How many attempts it meets.
    pub times: u32,
}

/// The faults that are still to happen, and how many have. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct Faults(Arc<Mutex<Plan>>);

#[derive(Debug, Default)]
struct Plan {
    faults: Vec<Fault>,
    met: u32,
    held: Arc<()>,
}

/// An attempt that is, or was, held.
pub(crate) struct Held(#[expect(dead_code, reason = "counted")] Arc<()>);

impl Faults {
    /// Puts these faults in the place of those before.
    pub fn set(&self, faults: Vec<Fault>) {
        let mut plan = self.lock();
        plan.faults = faults;
        plan.met = 0;
    }

    pub fn add(&self, fault: Fault) {
        self.lock().faults.push(fault);
    }

    /// How many attempts have met a fault since the last [`Faults::set`].
    pub fn met(&self) -> u32 {
        self.lock().met
    }

    /// What goes wrong at this attempt.
    pub(crate) fn take(&self, activity: &str) -> Option<FaultKind> {
        let mut plan = self.lock();
        let fault = plan.faults.iter_mut().find(|fault| fault.times > 0 && fault.activity == activity)?;
        fault.times -= 1;
        let kind = fault.kind.clone();
        plan.met += 1;
        Some(kind)
    }

    /// How many attempts are, or were, held and have not ended.
    pub fn held(&self) -> usize {
        Arc::strong_count(&self.lock().held) - 1
    }

    /// Holds an attempt whose fault says so, until no fault holds its activity any more. Until what is returned is dropped, the
    /// attempt counts as held.
    pub(crate) async fn hold(&self, fault: Option<&FaultKind>, activity: &str) -> Option<Held> {
        if fault != Some(&FaultKind::Hold) {
            return None;
        }
        let held = Held(Arc::clone(&self.lock().held));
        while self.lock().faults.iter().any(|fault| fault.activity == activity && fault.kind == FaultKind::Hold) {
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        Some(held)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Plan> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
