//! The laws themselves. Each visits every activity that it concerns, and answers how many it has visited.

use std::{sync::Arc, time::Duration};

use leadline_activities::faults::{Fault, FaultKind};
use leadline_domain::{Code, Failure, OperationKind, OperationState, Verb};
use leadline_tests::{
    proxy::{self, FaultProxy},
    scenario::Scenario,
};
use temporalio_client::{WorkflowIdReusePolicy, errors::WorkflowStartError};

use crate::{
    history::{Activity, Role},
    run::{Run, Worlds},
    slate::{Effects, Slate},
};

/// What a saga does when nothing goes wrong, and what undoes it.
pub struct Happy {
    pub kind: OperationKind,
    pub activities: Vec<Activity>,
    pub undos: Vec<Activity>,
    pub effects: Effects,
}

/// A code of each class that a step can fail with.
const TERMINAL: Code = Code::SalesforceRefused;
const RETRYABLE: Code = Code::SalesforceBusy;
const FOR_A_PERSON: Code = Code::StorageDenied;

pub fn fault(activity: &str, kind: FaultKind) -> Fault {
    Fault { activity: activity.to_owned(), kind, times: 1 }
}

/// Every attempt is held, for what may take longer than the server waits for one.
fn held(activity: &str) -> Fault {
    Fault { times: u32::MAX, ..fault(activity, FaultKind::Hold) }
}

fn failure(code: Code) -> Failure {
    Failure::new(code, "a fault of the laws")
}

/// Records what a run does when nothing goes wrong, and what undoes it when its pivot fails.
pub async fn record(kind: OperationKind) -> Happy {
    let mut worlds = Worlds::of(kind);
    let run = worlds.run(Vec::new()).await;
    let ended = run.ended().await;
    assert_eq!(ended.state, OperationState::Succeeded, "{ended:?}");
    let after = run.slate().await;
    after.assert_quiet();
    let (activities, effects) = (run.activities().await, after.since(&run.before));
    worlds.succeeded().await;
    let pivot = &pivot(&activities).name;
    let run = worlds.run(vec![fault(pivot, FaultKind::Refuse(failure(TERMINAL)))]).await;
    run.assert_undone(&activities, OperationState::Failed, TERMINAL, pivot).await;
    let undos = run.activities().await.into_iter().filter(|activity| activity.role == Role::Undo).collect();
    worlds.end().await;
    Happy { kind, activities, undos, effects }
}

fn pivot(activities: &[Activity]) -> &Activity {
    activities.iter().find(|activity| activity.role == Role::Pivot).expect("a saga has a pivot")
}

/// 1: the body runs twice with the same input.
pub async fn repeat(happy: Arc<Happy>) -> usize {
    let mut worlds = Worlds::of(happy.kind);
    for activity in &happy.activities {
        let run = worlds.run(vec![fault(&activity.name, FaultKind::Repeat)]).await;
        run.assert_done_once(&happy, &activity.name).await;
        run.assert_met(1, &activity.name).await;
        worlds.succeeded().await;
    }
    worlds.end().await;
    happy.activities.len()
}

/// 2: the activity fails for good. What a person cannot decide about, the operation's own row, is tried again.
pub async fn unwind(happy: Arc<Happy>) -> usize {
    let mut worlds = Worlds::of(happy.kind);
    for activity in &happy.activities {
        let run = worlds.run(vec![fault(&activity.name, FaultKind::Refuse(failure(TERMINAL)))]).await;
        match activity.role {
            Role::Step | Role::StepWithoutUndo | Role::Pivot => {
                run.assert_undone(&happy.activities, OperationState::Failed, TERMINAL, &activity.name).await;
            }
            Role::AfterPivot => {
                run.parked(TERMINAL, &activity.name).await;
                run.decide(Verb::Retry).await;
                run.assert_done_once(&happy, &activity.name).await;
            }
            Role::Course | Role::Undo => run.assert_done_once(&happy, &activity.name).await,
        }
        run.assert_met(1, &activity.name).await;
        if !activity.role.is_undone() {
            worlds.succeeded().await;
        }
    }
    worlds.end().await;
    happy.activities.len()
}

