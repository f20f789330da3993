//! Operations: what a caller started, how it is named everywhere, and the states it can be seen in.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::ids::{DatasetId, ModelId, OperationId, RequestId, TenantId};

/// The task queue of sagas and their light steps.
pub const SAGA_QUEUE: &str = "leadline-sagas";

/// Names of the search attributes by which a run shows itself in Temporal's visibility store.
pub mod attribute {
    pub const TENANT: &str = "LeadlineTenant";
    pub const KIND: &str = "LeadlineKind";
    pub const STATE: &str = "LeadlineState";
    pub const REASON: &str = "LeadlineReason";
}

/// The sagas that a caller can start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OperationKind {
    OnboardTenant,
    ExportDataset,
    TrainModel,
    PromoteModel,
    PredictAsync,
    /// For training and drills.
    RunDrill,
}

/// A text that names no kind or state of operation.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("not an operation {0}")]
pub struct UnknownName(pub(crate) &'static str);

impl OperationKind {
    pub const ALL: [Self; 6] =
        [Self::OnboardTenant, Self::ExportDataset, Self::TrainModel, Self::PromoteModel, Self::PredictAsync, Self::RunDrill];

    /// The name of the kind, which is also its Temporal workflow type.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::OnboardTenant => "onboard_tenant",
            Self::ExportDataset => "export_dataset",
            Self::TrainModel => "train_model",
            Self::PromoteModel => "promote_model",
            Self::PredictAsync => "predict_async",
            Self::RunDrill => "run_drill",
        }
    }
}

impl fmt::Display for OperationKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for OperationKind {
    type Err = UnknownName;

    fn from_str(text: &str) -> Result<Self, UnknownName> {
        Self::ALL.into_iter().find(|k| k.as_str() == text).ok_or(UnknownName("kind"))
    }
}

/// The state in which a caller sees an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OperationState {
    /// Written down with its idempotency key; a worker need not be alive.
    Accepted,
    Running,
    /// Stopped until a person decides.
    Parked,
    /// Undoing its steps, in reverse order.
    Compensating,
    Succeeded,
    /// All undone.
    Failed,
    /// All undone, because a person asked for it.
    Cancelled,
}

impl OperationState {
    pub const ALL: [Self; 7] =
        [Self::Accepted, Self::Running, Self::Parked, Self::Compensating, Self::Succeeded, Self::Failed, Self::Cancelled];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Running => "running",
            Self::Parked => "parked",
            Self::Compensating => "compensating",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// An ended operation never changes its state again.
    pub fn is_ended(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Cancelled)
    }
}

impl fmt::Display for OperationState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for OperationState {
    type Err = UnknownName;

    fn from_str(text: &str) -> Result<Self, UnknownName> {
        Self::ALL.into_iter().find(|s| s.as_str() == text).ok_or(UnknownName("state"))
    }
}

/// Which operation of which tenant: what every step carries.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct OperationRef {
    pub tenant: TenantId,
    pub operation: OperationId,
    pub kind: OperationKind,
}

impl OperationRef {
    /// The Temporal workflow id. Readable for operators; a pure function, so that a lost start can be repeated.
    pub fn workflow_id(&self) -> String {
        format!("{}/{}/{}", self.kind, self.tenant, self.operation)
    }
}

/// The input of every saga's workflow: references and small parameters, never rows, personal data or credentials.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SagaInput<P> {
    pub operation: OperationRef,
    pub params: P,
}

/// The tenant row, its sealed secrets and its org settings are written when the operation is accepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OnboardTenant {}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExportDataset {
    pub dataset: DatasetId,
    /// API name of the object, such as `Lead`.
    pub object: String,
    /// API names; empty means every field that can be exported.
    pub fields: Vec<String>,
    /// The consent version that the export relies on.
    pub consent_version: i64,
}

/// The prediction definition and budget stand in the training-run row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrainModel {
    pub model: ModelId,
    /// The object whose records are learnt from.
    pub object: String,
    /// `None`: export first.
    pub dataset: Option<DatasetId>,
    /// API names that its own export takes, where a person has corrected them; empty means every field that can be exported.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<String>,
    pub consent_version: i64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PromoteModel {
    pub model: ModelId,
}

/// Fields that came with the request are claim-checked in PostgreSQL under the operation's id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PredictAsync {
    pub request_id: RequestId,
    /// Name of the prediction definition whose model answers.
    pub definition: String,
    pub record_id: Option<String>,
    /// The request brought fields. A claim that is gone is then an error, and not a request without fields.
    pub has_fields: bool,
    pub write_back: bool,
}

/// A saga that touches nothing but its own row, so that operators can practise on it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunDrill {
    pub wait_at: DrillWait,
}

/// Where a drill waits for an operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DrillWait {
    /// It can be retried and abandoned there.
    BeforePivot,
    /// It can be retried there, and the step be skipped.
    AfterPivot,
    /// It fails before its pivot, and its undo waits.
    Undo,
    Nowhere,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_workflow_id_is_a_pure_function_of_the_operation() {
        let reference = OperationRef {
            tenant: TenantId::from_bits(1),
            operation: OperationId::from_bits(2),
            kind: OperationKind::TrainModel,
        };
        assert_eq!(reference.workflow_id(), "train_model/tn_00000000000000000000000001/op_00000000000000000000000002");
    }

    #[test]
    fn names_read_back() {
        for kind in OperationKind::ALL {
            assert_eq!(kind.as_str().parse(), Ok(kind));
        }
        for state in OperationState::ALL {
            assert_eq!(state.as_str().parse(), Ok(state));
        }
        assert!("ACCEPTED".parse::<OperationState>().is_err());
    }
}
