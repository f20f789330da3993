//! The simulated org as its administrator would hand it over: the connected app that the simulator made for itself.

use std::path::Path;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use leadline_proto::v1::{CreateTenantRequest, SalesforceConnection};
use leadline_salesforce::{Credentials, Options, OrgClient};
use serde::Deserialize;

use crate::error::{CliError, Result};

/// What a tenant needs to know to connect the org.
#[derive(Debug, Clone, Deserialize)]
pub struct ConnectedApp {
    client_id: String,
    username: String,
    login_url: String,
    /// The key of the HMAC is this text itself, as the org's administrator sees it.
    callback_key: String,
    #[serde(skip)]
    private_key_pem: String,
}

impl ConnectedApp {
    /// Reads what the simulator left in its state directory.
    pub fn of_simulator(state_dir: &Path) -> Result<Self> {
        let json = read(&state_dir.join("connected-app.json"))?;
        let mut app: Self =
            serde_json::from_str(&json).map_err(|error| CliError::part("the simulator's connected app", &error))?;
        app.private_key_pem = read(&state_dir.join("connected-app.pem"))?;
        Ok(app)
    }

    /// A client of the org, as any other program would connect to it.
    pub async fn client(&self) -> Result<OrgClient> {
        let failed = |error: leadline_salesforce::SalesforceError| CliError::part("the simulated org", &error);
        let credentials =
            Credentials::new(&self.login_url, &self.client_id, &self.username, &self.private_key_pem, &self.login_url)
                .map_err(failed)?;
        OrgClient::connect(credentials, Options::default()).await.map_err(failed)
    }

    /// The request that connects this org under `name`.
    pub fn create_tenant(self, name: &str, display_name: &str) -> CreateTenantRequest {
        CreateTenantRequest {
            name: name.to_owned(),
            display_name: display_name.to_owned(),
            salesforce: Some(SalesforceConnection {
                login_url: self.login_url,
                client_id: self.client_id,
                username: self.username,
                private_key_pem: self.private_key_pem,
                audience: String::new(),
            }),
            callback_key: STANDARD.encode(self.callback_key),
        }
    }
}

fn read(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).map_err(|error| {
        CliError::environment(format!("cannot read {}: {error}", path.display()), "start the simulator once; it makes this file")
    })
}