/// 2, of a step that says that there is nothing to undo: from its beginning to that of the next, nothing comes into being beside what the
/// operation has made before. Otherwise another step's undo might hide that it has none.
pub async fn nothing_to_undo(happy: Arc<Happy>) -> usize {
    let mut worlds = Worlds::of(happy.kind);
    let stops: Vec<_> = happy.activities.iter().filter(|activity| activity.role.is_undone()).collect();
    let mut visited = 0;
    for pair in stops.windows(2).filter(|pair| pair[0].role == Role::StepWithoutUndo) {
        let (step, next) = (pair[0], pair[1]);
        let run = worlds.run(vec![held(&step.name)]).await;
        run.until_held(&step.name).await;
        let scenario = &run.world.scenario;
        let before = Slate::beside(scenario, run.id()).await;
        scenario.steps.faults.set(vec![held(&next.name)]);
        scenario.until(run.id(), "came to the next step", |row| row.step.as_ref() == Some(&next.step)).await;
        assert_eq!(Slate::beside(scenario, run.id()).await, before, "{}: has nothing to undo", step.name);
        scenario.cancel(happy.kind, run.id()).await;
        scenario.steps.faults.set(Vec::new());
        run.ended().await;
        run.until_let_go(&next.name).await;
        // A pivot may be quicker than the cancel.
        worlds.succeeded().await;
        visited += 1;
    }
    worlds.end().await;
    visited
}

/// 3: as 2, and each undo runs twice.
pub async fn repeat_the_undo(happy: Arc<Happy>) -> usize {
    let mut worlds = Worlds::of(happy.kind);
    let undone: Vec<_> = happy.activities.iter().filter(|activity| activity.role.is_undone()).collect();
    for activity in &undone {
        let mut faults = vec![fault(&activity.name, FaultKind::Refuse(failure(TERMINAL)))];
        faults.extend(happy.undos.iter().map(|undo| fault(&undo.name, FaultKind::Repeat)));
        let run = worlds.run(faults).await;
        run.assert_undone(&happy.activities, OperationState::Failed, TERMINAL, &activity.name).await;
        let undos = run.activities().await.iter().filter(|seen| seen.role == Role::Undo).count();
        run.assert_met(1 + u32::try_from(undos).unwrap(), &activity.name).await;
    }
    worlds.end().await;
    undone.len()
}

/// 4: the activity takes effect and reports a failure. It is tried again; for a terminal one, undone.
pub async fn lost_answer(happy: Arc<Happy>) -> usize {
    let mut worlds = Worlds::of(happy.kind);
    for activity in &happy.activities {
        let run = worlds.run(vec![fault(&activity.name, FaultKind::LoseAnswer(failure(RETRYABLE)))]).await;
        run.assert_done_once(&happy, &activity.name).await;
        run.assert_met(1, &activity.name).await;
        worlds.succeeded().await;

        let run = worlds.run(vec![fault(&activity.name, FaultKind::LoseAnswer(failure(TERMINAL)))]).await;
        match activity.role {
            Role::Step | Role::StepWithoutUndo => {
                run.assert_undone(&happy.activities, OperationState::Failed, TERMINAL, &activity.name).await;
            }
            // The ledger says that it happened.
            Role::Pivot | Role::Course | Role::Undo => run.assert_done_once(&happy, &activity.name).await,
            Role::AfterPivot => {
                run.parked(TERMINAL, &activity.name).await;
                run.decide(Verb::Retry).await;
                run.assert_done_once(&happy, &activity.name).await;
            }
        }
        run.assert_met(1, &activity.name).await;
        if !matches!(activity.role, Role::Step | Role::StepWithoutUndo) {
            worlds.succeeded().await;
        }
    }
    worlds.end().await;
    happy.activities.len()
}

/// 4, between a step and its stores: PostgreSQL has committed, or S3 has stored, and the answer is lost with the connection.
/// Answers at how many activities there was one to lose.
async fn lost_by(happy: Arc<Happy>, proxy: fn(&Scenario) -> &FaultProxy, request: &'static [u8]) -> usize {
    let mut worlds = Worlds::of(happy.kind);
    let mut visited = 0;
    for activity in &happy.activities {
        let run = worlds.run(vec![fault(&activity.name, FaultKind::Hold)]).await;
        run.until_held(&activity.name).await;
        proxy(&run.world.scenario).lose_answer_to(request);
        run.world.scenario.steps.faults.set(Vec::new());
        run.until_let_go(&activity.name).await;
        let lost = proxy(&run.world.scenario).let_through();
        run.assert_done_once(&happy, &activity.name).await;
        visited += lost;
        worlds.succeeded().await;
    }
    worlds.end().await;
    visited
}

