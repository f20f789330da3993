//! Law 5: the worker's process dies while an activity runs, and between an activity and the workflow task that would take its
//! result; a new worker finishes the run.

use std::{
    os::unix::process::ExitStatusExt as _,
    sync::Arc,
    time::{Duration, Instant},
};

use leadline_activities::faults::{Fault, FaultKind};
use leadline_domain::{OperationId, OperationKind};
use leadline_tests::{crashing::CrashingWorker, scenario::Scenario};
use temporalio_client::UntypedWorkflow;
use temporalio_common::protos::temporal::api::enums::v1::PendingActivityState;

use crate::{laws::Happy, run::Worlds};

const WITHIN: Duration = Duration::from_secs(60);
const LOOK_AGAIN: Duration = Duration::from_millis(20);

pub async fn crash(happy: Arc<Happy>) -> usize {
    let mut worlds = Worlds::of(happy.kind);
    for (at, activity) in happy.activities.iter().enumerate() {
        worlds.ready().await.scenario.stop_worker().await;
        let hold = Fault { activity: activity.name.clone(), kind: FaultKind::Hold, times: 1 };
        let victim = CrashingWorker::start(&worlds.ready().await.scenario, vec![hold], None);
        let run = worlds.run(Vec::new()).await;
        until_started(&run.world.scenario, happy.kind, run.id(), &activity.name).await;
        victim.kill();
        let heir = CrashingWorker::start(&run.world.scenario, Vec::new(), None);
        run.assert_done_once(&happy, &format!("killed in {}", activity.name)).await;
        heir.kill();
        worlds.succeeded().await;

        worlds.ready().await.scenario.stop_worker().await;
        let mut victim = CrashingWorker::start(&worlds.ready().await.scenario, Vec::new(), Some(at + 1));
        let run = worlds.run(Vec::new()).await;
        until_dead(&mut victim, &activity.name).await;
        let heir = CrashingWorker::start(&run.world.scenario, Vec::new(), None);
        run.assert_done_once(&happy, &format!("killed after {}", activity.name)).await;
        heir.kill();
        worlds.succeeded().await;
    }
    worlds.end().await;
    happy.activities.len()
}

/// Until the history has that an attempt at the activity was started.
async fn until_started(scenario: &Scenario, kind: OperationKind, id: &OperationId, activity: &str) {
    let handle = scenario.temporal.get_workflow_handle::<UntypedWorkflow>(scenario.reference(kind, id).workflow_id());
    let began = Instant::now();
    loop {
        let described = handle.describe(Default::default()).await.expect("the run is known");
        let started = described.raw_description.pending_activities.iter().any(|pending| {
            let name = pending.activity_type.as_ref().map(|named| named.name.as_str());
            name == Some(activity) && pending.state() == PendingActivityState::Started
        });
        if started {
            return;
        }
        assert!(began.elapsed() < WITHIN, "{activity} is never started");
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

async fn until_dead(victim: &mut CrashingWorker, activity: &str) {
    let began = Instant::now();
    let status = loop {
        if let Some(status) = victim.died() {
            break status;
        }
        assert!(began.elapsed() < WITHIN, "it never dies after {activity}");
        tokio::time::sleep(LOOK_AGAIN).await;
    };
    assert_eq!(status.signal(), Some(nix::libc::SIGABRT), "it dies by its own hand after {activity}");
}
