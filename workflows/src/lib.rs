//! The sagas of leadline, one file each, and the core that they stand on.
//!
//! Everything here is deterministic and does no I/O: a workflow is replayed from its history, after a crash and by every new
//! build, and must then do what it did before. Effects live in the steps that the sagas declare and that the crate above
//! carries out. `clippy.toml` beside this crate names what workflow code must not call.

#![expect(clippy::unimplemented, reason = "the SDK's macro wants this body in the declaration of an activity")]

mod call;
mod cancelling;
pub mod course;
pub mod envelope;
pub mod export_dataset;
mod forward;
pub mod lane;
pub mod limits;
pub mod onboard_tenant;
pub mod parking;
pub mod predict_async;
pub mod promote_model;
pub mod registry;
pub mod run_drill;
pub mod saga;
mod saga_workflow;
mod stamp;
mod step;
pub mod stop;
pub mod train_model;

use temporalio_sdk::WorkflowRegistrationError;

pub use envelope::StepInput;
pub use lane::{COMPUTE_QUEUE, EXTRACTION_QUEUE, Lane, SAGA_QUEUE};
pub use limits::{Limits, LimitsError};

use crate::{
    export_dataset::ExportDatasetSaga, onboard_tenant::OnboardTenantSaga, predict_async::PredictAsyncSaga,
    promote_model::PromoteModelSaga, registry::Registry, run_drill::RunDrillSaga, train_model::TrainModelSaga,
};

/// Registers every saga with a worker, or with the replayer of its histories.
///
/// # Errors
/// When it already has a workflow of one of the names.
pub fn register(options: &mut impl Registry, limits: Limits) -> Result<(), WorkflowRegistrationError> {
    options
        .register_workflow_with_factory::<OnboardTenantSaga, _>(move || OnboardTenantSaga::new(limits))?
        .register_workflow_with_factory::<ExportDatasetSaga, _>(move || ExportDatasetSaga::new(limits))?
        .register_workflow_with_factory::<TrainModelSaga, _>(move || TrainModelSaga::new(limits))?
        .register_workflow_with_factory::<PromoteModelSaga, _>(move || PromoteModelSaga::new(limits))?
        .register_workflow_with_factory::<PredictAsyncSaga, _>(move || PredictAsyncSaga::new(limits))?
        .register_workflow_with_factory::<RunDrillSaga, _>(move || RunDrillSaga::new(limits))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use leadline_domain::OperationKind;
    use temporalio_sdk::WorkerOptions;

    use super::*;

    #[test]
    fn every_kind_of_operation_has_a_workflow_of_its_name() {
        let mut options = WorkerOptions::new(SAGA_QUEUE).build();
        register(&mut options, Limits::default()).unwrap();
        let definitions = options.workflows();
        let registered: BTreeSet<_> = definitions.workflow_definitions().map(|d| d.workflow_type.clone()).collect();
        let kinds: BTreeSet<_> = OperationKind::ALL.iter().map(|k| k.as_str().to_owned()).collect();
        assert_eq!(registered, kinds);
    }
}
