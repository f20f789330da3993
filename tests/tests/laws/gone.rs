//! Runs that are gone before they end: terminated by hand, or lost with the server's data. What the reconciler does about them (it has a
//! test of its own) is done here by hand.

use std::sync::Arc;

use leadline_activities::faults::FaultKind;
use leadline_domain::{Code, OperationState};
use leadline_store::operations;
use temporalio_client::WorkflowIdReusePolicy;

use crate::{
    laws::{Happy, fault},
    run::{Run, Worlds},
};

/// The run is reset to a workflow task in its middle while the activity runs, and cancelled at once: what the run before had begun, and
/// the new one has not come to again, is undone as well. Answers at how many activities that was before the pivot.
pub async fn reset_and_cancel(happy: Arc<Happy>) -> usize {
    let mut worlds = Worlds::of(happy.kind);
    let undone: Vec<_> = happy.activities.iter().filter(|activity| activity.role.is_undone()).collect();
    for activity in &undone {
        let run = worlds.run(vec![fault(&activity.name, FaultKind::Hold)]).await;
        run.until_held(&activity.name).await;
        let scenario = &run.world.scenario;
        let tasks = scenario.completed_tasks(happy.kind, run.id()).await;
        scenario.reset(happy.kind, run.id(), tasks[tasks.len() / 2]).await;
        scenario.cancel(happy.kind, run.id()).await;
        run.assert_undone(&happy.activities, OperationState::Cancelled, Code::Cancelled, &activity.name).await;
        run.world.scenario.steps.faults.set(Vec::new());
        run.until_let_go(&activity.name).await;
        run.assert_undone(&happy.activities, OperationState::Cancelled, Code::Cancelled, &activity.name).await;
    }
    worlds.end().await;
    undone.len()
}

/// Why a run has gone.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Why {
    Terminated,
    Lost,
}

/// Somebody terminates the run while the activity runs: up to the pivot all is undone, after it the next run goes on.
pub async fn terminate(happy: Arc<Happy>) -> usize {
    visit(happy, Why::Terminated).await
}

/// The server loses the run while the activity runs: the next run goes on from the ledger.
pub async fn lose(happy: Arc<Happy>) -> usize {
    visit(happy, Why::Lost).await
}

async fn visit(happy: Arc<Happy>, why: Why) -> usize {
    let mut worlds = Worlds::of(happy.kind);
    for (at, activity) in happy.activities.iter().enumerate() {
        let run = worlds.run(vec![fault(&activity.name, FaultKind::Hold)]).await;
        run.until_held(&activity.name).await;
        run.world.scenario.terminate(happy.kind, run.id()).await;
        let undone = why == Why::Terminated && (activity.role.is_undone() || at == 0);
        start_anew(&run, why).await;
        let (run, what) = (&run, &activity.name);
        let holds = async || match undone {
            true => run.assert_undone(&happy.activities, OperationState::Failed, Code::OperationTerminated, what).await,
            false => run.assert_done_once(&happy, what).await,
        };
        holds().await;
        // The attempt of the run that has gone, if it lives still.
        run.world.scenario.steps.faults.set(Vec::new());
        run.until_let_go(what).await;
        holds().await;
        if !undone {
            worlds.succeeded().await;
        }
    }
    worlds.end().await;
    happy.activities.len()
}

async fn start_anew(run: &Run<'_>, why: Why) {
    let scenario = &run.world.scenario;
    let mut tx = scenario.store.tenant(&scenario.tenant).await.unwrap();
    let found = match why {
        Why::Terminated => operations::found_terminated(&mut tx, run.id(), "terminated by the laws").await,
        Why::Lost => operations::found_lost(&mut tx, run.id()).await,
    };
    assert!(found.unwrap().is_some(), "it has not ended");
    tx.commit().await.unwrap();
    scenario.start(&run.accepted, WorkflowIdReusePolicy::AllowDuplicate).await.expect("another run may follow");
}
