use std::path::PathBuf;

use leadline_domain::{Code, Failure};

/// Why a key file or a seal cannot be used. No variant carries key material or plaintext.
#[derive(Debug, thiserror::Error)]
pub enum SecretsError {
    #[error("key file {} cannot be {action}: {source}", path.display())]
    KeyFile { path: PathBuf, action: &'static str, source: std::io::Error },
    #[error("key file {} can be read by others (mode {mode:o}): set its mode to 600", path.display())]
    KeyFileExposed { path: PathBuf, mode: u32 },
    /// The JSON does not describe a keyring. The parser's own message may quote the text, so it is not repeated.
    #[error("{origin} does not hold a keyring: {problem}")]
    Malformed { origin: String, problem: &'static str },
    #[error("environment variable {0} is not set")]
    VariableMissing(String),
    #[error("key {0} is not in the keyring; the secret was sealed with another key file, or its key was removed too early")]
    UnknownKey(String),
    #[error("the current key {0} cannot be removed from the keyring")]
    CurrentKey(String),
    /// Wrong tenant, wrong purpose, or changed bytes: the cipher cannot tell which.
    #[error("a {purpose} sealed with key {key_id} does not open: it belongs to another tenant or purpose, or was changed")]
    Unopened { purpose: &'static str, key_id: String },
    /// Another tenant's payload, or changed bytes.
    #[error("a payload of {scope} encrypted with key {key_id} does not open: it belongs to another tenant, or was changed")]
    PayloadUnopened { scope: String, key_id: String },
    #[error("the system's random number generator gave nothing")]
    NoRandomness,
}

impl SecretsError {
    pub fn failure(&self) -> Failure {
        let code = match self {
            Self::NoRandomness => Code::Internal,
            _ => Code::SecretUnreadable,
        };
        Failure::new(code, self.to_string())
    }
}

impl From<SecretsError> for Failure {
    fn from(error: SecretsError) -> Self {
        error.failure()
    }
}
