//! What is started: which saga of which tenant, and what becomes of it.

use rand::{RngExt as _, seq::SliceRandom as _};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value as Json, json};

/// One saga to start.
#[derive(Debug, Clone)]
pub struct Job {
    pub tenant: usize,
    pub what: What,
    /// Asks for a cancel so many milliseconds after the start was acknowledged.
    pub cancel_after: Option<u64>,
    /// Sends the start once more when it was acknowledged.
    pub again: bool,
}

#[derive(Debug, Clone)]
pub enum What {
    Export,
    Train,
    Promote,
    /// A record is predicted once in a run, so that its score tells which prediction wrote it.
    Predict,
    Drill(&'static str),
    /// Connects the tenant's org once more under another name, which has to be undone.
    ConnectAgain,
}

/// An operation that was acknowledged, and how it ended.
#[derive(Debug, Clone)]
pub struct Done {
    pub tenant: String,
    pub org: usize,
    pub record: Option<String>,
    pub operation: Json,
}

impl Done {
    pub fn text(&self, name: &str) -> &str {
        self.operation[name].as_str().unwrap_or_default()
    }

    pub fn id(&self) -> &str {
        self.text("operationId")
    }

    pub fn is(&self, kind: &str, state: &str) -> bool {
        self.text("kind") == kind && self.text("state") == state
    }
}

/// Parts of a hundred.
const SHARES: [(usize, What); 9] = [
    (44, What::Predict),
    (12, What::Export),
    (10, What::Promote),
    (4, What::Train),
    (2, What::ConnectAgain),
    (13, What::Drill("NOWHERE")),
    (5, What::Drill("BEFORE_PIVOT")),
    (5, What::Drill("AFTER_PIVOT")),
    (5, What::Drill("UNDO")),
];
const CANCELLED: f64 = 0.08;
const SENT_AGAIN: f64 = 0.1;

/// So many jobs in the shares above, in an order of the dice. Each kind is there once at least, when there is room.
pub fn plan(count: usize, tenants: usize, dice: &mut ChaCha8Rng) -> Vec<Job> {
    let mut whats: Vec<What> = SHARES.iter().map(|(_, what)| what.clone()).collect();
    let shares = SHARES.iter().flat_map(|(share, what)| std::iter::repeat_n(what.clone(), share * count / 100));
    whats.extend(shares);
    whats.extend(std::iter::repeat_n(What::Predict, count));
    whats.truncate(count);
    whats.shuffle(dice);
    let job = |what| Job {
        tenant: dice.random_range(0..tenants),
        what,
        cancel_after: dice.random_bool(CANCELLED).then(|| dice.random_range(0..3_000)),
        again: dice.random_bool(SENT_AGAIN),
    };
    whats.into_iter().map(job).collect()
}

impl What {
    /// Path below the tenant, and body. `None` for what has to be looked up first.
    pub fn request(&self) -> Option<(&'static str, Json)> {
        match self {
            Self::Export => Some(("exports", json!({ "object": "Lead" }))),
            Self::Train => Some(("training-runs", training())),
            Self::Drill(wait_at) => Some(("drills", json!({ "waitAt": wait_at }))),
            Self::Promote | Self::Predict | Self::ConnectAgain => None,
        }
    }
}

/// A training run of a second or two.
pub fn training() -> Json {
    json!({ "preset": "LEAD_CONVERSION", "maxTreeRows": "6000000" })
}
