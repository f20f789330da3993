//! What every part needs to be told, as flags with environment variables; on a machine with a dev stack, found by itself.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use clap::Args;
use leadline_lake::{Lake, LakeConfig};
use leadline_secrets::Keyring;
use leadline_store::{Store, StoreConfig};
use leadline_worker::deployment::{self, Version};
use temporalio_client::{ClientOptions, ConnectionOptions, envconfig::LoadClientConfigProfileOptions};
use url::Url;

use crate::{
    client::TargetArgs,
    error::{CliError, Result},
};

/// PostgreSQL under the two roles that `leadline migrate` makes.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "PostgreSQL")]
pub struct DatabaseArgs {
    /// URL of the role leadline_tenant; that of the dev stack when absent
    #[arg(long, env = "LEADLINE_DATABASE_TENANT_URL", hide_env_values = true, value_name = "URL")]
    database_tenant_url: Option<String>,
    /// URL of the role leadline_operator; that of the dev stack when absent
    #[arg(long, env = "LEADLINE_DATABASE_OPERATOR_URL", hide_env_values = true, value_name = "URL")]
    database_operator_url: Option<String>,
    /// Connections in each of the two pools
    #[arg(long, env = "LEADLINE_DATABASE_MAX_CONNECTIONS", default_value_t = 16, value_name = "N")]
    database_max_connections: u32,
    /// Seconds to wait for a free connection before a call fails as unavailable
    #[arg(long, env = "LEADLINE_DATABASE_ACQUIRE_TIMEOUT", default_value_t = 10, value_name = "SECONDS")]
    database_acquire_timeout: u64,
}

impl DatabaseArgs {
    pub const TENANT_URL: &'static str = "LEADLINE_DATABASE_TENANT_URL";
    pub const OPERATOR_URL: &'static str = "LEADLINE_DATABASE_OPERATOR_URL";

    pub fn is_named(&self) -> bool {
        self.database_tenant_url.is_some() || self.database_operator_url.is_some()
    }

    pub fn config(&self, target: &TargetArgs) -> Result<StoreConfig> {
        let dev = target.dev_file().map(|dev| dev.database);
        let found = |given: &Option<String>, of_dev: Option<&Url>, flag: &str, env: &str| {
            given.clone().or_else(|| of_dev.map(ToString::to_string)).ok_or_else(|| {
                CliError::environment("no database was named", format!("give it with --{flag} ({env}), or start `leadline dev`"))
            })
        };
        Ok(StoreConfig {
            tenant_url: found(
                &self.database_tenant_url,
                dev.as_ref().map(|urls| &urls.tenant),
                "database-tenant-url",
                Self::TENANT_URL,
            )?,
            operator_url: found(
                &self.database_operator_url,
                dev.as_ref().map(|urls| &urls.operator),
                "database-operator-url",
                Self::OPERATOR_URL,
            )?,
            max_connections: self.database_max_connections,
            acquire_timeout: Duration::from_secs(self.database_acquire_timeout),
        })
    }

    pub fn max_connections(&self) -> u32 {
        self.database_max_connections
    }

    pub async fn connect(&self, target: &TargetArgs) -> Result<Store> {
        Ok(Store::connect(&self.config(target)?).await?)
    }
}

