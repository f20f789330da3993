//! The chaos run: sagas of all kinds for several tenants, while parts of the stack are killed at random; then everything is
//! compared with everything.
//!
//! ```text
//!   load ── starts, duplicates, cancels ─► API ─► Temporal, PostgreSQL, S3, orgs ◄─ SIGKILL ── trouble
//!   operator ── retry, skip, abandon ────► API        │                  │ deaths of workers
//!                                                     ├─► recovery ◄─────┘
//!                                                     └─► check ─► report
//! ```
//!
//! The seed decides what is started, in which order it is killed and after which pauses; how the two meet is the machine's affair.

mod caller;
mod check;
mod jobs;
mod load;
mod operator;
mod recovery;
mod report;
mod trouble;

use std::{sync::Arc, time::Duration};

use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;
use tokio::sync::watch;

pub use self::report::Report;
use self::{caller::Caller, load::Load, recovery::Observer};
use crate::{dev_stack::DevStack, orgs::Org};

/// What a run is asked for.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// All that are started, with the onboardings and the first models of the tenants.
    pub sagas: usize,
    pub tenants: usize,
    pub seed: u64,
    /// Sagas under way at a time.
    pub in_flight: usize,
    /// The longest and the shortest pause between two kills.
    pub pause: (Duration, Duration),
    /// How long what is under way may take once nothing is killed any more.
    pub patience: Duration,
}

impl Default for Plan {
    fn default() -> Self {
        let pause = (Duration::from_secs(3), Duration::from_secs(10));
        Self { sagas: 1_000, tenants: 4, seed: 1, in_flight: 32, pause, patience: Duration::from_secs(300) }
    }
}

/// Records of each org: enough for a model that passes its gates.
const RECORDS: u64 = 6_000;
const SETTINGS: [(&str, &str); 5] = [
    ("LEADLINE_PAGE_ROWS", "2000"),
    ("LEADLINE_BULK_POLL", "1"),
    ("LEADLINE_SWEEP_INTERVAL", "1"),
    ("LEADLINE_RECONCILE_AFTER", "5"),
    ("LEADLINE_RATE_PER_SECOND", "2000"),
];

/// Runs the plan on a stack of its own. `say` hears how far it is.
///
/// # Panics
/// When the stack itself does not come up.
pub async fn run(plan: Plan, say: impl Fn(&str) + Send + Sync + 'static) -> Report {
    let say = Arc::new(say);
    let Plan { sagas, tenants, seed, .. } = plan;
    say(&format!("seed {seed}: {sagas} sagas of {tenants} tenants, on a stack that starts now"));
    let stack = Arc::new(DevStack::start(&["--records", "100"], &SETTINGS).await);
    let orgs: Arc<Vec<Org>> = Arc::new((0..plan.tenants).map(|_| Org::start(RECORDS)).collect());
    for org in orgs.iter() {
        org.ready().await;
    }
    let caller = Caller::operator(&stack);
    let (quiet, trouble_ends) = watch::channel(false);
    let mut dice = ChaCha8Rng::seed_from_u64(plan.seed);
    let (worker_died, observer) = Observer::start(&stack, plan.patience).await;
    let trouble =
        trouble::make(Arc::clone(&stack), Arc::clone(&orgs), plan, trouble_ends, worker_died, ChaCha8Rng::from_rng(&mut dice));
    let trouble = tokio::spawn(trouble);
    let operator = tokio::spawn(operator::decide(caller.clone(), ChaCha8Rng::from_rng(&mut dice)));
    let load = Load { caller: caller.clone(), orgs: Arc::clone(&orgs), plan, say: say.clone() };
    let began = std::time::Instant::now();
    let done = load
        .run(&mut dice, || {
            quiet.send_replace(true);
        })
        .await;
    let took = began.elapsed();
    operator.abort();
    let kills = trouble.await.expect("the trouble ends when it is told to");
    say("comparing everything with everything");
    let mut violations = check::all(&stack, &orgs, &done).await;
    let deaths: Vec<_> = trouble::worker_deaths(&kills).collect();
    let recovery = observer.recovery(&stack, &deaths).await;
    violations.extend(recovery.lost().map(|lost| format!("not seen to go on after a worker's death: {lost:?}")));
    Report { plan, took, done, kills, violations, recovery }
}
