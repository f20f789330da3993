//! What travels between a saga and its steps, whatever the saga.

use std::time::Duration;

use leadline_domain::{
    Code, Failure, OperationRef, OperationState,
    parking::{AtDeadline, Decision, Parked},
};
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use temporalio_macros::activity_definitions;
use temporalio_sdk::activities::ActivityError;

/// The epoch under which a run's steps write, until a run can be taken up again after its undo.
pub const FIRST_EPOCH: u32 = 1;

/// The ledger's name for what the accepting transaction did before the saga began.
pub const ACCEPTANCE: &str = "acceptance";

/// The input of every step and of every undo. It says itself whose it is when it is sent (see `stamp`).
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct StepInput<P> {
    pub operation: OperationRef,
    /// The step's name in the ledger. For an undo: the name of the step that it undoes.
    pub step: String,
    pub epoch: u32,
    pub params: P,
}

/// How a run begins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Beginning {
    Run,
    /// The operation has ended before, in a run that Temporal no longer knows or that was reset. Nothing is to be done.
    Ended {
        state: OperationState,
    },
    /// An earlier run was terminated. The story is told again as far as the ledger has it, and then undone; if the ledger has
    /// the pivot, it is told to its end.
    Unwind {
        /// The steps that are done.
        done: Vec<String>,
        /// Why the operation was being undone already; `None` where it was not.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        why: Option<Failure>,
    },
}

/// A change of the operation's visible state while it runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateChange {
    pub state: OperationState,
    /// Why the run waits or undoes.
    pub code: Option<Code>,
    pub message: Option<String>,
    /// For the state `Parked`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parking: Option<Parking>,
    /// What ended the parking before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decision: Option<Decision>,
}

/// What a parked operation waits for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parking {
    pub parked: Parked,
    /// How long a person has; then the run compensates, or, where it cannot, tries again.
    pub deadline: Duration,
    pub at_deadline: AtDeadline,
}

/// How an operation ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    Succeeded {
        result: Json,
        /// Someone asked for a cancel once the pivot was passed.
        late_cancel: bool,
    },
    Failed {
        code: Code,
        message: String,
        /// The steps whose undo a person skipped.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        left_behind: Vec<String>,
    },
    Cancelled {
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        left_behind: Vec<String>,
    },
}

impl Ending {
    pub fn state(&self) -> OperationState {
        match self {
            Self::Succeeded { .. } => OperationState::Succeeded,
            Self::Failed { .. } => OperationState::Failed,
            Self::Cancelled { .. } => OperationState::Cancelled,
        }
    }
}

/// What became of a pivot whose answer was lost.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Settlement {
    /// It took effect, with this result.
    Happened(Json),
    /// It did not, and its epoch is closed: it never will.
    Refused,
    /// A vendor was asked and its answer is not known. Only asking again can tell.
    Unknown,
}

/// The steps that keep the operation's row; every saga runs them.
pub struct OperationSteps;

#[activity_definitions]
impl OperationSteps {
    /// Marks the operation as running under this run.
    #[activity(name = "begin_operation")]
    pub fn begin_operation(_: StepInput<()>) -> Result<Beginning, ActivityError> {
        unimplemented!()
    }

    /// The steps that any run of the operation has begun and that are not undone.
    #[activity(name = "begun_steps")]
    pub fn begun_steps(_: StepInput<()>) -> Result<Vec<String>, ActivityError> {
        unimplemented!()
    }

    #[activity(name = "record_state")]
    pub fn record_state(_: StepInput<StateChange>) -> Result<(), ActivityError> {
        unimplemented!()
    }

    /// The one closing write.
    #[activity(name = "close_operation")]
    pub fn close_operation(_: StepInput<Ending>) -> Result<(), ActivityError> {
        unimplemented!()
    }

    /// Decides, once and for all, whether the named pivot took effect.
    #[activity(name = "decide_pivot")]
    pub fn decide_pivot(_: StepInput<()>) -> Result<Settlement, ActivityError> {
        unimplemented!()
    }
}

pub use operation_steps::{BeginOperation, BegunSteps, CloseOperation, DecidePivot, RecordState};
