//! A heavy step waits while as many of its tenant's run as may, and no worker's slot waits with it.

use std::time::Duration;

use leadline_activities::{
    HeavyPerTenant,
    faults::{Fault, FaultKind},
};
use leadline_domain::OperationState;
use leadline_tests::scenario::Scenario;
use sqlx::{Connection as _, PgConnection};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenants_second_export_stands_in_line_until_the_first_has_read_its_pages() {
    let mut scenario = Scenario::onboarded(300).await;
    scenario.stop_worker().await;
    // An attempt that is held gives no sign of life.
    scenario.limits.heartbeat = Duration::from_secs(60);
    scenario.steps.heavy_per_tenant = HeavyPerTenant { extraction: 1, compute: 1 };
    scenario.start_worker();
    let held = Fault { activity: "extract_pages".to_owned(), kind: FaultKind::Hold, times: 1 };
    scenario.steps.faults.set(vec![held]);
    let first = scenario.export("Lead").await;
    scenario.until(&first, "was held", |operation| operation.step.as_deref() == Some("extract_pages")).await;
    let second = scenario.export("Lead").await;
    let waits = scenario.until(&second, "stood in line", |operation| {
        operation.progress.as_ref().is_some_and(|progress| progress.unit == "ahead in line")
    });
    let waits = waits.await;
    assert_eq!((waits.state, waits.step.as_deref()), (OperationState::Running, Some("extract_pages")), "{waits:?}");
    // It has been back by then more than once.
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(scenario.operation(&second).await.progress, waits.progress);

    scenario.steps.faults.set(Vec::new());
    for export in [&first, &second] {
        let ended = scenario.ended(export).await;
        assert_eq!(ended.state, OperationState::Succeeded, "{ended:?}");
    }
    let mut owner = PgConnection::connect(&scenario.ground.owner_url).await.unwrap();
    let left = sqlx::query_scalar::<_, i64>("SELECT count(*) FROM step_permits WHERE tenant_id = $1");
    assert_eq!(left.bind(scenario.tenant.as_str()).fetch_one(&mut owner).await.unwrap(), 0, "every permit is given back");
    scenario.end().await;
}
