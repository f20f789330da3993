//! One port: gRPC and REST behind the same layers; health, metrics and the contract itself in the open.

use std::{net::SocketAddr, sync::Arc};

use axum::{
    Router,
    extract::{Path, Request},
    http::header,
    middleware::{from_fn, from_fn_with_state},
    response::{IntoResponse, Response},
    routing::get,
    serve::ListenerExt,
};
use leadline_domain::{Code, Failure};
use leadline_proto::v1::{
    __rest_over_grpc_bridge_Drills::DrillsRestBridge, __rest_over_grpc_bridge_Exports::ExportsRestBridge,
    __rest_over_grpc_bridge_Models::ModelsRestBridge, __rest_over_grpc_bridge_Operations::OperationsRestBridge,
    __rest_over_grpc_bridge_Predictions::PredictionsRestBridge, __rest_over_grpc_bridge_Tenants::TenantsRestBridge,
    __rest_over_grpc_bridge_TrainingRuns::TrainingRunsRestBridge, drills_server::DrillsServer, exports_server::ExportsServer,
    models_server::ModelsServer, operations_server::OperationsServer, predictions_server::PredictionsServer,
    tenants_server::TenantsServer, training_runs_server::TrainingRunsServer,
};
use leadline_secrets::Keyring;
use leadline_serving::Predictor;
use leadline_store::Store;
use leadline_telemetry::metrics as page;
use rest_over_grpc::transcoding::Transcode;
use thiserror::Error;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tracing::{info, warn};

use crate::{
    codec::{self, Codec},
    config::ApiConfig,
    failures::{Origin, problem},
    health::{self, Health},
    keys::Keys,
    layers::{self, authentication, guard, observation, rate},
    metrics,
    reference::error_section,
    rest,
    services::Facade,
    starter::Starter,
    temporal::Temporal,
};

/// What the API stands on.
#[derive(Clone)]
pub struct Services {
    pub store: Store,
    pub keyring: Arc<Keyring>,
    pub predictor: Arc<Predictor>,
    pub temporal: Temporal,
}

/// Why the API could not be served.
#[derive(Debug, Error)]
pub enum ApiError {
    #[error("cannot listen on {address}: {source}")]
    Listen { address: SocketAddr, source: std::io::Error },
    #[error(
        "the codec endpoint without a key is for loopback, and {address} is not: leave --codec-keyless out, or listen on 127.0.0.1"
    )]
    OpenCodec { address: SocketAddr },
    #[error("cannot describe the services for reflection: {0}")]
    Reflection(#[from] tonic_reflection::server::Error),
    #[error("the server stopped: {0}")]
    Serve(std::io::Error),
}

/// The API on its port, not yet answering.
pub struct Api {
    listener: TcpListener,
    address: SocketAddr,
    config: ApiConfig,
    services: Services,
}

impl Api {
    /// Takes the port. Nothing is answered until [`Api::serve`].
    ///
    /// # Errors
    /// [`ApiError::OpenCodec`] when the codec endpoint would decode for anybody who can reach it; [`ApiError::Listen`].
    pub async fn bind(config: ApiConfig, services: Services) -> Result<Self, ApiError> {
        refuse_open_codec(&config)?;
        let refused = |source| ApiError::Listen { address: config.listen, source };
        let listener = TcpListener::bind(config.listen).await.map_err(refused)?;
        let address = listener.local_addr().map_err(refused)?;
        metrics::install();
        Ok(Self { listener, address, config, services })
    }