/// S3, or what speaks it.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "S3")]
pub struct LakeArgs {
    /// Address of the object storage; AWS itself when absent (and no dev stack runs here)
    #[arg(long, env = "LEADLINE_S3_ENDPOINT", value_name = "URL")]
    s3_endpoint: Option<Url>,
    /// Region of the bucket
    #[arg(long, env = "LEADLINE_S3_REGION", default_value = "us-east-1", value_name = "REGION")]
    s3_region: String,
    /// Where data sets and models lie
    #[arg(long, env = "LEADLINE_S3_BUCKET", default_value = "leadline", value_name = "BUCKET")]
    s3_bucket: String,
    /// Absent: AWS_ACCESS_KEY_ID counts
    #[arg(long, env = "LEADLINE_S3_ACCESS_KEY", hide_env_values = true, value_name = "KEY")]
    s3_access_key: Option<String>,
    /// Absent: AWS_SECRET_ACCESS_KEY counts
    #[arg(long, env = "LEADLINE_S3_SECRET_KEY", hide_env_values = true, value_name = "KEY")]
    s3_secret_key: Option<String>,
    /// Bucket in the path instead of the host name, as most servers that are not AWS want it
    #[arg(long, env = "LEADLINE_S3_PATH_STYLE")]
    s3_path_style: bool,
}

impl LakeArgs {
    pub const ENDPOINT: &'static str = "LEADLINE_S3_ENDPOINT";
    pub const REGION: &'static str = "LEADLINE_S3_REGION";
    pub const BUCKET: &'static str = "LEADLINE_S3_BUCKET";
    pub const ACCESS_KEY: &'static str = "LEADLINE_S3_ACCESS_KEY";
    pub const SECRET_KEY: &'static str = "LEADLINE_S3_SECRET_KEY";
    pub const PATH_STYLE: &'static str = "LEADLINE_S3_PATH_STYLE";

    pub fn is_named(&self) -> bool {
        self.s3_endpoint.is_some() || self.s3_access_key.is_some() || self.s3_secret_key.is_some()
    }

    pub fn config(&self, target: &TargetArgs) -> LakeConfig {
        if let (None, Some(dev)) = (&self.s3_endpoint, target.dev_file()) {
            let store = dev.object_store;
            return LakeConfig {
                endpoint: Some(store.endpoint),
                region: store.region,
                bucket: store.bucket,
                access_key: Some(store.access_key),
                secret_key: Some(store.secret_key),
                path_style: true,
            };
        }
        LakeConfig {
            endpoint: self.s3_endpoint.clone(),
            region: self.s3_region.clone(),
            bucket: self.s3_bucket.clone(),
            access_key: self.s3_access_key.clone(),
            secret_key: self.s3_secret_key.clone(),
            path_style: self.s3_path_style,
        }
    }

    /// A lake whose bucket is there.
    pub async fn connect(&self, target: &TargetArgs) -> Result<Lake> {
        let failed = |error: leadline_lake::LakeError| CliError::part("object storage", &error);
        let lake = Lake::connect(&self.config(target)).map_err(failed)?;
        lake.ensure_bucket().await.map_err(failed)?;
        Ok(lake)
    }
}

/// The keys that encrypt tenants' credentials.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Secrets")]
pub struct KeyringArgs {
    /// File with the key-encryption keys, mode 0600; absent: LEADLINE_KEYRING_JSON holds them, or the dev stack has the file
    #[arg(long, env = "LEADLINE_KEYRING", value_name = "FILE")]
    keyring: Option<PathBuf>,
}

impl KeyringArgs {
    pub const FILE: &'static str = "LEADLINE_KEYRING";
    const CONTENT: &str = "LEADLINE_KEYRING_JSON";

    pub fn is_named(&self) -> bool {
        self.keyring.is_some() || std::env::var_os(Self::CONTENT).is_some()
    }

    /// The keyring's file; `None` when its content is in the environment.
    pub fn file(&self, target: &TargetArgs) -> Result<Option<PathBuf>> {
        if self.keyring.is_none() && std::env::var_os(Self::CONTENT).is_some() {
            return Ok(None);
        }
        let file = self.keyring.clone().or_else(|| target.dev_file().map(|dev| dev.keyring_file));
        file.map(Some).ok_or_else(|| {
            CliError::environment(
                "no keyring was named",
                "give its file with --keyring (LEADLINE_KEYRING), its content in LEADLINE_KEYRING_JSON, or start `leadline dev`",
            )
        })
    }

