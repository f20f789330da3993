//! A server with a database of its own for each test, over one cluster and one object store for the whole run.

use std::{
    num::NonZeroU32,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use leadline_api::{Api, ApiConfig, RateLimit, Services, Temporal};
use leadline_domain::{ConsentGrant, OperationId, OperationKind, TenantId, operation::OnboardTenant};
use leadline_lake::{
    Lake, LakeConfig,
    embedded::{self, EmbeddedConfig},
};
use leadline_secrets::{ApiKey, Keyring};
use leadline_serving::{Predictor, ServingConfig};
use leadline_store::{
    Store, StoreConfig,
    api_keys::{self, KeyScope},
    cluster::{ClusterConfig, PrivateCluster, RunningCluster},
    consents,
    migrate::{OPERATOR_ROLE, RolePasswords, TENANT_ROLE, migrate},
    operations::{self, NewOperation},
    tenants::{self, NewTenant, OrgConnection},
};
use reqwest::{Method, StatusCode, header::HeaderMap};
use serde_json::Value as Json;
use temporalio_client::ConnectionOptions;
use tokio::{runtime::Runtime, sync::oneshot};

const PASSWORD: &str = "only-for-tests";
const S3_KEY: &str = "test-access-key";

/// What outlives the tests: it runs on a runtime of its own, since each test's runtime ends with it.
struct Ground {
    _runtime: Runtime,
    cluster: RunningCluster,
    object_store: embedded::Running,
    _directory: tempfile::TempDir,
}

fn ground() -> &'static Ground {
    static GROUND: OnceLock<Ground> = OnceLock::new();
    GROUND.get_or_init(|| std::thread::spawn(lay_ground).join().expect("cluster and object store start"))
}

fn lay_ground() -> Ground {
    // reqwest is built without a TLS provider of its own.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = Runtime::new().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let cluster = runtime.block_on(PrivateCluster::start(&ClusterConfig::disposable())).unwrap();
    let config = EmbeddedConfig {
        root: directory.path().to_owned(),
        listen: "127.0.0.1:0".parse().unwrap(),
        access_key: S3_KEY.into(),
        secret_key: PASSWORD.into(),
    };
    let object_store = runtime.block_on(embedded::serve(config)).unwrap();
    Ground { _runtime: runtime, cluster, object_store, _directory: directory }
}

/// One API with its database.
pub struct World {
    pub store: Store,
    pub lake: Lake,
    pub base: String,
    pub operator: Caller,
    owner_url: String,
    stop: Option<oneshot::Sender<()>>,
    server: Option<tokio::task::JoinHandle<()>>,
}

/// Somebody with an API key.
#[derive(Clone)]
pub struct Caller {
    http: reqwest::Client,
    base: String,
    pub key: Option<String>,
}

/// An answer with its body read as JSON, where it is JSON.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Json,
}

impl Answer {
    /// The code of a problem, after checking that it is one.
    #[track_caller]
    pub fn problem(&self) -> (u16, &str) {
        assert_eq!(self.headers["content-type"], "application/problem+json", "{self:?}");
        assert_eq!(self.body["status"], self.status.as_u16(), "{self:?}");
        for field in ["type", "title", "detail", "instance", "requestId"] {
            assert!(self.body[field].is_string(), "{field} is missing: {self:?}");
        }
        (self.status.as_u16(), self.body["code"].as_str().expect("a problem has its code"))
    }

    #[track_caller]
    pub fn expect(self, status: u16) -> Json {
        assert_eq!(self.status.as_u16(), status, "{:?}", self.body);
        self.body
    }
}

impl World {
    pub async fn new() -> Self {
        Self::with(|_| {}).await
    }

    /// A world whose API is configured otherwise.
    pub async fn with(adjust: impl FnOnce(&mut ApiConfig)) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let ground = ground();
        let database = format!("api_{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let owner_url = ground.cluster.ensure_database(&database).await.unwrap();
        migrate(&owner_url, Some(&RolePasswords { tenant: PASSWORD.into(), operator: PASSWORD.into() })).await.unwrap();
        let store = Store::connect(&StoreConfig {
            tenant_url: ground.cluster.url(TENANT_ROLE, PASSWORD, &database),
            operator_url: ground.cluster.url(OPERATOR_ROLE, PASSWORD, &database),
            max_connections: 5,
            acquire_timeout: Duration::from_secs(30),
        })
        .await
        .unwrap();
        let lake = lake(&database.replace('_', "-")).await;
        let mut config = ApiConfig {
            listen: "127.0.0.1:0".parse().unwrap(),
            rate: RateLimit { per_second: NonZeroU32::MAX, burst: NonZeroU32::MAX },
            key_cache: Duration::ZERO,
            ..ApiConfig::default()
        };
        adjust(&mut config);
        let keyring = Arc::new(Keyring::generate().unwrap());
        let services = Services {
            store: store.clone(),
            predictor: Arc::new(Predictor::new(store.clone(), lake.clone(), ServingConfig::default())),
            temporal: no_temporal(&keyring),
            keyring: Arc::clone(&keyring),
        };
        let api = Api::bind(config, services).await.unwrap();
        let base = format!("http://{}", api.local_addr());
        let (stop, stopped) = oneshot::channel();
        let server = tokio::spawn(async move {
            let stopped = async move { drop(stopped.await) };
            api.serve(stopped).await.expect("the API serves until it is stopped");
        });
        let operator = Caller::with_key(&base, new_key(&store, &KeyScope::Operator).await.1);
        Self { store, lake, base, operator, owner_url, stop: Some(stop), server: Some(server) }
    }

