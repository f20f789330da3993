//! gRPC and REST are one service.

use leadline_domain::ConsentGrant;
use leadline_proto::v1::{
    GetOperationRequest, ListOperationsRequest, StartExportRequest, exports_client::ExportsClient,
    operations_client::OperationsClient,
};
use serde_json::json;
use tokio_stream::StreamExt;
use tonic::{Code, Request, metadata::MetadataValue, transport::Channel};
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};
use tonic_reflection::pb::v1::{
    ServerReflectionRequest, server_reflection_client::ServerReflectionClient, server_reflection_request::MessageRequest,
    server_reflection_response::MessageResponse,
};

use crate::world::{Caller, World};

async fn channel(world: &World) -> Channel {
    Channel::from_shared(world.base.clone()).unwrap().connect().await.unwrap()
}

fn signed<T>(caller: &Caller, message: T) -> Request<T> {
    let mut request = Request::new(message);
    let bearer = format!("Bearer {}", caller.key.as_ref().unwrap());
    request.metadata_mut().insert("authorization", bearer.parse().unwrap());
    request
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_accepted_over_one_transport_is_read_over_the_other() {
    let world = World::new().await;
    let (tenant, caller) = world.tenant("acme", Some(ConsentGrant::ALL)).await;
    let channel = channel(&world).await;
    let message = StartExportRequest { tenant_id: tenant.to_string(), object: "Lead".into(), fields: vec!["Id".into()] };
    let mut request = signed(&caller, message);
    request.metadata_mut().insert("idempotency-key", MetadataValue::from_static("one"));
    let operation = ExportsClient::new(channel.clone()).start_export(request).await.unwrap().into_inner();

    let rest = caller.get(&format!("/v1/operations/{}", operation.operation_id)).await.expect(200);
    let get = GetOperationRequest { operation_id: operation.operation_id.clone() };
    let grpc = OperationsClient::new(channel).get_operation(signed(&caller, get)).await.unwrap().into_inner();
    assert_eq!(serde_json::to_value(&grpc).unwrap(), rest);

    // The same request under the same key is the same operation, whatever the transport and the spelling.
    let body = json!({"fields": ["Id"], "object": "Lead"});
    let again = caller.post_once(&format!("/v1/tenants/{tenant}/exports"), "one", &body).await.expect(202);
    assert_eq!(again["operationId"], operation.operation_id.as_str());
}

fn coded(status: &tonic::Status) -> (Code, &str) {
    (status.code(), status.metadata().get("leadline-code").unwrap().to_str().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grpc_error_carries_the_code_of_its_problem() {
    let world = World::new().await;
    let (tenant, caller) = world.tenant("acme", None).await;
    let mut operations = OperationsClient::new(channel(&world).await);
    let unsigned = operations.get_operation(GetOperationRequest::default()).await.unwrap_err();
    assert_eq!(coded(&unsigned), (Code::Unauthenticated, "UNAUTHENTICATED"));
    let missing = operations.get_operation(signed(&caller, GetOperationRequest { operation_id: "x".into() })).await.unwrap_err();
    assert_eq!(coded(&missing), (Code::NotFound, "OPERATION_NOT_FOUND"));
    assert!(!missing.details().is_empty(), "google.rpc.Status with ErrorInfo");
    let strange = ListOperationsRequest { kind: 99, ..Default::default() };
    assert_eq!(operations.list_operations(signed(&caller, strange)).await.unwrap_err().code(), Code::InvalidArgument);
    let large = StartExportRequest { tenant_id: tenant.to_string(), object: "x".repeat(10 << 20), fields: vec![] };
    let refused = ExportsClient::new(channel(&world).await).start_export(signed(&caller, large)).await.unwrap_err();
    assert!(matches!(refused.code(), Code::OutOfRange | Code::ResourceExhausted), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn reflection_lists_the_services_and_health_says_they_serve() {
    let world = World::new().await;
    let channel = channel(&world).await;
    let list =
        ServerReflectionRequest { host: String::new(), message_request: Some(MessageRequest::ListServices(String::new())) };
    let mut answers =
        ServerReflectionClient::new(channel.clone()).server_reflection_info(tokio_stream::once(list)).await.unwrap().into_inner();
    let answer = answers.next().await.unwrap().unwrap().message_response.unwrap();
    let MessageResponse::ListServicesResponse(listed) = answer else { panic!("{answer:?}") };
    let names: Vec<_> = listed.service.iter().map(|s| s.name.as_str()).collect();
    for service in ["Tenants", "Exports", "TrainingRuns", "Models", "Predictions", "Operations"] {
        assert!(names.contains(&format!("leadline.v1.{service}").as_str()), "{names:?}");
    }
    assert!(names.contains(&"grpc.health.v1.Health"), "{names:?}");

    let check = HealthCheckRequest { service: "leadline.v1.Predictions".into() };
    let health = HealthClient::new(channel).check(check).await.unwrap().into_inner();
    assert_eq!(health.status(), ServingStatus::Serving);
}
