//! What a build of the workers is called.

use std::fmt;

use temporalio_common::{
    protos::temporal::api::deployment::v1::WorkerDeploymentVersion as ApiVersion,
    worker::{VersioningBehavior, WorkerDeploymentOptions, WorkerDeploymentVersion},
};

/// A build of the workers, by the deployment that it belongs to and its own id. Runs are pinned to it: they end on the code that
/// they began on, whatever is deployed meanwhile.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Version {
    deployment: String,
    build_id: String,
}

/// A name that Temporal would not take.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a deployment or build is named by 1 to 200 letters, digits, `-` and `_`; in a build id also `.` and `+`")]
pub struct InvalidName;

impl Version {
    /// The deployment that all of leadline's workers belong to, where nothing else is said.
    pub const DEPLOYMENT: &'static str = "leadline";

    /// # Errors
    /// [`InvalidName`].
    pub fn new(deployment: &str, build_id: &str) -> Result<Self, InvalidName> {
        check_deployment(deployment)?;
        check_build_id(build_id)?;
        Ok(Self { deployment: deployment.to_owned(), build_id: build_id.to_owned() })
    }

    pub fn deployment(&self) -> &str {
        &self.deployment
    }

    pub fn build_id(&self) -> &str {
        &self.build_id
    }

    /// How Temporal's visibility names it in the attribute `BuildIds` of the runs that are pinned to it.
    pub(super) fn pinned(&self) -> String {
        format!("pinned:{}:{}", self.deployment, self.build_id)
    }

    pub(super) fn to_api(&self) -> ApiVersion {
        ApiVersion { deployment_name: self.deployment.clone(), build_id: self.build_id.clone() }
    }

    /// What a worker of this build says of itself. Every saga is pinned.
    pub(crate) fn options(&self) -> WorkerDeploymentOptions {
        let version = WorkerDeploymentVersion::builder().deployment_name(&self.deployment).build_id(&self.build_id).build();
        WorkerDeploymentOptions::new(version)
            .use_worker_versioning(true)
            .default_versioning_behavior(VersioningBehavior::Pinned)
            .build()
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.deployment, self.build_id)
    }
}

/// # Errors
/// [`InvalidName`]; the server parts deployment and build by a dot or a colon.
pub fn check_deployment(name: &str) -> Result<(), InvalidName> {
    check(name, "-_")
}

/// # Errors
/// [`InvalidName`]; the name also stands between quotes in visibility queries.
pub fn check_build_id(name: &str) -> Result<(), InvalidName> {
    check(name, "-_.+")
}

fn check(name: &str, marks: &str) -> Result<(), InvalidName> {
    let allowed = name.chars().all(|c| c.is_ascii_alphanumeric() || marks.contains(c));
    let reserved = name.starts_with("__");
    if (1..=200).contains(&name.len()) && allowed && !reserved { Ok(()) } else { Err(InvalidName) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_would_be_read_as_something_else_is_refused() {
        assert_eq!(Version::new("leadline", "2026.11.25+8679405").unwrap().pinned(), "pinned:leadline:2026.11.25+8679405");
        for (deployment, build_id) in
            [("leadline.eu", "1"), ("", "1"), ("leadline", ""), ("leadline", "a:b"), ("leadline", "a'b")]
        {
            assert_eq!(Version::new(deployment, build_id), Err(InvalidName), "{deployment} {build_id}");
        }
        assert!(Version::new("leadline", "__unversioned__").is_err() && Version::new("leadline", &"x".repeat(201)).is_err());
    }
}
