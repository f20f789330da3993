//! Decisions about parked operations: written down while Temporal is away, one for each parking, and none that is not possible.

use std::time::Duration;

use leadline_domain::{
    Code, ConsentGrant, OperationState, TenantId,
    parking::{AtDeadline, Stage},
};
use leadline_store::operations::{self, CourseUpdate, NewParking};
use serde_json::{Value as Json, json};

use crate::world::{Caller, World};

const CODE: Code = Code::SalesforceAccessDenied;

/// An export that has parked, as its run writes it down.
async fn parked(world: &World, tenant: &TenantId, caller: &Caller, stage: Stage) -> String {
    let export = caller.post(&format!("/v1/tenants/{tenant}/exports"), &json!({"object": "Lead"})).await.expect(202);
    let id = export["operationId"].as_str().unwrap().to_owned();
    let parking = NewParking {
        number: 1,
        verbs: stage.verbs(false),
        deadline: Duration::from_secs(3600),
        at_deadline: AtDeadline::Compensate,
    };
    let update = CourseUpdate {
        sequence: 7,
        state: OperationState::Parked,
        step: Some("start_bulk_job".to_owned()),
        code: Some(CODE),
        message: Some("no access to Lead".to_owned()),
        parking: Some(parking),
    };
    let mut tx = world.store.tenant(tenant).await.unwrap();
    operations::record_run(&mut tx, &id.parse().unwrap(), "a run").await.unwrap();
    assert!(operations::update_state(&mut tx, &id.parse().unwrap(), &update).await.unwrap());
    tx.commit().await.unwrap();
    id
}

