//! What an operator can set about the API.

use std::{net::SocketAddr, num::NonZeroU32, time::Duration};

use leadline_store::budgets;
use leadline_worker::deployment::Version;

/// Limits and pauses of the API process. Every duration is here, so that tests are fast without a faked clock.
#[derive(Debug, Clone)]
pub struct ApiConfig {
    pub listen: SocketAddr,
    /// Largest request, in bytes, on either transport.
    pub max_body_bytes: usize,
    /// A request that takes longer is given up and answers 504.
    pub request_timeout: Duration,
    pub rate: RateLimit,
    /// How long a key that was found is trusted without asking the database again: the longest that a revoked key lives on.
    pub key_cache: Duration,
    /// How long a stop waits for requests under way.
    pub drain: Duration,
    /// How often readiness is checked for the gRPC health service.
    pub health_interval: Duration,
    /// How long fields sent with an asynchronous prediction are kept until they are scored.
    pub claim_lifetime: Duration,
    /// Calls to Salesforce that a tenant may make in a UTC day, as the workers have it: shown for a day with none yet.
    pub daily_api_calls: i64,
    pub sweep: SweepConfig,
    pub codec: CodecConfig,
    /// The build that this API is of: operations can be moved to it.
    pub version: Option<Version>,
}

/// Requests that one tenant, or one operator's key, may make.
#[derive(Debug, Clone, Copy)]
pub struct RateLimit {
    pub per_second: NonZeroU32,
    pub burst: NonZeroU32,
}

/// The sweeper starts what was accepted and then lost its start, repeats cancels and decisions that did not reach Temporal, and
/// compares what should be running with what runs.
#[derive(Debug, Clone, Copy)]
pub struct SweepConfig {
    pub interval: Duration,
    /// Younger operations are left to the call that accepted them. Older ones may still be in another process's line.
    pub older_than: Duration,
    /// Operations of each kind of work in one sweep.
    pub batch: u32,
    /// How long an operation that should be running goes without being compared with its run.
    pub reconcile_after: Duration,
    /// Attempts at one workflow task after which a run counts as stuck.
    pub stuck_after: i32,
}

/// Who may use the codec endpoint beside callers with an operator's key.
#[derive(Debug, Clone, Default)]
pub struct CodecConfig {
    /// Origins of Temporal UIs, such as `http://127.0.0.1:8233`. A browser lets pages of no other origin read what is decoded.
    pub origins: Vec<String>,
    /// Pages of these origins need no key. For the Temporal UI of a dev stack, which cannot send one: the API then listens on
    /// loopback or not at all.
    pub keyless: bool,
}

impl Default for ApiConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            max_body_bytes: 1 << 20,
            request_timeout: Duration::from_secs(30),
            rate: RateLimit { per_second: non_zero(500), burst: non_zero(1000) },
            key_cache: Duration::from_secs(5),
            drain: Duration::from_secs(10),
            health_interval: Duration::from_secs(5),
            claim_lifetime: Duration::from_secs(24 * 3600),
            daily_api_calls: budgets::DAILY_CALLS,
            sweep: SweepConfig {
                interval: Duration::from_secs(5),
                older_than: Duration::from_secs(5),
                batch: 100,
                reconcile_after: Duration::from_secs(30),
                stuck_after: 5,
            },
            codec: CodecConfig::default(),
            version: None,
        }
    }
}

const fn non_zero(n: u32) -> NonZeroU32 {
    NonZeroU32::new(n).expect("a literal above zero")
}
