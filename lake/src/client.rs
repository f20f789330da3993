//! The connection to object storage: one bucket, path style or not, over plain HTTP on loopback and TLS elsewhere.

use std::{fmt, time::Duration};

use aws_credential_types::Credentials;
use aws_sdk_s3::{
    Client,
    config::{
        BehaviorVersion, Region, RequestChecksumCalculation, ResponseChecksumValidation, retry::RetryConfig,
        timeout::TimeoutConfig,
    },
    error::SdkError,
    operation::create_bucket::CreateBucketError,
    primitives::ByteStream,
    types::{BucketLocationConstraint, CreateBucketConfiguration},
};
use aws_smithy_http_client::{Builder, tls};
use url::Url;

use crate::LakeError;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// Of one attempt, the transfer of a part included.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(60);
const ATTEMPTS: u32 = 3;
/// The region whose buckets are made without naming it.
const DEFAULT_REGION: &str = "us-east-1";

#[derive(Clone)]
pub struct LakeConfig {
    /// `None` for AWS itself.
    pub endpoint: Option<Url>,
    pub region: String,
    pub bucket: String,
    /// Both keys or neither; without them `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY` and `AWS_SESSION_TOKEN` count.
    pub access_key: Option<String>,
    pub secret_key: Option<String>,
    pub path_style: bool,
}

impl fmt::Debug for LakeConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LakeConfig")
            .field("endpoint", &self.endpoint.as_ref().map(Url::as_str))
            .field("region", &self.region)
            .field("bucket", &self.bucket)
            .field("path_style", &self.path_style)
            .finish_non_exhaustive()
    }
}

impl LakeConfig {
    fn credentials(&self) -> Result<Credentials, LakeError> {
        if let (Some(access_key), Some(secret_key)) = (&self.access_key, &self.secret_key) {
            return Ok(Credentials::new(access_key, secret_key, None, None, "leadline configuration"));
        }
        let environment = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        match (environment("AWS_ACCESS_KEY_ID"), environment("AWS_SECRET_ACCESS_KEY")) {
            (Some(access_key), Some(secret_key)) => {
                let token = environment("AWS_SESSION_TOKEN");
                Ok(Credentials::new(access_key, secret_key, token, None, "environment"))
            }
            _ => Err(LakeError::Invalid {
                what: "the configuration of object storage".to_owned(),
                reason: "neither it nor the environment (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY) holds a pair of keys"
                    .to_owned(),
            }),
        }
    }
}

/// A bucket that holds every tenant's data sets and artifacts. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Lake {
    pub(crate) client: Client,
    pub(crate) bucket: String,
}

impl Lake {
    /// Sets the client up; nothing is sent yet.
    ///
    /// # Errors
    /// [`LakeError::Invalid`] without credentials.
    pub fn connect(config: &LakeConfig) -> Result<Self, LakeError> {
        // The root certificates of the system are only loaded where TLS is spoken: a bare machine may have none.
        let plain = config.endpoint.as_ref().is_some_and(|url| url.scheme() == "http");
        let http = if plain {
            Builder::new().build_http()
        } else {
            Builder::new().tls_provider(tls::Provider::Rustls(tls::rustls_provider::CryptoMode::Ring)).build_https()
        };
        let mut sdk = aws_sdk_s3::Config::builder();
        sdk.set_endpoint_url(config.endpoint.as_ref().map(|url| url.as_str().trim_end_matches('/').to_owned()));
        let sdk = sdk
            .behavior_version(BehaviorVersion::latest())
            .http_client(http)
            .region(Region::new(config.region.clone()))
            .credentials_provider(config.credentials()?)
            .force_path_style(config.path_style)
            .retry_config(RetryConfig::standard().with_max_attempts(ATTEMPTS))
            .timeout_config(
                TimeoutConfig::builder().connect_timeout(CONNECT_TIMEOUT).operation_attempt_timeout(ATTEMPT_TIMEOUT).build(),
            )
            // Every body is signed by its SHA-256 and every file is checked against its own when it is read; a further
            // checksum would be computed for nothing, and many S3-compatible stores do not take it.
            .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
            .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
            .build();
        Ok(Self { client: Client::from_conf(sdk), bucket: config.bucket.clone() })
    }

    /// Makes the bucket unless it is there.
    ///
    /// # Errors
    /// [`LakeError::AlreadyExists`] when the name belongs to somebody else, and those of the connection.
    pub async fn ensure_bucket(&self) -> Result<(), LakeError> {
        let region = self.client.config().region().map_or(DEFAULT_REGION, Region::as_ref);
        let elsewhere = (region != DEFAULT_REGION)
            .then(|| CreateBucketConfiguration::builder().location_constraint(BucketLocationConstraint::from(region)).build());
        let created = self.client.create_bucket().bucket(&self.bucket).set_create_bucket_configuration(elsewhere).send().await;
        match created {
            Ok(_) => Ok(()),
            Err(SdkError::ServiceError(answer)) if matches!(answer.err(), CreateBucketError::BucketAlreadyOwnedByYou(_)) => {
                Ok(())
            }
            // Keys that may use a bucket often may not make one.
            Err(refused) => match self.head_bucket().await {
                Ok(()) => Ok(()),
                Err(LakeError::NotFound { .. }) => Err(LakeError::from_sdk("create", self.what_bucket(), refused)),
                Err(error) => Err(error),
            },
        }
    }

    /// Whether leadline can work here: the bucket answers, and of two conditional puts of one key the second is refused. A
    /// store that ignores the condition would let two attempts commit the same data set.
    ///
    /// # Errors
    /// Those of the connection; [`LakeError::NotFound`] without the bucket; [`LakeError::Invalid`] for a store that ignores
    /// conditions.
    pub async fn check(&self) -> Result<(), LakeError> {
        self.head_bucket().await?;
        // Outside of every tenant's prefix: tenant ids start otherwise.
        let probe = format!("leadline-check/{:032x}", rand::random::<u128>());
        self.put_probe(&probe).await?;
        let second = self.put_probe(&probe).await;
        let removed = self.client.delete_object().bucket(&self.bucket).key(&probe).send().await;
        removed.map_err(|error| LakeError::from_sdk("delete", &probe, error))?;
        match second {
            Err(LakeError::AlreadyExists { .. }) => Ok(()),
            Err(error) => Err(error),
            Ok(()) => Err(LakeError::Invalid {
                what: self.what_bucket(),
                reason: "it ignores conditional puts (If-None-Match), which commits rely on".to_owned(),
            }),
        }
    }

    pub fn bucket(&self) -> &str {
        &self.bucket
    }

    async fn head_bucket(&self) -> Result<(), LakeError> {
        let answer = self.client.head_bucket().bucket(&self.bucket).send().await;
        answer.map(drop).map_err(|error| LakeError::from_sdk("open", self.what_bucket(), error))
    }

    async fn put_probe(&self, key: &str) -> Result<(), LakeError> {
        let body = ByteStream::from_static(b"leadline");
        let put = self.client.put_object().bucket(&self.bucket).key(key).if_none_match("*").body(body).send().await;
        put.map(drop).map_err(|error| LakeError::from_sdk("write", key, error))
    }

    fn what_bucket(&self) -> String {
        format!("the bucket {}", self.bucket)
    }
}
