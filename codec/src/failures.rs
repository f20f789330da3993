//! Failures: the code stays readable, the message does not.

use leadline_domain::{Code, TenantId};
use serde_json::json;
use temporalio_common::{
    data_converters::{
        DefaultFailureConverter, FailureConverter, GenericPayloadConverter as _, PayloadConversionError, PayloadConverter,
        SerializationContext, SerializationContextData,
    },
    error::{ApplicationFailure, IncomingError, OutgoingActivityError, OutgoingError},
    protos::temporal::api::{
        common::v1::Payload,
        failure::v1::{Failure, failure::FailureInfo},
    },
};

use crate::stamp::{STAMP, stamp};

/// What stands in the place of a message that has no code of leadline's.
const HIDDEN: &str = "encoded failure";

/// Moves message and stack trace of failures into a payload, which the codec encrypts, and leaves the code in their place.
///
/// As the SDK's own converter does with `encode_common_attributes`, so that the Temporal UI, its CLI and every SDK show what was
/// moved once the payload is decoded; but the SDK leaves a fixed text behind, and an operator without the codec would not see why
/// a run has failed. The failures that the server itself makes (timeouts, terminations) say nothing of anybody and stay as they are.
pub struct CodedFailures;

impl FailureConverter for CodedFailures {
    fn to_failure(&self, error: OutgoingError, converter: &PayloadConverter, context: &SerializationContextData) -> Failure {
        let mut failure = DefaultFailureConverter::default().to_failure(error, converter, context);
        hide(&mut failure, converter, context);
        failure
    }

    fn to_error(
        &self,
        failure: Failure,
        converter: &PayloadConverter,
        context: &SerializationContextData,
    ) -> Result<IncomingError, PayloadConversionError> {
        DefaultFailureConverter::default().to_error(failure, converter, context)
    }
}

/// Says whose a failure is, by its details: the one part of it that an interceptor can reach. A failure without details stays the
/// platform's.
pub fn stamp_failure(failure: Box<ApplicationFailure>, tenant: Option<&TenantId>) -> Box<ApplicationFailure> {
    let (plain, converter, context) =
        (DefaultFailureConverter::default(), PayloadConverter::default(), SerializationContextData::None);
    let outgoing = OutgoingError::Activity(OutgoingActivityError::Application(failure));
    let mut converted = plain.to_failure(outgoing, &converter, &context);
    details(&mut converted).iter_mut().for_each(|payload| stamp(payload, tenant));
    match plain.to_error(converted, &converter, &context) {
        Ok(IncomingError::Application(stamped)) => Box::new(stamped),
        // An application failure reads back as one; anything else would be a change of the SDK's.
        _ => Box::new(ApplicationFailure::new("a failure could not be converted")),
    }
}

fn hide(failure: &mut Failure, converter: &PayloadConverter, context: &SerializationContextData) {
    if let Some(cause) = failure.cause.as_deref_mut() {
        hide(cause, converter, context);
    }
    if !matches!(failure.failure_info, None | Some(FailureInfo::ApplicationFailureInfo(_))) {
        return;
    }
    let shown = code_of(failure).map_or(HIDDEN, Code::as_str);
    let attributes = json!({
        "message": std::mem::replace(&mut failure.message, shown.to_owned()),
        "stack_trace": std::mem::take(&mut failure.stack_trace),
    });
    let stamped = details(failure).first().and_then(|payload| payload.metadata.get(STAMP)).cloned();
    // Texts always convert. If ever not, the message is lost rather than sent in plain.
    let encoded = converter.to_payload(&SerializationContext::new(context, converter), &attributes).ok();
    failure.encoded_attributes = encoded.map(|mut payload| {
        payload.metadata.extend(stamped.map(|tenant| (STAMP.to_owned(), tenant)));
        payload
    });
}

/// A failure's type is its code; where a type cannot be given, as with a rejected update, its message begins with the code.
fn code_of(failure: &Failure) -> Option<Code> {
    let named = match &failure.failure_info {
        Some(FailureInfo::ApplicationFailureInfo(info)) => info.r#type.parse().ok(),
        _ => None,
    };
    named.or_else(|| failure.message.split(':').next()?.parse().ok())
}

fn details(failure: &mut Failure) -> &mut [Payload] {
    match &mut failure.failure_info {
        Some(FailureInfo::ApplicationFailureInfo(info)) => info.details.as_mut().map_or(&mut [], |details| &mut details.payloads),
        _ => &mut [],
    }
}

#[cfg(test)]
mod tests {
    use temporalio_common::{
        data_converters::{ActivitySerializationContext, NoopDecodeHint},
        error::OutgoingWorkflowError,
        payload_visitor::{decode_payloads, encode_payloads},
    };

    use super::*;
    use crate::{SCOPE, data_converter};

    fn context() -> SerializationContextData {
        SerializationContextData::Activity(ActivitySerializationContext::new())
    }

    #[tokio::test]
    async fn the_code_of_a_failure_stays_readable_and_its_message_comes_back() {
        let converter = data_converter(&leadline_secrets::Keyring::generate().unwrap());
        let tenant = TenantId::random();
        let reported = ApplicationFailure::builder("CSV_MALFORMED: a quote in line 4 is never closed")
            .type_name("CSV_MALFORMED".to_owned())
            .non_retryable(true)
            .details(vec![7u64])
            .build();
        let stamped = stamp_failure(Box::new(reported), Some(&tenant));
        let mut failure = converter.to_failure(&context(), OutgoingError::Activity(OutgoingActivityError::Application(stamped)));
        encode_payloads(&mut failure, converter.codec(), &context()).await.unwrap();
        assert_eq!((failure.message.as_str(), failure.stack_trace.as_str()), ("CSV_MALFORMED", ""));
        assert!(!format!("{failure:?}").contains("quote"));
        let attributes = failure.encoded_attributes.clone().unwrap();
        let mine = tenant.as_str().as_bytes();
        assert_eq!((attributes.metadata[SCOPE].as_slice(), details(&mut failure)[0].metadata[SCOPE].as_slice()), (mine, mine));

        decode_payloads(&mut failure, converter.codec(), &context()).await.unwrap();
        let read = converter.to_error(&context(), failure, NoopDecodeHint).unwrap();
        let IncomingError::Application(read) = read else { panic!("{read:?}") };
        assert_eq!(read.to_string(), "CSV_MALFORMED: a quote in line 4 is never closed");
        assert_eq!((read.type_name(), read.is_non_retryable()), (Some("CSV_MALFORMED"), true));
        assert_eq!(read.details::<Vec<u64>>().unwrap(), Some(vec![7]));
    }

    #[tokio::test]
    async fn a_message_without_a_code_is_hidden_whole_and_one_that_begins_with_a_code_shows_it() {
        let converter = data_converter(&leadline_secrets::Keyring::generate().unwrap());
        let shown = |message: &'static str| {
            let failure = OutgoingWorkflowError::Application(Box::new(ApplicationFailure::new(message)));
            let failure = converter.to_failure(&context(), OutgoingError::Workflow(failure));
            assert!(failure.encoded_attributes.is_some() && failure.cause.is_none(), "{failure:?}");
            failure.message
        };
        assert_eq!(shown("INVALID_ARGUMENT: the step cannot be skipped"), "INVALID_ARGUMENT");
        assert_eq!(shown("invalid type: string \"Jo\", expected u64"), HIDDEN);
    }
}
