//! The steps of the sagas: thin shells that call the crates below, one file per saga family.
//!
//! Every step goes through [`step`]: there it meets the ledger, the heartbeat, cancellation, and the one mapping of errors to
//! failures with a code. What a step may rely on, and what it must keep to, stands there.

mod attempt;
mod callback;
mod calls;
pub mod config;
mod drill;
mod exporting;
pub mod faults;
mod onboarding;
mod operation;
mod orgs;
mod permit;
mod prediction;
mod promotion;
mod pulse;
mod services;
mod step;
mod training;

use std::sync::Arc;

use leadline_domain::{Code, Failure};
use leadline_lake::LakeError;
use leadline_learning::LearningError;
use leadline_secrets::SecretsError;
use leadline_workflows::Lane;
use temporalio_sdk::WorkerOptions;

pub use config::{HeavyPerTenant, StepConfig};
pub use drill::DrillActivities;
pub use exporting::{ExportActivities, ExtractionActivities};
pub use onboarding::OnboardActivities;
pub use operation::{OperationActivities, closing};
pub use prediction::PredictActivities;
pub use promotion::PromoteActivities;
pub use services::{Parts, Services};
pub use training::{FitActivities, TrainActivities};

/// Registers the activities of one lane with its worker.
pub fn register(options: &mut WorkerOptions, lane: Lane, services: &Arc<Services>) {
    let shared = || Arc::clone(services);
    match lane {
        Lane::Light => {
            options
                .register_activities(OperationActivities(shared()))
                .register_activities(OnboardActivities(shared()))
                .register_activities(ExportActivities(shared()))
                .register_activities(TrainActivities(shared()))
                .register_activities(PromoteActivities(shared()))
                .register_activities(PredictActivities(shared()))
                .register_activities(DrillActivities(shared()));
        }
        Lane::Extraction => {
            options.register_activities(ExtractionActivities(shared()));
        }
        Lane::Compute => {
            options.register_activities(FitActivities(shared()));
        }
    }
}

fn lake(error: LakeError) -> Failure {
    error.failure()
}

fn secrets(error: SecretsError) -> Failure {
    error.failure()
}

fn learning(error: LearningError) -> Failure {
    // Equal rows make equal trees: the learner would refuse them again.
    let code = if matches!(error, LearningError::Trees { .. }) { Code::StepDefect } else { error.code() };
    Failure::new(code, error.to_string())
}

#[cfg(test)]
mod tests {
    use leadline_domain::Class;

    use super::*;

    #[test]
    fn what_the_tree_learner_refuses_is_not_tried_again() {
        let refused = learning(LearningError::Trees { reason: "nan in the gradient".to_owned() });
        assert_eq!((refused.code, refused.class()), (Code::StepDefect, Class::Terminal));
    }
}
