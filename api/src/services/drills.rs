//! Drills: what operators practise on.

use leadline_domain::{
    Failure, OperationId, OperationKind,
    operation::{DrillWait, RunDrill},
};
use leadline_proto::v1::{self, StartDrillRequest, drills_server::Drills};
use leadline_store::{
    operations::{IdempotencyScope, Operation},
    tenants,
};
use tonic::{Request, Response, Status};

use super::{Facade, invalid, started};
use crate::{
    acceptance::{Start, accept},
    caller::Call,
};

#[tonic::async_trait]
impl Drills for Facade {
    async fn start_drill(&self, request: Request<StartDrillRequest>) -> Result<Response<v1::Operation>, Status> {
        started(self.accept_drill(request.into_inner()).await)
    }
}

impl Facade {
    async fn accept_drill(&self, request: StartDrillRequest) -> Result<Operation, Failure> {
        let call = Call::current()?;
        let tenant = call.caller.tenant(&request.tenant_id)?;
        let params = RunDrill { wait_at: wait_of(request.wait_at)? };
        let start = Start {
            id: OperationId::random(),
            kind: OperationKind::RunDrill,
            rpc: "StartDrill",
            scope: IdempotencyScope::Tenant,
            request: &request,
            params: &params,
            consent_version: None,
        };
        let mut tx = self.store.tenant(&tenant).await?;
        let accepted = accept(&mut tx, &call, start).await?;
        if !accepted.replayed {
            tenants::active(&mut tx, &tenant).await?;
        }
        tx.commit().await?;
        self.starter.launch(&accepted.operation);
        Ok(accepted.operation)
    }
}

fn wait_of(value: i32) -> Result<DrillWait, Failure> {
    match v1::DrillWait::try_from(value).map_err(|_| invalid("waitAt has no such value"))? {
        v1::DrillWait::Unspecified | v1::DrillWait::BeforePivot => Ok(DrillWait::BeforePivot),
        v1::DrillWait::AfterPivot => Ok(DrillWait::AfterPivot),
        v1::DrillWait::Undo => Ok(DrillWait::Undo),
        v1::DrillWait::Nowhere => Ok(DrillWait::Nowhere),
    }
}
