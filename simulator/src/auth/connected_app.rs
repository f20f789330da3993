//! The org's identity and its one connected app, made at the first start and kept in the state directory.
//!
//! `connected-app.pem` (mode 0600) is the private key that a client signs with; `connected-app.json` (mode 0600) holds all the rest that a
//! client needs. The app is pre-authorised for the integration user, as an admin would do it for a JWT bearer flow.

use crate::error::SimulatorError;
use crate::generator::INTEGRATION_USERNAME;
use crate::ids::RecordId;
use crate::state;
use rsa::pkcs8::{EncodePrivateKey, EncodePublicKey, LineEnding};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// What a client needs to connect. [`std::fmt::Debug`] shows no secret.
#[derive(Clone, Serialize, Deserialize)]
pub struct ConnectedApp {
    /// 18 characters.
    pub org_id: String,
    /// The integration user, 18 characters.
    pub user_id: String,
    pub username: String,
    /// For SOAP login and the OAuth password flow.
    pub password: String,
    /// SOAP login takes the password with or without it.
    pub security_token: String,
    /// The consumer key: `iss` of the JWT.
    pub client_id: String,
    pub client_secret: String,
    /// Key of the HMAC-SHA256 over callbacks, hex of 32 bytes; the HMAC key is the hex text itself, as it is shown to people.
    pub callback_key: String,
    /// Where to log in: this start's plain HTTP address.
    pub login_url: String,
    /// File name of the private key, in the same folder.
    pub private_key_file: String,
    pub public_key_pem: String,
}

impl std::fmt::Debug for ConnectedApp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ConnectedApp").field("org_id", &self.org_id).field("login_url", &self.login_url).finish_non_exhaustive()
    }
}

impl ConnectedApp {
    /// Reads the app from `state_dir`, or makes it (an RSA key of 2048 bits takes up to a second).
    pub(crate) fn open(state_dir: &Path, login_url: &str) -> Result<Self, SimulatorError> {
        let path = state_dir.join("connected-app.json");
        let known: Option<Self> = state::read_json(&path).map_err(SimulatorError::file("reading", &path))?;
        let mut app = match known {
            Some(app) => app,
            None => Self::generate(state_dir)?,
        };
        app.login_url = login_url.to_owned();
        let json = serde_json::to_vec_pretty(&app).expect("the app is plain data");
        state::write_secret(&path, &json).map_err(SimulatorError::file("writing", &path))?;
        Ok(app)
    }

    fn generate(state_dir: &Path) -> Result<Self, SimulatorError> {
        let failed = |reason: String| SimulatorError::Crypto { what: "the connected app's key", reason };
        let key = rsa::RsaPrivateKey::new(&mut rsa::rand_core::OsRng, 2048).map_err(|e| failed(e.to_string()))?;
        let private = key.to_pkcs8_pem(LineEnding::LF).map_err(|e| failed(e.to_string()))?;
        let public = key.to_public_key().to_public_key_pem(LineEnding::LF).map_err(|e| failed(e.to_string()))?;
        let pem = state_dir.join("connected-app.pem");
        state::write_secret(&pem, private.as_bytes()).map_err(SimulatorError::file("writing", &pem))?;
        let org_row = u64::from(rand::random::<u32>());
        Ok(Self {
            org_id: RecordId::new("00D", org_row).to_string(),
            user_id: RecordId::new("005", 0).to_string(),
            username: INTEGRATION_USERNAME.to_owned(),
            password: random_text(20),
            security_token: random_text(24),
            client_id: format!("3MVG9{}", random_text(80)),
            client_secret: random_text(64),
            callback_key: hex::encode(rand::random::<[u8; 32]>()),
            login_url: String::new(),
            private_key_file: "connected-app.pem".to_owned(),
            public_key_pem: public,
        })
    }
}

/// `length` letters and digits from the operating system's randomness.
pub(crate) fn random_text(length: usize) -> String {
    const SIGNS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    (0..length).map(|_| char::from(SIGNS[rand::random_range(0..SIGNS.len())])).collect()
}
