//! Nothing is lost or done twice when parts of the stack die at random; `make chaos` does the same at length.

use std::time::Duration;

use leadline_tests::{
    chaos::{Plan, run},
    orgs::Org,
};

#[tokio::test(flavor = "multi_thread")]
async fn sagas_of_all_kinds_survive_the_death_of_any_part() {
    let pause = (Duration::from_secs(2), Duration::from_secs(5));
    let plan = Plan { sagas: 50, tenants: 2, seed: 4, in_flight: 10, pause, ..Plan::default() };
    let report = run(plan, |_| {}).await;
    assert!(report.violations.is_empty(), "{report}");
    assert!(report.kills.len() >= 3, "it was tried at all: {report}");
    assert_eq!(report.done.ids().len() + report.done.refused.len(), plan.sagas, "{report}");
}

#[tokio::test]
async fn a_client_of_an_org_that_was_killed_waits_until_it_is_back() {
    let org = Org::start(100);
    org.ready().await;
    org.kill();
    let back = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        org.start_again();
    };
    let (client, ()) = tokio::join!(org.client(), back);
    client.limits().await.expect("the org that is back answers");
}