pub async fn lost_commit(happy: Arc<Happy>) -> usize {
    let steps = happy.activities.len();
    let visited = lost_by(happy, |scenario| &scenario.database, proxy::COMMIT).await;
    assert_eq!(visited, steps, "every activity commits");
    visited
}

pub async fn lost_put(happy: Arc<Happy>) -> usize {
    lost_by(happy, |scenario| &scenario.bucket, proxy::PUT).await
}

/// 6: cancel is requested while the activity runs.
pub async fn cancel(happy: Arc<Happy>) -> usize {
    let mut worlds = Worlds::of(happy.kind);
    let closing = happy.activities.len() - 1;
    for (at, activity) in happy.activities.iter().enumerate() {
        let run = worlds.run(vec![fault(&activity.name, FaultKind::Hold)]).await;
        run.until_held(&activity.name).await;
        run.world.scenario.cancel(happy.kind, run.id()).await;
        tokio::time::sleep(Duration::from_millis(300)).await;
        run.world.scenario.steps.faults.set(Vec::new());
        let ended = run.ended().await;
        // An attempt that the server had given up by then would be taken for the next one that is held.
        run.until_let_go(&activity.name).await;
        let before_the_pivot = activity.role.is_undone() || at == 0;
        match ended.state {
            OperationState::Cancelled if before_the_pivot => {
                run.assert_undone(&happy.activities, OperationState::Cancelled, Code::Cancelled, &activity.name).await;
            }
            // The pivot was quicker: the ledger says so, and the run goes on.
            OperationState::Succeeded if activity.role == Role::Pivot || !before_the_pivot => {
                run.assert_done_once(&happy, &activity.name).await;
                assert!(
                    at == closing || ended.message.is_some_and(|said| said.contains("cancel")),
                    "{}: it came late",
                    activity.name
                );
                worlds.succeeded().await;
            }
            other => panic!("{}: ended {other}", activity.name),
        }
    }
    worlds.end().await;
    happy.activities.len()
}

/// 7: the activity needs a person: `retry` finishes the run, `abandon` unwinds it.
pub async fn park_and_resume(happy: Arc<Happy>) -> usize {
    let mut worlds = Worlds::of(happy.kind);
    let visited: Vec<_> = happy.activities.iter().filter(|activity| activity.role != Role::Course).collect();
    for activity in &visited {
        let run = worlds.run(vec![fault(&activity.name, FaultKind::Refuse(failure(FOR_A_PERSON)))]).await;
        run.parked(FOR_A_PERSON, &activity.name).await;
        run.decide(Verb::Retry).await;
        run.assert_done_once(&happy, &activity.name).await;
        worlds.succeeded().await;
        if activity.role.is_undone() {
            let run = worlds.run(vec![fault(&activity.name, FaultKind::Refuse(failure(FOR_A_PERSON)))]).await;
            run.parked(FOR_A_PERSON, &activity.name).await;
            run.decide(Verb::Abandon).await;
            run.assert_undone(&happy.activities, OperationState::Failed, Code::OperationAbandoned, &activity.name).await;
        }
    }
    worlds.end().await;
    visited.len()
}

/// A run whose pivot has failed, and which waits for a person at this undo.
async fn parked_in<'w>(worlds: &'w mut Worlds, happy: &Happy, undo: &Activity) -> Run<'w> {
    let pivot = pivot(&happy.activities);
    let refuse = |activity: &str, code| fault(activity, FaultKind::Refuse(failure(code)));
    let run = worlds.run(vec![refuse(&pivot.name, TERMINAL), refuse(&undo.name, FOR_A_PERSON)]).await;
    run.parked(FOR_A_PERSON, &undo.name).await;
    run
}