    /// An onboarded tenant with this consent, and the holder of a key to it.
    pub async fn tenant(&self, name: &str, grant: Option<ConsentGrant>) -> (TenantId, Caller) {
        let (tenant, operation) = (TenantId::random(), OperationId::random());
        let mut tx = self.store.operator_for(&tenant).await.unwrap();
        let new = NewOperation {
            id: operation.clone(),
            kind: OperationKind::OnboardTenant,
            params: serde_json::to_value(OnboardTenant {}).unwrap(),
            requested_by: "test".into(),
            consent_version: None,
        };
        operations::accept(&mut tx, &new, None).await.unwrap();
        let connection = OrgConnection {
            login_url: "http://127.0.0.1:1".into(),
            client_id: "client".into(),
            username: "user".into(),
            audience: "http://127.0.0.1:1".into(),
        };
        let row = NewTenant { name: name.into(), display_name: name.into(), connection, created_by: operation };
        tenants::insert(&mut tx, &row).await.unwrap();
        tenants::activate(&mut tx).await.unwrap();
        if let Some(grant) = grant {
            consents::record(&mut tx, grant, "test", "").await.unwrap();
        }
        tx.commit().await.unwrap();
        let key = new_key(&self.store, &KeyScope::Tenant(tenant.clone())).await.1;
        (tenant, Caller::with_key(&self.base, key))
    }

    pub fn stranger(&self) -> Caller {
        Caller { key: None, ..self.operator.clone() }
    }

    /// One number out of the database, as its owner.
    pub async fn count(&self, sql: &'static str) -> i64 {
        use sqlx::Connection as _;
        let mut connection = sqlx::PgConnection::connect(&self.owner_url).await.unwrap();
        // The owner is bound by row-level security as well (it is FORCEd), but for a superuser.
        sqlx::query_scalar(sql).fetch_one(&mut connection).await.unwrap()
    }

    pub async fn stop(mut self) {
        let _ = self.stop.take().unwrap().send(());
        self.server.take().unwrap().await.unwrap();
    }
}

/// A new key with its id.
pub async fn new_key(store: &Store, scope: &KeyScope) -> (leadline_domain::ApiKeyId, String) {
    let key = ApiKey::generate().unwrap();
    let mut tx = store.operator().await.unwrap();
    api_keys::create(&mut tx, &key, scope, "test", None).await.unwrap();
    tx.commit().await.unwrap();
    (key.id().clone(), key.reveal().to_string())
}

async fn lake(bucket: &str) -> Lake {
    let endpoint = format!("http://{}", ground().object_store.addr()).parse().unwrap();
    let lake = Lake::connect(&LakeConfig {
        endpoint: Some(endpoint),
        region: "us-east-1".into(),
        bucket: bucket.into(),
        access_key: Some(S3_KEY.into()),
        secret_key: Some(PASSWORD.into()),
        path_style: true,
    })
    .unwrap();
    lake.ensure_bucket().await.unwrap();
    lake
}

/// Nothing listens on port 1: Temporal is away.
fn no_temporal(keyring: &Keyring) -> Temporal {
    let nowhere = ConnectionOptions::new("http://127.0.0.1:1".parse::<url::Url>().unwrap()).build();
    Temporal::lazy(nowhere, "default", keyring)
}

impl Caller {
    pub fn with_key(base: &str, key: String) -> Self {
        Self { http: reqwest::Client::new(), base: base.to_owned(), key: Some(key) }
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, None, &[]).await
    }

    pub async fn post(&self, path: &str, body: &Json) -> Answer {
        self.send(Method::POST, path, Some(body.to_string()), &[]).await
    }

    pub async fn post_once(&self, path: &str, key: &str, body: &Json) -> Answer {
        self.send(Method::POST, path, Some(body.to_string()), &[("Idempotency-Key", key)]).await
    }

    pub async fn send(&self, method: Method, path: &str, body: Option<String>, headers: &[(&str, &str)]) -> Answer {
        let mut request = self.http.request(method, format!("{}{path}", self.base));
        if let Some(key) = &self.key {
            request = request.bearer_auth(key);
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(body) = body {
            request = request.header("content-type", "application/json").body(body);
        }
        let answer = request.send().await.expect("the API answers");
        let (status, headers) = (answer.status(), answer.headers().clone());
        let text = answer.text().await.expect("an answer is text");
        let body = serde_json::from_str(&text).unwrap_or(Json::String(text));
        Answer { status, headers, body }
    }
}
