//! A build is put into production while sagas run.

use std::time::Duration;

use leadline_tests::blue_green::{Plan, run};

#[tokio::test(flavor = "multi_thread")]
async fn a_build_with_another_saga_is_deployed_under_load_and_no_run_gets_from_one_build_to_the_other() {
    let plan = Plan { load: Duration::from_secs(15), waiting: 3, ..Plan::default() };
    let report = run(plan, |line| println!("{line}")).await;
    assert!(report.violations.is_empty(), "{report}");
}
