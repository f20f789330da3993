//! Everything compared with everything, once nothing is under way: what was acknowledged, the rows, the objects, the orgs, and
//! what Temporal says.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use futures::TryStreamExt as _;
use leadline_lake::Prefix;
use sqlx::{Connection as _, PgConnection, Row as _};

use super::{jobs::Done, load::Outcome};
use crate::{dev_stack::DevStack, orgs::Org};

/// What does not hold; nothing when all is well.
pub async fn all(stack: &DevStack, orgs: &[Org], outcome: &Outcome) -> Vec<String> {
    let mut found = Found(outcome.violations.clone());
    let owner = stack.endpoint("/database/owner");
    let mut owner = PgConnection::connect(&owner).await.expect("the database lets its owner in");
    rows(&mut owner, outcome, &mut found).await;
    effects(&mut owner, outcome, &mut found).await;
    objects(stack, &mut owner, outcome, &mut found).await;
    temporal(stack, outcome, &mut found);
    for (at, org) in orgs.iter().enumerate() {
        in_the_org(org, outcome.done.iter().filter(|done| done.org == at), &mut found).await;
    }
    found.0
}

struct Found(Vec<String>);

impl Found {
    fn expect<T: PartialEq + std::fmt::Debug>(&mut self, what: &str, found: T, expected: T) {
        if found != expected {
            self.0.push(format!("{what}: {found:?}, and {expected:?} is right"));
        }
    }
}

/// One row for each start that was acknowledged, ended, and not stuck; nothing is reserved any more.
async fn rows(owner: &mut PgConnection, outcome: &Outcome, found: &mut Found) {
    let rows = sqlx::query("SELECT operation_id, state, stuck_since IS NOT NULL AS stuck FROM operations").fetch_all(&mut *owner);
    let rows = rows.await.expect("a table reads");
    let ids: Vec<String> = rows.iter().map(|row| row.get("operation_id")).collect();
    let known = outcome.ids();
    found.expect("acknowledged twice", outcome.done.len(), known.len());
    let strangers: Vec<_> = ids.iter().filter(|id| !known.contains(id.as_str())).collect();
    found.expect("operations that nobody started", strangers, Vec::new());
    let lost: Vec<_> = known.iter().filter(|id| !ids.iter().any(|row| row == *id)).collect();
    found.expect("acknowledged operations without a row", lost, Vec::new());
    let open = |state: String| !["succeeded", "failed", "cancelled"].contains(&state.as_str());
    found.expect("rows that have not ended", rows.iter().filter(|row| open(row.get("state"))).count(), 0);
    found.expect("stuck rows", rows.iter().filter(|row| row.get::<bool, _>("stuck")).count(), 0);
    let reserved = "SELECT count(*) FROM api_reservations WHERE released_at IS NULL AND reserved > spent";
    found.expect("reservations that nobody gave back", count(owner, reserved).await, 0);
}

/// Each success has its effect once, and what did not succeed has none.
async fn effects(owner: &mut PgConnection, outcome: &Outcome, found: &mut Found) {
    let succeeded = |kind: &str| i64::try_from(outcome.done.iter().filter(|done| done.is(kind, "SUCCEEDED")).count()).unwrap();
    let exports = succeeded("EXPORT_DATASET") + succeeded("TRAIN_MODEL");
    let committed = "SELECT count(*) FROM datasets WHERE state = 'committed'";
    found.expect("data sets", count(owner, committed).await, exports);
    found.expect("data sets that are not complete", count(owner, "SELECT count(*) FROM datasets").await, exports);
    let models = "SELECT count(*) FROM models WHERE artifact_key IS NOT NULL";
    found.expect("models", count(owner, models).await, succeeded("TRAIN_MODEL"));
    let drills = "SELECT count(*) FROM drills WHERE completed";
    found.expect("completed drills", count(owner, drills).await, succeeded("RUN_DRILL"));
    // A person may have skipped the undo, and the operation says so.
    let left = "SELECT count(*) FROM drills JOIN operations USING (operation_id)
                WHERE NOT completed AND coalesce(message, '') NOT LIKE '%left behind%'";
    found.expect("drills that were not cleared", count(owner, left).await, 0);
    let active = "SELECT count(*) FROM tenants WHERE state = 'active'";
    found.expect("tenants", count(owner, active).await, succeeded("ONBOARD_TENANT"));
    let unfinished = "SELECT count(*) FROM tenants WHERE state <> 'active'";
    found.expect("tenants that are not connected", count(owner, unfinished).await, 0);
    let completed = "SELECT count(*) FROM predictions WHERE state = 'completed'";
    let predicted = outcome.done.iter().filter(|done| done.is("PREDICT_ASYNC", "SUCCEEDED")).count();
    found.expect("completed predictions", count(owner, completed).await, i64::try_from(predicted).unwrap());
}

