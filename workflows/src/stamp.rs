//! A step's input is sent with a stamp that names its tenant, so that the codec encrypts it under that tenant's key.
//!
//! An interceptor could not do it: the SDK hands it the input as a value of a type that only the saga knows.

use leadline_codec::stamp;
use leadline_domain::OperationRef;
use serde::Serialize;
use temporalio_common::{
    data_converters::{GenericPayloadConverter as _, PayloadConversionError, SerializationContext, TemporalSerializable},
    protos::temporal::api::common::v1::Payload,
};

use crate::envelope::StepInput;

/// How [`StepInput`] is written.
#[derive(Serialize)]
struct Written<'a, P> {
    operation: &'a OperationRef,
    step: &'a str,
    epoch: u32,
    params: &'a P,
}

impl<P: Serialize> TemporalSerializable for StepInput<P> {
    fn to_payload(&self, context: &SerializationContext<'_>) -> Result<Payload, PayloadConversionError> {
        let Self { operation, step, epoch, params } = self;
        let written = serde_json::to_value(Written { operation, step, epoch: *epoch, params });
        let written = written.map_err(|error| PayloadConversionError::EncodingError(Box::new(error)))?;
        let mut payload = context.converter.to_payload(context, &written)?;
        stamp(&mut payload, Some(&operation.tenant));
        Ok(payload)
    }
}

#[cfg(test)]
mod tests {
    use futures::executor::block_on;
    use leadline_codec::{SCOPE, data_converter};
    use leadline_domain::{OperationId, OperationKind, TenantId};
    use leadline_secrets::Keyring;
    use temporalio_common::data_converters::{SerializationContextData, WorkflowSerializationContext};

    use super::*;

    #[test]
    fn a_steps_input_is_encrypted_for_its_tenant_and_reads_back() {
        let operation = OperationRef {
            tenant: TenantId::from_bits(1),
            operation: OperationId::from_bits(2),
            kind: OperationKind::TrainModel,
        };
        let input = StepInput { operation, step: "train".to_owned(), epoch: 2, params: vec![1.5, 0.1] };
        let converter = data_converter(&Keyring::generate().unwrap());
        let context = SerializationContextData::Workflow(WorkflowSerializationContext::new());
        let payload = block_on(converter.to_payload(&context, &input)).unwrap();
        assert_eq!(payload.metadata[SCOPE], input.operation.tenant.as_str().as_bytes());
        assert_eq!(block_on(converter.from_payload::<StepInput<Vec<f64>>>(&context, payload)).unwrap(), input);
    }
}
