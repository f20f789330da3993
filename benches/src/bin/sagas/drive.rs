//! Starting sagas, as many at a time as asked for, and waiting for their results.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use leadline_codec::{Stamped, data_converter};
use leadline_domain::{
    OperationId, OperationKind, OperationRef, TenantId,
    operation::{DrillWait, RunDrill, SagaInput},
};
use leadline_secrets::Keyring;
use leadline_store::{
    Store,
    operations::{self, NewOperation},
    tenants::{self, NewTenant, OrgConnection},
};
use leadline_tests::scenario::connection;
use leadline_worker::start_options;
use serde_json::{Value as Json, json};
use temporalio_client::{Client, ClientOptions, Connection, WorkflowIdReusePolicy};
use temporalio_common::{HasWorkflowDefinition, WorkflowDefinition};

use crate::{contenders::Contender, ground::Ground};

const DRILL: RunDrill = RunDrill { wait_at: DrillWait::Nowhere };
const TENANTS: usize = 4;
const END_WITHIN: Duration = Duration::from_secs(300);

struct Drill;

impl WorkflowDefinition for Drill {
    type Input = Stamped<SagaInput<RunDrill>>;
    type Output = Json;

    fn name(&self) -> &str {
        OperationKind::RunDrill.as_str()
    }
}

impl HasWorkflowDefinition for Drill {
    type Run = Self;
}

/// Starts the sagas of all contenders by the same code: the Go SDK's in plain JSON, leadline's encrypted.
pub struct Driver {
    store: Store,
    plain: Client,
    sealing: Client,
    tenants: Vec<TenantId>,
}

/// Sagas that have ended.
pub struct Driven {
    pub took: Duration,
    /// From the start to the result, of each.
    pub latencies: Vec<Duration>,
}

impl Driver {
    pub async fn new(ground: &Ground) -> Result<Self> {
        let connection = Connection::connect(connection(&ground.temporal)).await?;
        let keyring = Arc::new(Keyring::load(&ground.keyring_file)?);
        let sealing = ClientOptions::new("default").data_converter(data_converter(&keyring)).build();
        let plain = Client::new(connection.clone(), ClientOptions::new("default").build())?;
        let tenants: Vec<TenantId> = (0..TENANTS).map(|_| TenantId::random()).collect();
        let driver = Self { store: ground.store.clone(), plain, sealing: Client::new(connection, sealing)?, tenants };
        for tenant in &driver.tenants {
            driver.insert(tenant).await?;
        }
        Ok(driver)
    }

    /// The client that reads what a contender's runs have written.
    pub fn client(&self, contender: Contender) -> &Client {
        if contender.is_leadline() { &self.sealing } else { &self.plain }
    }

    /// A tenant as if it had been onboarded; nothing of it is called upon.
    async fn insert(&self, tenant: &TenantId) -> Result<()> {
        let connection = OrgConnection {
            login_url: String::new(),
            client_id: String::new(),
            username: String::new(),
            audience: String::new(),
        };
        let name = tenant.as_str().replace('_', "-");
        let created_by = self.accept(tenant, OperationKind::OnboardTenant, &json!({})).await?.operation;
        let mut tx = self.store.operator_for(tenant).await?;
        tenants::insert(&mut tx, &NewTenant { display_name: name.clone(), name, connection, created_by }).await?;
        Ok(tx.commit().await?)
    }

    async fn accept(&self, tenant: &TenantId, kind: OperationKind, params: &Json) -> Result<OperationRef> {
        let operation = OperationRef { tenant: tenant.clone(), operation: OperationId::random(), kind };
        let new = NewOperation {
            id: operation.operation.clone(),
            kind,
            params: params.clone(),
            requested_by: "bench".to_owned(),
            consent_version: None,
        };
        let mut tx = self.store.operator_for(tenant).await?;
        operations::accept(&mut tx, &new, None).await?;
        tx.commit().await?;
        Ok(operation)
    }

    /// Drills to be run, of several tenants. With the ledger on they are accepted first, as the API does it.
    pub async fn drills(&self, contender: Contender, number: usize) -> Result<Vec<OperationRef>> {
        let mut drills = Vec::with_capacity(number);
        for tenant in self.tenants.iter().cycle().take(number) {
            drills.push(match contender {
                Contender::LedgerOn => self.accept(tenant, OperationKind::RunDrill, &json!(DRILL)).await?,
                _ => OperationRef { tenant: tenant.clone(), operation: OperationId::random(), kind: OperationKind::RunDrill },
            });
        }
        Ok(drills)
    }

    /// Runs them to their ends, `in_flight` at a time.
    pub async fn run(&self, contender: Contender, queue: &str, drills: &[OperationRef], in_flight: usize) -> Result<Driven> {
        let begun = Instant::now();
        let runs = drills.iter().map(|operation| self.run_one(contender, queue, operation));
        let all = stream::iter(runs).buffer_unordered(in_flight).try_collect();
        let latencies = tokio::time::timeout(END_WITHIN, all).await.context("the sagas do not end: has their worker died?")??;
        Ok(Driven { took: begun.elapsed(), latencies })
    }

    async fn run_one(&self, contender: Contender, queue: &str, operation: &OperationRef) -> Result<Duration> {
        let options = start_options(queue, operation, WorkflowIdReusePolicy::RejectDuplicate);
        let tenant = contender.is_leadline().then(|| operation.tenant.clone());
        let input = Stamped { tenant, value: SagaInput { operation: operation.clone(), params: DRILL } };
        let begun = Instant::now();
        let run = self.client(contender).start_workflow(Drill, input, options).await.context("start a saga")?;
        let result =
            run.get_result(Default::default()).await.with_context(|| format!("{} of {contender:?}", operation.workflow_id()))?;
        ensure!(result == json!({}), "{} ended with {result}", operation.workflow_id());
        Ok(begun.elapsed())
    }
}
