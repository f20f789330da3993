//! Everything that a request may touch.

use crate::Config;
use crate::auth::connected_app::ConnectedApp;
use crate::auth::sessions::Sessions;
use crate::bulk::Jobs;
use crate::callbacks::Callbacks;
use crate::faults::Faults;
use crate::http::query::Cursors;
use crate::org::Org;
use crate::usage::Usage;
use tokio_util::sync::CancellationToken;

/// Where this server is reached.
#[derive(Debug, Clone)]
pub(crate) struct Urls {
    pub http: String,
    pub https: String,
    pub proxy: String,
}

pub(crate) struct App {
    pub config: Config,
    pub urls: Urls,
    pub org: Org,
    pub connected_app: ConnectedApp,
    pub sessions: Sessions,
    pub faults: Faults,
    pub usage: Usage,
    pub jobs: Jobs,
    pub callbacks: Callbacks,
    pub cursors: Cursors,
    /// Cancelled when the simulator stops.
    pub stop: CancellationToken,
}
