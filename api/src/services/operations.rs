//! Reading, listing and cancelling operations.

use leadline_domain::{Code, Failure, OperationId, OperationKind, OperationState};
use leadline_proto::v1::{
    self, AbandonOperationRequest, CancelOperationRequest, GetOperationRequest, ListOperationAuditRequest,
    ListOperationAuditResponse, ListOperationsRequest, ListOperationsResponse, MoveOperationRequest,
    ResolveParkedOperationsRequest, ResolveParkedOperationsResponse, RetryOperationRequest, SkipOperationRequest,
    operations_server::Operations,
};
use leadline_store::{
    audit,
    operations::{self, Operation, OperationFilter},
};
use tonic::{Request, Response, Status};

use super::{Facade, answer, short_text, started};
use crate::{
    caller::{Call, Scope},
    layers::observation::note_operation,
    shapes,
};

#[tonic::async_trait]
impl Operations for Facade {
    async fn get_operation(&self, request: Request<GetOperationRequest>) -> Result<Response<v1::Operation>, Status> {
        answer(self.read_operation(request.into_inner()).await.map(shapes::operation))
    }

    async fn list_operations(&self, request: Request<ListOperationsRequest>) -> Result<Response<ListOperationsResponse>, Status> {
        answer(self.page_of_operations(request.into_inner()).await)
    }

    async fn list_operation_audit(
        &self,
        request: Request<ListOperationAuditRequest>,
    ) -> Result<Response<ListOperationAuditResponse>, Status> {
        answer(self.page_of_audit(request.into_inner()).await)
    }

    async fn cancel_operation(&self, request: Request<CancelOperationRequest>) -> Result<Response<v1::Operation>, Status> {
        started(self.ask_to_cancel(request.into_inner()).await)
    }

    async fn retry_operation(&self, request: Request<RetryOperationRequest>) -> Result<Response<v1::Operation>, Status> {
        started(self.retry(request.into_inner()).await)
    }

    async fn skip_operation(&self, request: Request<SkipOperationRequest>) -> Result<Response<v1::Operation>, Status> {
        started(self.skip(request.into_inner()).await)
    }

    async fn abandon_operation(&self, request: Request<AbandonOperationRequest>) -> Result<Response<v1::Operation>, Status> {
        started(self.abandon(request.into_inner()).await)
    }

    async fn move_operation(&self, request: Request<MoveOperationRequest>) -> Result<Response<v1::Operation>, Status> {
        started(self.move_to_build(request.into_inner()).await)
    }

    async fn resolve_parked_operations(
        &self,
        request: Request<ResolveParkedOperationsRequest>,
    ) -> Result<Response<ResolveParkedOperationsResponse>, Status> {
        answer(self.resolve_parked(request.into_inner()).await)
    }
}

impl Facade {
    async fn read_operation(&self, request: GetOperationRequest) -> Result<Operation, Failure> {
        let call = Call::current()?;
        self.operation_of(&call, &operation_id(&request.operation_id)?).await
    }

    /// The operation, if this caller may see it.
    pub(super) async fn operation_of(&self, call: &Call, id: &OperationId) -> Result<Operation, Failure> {
        match &call.caller.scope {
            Scope::Operator => Ok(operations::get(&mut self.store.operator().await?, id).await?),
            Scope::Tenant(tenant) => Ok(operations::get(&mut self.store.tenant_read(tenant).await?, id).await?),
        }
    }

    async fn page_of_operations(&self, request: ListOperationsRequest) -> Result<ListOperationsResponse, Failure> {
        let call = Call::current()?;
        let tenant = match request.tenant_id.as_str() {
            "" => None,
            named => Some(call.caller.tenant(named)?),
        };
        let filter = OperationFilter {
            tenant,
            kind: shapes::filter(request.kind, &OperationKind::ALL, "kind", shapes::operation_kind)?,
            state: shapes::filter(request.state, &OperationState::ALL, "state", shapes::operation_state)?,
            code: code(&request.code)?,
            created_after: shapes::instant(request.created_after, "createdAfter")?,
            created_before: shapes::instant(request.created_before, "createdBefore")?,
        };
        let page = shapes::page(request.page_size, request.page_token)?;
        let page = match &call.caller.scope {
            Scope::Operator => operations::list(&mut self.store.operator().await?, &filter, &page).await?,
            Scope::Tenant(tenant) => operations::list(&mut self.store.tenant_read(tenant).await?, &filter, &page).await?,
        };
        let page = page.map(shapes::operation);
        Ok(ListOperationsResponse { operations: page.items, next_page_token: page.next_token })
    }

    async fn page_of_audit(&self, request: ListOperationAuditRequest) -> Result<ListOperationAuditResponse, Failure> {
        let operation = self.read_operation(GetOperationRequest { operation_id: request.operation_id }).await?;
        let page = shapes::page(request.page_size, request.page_token)?;
        let mut tx = self.store.tenant_read(&operation.tenant).await?;
        let page = audit::list(&mut tx, Some(&operation.id), &page).await?.map(shapes::audit_entry);
        Ok(ListOperationAuditResponse { entries: page.items, next_page_token: page.next_token })
    }

    /// The request is written down, with who and why, before Temporal hears of it: the answer needs no Temporal.
    async fn ask_to_cancel(&self, request: CancelOperationRequest) -> Result<Operation, Failure> {
        let call = Call::current()?;
        let id = operation_id(&request.operation_id)?;
        short_text(&request.reason, 500, "reason")?;
        note_operation(id.as_str());
        let found = self.operation_of(&call, &id).await?;
        let mut tx = self.store.tenant(&found.tenant).await?;
        let operation = operations::request_cancel(&mut tx, &id, call.caller.key.as_str(), &request.reason).await?;
        tx.commit().await?;
        self.starter.cancel(&operation);
        Ok(operation)
    }
}

/// The code that a list is narrowed to.
fn code(text: &str) -> Result<Option<Code>, Failure> {
    match text {
        "" => Ok(None),
        named => named.parse().map(Some).map_err(|_| Failure::new(Code::InvalidArgument, "code is none of the error reference")),
    }
}

/// A text that is no operation's id names no operation.
pub(super) fn operation_id(text: &str) -> Result<OperationId, Failure> {
    text.parse().map_err(|_| Failure::new(Code::OperationNotFound, "no such operation"))
}