/// The bucket holds what the rows name, and nothing else.
async fn objects(stack: &DevStack, owner: &mut PgConnection, outcome: &Outcome, found: &mut Found) {
    let tenants: BTreeSet<&str> = outcome.done.iter().map(|done| done.text("tenantId")).collect();
    let named = sqlx::query_scalar::<_, String>(
        "SELECT key FROM export_parts UNION SELECT manifest_key FROM datasets WHERE manifest_key IS NOT NULL
         UNION SELECT artifact_key FROM models WHERE artifact_key IS NOT NULL",
    );
    let mut named: BTreeSet<String> = named.fetch_all(owner).await.expect("tables read").into_iter().collect();
    let connected = outcome.done.iter().filter(|done| done.is("ONBOARD_TENANT", "SUCCEEDED"));
    for done in connected {
        let tenant = done.tenant.parse().expect("a tenant id");
        named.insert(Prefix::tenant(&tenant).key("tenant.json").expect("a key").as_str().to_owned());
    }
    let mut there = BTreeSet::new();
    for tenant in tenants {
        there.extend(stack.objects(tenant).await);
    }
    found.expect("objects that no row names", there.difference(&named).collect(), Vec::new());
    found.expect("objects that a row names and that are not there", named.difference(&there).collect(), Vec::new());
}

/// Each operation has one workflow, which ended as its row did.
fn temporal(stack: &DevStack, outcome: &Outcome, found: &mut Found) {
    let mut statuses: HashMap<String, Vec<String>> = HashMap::new();
    for (id, status) in stack.runs() {
        statuses.entry(id).or_default().push(status);
    }
    let mut wrong = Vec::new();
    for done in &outcome.done {
        let expected = match done.text("state") {
            "SUCCEEDED" => "WORKFLOW_EXECUTION_STATUS_COMPLETED",
            "CANCELLED" => "WORKFLOW_EXECUTION_STATUS_CANCELED",
            _ => "WORKFLOW_EXECUTION_STATUS_FAILED",
        };
        let runs = statuses.remove(done.text("workflowId")).unwrap_or_default();
        if runs != [expected] {
            wrong.push(format!("{} {}: {runs:?}", done.text("workflowId"), done.text("state")));
        }
    }
    found.expect("workflows that ended otherwise than their rows", wrong, Vec::new());
    found.expect("workflows without an operation", statuses.keys().collect(), Vec::new());
}

/// No job is left, each record has the score of the prediction that wrote it, and each prediction was told of.
async fn in_the_org<'d>(org: &Org, done: impl Iterator<Item = &'d Done>, found: &mut Found) {
    let client = org.client().await;
    let jobs = client.list_query_jobs().await.expect("the org lists its jobs");
    found.expect("Bulk jobs in the org", jobs.len(), 0);
    let scored = client.query("SELECT Id, Leadline_Score__c FROM Lead WHERE Leadline_Score__c != null");
    let scored = scored.map_ok(|record| record.id().expect("a record has an id").to_owned());
    let scored: BTreeSet<String> = scored.try_collect().await.expect("the org answers a query");
    let (mut expected, mut succeeded) = (BTreeSet::new(), BTreeSet::new());
    for done in done.filter(|done| done.is("PREDICT_ASYNC", "SUCCEEDED")) {
        expected.extend(done.record.clone());
        succeeded.insert(done.id().to_owned());
    }
    found.expect("scored records without a prediction", scored.difference(&expected).collect(), Vec::new());
    found.expect("predictions whose record has no score", expected.difference(&scored).collect(), Vec::new());
    let told = told(org).await;
    let told_of: BTreeSet<String> = told.keys().cloned().collect();
    found.expect("predictions that nobody was told of", succeeded.difference(&told_of).collect(), Vec::new());
}

/// How often the org has accepted the callback of each prediction: more than once when an answer was lost, which it tells by the
/// operation's id in the body.
pub async fn told(org: &Org) -> BTreeMap<String, usize> {
    let received = org.view("callbacks").await;
    let mut told = BTreeMap::new();
    for callback in received.as_array().into_iter().flatten() {
        if callback["accepted"] == true && callback["kind"] == "prediction-complete" {
            let id = callback["body"]["operationId"].as_str().unwrap_or_default().to_owned();
            *told.entry(id).or_default() += 1;
        }
    }
    told
}

async fn count(owner: &mut PgConnection, statement: &'static str) -> i64 {
    sqlx::query_scalar(statement).fetch_one(owner).await.expect("a table reads")
}
