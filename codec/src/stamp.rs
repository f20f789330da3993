//! Whose a payload is, said by whoever makes it.

use leadline_domain::TenantId;
use temporalio_common::{
    data_converters::{
        GenericPayloadConverter as _, PayloadConversionError, SerializationContext, TemporalDeserializable, TemporalSerializable,
    },
    protos::temporal::api::common::v1::Payload,
};

/// Metadata of a payload between its converter and its codec. It never reaches the server.
pub(crate) const STAMP: &str = "leadline-tenant";

/// A value that belongs to a tenant. Reading it back takes a value with or without a stamp, and keeps none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stamped<T> {
    /// `None`: the platform's.
    pub tenant: Option<TenantId>,
    pub value: T,
}

impl<T> Stamped<T> {
    /// A value of a workflow's run, by the workflow's id.
    pub fn of_run(workflow_id: &str, value: T) -> Self {
        Self { tenant: tenant_of(workflow_id), value }
    }
}

impl<T: TemporalSerializable + 'static> TemporalSerializable for Stamped<T> {
    fn to_payload(&self, context: &SerializationContext<'_>) -> Result<Payload, PayloadConversionError> {
        let mut payload = context.converter.to_payload(context, &self.value)?;
        stamp(&mut payload, self.tenant.as_ref());
        Ok(payload)
    }
}

impl<T: TemporalDeserializable + 'static> TemporalDeserializable for Stamped<T> {
    fn from_payload(context: &SerializationContext<'_>, payload: Payload) -> Result<Self, PayloadConversionError> {
        Ok(Self { tenant: None, value: context.converter.from_payload(context, payload)? })
    }
}

/// Says whose a payload is; without a tenant it stays the platform's.
pub fn stamp(payload: &mut Payload, tenant: Option<&TenantId>) {
    if let Some(tenant) = tenant {
        payload.metadata.insert(STAMP.to_owned(), tenant.as_str().as_bytes().to_vec());
    }
}

/// The tenant in a workflow's id, which is kind, tenant and operation.
pub fn tenant_of(workflow_id: &str) -> Option<TenantId> {
    let mut parts = workflow_id.split('/').skip(1);
    let tenant = parts.next()?;
    parts.next()?;
    tenant.parse().ok()
}

#[cfg(test)]
mod tests {
    use leadline_domain::{OperationId, OperationKind, OperationRef};

    use super::*;

    #[test]
    fn a_workflows_id_names_its_tenant() {
        let (tenant, operation) = (TenantId::random(), OperationId::random());
        let id = OperationRef { tenant: tenant.clone(), operation, kind: OperationKind::TrainModel }.workflow_id();
        assert_eq!(tenant_of(&id), Some(tenant.clone()));
        for other in ["", "train_model", "a/b/c", &format!("train_model/{tenant}")] {
            assert_eq!(tenant_of(other), None, "{other}");
        }
    }
}