    /// Where it listens: the port is known here when the configuration left it open.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Answers until `shutdown` completes, then lets what is under way finish for [`ApiConfig::drain`].
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn serve(self, shutdown: impl Future<Output = ()> + Send) -> Result<(), ApiError> {
        let Self { listener, address, config, services } = self;
        let starter = Starter::new(services.store.clone(), services.temporal.clone());
        let health = Health::new(services.store.clone(), services.temporal.clone());
        let (reporter, health_service) = tonic_health::server::health_reporter();
        let open = open_routes(health.clone())?.merge(Routes::new(health_service).into_axum_router().reset_fallback());
        let keys = Arc::new(Keys::new(services.store.clone(), config.key_cache));
        let codec = codec_routes(&config, &services, &keys);
        let router =
            open.merge(codec).merge(closed_routes(&config, &services, &starter, keys)).layer(from_fn(observation::observe));

        let stop = CancellationToken::new();
        let sweeper = tokio::spawn(starter.clone().sweep(config.sweep, stop.clone()));
        health.report(&reporter).await;
        let reports = tokio::spawn(health.clone().keep_reporting(reporter, config.health_interval, stop.clone()));
        let listener = listener.tap_io(|stream| {
            // Small answers must not wait for Nagle's algorithm; a socket that refuses this still works.
            let _ = stream.set_nodelay(true);
        });
        let draining = stop.clone();
        let server = axum::serve(listener, router).with_graceful_shutdown(async move { draining.cancelled().await });
        info!(%address, "serving gRPC and REST");
        let served = run(server.into_future(), shutdown, &health, &stop, &config).await;
        stop.cancel();
        let _ = tokio::join!(sweeper, reports);
        if tokio::time::timeout(config.drain, starter.settle()).await.is_err() {
            warn!("starts were cut off; the next sweep repeats them");
        }
        served
    }
}

/// Whoever reaches a codec endpoint without a key reads every tenant's histories.
fn refuse_open_codec(config: &ApiConfig) -> Result<(), ApiError> {
    if config.codec.keyless && !config.listen.ip().is_loopback() {
        return Err(ApiError::OpenCodec { address: config.listen });
    }
    Ok(())
}

async fn run(
    server: impl Future<Output = std::io::Result<()>>,
    shutdown: impl Future<Output = ()>,
    health: &Health,
    stop: &CancellationToken,
    config: &ApiConfig,
) -> Result<(), ApiError> {
    let mut server = std::pin::pin!(server);
    tokio::select! {
        ended = &mut server => return ended.map_err(ApiError::Serve),
        () = shutdown => {}
    }
    health.begin_draining();
    stop.cancel();
    match tokio::time::timeout(config.drain, server).await {
        Ok(ended) => ended.map_err(ApiError::Serve),
        Err(_) => {
            warn!(seconds = config.drain.as_secs(), "connections were still open after the drain time");
            Ok(())
        }
    }
}

