//! When a part of the stack is ready for the next one.

use std::{future::Future, path::PathBuf, time::Duration};

use reqwest::StatusCode;
use serde_json::Value;
use sqlx::{Connection as _, PgConnection};
use url::Url;

use super::child::{Patience, Supervised};
use crate::error::{CliError, Result};

/// How a part shows that it is ready.
#[derive(Debug, Clone)]
pub enum Probe {
    /// The file holds the owner's URL, and the server there takes connections.
    Database { url_file: PathBuf },
    /// The server has its namespace and its search attributes. Asked through the UI, so that the UI is known to be up too.
    Temporal { ui: Url },
    /// Anything answers, be it that nobody may see this: S3 without a signature.
    AnyAnswer { url: Url },
    /// The health page says so.
    Healthy { url: Url },
}

const POLL: Duration = Duration::from_millis(100);
const LONGEST_START: Duration = Duration::from_secs(180);

/// Waits until the part is ready.
///
/// # Errors
/// When it dies again and again instead, or takes longer than three minutes.
pub async fn wait(child: &Supervised, probe: &Probe, patience: Patience) -> Result<()> {
    let http = reqwest::Client::builder()
        .timeout(Duration::from_secs(5))
        .no_proxy()
        .build()
        .map_err(|error| CliError::part("HTTP client", &error))?;
    let ready = async {
        while !probe.holds(&http).await {
            tokio::time::sleep(POLL).await;
        }
    };
    tokio::select! {
        () = ready => {
            child.mark_ready();
            Ok(())
        }
        error = child.given_up(patience) => Err(error),
        () = tokio::time::sleep(LONGEST_START) => Err(CliError::environment(
            format!("{} is not ready after {} s", child.part.name, LONGEST_START.as_secs()),
            format!("see {}", child.part.log.display()),
        )),
    }
}

impl Probe {
    async fn holds(&self, http: &reqwest::Client) -> bool {
        match self {
            Self::Database { url_file } => connects(url_file).await,
            Self::Temporal { ui } => has_search_attributes(http, ui).await,
            Self::AnyAnswer { url } => http.get(url.clone()).send().await.is_ok(),
            Self::Healthy { url } => answers_ok(http.get(url.clone()).send()).await,
        }
    }
}

async fn answers_ok(call: impl Future<Output = reqwest::Result<reqwest::Response>>) -> bool {
    call.await.is_ok_and(|response| response.status() == StatusCode::OK)
}

async fn connects(url_file: &PathBuf) -> bool {
    let Ok(url) = std::fs::read_to_string(url_file) else { return false };
    match PgConnection::connect(url.trim()).await {
        Ok(connection) => connection.close().await.is_ok(),
        Err(_) => false,
    }
}

async fn has_search_attributes(http: &reqwest::Client, ui: &Url) -> bool {
    let Ok(url) = ui.join("api/v1/namespaces/default/search-attributes") else { return false };
    let Ok(response) = http.get(url).send().await else { return false };
    let Ok(answer) = response.json::<Value>().await else { return false };
    answer["customAttributes"].get("LeadlineTenant").is_some()
}
