//! An asynchronous prediction reaches the record and the org, once, and keeps only what it may.

use std::time::Duration;

use leadline_activities::faults::{Fault, FaultKind};
use leadline_domain::{Code, ConsentGrant, Failure, OperationId, OperationKind, OperationState, Verb};
use leadline_store::{
    budgets,
    claims::{self, ClaimPurpose},
    predictions::{self, PredictionState},
    records,
};
use leadline_tests::scenario::Scenario;
use serde_json::json;

const PREDICT: OperationKind = OperationKind::PredictAsync;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn predictions_are_written_back_called_back_and_kept_as_far_as_consent_goes() {
    let scenario = Scenario::onboarded(6000).await;
    let (trained, leads) = with_a_model(&scenario).await;
    let org = scenario.org().await;

    // The callback service is down at first.
    let refused = json!({ "kind": "service_unavailable", "match": { "path": "prediction-complete" } });
    scenario.inject(&refused).await;
    let id = scenario.predict(&leads[0].record_id, true).await;
    let pending = scenario.until(&id, "waited to call back", |operation| operation.code.is_some()).await;
    assert_eq!((pending.state, pending.code), (OperationState::Running, Some(Code::SalesforceUnavailable)));
    let row = prediction(&scenario, &id).await;
    assert_eq!((row.state, row.callback.attempts), (PredictionState::PendingCallback, 1));
    assert!(row.callback.last_error.is_some() && row.callback.next_at.is_some());
    // The record has been written: a cancel comes too late, and the run says so.
    scenario.cancel(PREDICT, &id).await;
    let ended = scenario.ended(&id).await;
    assert_eq!(ended.state, OperationState::Succeeded, "{ended:?}");
    assert!(ended.message.is_some_and(|message| message.contains("cancel")), "the late cancel is recorded");
    let row = prediction(&scenario, &id).await;
    assert_eq!(row.state, PredictionState::Completed);
    let score = row.score.expect("a score that may be kept")["score"].as_f64();
    let written = org.retrieve("Lead", &leads[0].record_id, &["Leadline_Score__c", "Leadline_Model__c"]).await.unwrap();
    assert_eq!(written.fields["Leadline_Score__c"].as_f64(), score);
    assert_eq!(written.fields["Leadline_Model__c"].as_str(), Some(trained.model().as_str()));
    assert!(scenario.callbacks().await.to_string().contains(id.as_str()));

    // Nothing is kept of what may not be kept.
    scenario.consent(ConsentGrant { allow_store_predictions: false, ..ConsentGrant::ALL }).await;
    let id = scenario.predict(&leads[1].record_id, true).await;
    assert_eq!(scenario.ended(&id).await.state, OperationState::Succeeded);
    let row = prediction(&scenario, &id).await;
    assert_eq!((row.state, row.score), (PredictionState::Completed, None));
    let mut tx = scenario.store.tenant(&scenario.tenant).await.unwrap();
    assert!(claims::get(&mut tx, &id, ClaimPurpose::Answer).await.is_err());
    drop(tx);

    // A write-back without consent ends the request, and nothing of its score stays.
    scenario.consent(ConsentGrant { allow_write_back: false, ..ConsentGrant::ALL }).await;
    let id = scenario.predict(&leads[2].record_id, true).await;
    scenario.failed(&id, Code::ConsentWithdrawn).await;
    let row = prediction(&scenario, &id).await;
    assert_eq!((row.state, row.score, row.code), (PredictionState::Failed, None, Some(Code::ConsentWithdrawn)));
    let untouched = org.retrieve("Lead", &leads[2].record_id, &["Leadline_Score__c"]).await.unwrap();
    assert!(untouched.fields["Leadline_Score__c"].is_null());

    // The answer of the write-back is lost: it is asked again, and the run goes on.
    scenario.consent(ConsentGrant::ALL).await;
    let lost = json!({ "kind": "lost_response", "match": { "path": &leads[2].record_id, "method": "PATCH" } });
    scenario.inject(&lost).await;
    let id = scenario.predict(&leads[2].record_id, true).await;
    assert_eq!(scenario.ended(&id).await.state, OperationState::Succeeded);
    let written = org.retrieve("Lead", &leads[2].record_id, &["Leadline_Score__c"]).await.unwrap();
    assert!(written.fields["Leadline_Score__c"].is_number());
    assert_eq!(scenario.seen_by_fault("lost_response").await, 2, "the lost one and its repetition");
    scenario.clear_faults().await;

    // The org's answers stay lost until the score is not kept any more: the record itself says what became of it.
    for (kind, took_effect) in [("lost_response", true), ("service_unavailable", false)] {
        let fault = json!({ "kind": kind, "match": { "path": &leads[0].record_id, "method": "PATCH" }, "count": null });
        scenario.inject(&fault).await;
        let id = scenario.predict(&leads[0].record_id, true).await;
        while scenario.seen_by_fault(kind).await == 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let mut tx = scenario.store.tenant(&scenario.tenant).await.unwrap();
        claims::delete(&mut tx, &id, ClaimPurpose::Answer).await.unwrap();
        tx.commit().await.unwrap();
        let ended = scenario.ended(&id).await;
        let expected =
            if took_effect { (OperationState::Succeeded, None) } else { (OperationState::Failed, Some(Code::ClaimExpired)) };
        assert_eq!((ended.state, ended.code), expected, "{ended:?}");
        scenario.clear_faults().await;
    }

    // A refusal that a person must mend waits for the person, and is undone when it is given up.
    scenario.inject(&json!({ "kind": "revoked_user", "match": { "path": &leads[0].record_id } })).await;
    scenario.inject(&json!({ "kind": "revoked_user", "match": { "path": "/oauth2/token" } })).await;
    let id = scenario.predict(&leads[0].record_id, true).await;
    scenario.parked(&id, Code::SalesforceAuthRefused).await;
    assert!(scenario.seen_by_fault("revoked_user").await >= 2);
    scenario.decide(PREDICT, &id, Verb::Abandon, json!({ "reason": "the user has left" })).await.unwrap();
    scenario.failed(&id, Code::OperationAbandoned).await;
    scenario.clear_faults().await;
    let mut tx = scenario.store.tenant(&scenario.tenant).await.unwrap();
    assert_eq!(budgets::today(&mut tx, 100_000).await.unwrap().outstanding, 0, "every reservation has come back");
    drop(tx);

    // A cancel while the org's answer is unknown comes too late once the record has changed.
    let lost = json!({ "kind": "lost_response", "match": { "path": &leads[1].record_id, "method": "PATCH" }, "count": 3 });
    scenario.inject(&lost).await;
    let id = scenario.predict(&leads[1].record_id, true).await;
    scenario.until(&id, "asked the org", |operation| operation.step.as_deref() == Some("write_back")).await;
    scenario.cancel(PREDICT, &id).await;
    let ended = scenario.ended(&id).await;
    let row = prediction(&scenario, &id).await;
    match ended.state {
        OperationState::Succeeded => assert_eq!(row.state, PredictionState::Completed),
        // The cancel won before the org was asked.
        OperationState::Cancelled => assert_eq!(row.state, PredictionState::Failed),
        other => panic!("ended as {other}"),
    }
    scenario.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_back_that_is_corrected_away_is_looked_up_when_the_org_was_asked() {
    let mut scenario = Scenario::onboarded(6000).await;
    let (_, leads) = with_a_model(&scenario).await;
    scenario.retry_after(Duration::from_secs(3)).await;
    for (fault, written) in [("lost_response", true), ("service_unavailable", false)] {
        let lead = &leads[usize::from(written)].record_id;
        scenario.inject(&json!({ "kind": fault, "match": { "path": lead, "method": "PATCH" } })).await;
        let id = scenario.predict(lead, true).await;
        scenario.until_met(fault).await;
        let kind = FaultKind::Refuse(Failure::new(Code::StorageDenied, "a fault of the test"));
        scenario.steps.faults.set(vec![Fault { activity: "write_back".to_owned(), kind, times: 1 }]);
        scenario.parked(&id, Code::StorageDenied).await;
        scenario.clear_faults().await;
        scenario.decide(PREDICT, &id, Verb::Retry, json!({ "correction": { "write_back": false } })).await.unwrap();
        let ended = scenario.ended(&id).await;
        assert_eq!(ended.state, OperationState::Succeeded, "{ended:?}");
        let found = scenario.org().await.retrieve("Lead", lead, &["Id", "Leadline_Score__c"]).await.unwrap();
        assert_eq!(!found.fields["Leadline_Score__c"].is_null(), written, "{fault}");
        assert_eq!(ended.result.unwrap()["written_back"], written, "{fault}: it says what the record says");
    }
    scenario.end().await;
}

/// Puts a model into production; answers the run that trained it, and some leads.
async fn with_a_model(scenario: &Scenario) -> (OperationId, Vec<records::Record>) {
    let trained = scenario.train().await;
    assert_eq!(scenario.ended(&trained).await.state, OperationState::Succeeded);
    let promoted = scenario.promote(&trained.model()).await;
    assert_eq!(scenario.ended(&promoted).await.state, OperationState::Succeeded);
    let mut tx = scenario.store.tenant(&scenario.tenant).await.unwrap();
    (trained, records::list(&mut tx, "Lead", "", 3).await.unwrap())
}

async fn prediction(scenario: &Scenario, id: &OperationId) -> predictions::Prediction {
    let mut tx = scenario.store.tenant(&scenario.tenant).await.unwrap();
    predictions::of_operation(&mut tx, id).await.unwrap()
}
