//! What of the steps can be set.

use std::time::Duration;

use leadline_salesforce::Options;
use leadline_store::budgets;

use crate::faults::Faults;

/// Typed configuration of a worker's steps. The sagas' own limits are [`leadline_workflows::Limits`].
#[derive(Debug, Clone)]
pub struct StepConfig {
    /// How calls to Salesforce are made.
    pub salesforce: Options,
    /// The object whose describe proves that an org can be read; every org has it.
    pub probe_object: String,
    /// Rows of one Bulk results page, and so of one part.
    pub page_rows: u32,
    /// The longest wait between two looks at a Bulk job; the first look comes after a tenth of it.
    pub job_poll: Duration,
    /// Records upserted in one transaction.
    pub apply_rows: usize,
    /// Calls to Salesforce that a tenant may make in a UTC day.
    pub daily_api_calls: i64,
    /// Calls reserved by an export before its size is known.
    pub export_calls: i64,
    /// Transactions that may wait for an org at the same time; well below the connections of the database pool.
    pub fenced_calls: usize,
    /// How long the answer of a prediction waits to be delivered.
    pub claim_lifetime: Duration,
    /// Heavy steps of one tenant that run at the same time, on all workers together.
    pub heavy_per_tenant: HeavyPerTenant,
    /// How long the permit of a heavy step stands that nobody keeps up any more, as when its worker died.
    pub permit_lapses: Duration,
    /// Waits between attempts to call an org back: the first, doubled up to the longest.
    pub first_callback: Duration,
    pub longest_callback: Duration,
    /// After so long without success, a callback waits for a person.
    pub callback_patience: Duration,
    /// Faults of tests.
    pub faults: Faults,
    /// After this time a training run is aborted, with a code. It never shapes a model.
    pub training_wall_clock: Duration,
    /// How long a cancelled body may take to end by itself before it is dropped.
    pub cancel_grace: Duration,
    /// Without progress for this long, a body stops heartbeating: the server then gives the attempt up.
    pub stall_after: Duration,
}

/// Of each lane, so many steps of a tenant at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeavyPerTenant {
    pub extraction: u32,
    pub compute: u32,
}

impl Default for HeavyPerTenant {
    /// Half of what one worker's extraction slots are, so that another tenant finds one free; and one training run.
    fn default() -> Self {
        Self { extraction: 2, compute: 1 }
    }
}

impl Default for StepConfig {
    fn default() -> Self {
        Self {
            salesforce: Options::default(),
            probe_object: "Account".to_owned(),
            page_rows: 50_000,
            job_poll: Duration::from_secs(5),
            apply_rows: 5_000,
            daily_api_calls: budgets::DAILY_CALLS,
            export_calls: 50,
            fenced_calls: 6,
            heavy_per_tenant: HeavyPerTenant::default(),
            permit_lapses: Duration::from_secs(30),
            claim_lifetime: Duration::from_secs(7 * 24 * 3600),
            first_callback: Duration::from_secs(2),
            longest_callback: Duration::from_secs(3600),
            callback_patience: Duration::from_secs(24 * 3600),
            faults: Faults::default(),
            training_wall_clock: Duration::from_secs(3600),
            cancel_grace: Duration::from_secs(15),
            stall_after: Duration::from_secs(300),
        }
    }
}
