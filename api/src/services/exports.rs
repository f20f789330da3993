//! Exports and the data sets that they make.

use leadline_domain::{Code, DatasetId, Failure, OperationId, OperationKind, operation::ExportDataset};
use leadline_proto::v1::{
    self, Export, GetExportRequest, ListExportsRequest, ListExportsResponse, StartExportRequest, exports_server::Exports,
};
use leadline_store::{
    consents,
    datasets::{self, Dataset, DatasetState, NewDataset},
    operations::{IdempotencyScope, Operation},
    tenants,
};
use tonic::{Request, Response, Status};

use super::{Facade, answer, api_name, invalid, started};
use crate::{
    acceptance::{Start, accept},
    caller::Call,
    shapes,
};

/// Fields that one export may name; an object of Salesforce has at most 800 custom fields.
const MAX_FIELDS: usize = 1000;

#[tonic::async_trait]
impl Exports for Facade {
    async fn start_export(&self, request: Request<StartExportRequest>) -> Result<Response<v1::Operation>, Status> {
        started(self.accept_export(request.into_inner()).await)
    }

    async fn get_export(&self, request: Request<GetExportRequest>) -> Result<Response<Export>, Status> {
        answer(self.read_export(request.into_inner()).await)
    }

    async fn list_exports(&self, request: Request<ListExportsRequest>) -> Result<Response<ListExportsResponse>, Status> {
        answer(self.page_of_exports(request.into_inner()).await)
    }
}

impl Facade {
    async fn accept_export(&self, request: StartExportRequest) -> Result<Operation, Failure> {
        let call = Call::current()?;
        let tenant = call.caller.tenant(&request.tenant_id)?;
        check_selection(&request)?;
        let id = OperationId::random();
        let mut tx = self.store.tenant(&tenant).await?;
        let consent_version = consents::current_locked(&mut tx).await?.map(|consent| consent.version);
        let params = ExportDataset {
            dataset: id.dataset(),
            object: request.object.clone(),
            fields: request.fields.clone(),
            consent_version: consent_version.unwrap_or_default(),
        };
        let start = Start {
            id: id.clone(),
            kind: OperationKind::ExportDataset,
            rpc: "StartExport",
            scope: IdempotencyScope::Tenant,
            request: &request,
            params: &params,
            consent_version,
        };
        let accepted = accept(&mut tx, &call, start).await?;
        if !accepted.replayed {
            tenants::active(&mut tx, &tenant).await?;
            let consent = consents::require(&mut tx, "allowExport", |grant| grant.allow_export).await?;
            let new = NewDataset { id: id.dataset(), operation: id, object: request.object, consent_version: consent.version };
            datasets::begin(&mut tx, &new).await?;
        }
        tx.commit().await?;
        self.starter.launch(&accepted.operation);
        Ok(accepted.operation)
    }

    async fn read_export(&self, request: GetExportRequest) -> Result<Export, Failure> {
        let tenant = Call::current()?.caller.tenant(&request.tenant_id)?;
        let missing = || Failure::new(Code::ExportNotFound, "no such export");
        let id: DatasetId = request.dataset_id.parse().map_err(|_| missing())?;
        let mut tx = self.store.tenant_read(&tenant).await?;
        let dataset = datasets::find(&mut tx, &id).await?.ok_or_else(missing)?;
        Ok(export(dataset))
    }

    async fn page_of_exports(&self, request: ListExportsRequest) -> Result<ListExportsResponse, Failure> {
        let tenant = Call::current()?.caller.tenant(&request.tenant_id)?;
        let page = shapes::page(request.page_size, request.page_token)?;
        let mut tx = self.store.tenant_read(&tenant).await?;
        tenants::get(&mut tx, &tenant).await?;
        let page = datasets::list(&mut tx, &page).await?.map(export);
        Ok(ListExportsResponse { exports: page.items, next_page_token: page.next_token })
    }
}

fn check_selection(request: &StartExportRequest) -> Result<(), Failure> {
    api_name(&request.object, "object")?;
    if request.fields.len() > MAX_FIELDS {
        return Err(invalid(format!("an export names at most {MAX_FIELDS} fields")));
    }
    for (i, field) in request.fields.iter().enumerate() {
        api_name(field, "a field")?;
        if request.fields[..i].contains(field) {
            return Err(invalid(format!("field {field} is named twice")));
        }
    }
    Ok(())
}

fn export(row: Dataset) -> Export {
    Export {
        dataset_id: row.id.to_string(),
        operation_id: row.operation.to_string(),
        object: row.object,
        committed: row.state == DatasetState::Committed,
        row_count: row.row_count,
        byte_count: row.byte_count,
        content_address: row.content_address.unwrap_or_default(),
        schema_hash: row.schema_hash.unwrap_or_default(),
        consent_version: row.consent_version,
        create_time: Some(row.created_at.into()),
        commit_time: shapes::stamp(row.committed_at),
    }
}
