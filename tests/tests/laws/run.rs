//! One visit: a run in a world, and what it is held to.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use leadline_activities::faults::Fault;
use leadline_domain::{Code, OperationId, OperationKind, OperationState, Verb};
use leadline_store::{ledger, operations::Operation};
use leadline_tests::starts::Accepted;
use serde_json::json;

use crate::{
    case::{World, can_repeat},
    history::{self, Activity},
    laws::Happy,
    slate::{self, Slate},
};

/// Histories, and prefixes of them, that were replayed.
pub static REPLAYED: AtomicUsize = AtomicUsize::new(0);

/// A world that is there when it is needed, and made anew when a success has used it up.
pub struct Worlds {
    kind: OperationKind,
    world: Option<World>,
}

impl Worlds {
    pub fn of(kind: OperationKind) -> Self {
        Self { kind, world: None }
    }

    pub async fn ready(&mut self) -> &mut World {
        if self.world.is_none() {
            let world = World::new(self.kind).await;
            if can_repeat(self.kind) {
                // Once through: what a first run alone leaves is there then.
                let id = world.scenario.begin(world.accept().await).await;
                let ended = world.scenario.ended(&id).await;
                assert_eq!(ended.state, OperationState::Succeeded, "{ended:?}");
            }
            self.world = Some(world);
        }
        self.world.as_mut().expect("made above")
    }

    pub async fn run(&mut self, faults: Vec<Fault>) -> Run<'_> {
        let world = self.ready().await;
        world.scenario.steps.faults.set(faults);
        let before = Slate::read(&world.scenario, None).await;
        let accepted = world.accept().await;
        world.scenario.begin(accepted.clone()).await;
        Run { world, accepted, before }
    }

    pub async fn succeeded(&mut self) {
        if !can_repeat(self.kind) {
            self.used_up().await;
        }
    }

    pub async fn used_up(&mut self) {
        if let Some(world) = self.world.take() {
            world.scenario.end().await;
        }
    }

    pub async fn end(self) {
        if let Some(world) = self.world {
            world.scenario.end().await;
        }
    }
}

/// One visit.
pub struct Run<'w> {
    pub world: &'w mut World,
    pub accepted: Accepted,
    pub before: Slate,
}

impl Run<'_> {
    pub fn id(&self) -> &OperationId {
        &self.accepted.id
    }

    pub async fn ended(&self) -> Operation {
        self.world.scenario.ended(self.id()).await
    }

    pub async fn slate(&self) -> Slate {
        Slate::read(&self.world.scenario, Some(self.id())).await
    }

    /// It succeeds, and its effects are those of one run.
    pub async fn assert_done_once(&self, happy: &Happy, what: &str) {
        let ended = self.ended().await;
        assert_eq!((ended.state, ended.code), (OperationState::Succeeded, None), "{what}: {ended:?}");
        let after = self.slate().await;
        after.assert_quiet();
        assert_eq!(after.since(&self.before), happy.effects, "{what}: the effects of one run");
        self.replay().await;
    }

    /// It ends so, and nothing of it is left. `happy` says which steps have an undo.
    pub async fn assert_undone(&self, happy: &[Activity], state: OperationState, code: Code, what: &str) {
        let ended = self.ended().await;
        assert_eq!((ended.state, ended.code), (state, Some(code)), "{what}: {ended:?}");
        assert_eq!(self.slate().await, self.before, "{what}: nothing is left");
        slate::assert_own_row_is_undone(&self.world.scenario, self.id(), what).await;
        history::assert_undone_in_reverse(happy, &self.activities().await, self.begun().await);
        self.replay().await;
    }

    /// Law 10 holds for every run that the other laws make.
    async fn replay(&self) {
        self.world.scenario.status(self.accepted.kind, self.id()).await;
        let replayed = history::replay(&self.world.scenario, self.accepted.kind, self.id()).await;
        REPLAYED.fetch_add(replayed, Ordering::Relaxed);
    }

    pub async fn activities(&self) -> Vec<Activity> {
        history::activities(&self.world.scenario, self.accepted.kind, self.id()).await
    }

    /// The steps in the order in which the ledger has them.
    async fn begun(&self) -> Vec<String> {
        let mut tx = self.world.scenario.store.tenant(&self.world.scenario.tenant).await.unwrap();
        ledger::steps(&mut tx, self.id()).await.unwrap().into_iter().map(|row| row.step).collect()
    }

    pub async fn assert_met(&self, faults: u32, what: &str) {
        assert_eq!(self.world.scenario.steps.faults.met(), faults, "{what}: the faults were met");
    }

    pub async fn decide(&self, verb: Verb) {
        let reason = if verb == Verb::Retry { json!({}) } else { json!({ "reason": "the laws say so" }) };
        self.world.scenario.decide(self.accepted.kind, self.id(), verb, reason).await.expect("a parked run takes a decision");
    }

    pub async fn parked(&self, code: Code, what: &str) {
        let parked = self.world.scenario.until(self.id(), "parked", |row| row.parking.is_some() || row.state.is_ended()).await;
        assert_eq!((parked.state, parked.code), (OperationState::Parked, Some(code)), "{what}: {parked:?}");
        assert_eq!(self.world.scenario.shown(self.accepted.kind, self.id()).await, json!(["parked", code.as_str()]), "{what}");
    }

    pub async fn until_held(&self, what: &str) {
        self.until(|held| held > 0, &format!("{what} is held")).await;
    }

    pub async fn until_let_go(&self, what: &str) {
        self.until(|held| held == 0, &format!("{what} ends")).await;
    }

    async fn until(&self, wanted: impl Fn(usize) -> bool, what: &str) {
        let faults = &self.world.scenario.steps.faults;
        let look = async {
            while !wanted(faults.held()) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), look).await.unwrap_or_else(|_| panic!("never: {what}"));
    }
}