/// What needs no key: it tells nothing about any tenant.
fn open_routes(health: Health) -> Result<Router, ApiError> {
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(leadline_proto::FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .build_v1()?;
    let json = [(header::CONTENT_TYPE, "application/json")];
    let text = [(header::CONTENT_TYPE, page::CONTENT_TYPE)];
    let checked = Router::new().route("/health/ready", get(health::ready)).with_state(health);
    let router = Router::new()
        .route("/health/live", get(health::live))
        .route("/openapi.json", get(move || async move { (json, leadline_proto::OPENAPI) }))
        .route("/metrics", get(move || async move { (text, page::page()) }))
        .route("/errors/{code}", get(error_page));
    Ok(router.merge(checked).merge(Routes::new(reflection).into_axum_router().reset_fallback()))
}

/// The section of the error reference that a problem's `type` refers to.
async fn error_page(Path(code): Path<String>, request: Request) -> Response {
    let found = code.parse::<Code>().ok().and_then(|code| Some((code, error_section(code)?)));
    match found {
        Some((code, text)) => {
            ([(header::CONTENT_TYPE, "text/markdown; charset=utf-8")], format!("## {code}\n{text}\n")).into_response()
        }
        None => problem(&Failure::new(Code::NotFound, "no such error code"), &layers::origin(&request)),
    }
}

/// The services, on both transports, behind every layer.
fn closed_routes(config: &ApiConfig, services: &Services, starter: &Starter, keys: Arc<Keys>) -> Router {
    let facade = Facade {
        store: services.store.clone(),
        keyring: services.keyring.clone(),
        predictor: services.predictor.clone(),
        starter: starter.clone(),
        claim_lifetime: config.claim_lifetime,
        daily_api_calls: config.daily_api_calls,
        version: config.version.clone(),
    };
    let limits = limits(config);
    grpc_routes(&facade, config.max_body_bytes)
        .fallback(rest_entry(facade, config.max_body_bytes))
        // The last layer is the outermost.
        .layer(from_fn_with_state(rate::Limiter::new(config.rate), rate::limit_rate))
        .layer(from_fn_with_state(keys, authentication::authenticate))
        .layer(from_fn_with_state(limits, guard::limit_size))
        .layer(from_fn_with_state(limits, guard::limit_time))
        .layer(from_fn(guard::catch_panic))
}

/// The codec endpoint, which asks for its key by itself: a browser's preflight shows none.
fn codec_routes(config: &ApiConfig, services: &Services, keys: &Arc<Keys>) -> Router {
    let codec = Codec::new(&services.keyring, services.temporal.namespace(), config.codec.clone(), keys.clone());
    codec::routes(codec, config.max_body_bytes)
        .layer(from_fn_with_state(limits(config), guard::limit_size))
        .layer(from_fn_with_state(limits(config), guard::limit_time))
        .layer(from_fn(guard::catch_panic))
}

fn limits(config: &ApiConfig) -> guard::Limits {
    guard::Limits { max_body_bytes: config.max_body_bytes, request_timeout: config.request_timeout }
}

fn grpc_routes(facade: &Facade, max_body: usize) -> Router {
    Routes::new(TenantsServer::new(facade.clone()).max_decoding_message_size(max_body))
        .add_service(DrillsServer::new(facade.clone()).max_decoding_message_size(max_body))
        .add_service(ExportsServer::new(facade.clone()).max_decoding_message_size(max_body))
        .add_service(TrainingRunsServer::new(facade.clone()).max_decoding_message_size(max_body))
        .add_service(ModelsServer::new(facade.clone()).max_decoding_message_size(max_body))
        .add_service(PredictionsServer::new(facade.clone()).max_decoding_message_size(max_body))
        .add_service(OperationsServer::new(facade.clone()).max_decoding_message_size(max_body))
        .prepare()
        .into_axum_router()
}

/// Everything that is no gRPC call: transcoded into the same services.
fn rest_entry(facade: Facade, max_body: usize) -> impl Fn(Request) -> RestAnswer + Clone {
    let transcoder = Arc::new(transcoder(facade));
    move |request: Request| {
        let transcoder = transcoder.clone();
        Box::pin(async move {
            let origin = layers::origin(&request);
            if layers::is_grpc(&request) {
                return unknown_method(&origin);
            }
            rest::serve(request, &*transcoder, max_body, &origin).await
        })
    }
}

type RestAnswer = std::pin::Pin<Box<dyn Future<Output = Response> + Send>>;

/// A gRPC call of a service that is not here.
fn unknown_method(origin: &Origin) -> Response {
    crate::failures::reject(&Failure::new(Code::MethodNotAllowed, "no such service or method"), true, origin)
}

/// The bridges go past tonic's interceptors; authentication stands before both, in the layers.
fn transcoder(facade: Facade) -> impl Transcode + Send {
    leadline_proto::rest::Transcoder::new(
        OperationsRestBridge::externally_authenticated(facade.clone()),
        TenantsRestBridge::externally_authenticated(facade.clone()),
        DrillsRestBridge::externally_authenticated(facade.clone()),
        ExportsRestBridge::externally_authenticated(facade.clone()),
        TrainingRunsRestBridge::externally_authenticated(facade.clone()),
        ModelsRestBridge::externally_authenticated(facade.clone()),
        PredictionsRestBridge::externally_authenticated(facade),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::CodecConfig;

    #[test]
    fn a_codec_endpoint_without_a_key_does_not_start_where_others_reach_it() {
        let config = |listen: &str, keyless| ApiConfig {
            listen: listen.parse().unwrap(),
            codec: CodecConfig { keyless, ..CodecConfig::default() },
            ..ApiConfig::default()
        };
        for (listen, keyless) in [("127.0.0.1:7200", true), ("[::1]:7200", true), ("0.0.0.0:7200", false)] {
            assert!(refuse_open_codec(&config(listen, keyless)).is_ok(), "{listen}");
        }
        for listen in ["0.0.0.0:7200", "[::]:7200", "192.0.2.7:7200"] {
            let refused = refuse_open_codec(&config(listen, true)).unwrap_err().to_string();
            assert!(refused.contains("--codec-keyless") && refused.contains(listen), "{refused}");
        }
    }
}
