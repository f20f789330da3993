//! Connects a tenant's org: proves the credentials against the org itself, gives the tenant its key and its place in the lake,
//! and activates it. Half a tenant cannot exist: whatever stops the run before activation deletes the tenant and its secrets.
//!
//! Happy path: verify the org with a real token and a describe, create the data key, create the lake prefix, activate.
//!
//! ```text
//!   (accepted: tenant row 'onboarding' and sealed secrets)
//!      verify_org ─► create_data_key ─► create_lake_prefix ─► activate_tenant ═pivot═► Succeeded
//!                          ▲                   ▲
//!                   destroy_data_key   remove_lake_prefix         (undos, right to left; last of all discard_tenant)
//! ```
//!
//! When it stops: `SALESFORCE_AUTH_REFUSED` means that the org refused the key or the user; mend the connected app and create
//! the tenant again. `TENANT_EXISTS` means that the org is connected already, under another name.

use leadline_domain::operation::OnboardTenant;
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};
use temporalio_macros::activity_definitions;
use temporalio_sdk::activities::ActivityError;

use crate::{envelope::StepInput, parking::SagaWorkflow, saga::Saga, saga_workflow::saga_workflow, stop::Stop};

/// What the org said of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerifiedOrg {
    pub org_id: String,
    /// Fields of the probed object that can be exported.
    pub fields: u32,
}

pub struct OnboardSteps;

#[activity_definitions]
impl OnboardSteps {
    /// Signs in, describes an object, and notes org id and instance URL in the tenant's row.
    #[activity(name = "verify_org")]
    pub fn verify_org(_: StepInput<()>) -> Result<VerifiedOrg, ActivityError> {
        unimplemented!()
    }

    /// Deletes the tenant's row with its secrets.
    #[activity(name = "discard_tenant")]
    pub fn discard_tenant(_: StepInput<()>) -> Result<(), ActivityError> {
        unimplemented!()
    }

    #[activity(name = "create_data_key")]
    pub fn create_data_key(_: StepInput<()>) -> Result<(), ActivityError> {
        unimplemented!()
    }

    #[activity(name = "destroy_data_key")]
    pub fn destroy_data_key(_: StepInput<()>) -> Result<(), ActivityError> {
        unimplemented!()
    }

    /// Puts the marker that claims the tenant's prefix.
    #[activity(name = "create_lake_prefix")]
    pub fn create_lake_prefix(_: StepInput<()>) -> Result<(), ActivityError> {
        unimplemented!()
    }

    #[activity(name = "remove_lake_prefix")]
    pub fn remove_lake_prefix(_: StepInput<()>) -> Result<(), ActivityError> {
        unimplemented!()
    }

    #[activity(name = "activate_tenant")]
    pub fn activate_tenant(_: StepInput<()>) -> Result<(), ActivityError> {
        unimplemented!()
    }
}

pub use onboard_steps::{
    ActivateTenant, CreateDataKey, CreateLakePrefix, DestroyDataKey, DiscardTenant, RemoveLakePrefix, VerifyOrg,
};

saga_workflow!(OnboardTenantSaga, "onboard_tenant", OnboardTenant, onboard_tenant);

async fn onboard_tenant<W: SagaWorkflow>(saga: &mut Saga<W>, _: OnboardTenant) -> Result<Json, Stop> {
    saga.accepted(OnboardSteps::discard_tenant, ());
    let org = saga.step(OnboardSteps::verify_org, ()).nothing_to_undo().await?;
    saga.step(OnboardSteps::create_data_key, ()).undo(OnboardSteps::destroy_data_key, ()).await?;
    saga.step(OnboardSteps::create_lake_prefix, ()).undo(OnboardSteps::remove_lake_prefix, ()).await?;
    saga.pivot(OnboardSteps::activate_tenant, ()).await?;
    Ok(json!({ "tenant_id": saga.operation().tenant, "org_id": org.org_id }))
}
