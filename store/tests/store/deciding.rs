//! Decisions about parked operations: the first stands, until the run has taken it or has refused it.

use std::time::Duration;

use chrono::Utc;
use leadline_domain::{
    Code, OperationKind, OperationState, Verb,
    parking::{AtDeadline, Decision, Instruction},
};
use leadline_store::{
    PageRequest, audit,
    operations::{self, CourseUpdate, NewParking},
};

use crate::fixture::{self, accepted, database};

fn parked(sequence: i64) -> CourseUpdate {
    let parking = NewParking {
        number: 7,
        verbs: vec![Verb::Retry, Verb::Abandon],
        deadline: Duration::from_secs(600),
        at_deadline: AtDeadline::Compensate,
    };
    let (step, code) = (Some("start_bulk_job".to_owned()), Some(Code::SalesforceAccessDenied));
    CourseUpdate { sequence, state: OperationState::Parked, step, code, message: None, parking: Some(parking) }
}

#[tokio::test]
async fn a_state_that_is_written_again_does_not_take_a_decision_away_and_a_run_that_refuses_it_does() {
    let db = database().await;
    let (tenant, _) = fixture::tenant(&db.store, "decided").await;
    let mut tx = db.store.tenant(&tenant).await.unwrap();
    let id = accepted(&mut tx, OperationKind::ExportDataset).await.id;
    assert!(operations::update_state(&mut tx, &id, &parked(5)).await.unwrap());
    let retry = Decision { verb: Verb::Retry, instruction: Instruction::default() };
    let operation = operations::decide(&mut tx, &id, "lk_first", &retry, Utc::now()).await.unwrap();
    let second = operations::decide(&mut tx, &id, "lk_second", &retry, Utc::now()).await.unwrap_err();
    assert_eq!(second.failure().code, Code::OperationNotParked);
    // So whoever repeats a decision whose answer was lost sees that it is the own one that stands.
    assert!(second.failure().message.contains("lk_first has decided to retry"), "{}", second.failure().message);

    // As after a lost answer: the activity that wrote the state runs once more.
    assert!(!operations::update_state(&mut tx, &id, &parked(5)).await.unwrap());
    let decided = operations::get(&mut tx, &id).await.unwrap().parking.unwrap().decision;
    let written = decided.expect("the decision stands");
    assert_eq!(written.instruction.actor.as_deref(), Some("lk_first"));

    let stale = Decision { instruction: Instruction { park: Some(6), ..written.instruction.clone() }, ..written.clone() };
    operations::withdraw_decision(&mut tx, &operation, &stale, "another parking").await.unwrap();
    assert!(operations::get(&mut tx, &id).await.unwrap().parking.unwrap().decision.is_some(), "that was another decision");
    operations::withdraw_decision(&mut tx, &operation, &written, "OPERATION_NOT_PARKED").await.unwrap();
    assert_eq!(operations::get(&mut tx, &id).await.unwrap().parking.unwrap().decision, None);
    operations::decide(&mut tx, &id, "lk_second", &retry, Utc::now()).await.expect("somebody can decide anew");
    let log = audit::list(&mut tx, Some(&id), &PageRequest::default()).await.unwrap();
    let actions: Vec<_> = log.items.iter().map(|row| row.action.as_str()).collect();
    assert_eq!(actions, ["operation.retry", "operation.decision_refused", "operation.retry", "operation.accept"]);
}
