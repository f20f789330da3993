//! Everything that an operation could leave behind: the tenant's rows in every table that knows tenants, its objects, and its org.

use std::collections::BTreeMap;

use futures::TryStreamExt as _;
use leadline_domain::{OperationId, TenantId};
use leadline_store::budgets;
use leadline_tests::scenario::Scenario;
use serde_json::Value as Json;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, Row as _};

/// The operation's own record, its ledger and the audit log are what a run is meant to leave; calls that were made stay counted.
const OWN_RECORD: [&str; 6] = ["operations", "step_ledger", "audit_log", "idempotency_keys", "api_budgets", "api_reservations"];
/// Of these the operation's own row stays, with how it ended; what it must not be or have then.
const OWN_ROW: [(&str, &str); 2] = [
    ("models", "state <> 'rejected' OR artifact_key IS NOT NULL OR artifact_digest IS NOT NULL"),
    ("predictions", "state <> 'failed' OR score IS NOT NULL OR model_id IS NOT NULL OR callback_delivered_at IS NOT NULL"),
];
/// The row that the acceptance made, which a step without an undo may move on, and the permit of a step that is held.
const UNDER_WAY: [&str; 3] = ["models", "tenants", "step_permits"];

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slate {
    /// Per table: how many rows, and a digest of them.
    pub rows: BTreeMap<String, (i64, String)>,
    pub objects: Vec<String>,
    pub jobs: usize,
    pub callbacks: Vec<String>,
    /// Records that carry a score.
    pub scored: Vec<String>,
    /// Calls that are reserved and not given back.
    pub reserved: i64,
}

/// What a run has added.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Effects {
    rows: BTreeMap<String, i64>,
    objects: i64,
    callbacks: i64,
}

impl Slate {
    /// Without the rows that `own` may leave as its record.
    pub async fn read(scenario: &Scenario, own: Option<&OperationId>) -> Self {
        Self::without(scenario, own, &OWN_ROW.map(|(table, _)| table)).await
    }

    /// Without what a run that is under way has in any case.
    pub async fn beside(scenario: &Scenario, operation: &OperationId) -> Self {
        Self::without(scenario, Some(operation), &UNDER_WAY).await
    }

    async fn without(scenario: &Scenario, own: Option<&OperationId>, tables: &[&str]) -> Self {
        let org = scenario.org().await;
        let jobs = org.list_query_jobs().await.expect("the org lists its jobs").len();
        let scored: Vec<_> = org
            .query("SELECT Id, Leadline_Score__c FROM Lead WHERE Leadline_Score__c != null ORDER BY Id")
            .map_ok(|record| format!("{:?} {}", record.id(), record.fields["Leadline_Score__c"]))
            .try_collect()
            .await
            .expect("the org answers a query");
        let mut objects = scenario.all_objects().await;
        objects.sort();
        Self {
            rows: rows(&scenario.ground.owner_url, &scenario.tenant, own, tables).await,
            objects,
            jobs,
            callbacks: callbacks(scenario).await,
            scored,
            reserved: reserved(scenario).await,
        }
    }

    pub fn since(&self, before: &Self) -> Effects {
        let count = |slate: &Self, table: &str| slate.rows.get(table).map_or(0, |(count, _)| *count);
        let tables = self.rows.keys().chain(before.rows.keys());
        let rows = tables.map(|table| (table.clone(), count(self, table) - count(before, table))).filter(|(_, more)| *more != 0);
        let more = |now: usize, then: usize| i64::try_from(now).unwrap() - i64::try_from(then).unwrap();
        Effects {
            rows: rows.collect(),
            objects: more(self.objects.len(), before.objects.len()),
            callbacks: more(self.callbacks.len(), before.callbacks.len()),
        }
    }

    /// Nothing is under way: no job in the org, no call reserved.
    pub fn assert_quiet(&self) {
        assert_eq!((self.jobs, self.reserved), (0, 0), "jobs in the org, calls reserved");
    }
}

/// The operation's own row is as its undo leaves it.
pub async fn assert_own_row_is_undone(scenario: &Scenario, id: &OperationId, what: &str) {
    let mut owner = PgConnection::connect(&scenario.ground.owner_url).await.expect("the database lets its owner in");
    for (table, left) in OWN_ROW {
        let count = AssertSqlSafe(format!("SELECT count(*) FROM {table} WHERE operation_id = $1 AND ({left})"));
        let count: i64 = sqlx::query_scalar(count).bind(id.as_str()).fetch_one(&mut owner).await.expect("a table reads");
        assert_eq!(count, 0, "{what}: its own row in {table} is undone");
    }
}

/// A receiver may see a callback twice, when its answer was lost, and tells by the ids in its body.
async fn callbacks(scenario: &Scenario) -> Vec<String> {
    let received = scenario.callbacks().await;
    let list = received.as_array().or_else(|| received["callbacks"].as_array()).cloned().unwrap_or_default();
    let mut bodies: Vec<String> = list.iter().map(|callback| body(callback)["operationId"].to_string()).collect();
    bodies.sort();
    bodies.dedup();
    bodies
}

fn body(callback: &Json) -> Json {
    match &callback["body"] {
        Json::String(text) => serde_json::from_str(text).expect("a callback's body is JSON"),
        body => body.clone(),
    }
}

async fn reserved(scenario: &Scenario) -> i64 {
    let mut tx = scenario.store.tenant(&scenario.tenant).await.unwrap();
    budgets::today(&mut tx, i64::from(i32::MAX)).await.map_or(0, |budget| budget.outstanding)
}

async fn rows(
    owner_url: &str,
    tenant: &TenantId,
    own: Option<&OperationId>,
    left_out: &[&str],
) -> BTreeMap<String, (i64, String)> {
    let mut owner = PgConnection::connect(owner_url).await.expect("the database lets its owner in");
    let tables: Vec<String> = sqlx::query_scalar(
        "SELECT c.table_name::text FROM information_schema.columns c JOIN information_schema.tables t USING (table_schema, table_name)
         WHERE c.table_schema = 'public' AND c.column_name = 'tenant_id' AND t.table_type = 'BASE TABLE'",
    )
    .fetch_all(&mut owner)
    .await
    .expect("the schema reads");
    assert!(tables.len() > 10, "the laws look at every table");
    let own = own.map_or("nothing", |id| id.as_str().trim_start_matches("op_"));
    let mut found = BTreeMap::new();
    for table in tables.iter().filter(|table| !OWN_RECORD.contains(&table.as_str())) {
        let except = if left_out.contains(&table.as_str()) { own } else { "nothing" };
        let digest = AssertSqlSafe(format!(
            "SELECT count(*), coalesce(md5(string_agg(md5(r::text), '' ORDER BY md5(r::text))), '') FROM {table} r
             WHERE tenant_id = $1 AND position($2 in r::text) = 0"
        ));
        let row = sqlx::query(digest).bind(tenant.as_str()).bind(except).fetch_one(&mut owner).await.expect("a table reads");
        found.insert(table.clone(), (row.get(0), row.get(1)));
    }
    found
}