    pub fn load(&self, target: &TargetArgs) -> Result<Keyring> {
        let keyring = match self.file(target)? {
            Some(file) => Keyring::load(&file),
            None => Keyring::from_env(Self::CONTENT),
        };
        keyring.map_err(|error| CliError::part("keyring", &error))
    }

    /// The keyring of a file, which is made when it is not there yet.
    pub fn load_or_create(path: &Path) -> Result<Keyring> {
        let keyring = if path.exists() { Keyring::load(path) } else { Keyring::create(path) };
        keyring.map_err(|error| CliError::part("keyring", &error))
    }
}

/// Which build this is, of which deployment.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Build")]
pub struct BuildArgs {
    #[command(flatten)]
    deployment: DeploymentArgs,
    /// This build's own id: runs that begin on its workers end on them. Absent: whatever worker comes takes a run over
    #[arg(long, env = Self::BUILD_ID, value_parser = build_id, value_name = "ID")]
    build_id: Option<String>,
}

impl BuildArgs {
    pub const BUILD_ID: &'static str = "LEADLINE_BUILD_ID";

    /// `None` when no build was named.
    pub fn version(&self) -> Option<Version> {
        self.build_id.as_ref().map(|build_id| self.deployment.version(build_id))
    }
}

/// Which deployment is meant.
#[derive(Debug, Clone, Args)]
pub struct DeploymentArgs {
    /// The worker deployment that the builds belong to
    #[arg(long, env = "LEADLINE_WORKER_DEPLOYMENT", default_value = Version::DEPLOYMENT, value_parser = deployment, value_name = "NAME")]
    pub deployment: String,
}

impl DeploymentArgs {
    pub fn version(&self, build_id: &str) -> Version {
        Version::new(&self.deployment, build_id).expect("both were checked when they were read")
    }
}

fn deployment(text: &str) -> Result<String, deployment::InvalidName> {
    deployment::check_deployment(text).map(|()| text.to_owned())
}

/// A build's id, as Temporal takes it.
pub fn build_id(text: &str) -> Result<String, deployment::InvalidName> {
    deployment::check_build_id(text).map(|()| text.to_owned())
}

/// Where Temporal is: what the standard TEMPORAL_* environment and profile file say (address, namespace, TLS, API key), or the
/// server of the dev stack when they do not name one.
pub fn temporal(target: &TargetArgs) -> Result<(ConnectionOptions, String)> {
    if let (false, Some(dev)) = (temporal_is_named(), target.dev_file()) {
        let address = Url::parse(&format!("http://{}", dev.temporal_address));
        let address = address.map_err(|error| CliError::part("the dev stack's Temporal", &error))?;
        return Ok((ConnectionOptions::new(address).build(), "default".to_owned()));
    }
    let (connection, client) = ClientOptions::load_from_config(LoadClientConfigProfileOptions::default()).map_err(|error| {
        CliError::environment(
            format!("Temporal's settings cannot be read: {error}"),
            "correct the TEMPORAL_* environment or the profile file",
        )
    })?;
    Ok((connection, client.namespace))
}

/// Whether the environment says where Temporal is.
pub fn temporal_is_named() -> bool {
    ["TEMPORAL_ADDRESS", "TEMPORAL_PROFILE", "TEMPORAL_CONFIG_FILE"].iter().any(|name| std::env::var_os(name).is_some())
}

/// The origin of a page, as browsers write it: `https://temporal.example.com`.
pub fn origin(text: &str) -> Result<String, String> {
    let url = Url::parse(text).map_err(|error| error.to_string())?;
    let origin = url.origin();
    if !origin.is_tuple() || url.path() != "/" {
        return Err("write it as scheme, host and port, such as https://temporal.example.com".to_owned());
    }
    Ok(origin.ascii_serialization())
}

/// A duration in seconds, with a fraction where needed: 5, 0.25.
pub fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "write it as seconds, such as 5 or 0.25")?;
    Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())
}
