//! The steps of `onboard_tenant`.

use std::sync::Arc;

use bytes::Bytes;
use leadline_domain::{Code, Failure};
use leadline_lake::Prefix;
use leadline_secrets::Purpose;
use leadline_store::{sealed_secrets, tenants};
use leadline_workflows::{
    StepInput,
    onboard_tenant::{
        ActivateTenant, CreateDataKey, CreateLakePrefix, DestroyDataKey, DiscardTenant, RemoveLakePrefix, VerifiedOrg, VerifyOrg,
    },
};
use temporalio_macros::activities;
use temporalio_sdk::activities::{ActivityContext, ActivityError};

use crate::{
    attempt::{Attempt, Done, Undoing},
    lake, secrets,
    services::Services,
};

/// The object that claims a tenant's prefix.
const MARKER: &str = "tenant.json";
const DATA_KEY_BYTES: usize = 32;

pub struct OnboardActivities(pub(crate) Arc<Services>);

#[activities]
impl OnboardActivities {
    #[activity(definition = VerifyOrg)]
    pub async fn verify_org(self: Arc<Self>, ctx: ActivityContext, input: StepInput<()>) -> Result<VerifiedOrg, ActivityError> {
        self.0.step(ctx, input, verify_org).await
    }

    #[activity(definition = DiscardTenant)]
    pub async fn discard_tenant(self: Arc<Self>, ctx: ActivityContext, input: StepInput<()>) -> Result<(), ActivityError> {
        self.0.undo(ctx, input, discard_tenant).await
    }

    #[activity(definition = CreateDataKey)]
    pub async fn create_data_key(self: Arc<Self>, ctx: ActivityContext, input: StepInput<()>) -> Result<(), ActivityError> {
        self.0.step(ctx, input, create_data_key).await
    }

    #[activity(definition = DestroyDataKey)]
    pub async fn destroy_data_key(self: Arc<Self>, ctx: ActivityContext, input: StepInput<()>) -> Result<(), ActivityError> {
        self.0.undo(ctx, input, destroy_data_key).await
    }

    #[activity(definition = CreateLakePrefix)]
    pub async fn create_lake_prefix(self: Arc<Self>, ctx: ActivityContext, input: StepInput<()>) -> Result<(), ActivityError> {
        self.0.step(ctx, input, create_lake_prefix).await
    }

    #[activity(definition = RemoveLakePrefix)]
    pub async fn remove_lake_prefix(self: Arc<Self>, ctx: ActivityContext, input: StepInput<()>) -> Result<(), ActivityError> {
        self.0.undo(ctx, input, remove_lake_prefix).await
    }

    #[activity(definition = ActivateTenant)]
    pub async fn activate_tenant(self: Arc<Self>, ctx: ActivityContext, input: StepInput<()>) -> Result<(), ActivityError> {
        self.0.step(ctx, input, activate_tenant).await
    }
}

/// The identity call proves the token, the describe that the user may read.
async fn verify_org(attempt: Attempt, (): ()) -> Result<Done<VerifiedOrg>, Failure> {
    let services = attempt.services();
    // What is cached may have been signed in by an onboarding that was undone.
    services.forget_org(attempt.tenant());
    let client = attempt.org().await?;
    let identity = client.identity().await?;
    let (schema, _) = client.describe(&services.config.probe_object).await?.to_schema();
    let verified = VerifiedOrg {
        org_id: identity.org_id.as_str().to_owned(),
        fields: u32::try_from(schema.fields.len()).unwrap_or(u32::MAX),
    };
    let mut tx = attempt.fence().await?;
    tenants::set_org(&mut tx, client.instance_url().as_str().trim_end_matches('/'), &verified.org_id).await?;
    attempt.finish(tx, &verified).await
}

async fn discard_tenant(undoing: Undoing, (): ()) -> Result<(), Failure> {
    let mut tx = undoing.begin().await?;
    tenants::discard(&mut tx, &undoing.operation.operation).await?;
    tx.commit().await?;
    undoing.services().forget_org(undoing.tenant());
    Ok(())
}

async fn create_data_key(attempt: Attempt, (): ()) -> Result<Done<()>, Failure> {
    let mut key = zeroize::Zeroizing::new([0_u8; DATA_KEY_BYTES]);
    rand::fill(&mut key[..]);
    let sealed = attempt.services().keyring.seal(attempt.tenant(), Purpose::TenantDataKey, &key[..]).map_err(secrets)?;
    let mut tx = attempt.fence().await?;
    sealed_secrets::put_if_absent(&mut tx, Purpose::TenantDataKey, &sealed).await?;
    attempt.finish(tx, &()).await
}

async fn destroy_data_key(undoing: Undoing, (): ()) -> Result<(), Failure> {
    let mut tx = undoing.begin().await?;
    sealed_secrets::delete(&mut tx, Purpose::TenantDataKey).await?;
    Ok(tx.commit().await?)
}

async fn create_lake_prefix(attempt: Attempt, (): ()) -> Result<Done<()>, Failure> {
    let prefix = Prefix::tenant(attempt.tenant());
    let marker = serde_json::json!({ "tenant": attempt.tenant(), "operation": attempt.operation().operation });
    let key = prefix.key(MARKER).map_err(lake)?;
    let objects = &attempt.services().lake;
    let tx = attempt.fence().await?;
    let outcome = async {
        let mut tx = tx;
        objects.put_if_absent(&key, Bytes::from(marker.to_string())).await.map_err(lake)?;
        tenants::set_lake_prefix(&mut tx, prefix.as_str()).await?;
        attempt.finish(tx, &()).await
    };
    let outcome = outcome.await;
    let take_back = async { objects.delete(&key).await.map_err(lake) };
    attempt.or_take_back(outcome, attempt.is_closed(), take_back).await
}

async fn remove_lake_prefix(undoing: Undoing, (): ()) -> Result<(), Failure> {
    let key = Prefix::tenant(undoing.tenant()).key(MARKER).map_err(lake)?;
    undoing.services().lake.delete(&key).await.map_err(lake)
}

async fn activate_tenant(attempt: Attempt, (): ()) -> Result<Done<()>, Failure> {
    let mut tx = attempt.fence().await?;
    let tenant = tenants::get(&mut tx, attempt.tenant()).await?;
    if tenant.org_id.is_none() {
        return Err(Failure::new(Code::TenantNotReady, format!("the org of tenant {} was never verified", tenant.id)));
    }
    tenants::activate(&mut tx).await?;
    attempt.finish_pivot(tx, &()).await
}