async fn decide(caller: &Caller, id: &str, verb: &str, body: Json) -> crate::world::Answer {
    caller.post(&format!("/v1/operations/{id}:{verb}"), &body).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_decision_is_one_that_the_parking_allows_and_the_first_one_stands() {
    let world = World::new().await;
    let (tenant, caller) = world.tenant("acme", Some(ConsentGrant::ALL)).await;
    let id = parked(&world, &tenant, &caller, Stage::BeforePivot).await;
    let shown = caller.get(&format!("/v1/operations/{id}")).await.expect(200);
    let parking = &shown["parking"];
    assert_eq!((&shown["state"], &shown["error"]["code"]), (&json!("PARKED"), &json!("SALESFORCE_ACCESS_DENIED")));
    assert_eq!((&parking["step"], &parking["verbs"]), (&json!("start_bulk_job"), &json!(["RETRY", "ABANDON"])));
    assert!(parking["whatToDo"].as_str().is_some_and(|text| text.len() > 20), "{parking}");
    assert!(parking["sinceTime"].is_string() && parking["deadlineTime"].is_string(), "{parking}");

    let refused = [
        ("skip", json!({"reason": "x"}), (409, "VERB_NOT_ALLOWED")),
        ("skip", json!({}), (400, "INVALID_ARGUMENT")),
        ("abandon", json!({"reason": "  "}), (400, "INVALID_ARGUMENT")),
        ("retry", json!({"correction": {}}), (400, "INVALID_ARGUMENT")),
        ("retry", json!({"correction": {"fields": ["a b"]}}), (400, "INVALID_ARGUMENT")),
        ("retry", json!({"correction": {"writeBack": false}}), (400, "INVALID_ARGUMENT")),
        ("retry", json!({"reason": "x".repeat(501)}), (400, "INVALID_ARGUMENT")),
    ];
    for (verb, body, expected) in refused {
        assert_eq!(decide(&world.operator, &id, verb, body.clone()).await.problem(), expected, "{verb} {body}");
    }
    assert_eq!(decide(&caller, &id, "skip", json!({"reason": "x"})).await.problem(), (403, "FORBIDDEN"));
    let still = caller.get(&format!("/v1/operations/{id}")).await.expect(200);
    assert_eq!(still, shown, "what is refused changes nothing");

    let (first, second) = tokio::join!(
        decide(&caller, &id, "retry", json!({"correction": {"fields": ["Id", "Company"]}, "reason": "mended"})),
        decide(&world.operator, &id, "abandon", json!({"reason": "given up"})),
    );
    let outcomes = [first, second];
    assert_eq!(outcomes.iter().filter(|answer| answer.status == 202).count(), 1, "{outcomes:?}");
    let lost = outcomes.iter().find(|answer| answer.status != 202).unwrap();
    assert_eq!(lost.problem(), (409, "OPERATION_NOT_PARKED"));
    let waiting = "SELECT count(*) FROM operations WHERE decision IS NOT NULL AND decision_delivered_at IS NULL";
    assert_eq!(world.count(waiting).await, 1, "the sweeper delivers it");
    let audit = caller.get(&format!("/v1/operations/{id}/audit")).await.expect(200);
    let action = audit["entries"][0]["action"].as_str().unwrap();
    assert!(matches!(action, "operation.retry" | "operation.abandon"), "{audit}");

    let export = caller.post(&format!("/v1/tenants/{tenant}/exports"), &json!({"object": "Account"})).await.expect(202);
    let running = export["operationId"].as_str().unwrap();
    assert_eq!(decide(&caller, running, "retry", json!({})).await.problem(), (409, "OPERATION_NOT_PARKED"));
    assert_eq!(decide(&caller, "op_unknown", "retry", json!({})).await.problem(), (404, "OPERATION_NOT_FOUND"));
    let closing = operations::Closing { state: OperationState::Failed, result: None, code: Some(CODE), message: None };
    let mut tx = world.store.tenant(&tenant).await.unwrap();
    operations::close(&mut tx, &id.parse().unwrap(), &closing).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(decide(&caller, &id, "retry", json!({})).await.problem(), (409, "OPERATION_ENDED"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_parking_says_whether_the_step_or_its_undo_cannot_go_on() {
    let world = World::new().await;
    let (tenant, caller) = world.tenant("acme", Some(ConsentGrant::ALL)).await;
    let id = parked(&world, &tenant, &caller, Stage::Compensation).await;
    let undoing = async || caller.get(&format!("/v1/operations/{id}")).await.expect(200)["parking"]["undoing"].clone();
    assert_ne!(undoing().await, true);
    let mut tx = world.store.tenant(&tenant).await.unwrap();
    operations::begin_undo(&mut tx, &id.parse().unwrap()).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(undoing().await, true);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_decision_is_taken_about_all_that_a_filter_finds_and_spread_out() {
    let world = World::new().await;
    let (tenant, caller) = world.tenant("acme", Some(ConsentGrant::ALL)).await;
    let (other_tenant, other) = world.tenant("globex", Some(ConsentGrant::ALL)).await;
    let mut ids = Vec::new();
    for _ in 0..3 {
        ids.push(parked(&world, &tenant, &caller, Stage::BeforePivot).await);
    }
    let elsewhere = parked(&world, &other_tenant, &other, Stage::BeforePivot).await;
    let all = "/v1/operations:resolveParked";
    let mut request = json!({"verb": "RETRY", "code": CODE.as_str(), "tenantId": tenant, "dryRun": true, "perSecond": 2});
    let dry = world.operator.post(all, &request).await.expect(200);
    assert_eq!(dry["operationIds"], json!(ids));
    assert_eq!(world.count("SELECT count(*) FROM operations WHERE decision IS NOT NULL").await, 0, "a dry run decides nothing");
    request["dryRun"] = json!(false);
    assert_eq!(world.operator.post(all, &request).await.expect(200)["operationIds"], json!(ids));
    let spread = "SELECT (extract(epoch FROM max(decision_due_at) - min(decision_due_at)) * 10)::bigint FROM operations";
    assert_eq!(world.count(spread).await, 10, "two a second");
    let again = world.operator.post(all, &request).await.expect(200);
    assert!(again.get("operationIds").is_none_or(|ids| ids == &json!([])), "{again}");

    // A tenant's key reaches its own only, whatever it asks for.
    let own = other.post(all, &json!({"verb": "ABANDON", "code": CODE.as_str(), "reason": "given up"})).await.expect(200);
    assert_eq!(own["operationIds"], json!([elsewhere]));
    let skipped = json!({"verb": "RETRY", "code": CODE.as_str(), "tenantId": tenant});
    assert_eq!(other.post(all, &skipped).await.problem(), (403, "FORBIDDEN"));
    for wrong in [json!({"code": CODE.as_str()}), json!({"verb": "RETRY"}), json!({"verb": "SKIP", "code": CODE.as_str()})] {
        assert_eq!(world.operator.post(all, &wrong).await.problem(), (400, "INVALID_ARGUMENT"), "{wrong}");
    }
}
