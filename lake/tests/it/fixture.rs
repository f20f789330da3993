//! One embedded S3 with its own directory for each test, and a client for it.

use std::path::Path;

use aws_sdk_s3::{
    Client,
    config::{BehaviorVersion, Credentials, Region},
};
use leadline_domain::{
    OperationId, TenantId,
    value::{Field, FieldType, ObjectSchema, Value},
};
use leadline_lake::{
    Lake, LakeConfig, PartInfo, PartWriter,
    embedded::{self, EmbeddedConfig, Running},
};

pub const BUCKET: &str = "leadline";
const ACCESS_KEY: &str = "test-access-key";
const SECRET_KEY: &str = "test-secret-key";

pub struct Fixture {
    pub directory: tempfile::TempDir,
    pub server: Running,
    pub lake: Lake,
    pub tenant: TenantId,
    pub operation: OperationId,
}

impl Fixture {
    pub async fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let server = serve(directory.path()).await;
        let lake = Lake::connect(&config(&server, SECRET_KEY)).unwrap();
        lake.ensure_bucket().await.unwrap();
        Self { directory, server, lake, tenant: TenantId::random(), operation: OperationId::random() }
    }

    /// Stops the server and starts another one on the same directory.
    pub async fn restart(self) -> Self {
        let Self { directory, server, tenant, operation, .. } = self;
        server.stop().await;
        let server = serve(directory.path()).await;
        let lake = Lake::connect(&config(&server, SECRET_KEY)).unwrap();
        Self { directory, server, lake, tenant, operation }
    }

    /// The bare SDK, for what leadline's own client never sends.
    pub fn sdk(&self) -> Client {
        Client::from_conf(
            aws_sdk_s3::Config::builder()
                .behavior_version(BehaviorVersion::latest())
                .http_client(aws_smithy_http_client::Builder::new().build_http())
                .endpoint_url(format!("http://{}", self.server.addr()))
                .region(Region::new("us-east-1"))
                .credentials_provider(Credentials::new(ACCESS_KEY, SECRET_KEY, None, None, "test"))
                .force_path_style(true)
                .build(),
        )
    }

    pub async fn part(&self, epoch: i64, number: u32, rows: Vec<Vec<Value>>) -> PartInfo {
        let dataset = self.operation.dataset();
        let mut writer = PartWriter::new(&self.lake, &self.tenant, &dataset, epoch, number, &schema()).unwrap();
        for batch in rows.chunks(1000) {
            writer.append(batch.to_vec()).await.unwrap();
        }
        writer.finish().await.unwrap()
    }
}

pub async fn serve(root: &Path) -> Running {
    let listen = "127.0.0.1:0".parse().unwrap();
    let (access_key, secret_key) = (ACCESS_KEY.to_owned(), SECRET_KEY.to_owned());
    embedded::serve(EmbeddedConfig { root: root.to_owned(), listen, access_key, secret_key }).await.unwrap()
}

pub fn config(server: &Running, secret_key: &str) -> LakeConfig {
    LakeConfig {
        endpoint: Some(format!("http://{}", server.addr()).parse().unwrap()),
        region: "us-east-1".to_owned(),
        bucket: BUCKET.to_owned(),
        access_key: Some(ACCESS_KEY.to_owned()),
        secret_key: Some(secret_key.to_owned()),
        path_style: true,
    }
}

pub fn schema() -> ObjectSchema {
    let field = |name: &str, field_type| Field { name: name.into(), label: name.into(), field_type, nullable: true };
    ObjectSchema {
        object: "Lead".into(),
        fields: vec![field("Id", FieldType::Reference), field("Amount", FieldType::Number), field("Notes", FieldType::Text)],
    }
}

/// Rows that differ from each other; `Notes` is null in every third.
pub fn rows(range: std::ops::Range<u64>) -> Vec<Vec<Value>> {
    let note = |n: u64| if n.is_multiple_of(3) { Value::Null } else { Value::Text(format!("note é {n}")) };
    range.map(|n| vec![Value::Text(format!("00Q{n:015}")), Value::Number(n as f64 / 7.0), note(n)]).collect()
}
