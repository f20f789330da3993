//! How a training run tells its caller where it stands, and how the caller stops it.
//!
//! The wall clock is the caller's: a worker heartbeats from the callback and breaks when its activity is cancelled or its
//! deadline has passed. The callback is asked between fits, never inside one, so a break takes effect after at most one fit.

use std::fmt;
use std::ops::ControlFlow;

use serde::{Deserialize, Serialize};

use crate::error::LearningError;

/// The parts of a training run, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    LeakChecks,
    Encoding,
    Searching,
    Fitting,
    Evaluating,
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::LeakChecks => "checking for leaks",
            Self::Encoding => "encoding",
            Self::Searching => "searching",
            Self::Fitting => "fitting",
            Self::Evaluating => "evaluating",
        })
    }
}

/// One report: `done` of `total` units of a stage. Reports of one stage may come from several threads, in any order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    pub stage: Stage,
    pub done: u64,
    pub total: u64,
}

/// The caller's callback. It must not influence the result in any way but by breaking.
pub type Progress<'a> = dyn Fn(Step) -> ControlFlow<()> + Sync + 'a;

/// A callback for callers that neither watch nor stop.
pub fn silent(_: Step) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

pub(crate) fn report(progress: &Progress<'_>, stage: Stage, done: u64, total: u64) -> Result<(), LearningError> {
    match progress(Step { stage, done, total }) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(()) => Err(LearningError::Aborted(stage)),
    }
}
