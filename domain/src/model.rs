//! The life of a model, as one state machine. The database refuses what this refuses (see the `models` table's trigger).

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Draft > Training > Trained > Validated > Staged > Production > Archived, and Rejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ModelState {
    /// The run is accepted; nothing has been read.
    Draft,
    /// Consent held at the start; the run is reading and fitting.
    Training,
    /// An artifact is staged.
    Trained,
    /// Evaluated on the hold-out, and every gate passed.
    Validated,
    /// Registered: artifact, card and gates are committed, and it may be promoted.
    Staged,
    /// Answers predictions. At most one for each tenant and definition.
    Production,
    /// Was in production or staged, and no longer is. It may be promoted again: that is a rollback.
    Archived,
    /// Refused by a gate, failed, or undone. Never promoted.
    Rejected,
}

/// A step that the life of a model does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("a model cannot go from {from} to {to}")]
pub struct ForbiddenTransition {
    pub from: ModelState,
    pub to: ModelState,
}

impl ModelState {
    pub const ALL: [Self; 8] = [
        Self::Draft,
        Self::Training,
        Self::Trained,
        Self::Validated,
        Self::Staged,
        Self::Production,
        Self::Archived,
        Self::Rejected,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Draft => "draft",
            Self::Training => "training",
            Self::Trained => "trained",
            Self::Validated => "validated",
            Self::Staged => "staged",
            Self::Production => "production",
            Self::Archived => "archived",
            Self::Rejected => "rejected",
        }
    }

    pub fn may_become(self, to: Self) -> bool {
        use ModelState::{Archived, Draft, Production, Rejected, Staged, Trained, Training, Validated};
        matches!(
            (self, to),
            (Draft, Training)
                | (Training, Trained)
                | (Trained, Validated)
                | (Validated, Staged)
                | (Staged | Archived, Production)
                | (Staged | Production, Archived)
                | (Draft | Training | Trained | Validated, Rejected)
        )
    }

    /// # Errors
    /// [`ForbiddenTransition`] when the life of a model has no such step.
    pub fn become_state(self, to: Self) -> Result<Self, ForbiddenTransition> {
        if self.may_become(to) { Ok(to) } else { Err(ForbiddenTransition { from: self, to }) }
    }
}

impl fmt::Display for ModelState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A text that names no model state.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("not a model state")]
pub struct UnknownModelState;

impl FromStr for ModelState {
    type Err = UnknownModelState;

    fn from_str(text: &str) -> Result<Self, UnknownModelState> {
        Self::ALL.into_iter().find(|s| s.as_str() == text).ok_or(UnknownModelState)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rejected_model_stays_rejected_and_only_staged_or_archived_models_reach_production() {
        for to in ModelState::ALL {
            assert!(!ModelState::Rejected.may_become(to));
        }
        let origins: Vec<_> = ModelState::ALL.into_iter().filter(|s| s.may_become(ModelState::Production)).collect();
        assert_eq!(origins, [ModelState::Staged, ModelState::Archived]);
        assert_eq!(
            ModelState::Draft.become_state(ModelState::Production),
            Err(ForbiddenTransition { from: ModelState::Draft, to: ModelState::Production })
        );
        for state in ModelState::ALL {
            assert_eq!(state.as_str().parse(), Ok(state));
        }
    }
}