/// 8: an undo fails for good: the run parks in compensation, visibly, and resumes on `retry`.
pub async fn undo_fails(happy: Arc<Happy>) -> usize {
    let mut worlds = Worlds::of(happy.kind);
    for undo in &happy.undos {
        let run = parked_in(&mut worlds, &happy, undo).await;
        run.decide(Verb::Retry).await;
        run.assert_undone(&happy.activities, OperationState::Failed, TERMINAL, &undo.name).await;
        run.assert_met(2, &undo.name).await;
    }
    worlds.end().await;
    happy.undos.len()
}

/// 8, where the person goes on without the undo: the others are done, and what is left behind is named.
pub async fn skip_the_undo(happy: Arc<Happy>) -> usize {
    let mut worlds = Worlds::of(happy.kind);
    for undo in &happy.undos {
        let run = parked_in(&mut worlds, &happy, undo).await;
        run.decide(Verb::Skip).await;
        let ended = run.ended().await;
        assert_eq!((ended.state, ended.code), (OperationState::Failed, Some(TERMINAL)), "{}: {ended:?}", undo.name);
        let said = ended.message.unwrap_or_default();
        assert!(said.contains(&format!("left behind, as a person decided: what {} did", undo.step)), "{}: {said}", undo.name);
        let mut tried = run.activities().await;
        tried.retain(|activity| activity.role == Role::Undo);
        assert_eq!(tried, happy.undos, "{}: no undo is left out", undo.name);
        // What is left may be in the way of another run.
        worlds.used_up().await;
    }
    worlds.end().await;
    happy.undos.len()
}

/// 9: the same start ten times at once, and again after the run has ended, also when Temporal has forgotten it.
pub async fn duplicate_start(happy: Arc<Happy>) -> usize {
    let mut worlds = Worlds::of(happy.kind);
    let world = worlds.ready().await;
    world.scenario.steps.faults.set(Vec::new());
    let before = Slate::read(&world.scenario, None).await;
    let accepted = world.accept().await;
    let starts = (0..10).map(|_| world.scenario.start(&accepted, WorkflowIdReusePolicy::RejectDuplicate));
    let outcomes = futures::future::join_all(starts).await;
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1, "one start is taken");
    let run = Run { world, accepted, before };
    run.assert_done_once(&happy, "ten starts at once").await;
    let again = run.world.scenario.start(&run.accepted, WorkflowIdReusePolicy::RejectDuplicate).await;
    assert!(matches!(again, Err(WorkflowStartError::AlreadyStarted { .. })), "{again:?}");
    run.world.scenario.status(happy.kind, run.id()).await;
    run.world.scenario.begin(run.accepted.clone()).await;
    run.world.scenario.status(happy.kind, run.id()).await;
    run.assert_done_once(&happy, "a start that Temporal takes for the first").await;
    worlds.end().await;
    1
}

/// 11: a body is held past its timeout, the retry or the undo finishes, then the body is let go: nothing changes.
pub async fn zombie(happy: Arc<Happy>) -> usize {
    let mut worlds = Worlds::of(happy.kind);
    for activity in &happy.activities {
        worlds.ready().await.let_zombies_live().await;
        let run = worlds.run(vec![fault(&activity.name, FaultKind::Hold)]).await;
        run.assert_done_once(&happy, &activity.name).await;
        run.until_held(&activity.name).await;
        run.world.scenario.steps.faults.set(Vec::new());
        run.until_let_go(&activity.name).await;
        run.assert_done_once(&happy, &activity.name).await;
        worlds.succeeded().await;
        if activity.role.is_undone() {
            worlds.ready().await.let_zombies_live().await;
            let run = worlds.run(vec![fault(&activity.name, FaultKind::Hold)]).await;
            run.until_held(&activity.name).await;
            run.world.scenario.cancel(happy.kind, run.id()).await;
            run.assert_undone(&happy.activities, OperationState::Cancelled, Code::Cancelled, &activity.name).await;
            run.until_held(&activity.name).await;
            run.world.scenario.steps.faults.set(Vec::new());
            run.until_let_go(&activity.name).await;
            run.assert_undone(&happy.activities, OperationState::Cancelled, Code::Cancelled, &activity.name).await;
        }
    }
    worlds.end().await;
    happy.activities.len()
}
