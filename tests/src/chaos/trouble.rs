//! Kills parts of the stack at random.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, SystemTime},
};

use rand::RngExt as _;
use rand_chacha::ChaCha8Rng;
use tokio::sync::{mpsc::UnboundedSender, watch};

use super::Plan;
use crate::{dev_stack::DevStack, orgs::Org};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    Worker,
    Api,
    Postgres,
    Temporal,
    ObjectStore,
    Org,
}

#[derive(Debug, Clone, Copy)]
pub struct Kill {
    pub part: Part,
    pub at: SystemTime,
}

/// When workers died.
pub fn worker_deaths(kills: &[Kill]) -> impl Iterator<Item = SystemTime> {
    kills.iter().filter(|kill| kill.part == Part::Worker).map(|kill| kill.at)
}

/// What is killed, and how often beside the others: workers most, since it is their work that has to go on.
const PARTS: [(Part, u32); 6] =
    [(Part::Worker, 4), (Part::Api, 2), (Part::Postgres, 2), (Part::Temporal, 1), (Part::ObjectStore, 2), (Part::Org, 2)];
/// The longest that an org is away; the other parts come back by their supervisor.
const ORG_AWAY: Duration = Duration::from_secs(3);

impl Part {
    /// The verb that the part's process runs. Temporal's server is held by a guard.
    fn verb(self) -> Option<&'static str> {
        match self {
            Self::Worker => Some("worker"),
            Self::Api => Some("api"),
            Self::Postgres => Some("postgres"),
            Self::Temporal => Some("guard"),
            Self::ObjectStore => Some("object-store"),
            Self::Org => None,
        }
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Worker => "worker",
            Self::Api => "API",
            Self::Postgres => "PostgreSQL",
            Self::Temporal => "Temporal",
            Self::ObjectStore => "S3",
            Self::Org => "simulator",
        })
    }
}

/// Kills until `ends` says so, and answers what was killed when. Everything comes back. Each death of a worker is told at once.
pub async fn make(
    stack: Arc<DevStack>,
    orgs: Arc<Vec<Org>>,
    plan: Plan,
    mut ends: watch::Receiver<bool>,
    worker_died: UnboundedSender<SystemTime>,
    mut dice: ChaCha8Rng,
) -> Vec<Kill> {
    let mut kills = Vec::new();
    loop {
        let pause = dice.random_range(plan.pause.0..=plan.pause.1);
        let part = pick(&mut dice);
        let org = &orgs[dice.random_range(0..orgs.len())];
        let away = dice.random_range(Duration::ZERO..=ORG_AWAY);
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            _ = ends.wait_for(|ended| *ended) => return kills,
        }
        match part.verb() {
            // One that is down already, and waits to be started again, cannot be killed.
            Some(verb) if !stack.kill_tree(verb) => continue,
            Some(_) => {}
            None => org.kill(),
        }
        let at = SystemTime::now();
        kills.push(Kill { part, at });
        match part {
            Part::Worker => worker_died.send(at).expect("the observer listens to the end"),
            Part::Org => {
                tokio::time::sleep(away).await;
                org.start_again();
            }
            Part::Api | Part::Postgres | Part::Temporal | Part::ObjectStore => {}
        }
    }
}

fn pick(dice: &mut ChaCha8Rng) -> Part {
    let all: u32 = PARTS.iter().map(|(_, weight)| weight).sum();
    let mut at = dice.random_range(0..all);
    for (part, weight) in PARTS {
        if at < weight {
            return part;
        }
        at -= weight;
    }
    unreachable!("the weights are summed above")
}
