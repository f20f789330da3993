//! `leadline replay` as a process, against the server that the sagas of this binary run on.

use std::process::Command;

use leadline_domain::{OperationKind, OperationState};
use leadline_tests::{scenario::Scenario, tools};
use leadline_worker::replay::{self, RunName};
use serde_json::json;

use crate::{
    golden,
    verbs::{Said, until_listed},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn runs_of_a_live_server_replay_whether_they_have_ended_or_not() {
    let scenario = Scenario::onboarded(1000).await;
    let succeeded = scenario.export("Lead").await;
    assert_eq!(scenario.ended(&succeeded).await.state, OperationState::Succeeded);
    scenario.inject(&json!({ "kind": "latency", "delay_ms": 60_000, "match": { "path": "/results" }, "nth": 3 })).await;
    let running = scenario.export("Lead").await;
    scenario.until(&running, "committed a page", |operation| operation.progress.as_ref().is_some_and(|p| p.done > 0)).await;

    let tenants = format!("LeadlineTenant = \"{}\"", scenario.tenant);
    let listed = until_listed(&scenario, &tenants, 3).await;
    let all = Said::by(&scenario, &["replay", "--query", &tenants]);
    assert_eq!(all.code, 0, "{all:?}");
    assert!(all.out.trim_end().lines().last().unwrap().starts_with("3 replayed, 0 failed in "), "{all:?}");

    let open = format!("{tenants} AND ExecutionStatus = \"Running\"");
    let open = Said::by(&scenario, &["replay", "--json", "--query", &open]);
    let objects = open.objects();
    assert_eq!((open.code, objects.len()), (0, 1), "{open:?}");
    let workflow_id = scenario.reference(OperationKind::ExportDataset, &running).workflow_id();
    assert_eq!(objects[0]["workflowId"], workflow_id);
    assert_eq!((&objects[0]["workflowType"], &objects[0]["outcome"]), (&json!("export_dataset"), &json!("replayed")));

    // Without a query it is every saga that runs, those of other tests at this moment included.
    let sagas = Said::by(&scenario, &["replay", "--json"]).objects();
    assert!(sagas.iter().any(|run| run["workflowId"] == workflow_id), "{sagas:?}");

    let limited = Said::by(&scenario, &["replay", "--json", "--query", &tenants, "--limit", "2"]);
    assert_eq!((limited.code, limited.objects().len()), (0, 2), "{limited:?}");
    let one = listed.iter().find(|run| run.workflow_id == workflow_id).unwrap();
    let one = Said::by(&scenario, &["replay", "--json", "--workflow-id", &one.workflow_id, "--run-id", &one.run_id]);
    assert_eq!((one.code, &one.objects()[0]["workflowId"]), (0, &json!(workflow_id)), "{one:?}");

    // A run may be gone by the time its history is asked for.
    let gone = RunName { run_id: "01234567-89ab-7def-8123-456789abcdef".to_owned(), ..listed[0].clone() };
    assert_eq!(replay::fetch(&scenario.temporal, gone).await.unwrap(), None);

    // What Temporal's own CLI prints is a file that replays.
    let files = tempfile::tempdir().unwrap();
    let shown = Command::new(tools::temporal())
        .args(["workflow", "show", "--output", "json", "--address", &scenario.ground.temporal, "--workflow-id", &workflow_id])
        .output()
        .unwrap();
    std::fs::write(files.path().join("shown.json"), shown.stdout).unwrap();
    let file = Said::by(&scenario, &["replay", "--json", &files.path().to_string_lossy()]);
    assert_eq!((file.code, &file.objects()[0]["workflowId"]), (0, &json!(workflow_id)), "{file:?}");

    scenario.cancel(OperationKind::ExportDataset, &running).await;
    scenario.ended(&running).await;
    scenario.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_keeps_a_replay_from_passing_has_a_code_and_an_exit_code_of_its_own() {
    let scenario = Scenario::new(1).await;
    let query = Said::by(&scenario, &["replay", "--query", "WorkflowTyp = 1 AND"]);
    assert!(query.code == 3 && query.err.contains("INVALID_ARGUMENT") && query.err.contains("WorkflowTyp"), "{query:?}");
    let unknown = Said::by(&scenario, &["replay", "--workflow-id", "nobody"]);
    assert!(unknown.code == 3 && unknown.err.contains("NOT_FOUND"), "{unknown:?}");
    let run = "01234567-89ab-7def-8123-456789abcdef";
    let unknown = Said::by(&scenario, &["replay", "--workflow-id", "nobody", "--run-id", run]);
    assert!(unknown.code == 3 && unknown.err.contains("NOT_FOUND"), "{unknown:?}");
    let nobody = Said::at("127.0.0.1:1", &["replay"]);
    assert!(nobody.code == 6 && nobody.err.contains("127.0.0.1:1") && nobody.err.contains("TEMPORAL_UNAVAILABLE"), "{nobody:?}");
    let nothing = Said::by(&scenario, &["replay", "/nowhere"]);
    assert!(nothing.code == 1 && nothing.err.contains("/nowhere"), "{nothing:?}");
    scenario.end().await;

    // A step that today's promotions do not have: the file says so, and the others replay all the same.
    let files = tempfile::tempdir().unwrap();
    let golden = golden::folder().join("promote_model/succeeded.json");
    let text = std::fs::read_to_string(&golden).unwrap();
    std::fs::write(files.path().join("a-changed.json"), text.replace("check_promotion", "weigh_promotion")).unwrap();
    std::fs::write(files.path().join("b-none.json"), "{").unwrap();
    std::fs::write(files.path().join("c-whole.json"), &text).unwrap();
    let folder = files.path().to_string_lossy();
    let failed = Said::at("127.0.0.1:1", &["replay", "--json", &folder]);
    let objects = failed.objects();
    assert_eq!((failed.code, objects.len()), (8, 3), "{failed:?}");
    assert!(failed.err.contains("2 of 3 histories do not replay") && failed.err.contains("REPLAY_FAILED"), "{failed:?}");
    assert_eq!((&objects[0]["outcome"], &objects[0]["reason"]), (&json!("failed"), &json!("nondeterminism")), "{failed:?}");
    assert!(objects[0]["eventId"].is_number() && objects[0]["message"].to_string().contains("weigh_promotion"), "{failed:?}");
    assert_eq!((&objects[1]["reason"], &objects[2]["outcome"]), (&json!("invalid"), &json!("replayed")), "{failed:?}");
    let told = Said::at("127.0.0.1:1", &["replay", &folder]);
    assert!(told.out.contains("a-changed.json: promote_model") && told.out.contains("1 replayed, 2 failed in"), "{told:?}");
}
