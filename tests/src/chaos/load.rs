//! Starts the sagas and waits for their ends.

use std::{
    collections::HashSet,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use futures::{StreamExt as _, TryStreamExt as _, stream};
use rand::{RngExt as _, seq::SliceRandom as _};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value as Json, json};

use super::{
    Plan,
    caller::Caller,
    jobs::{self, Done, Job, What},
};
use crate::orgs::Org;

const LOOK_AGAIN: Duration = Duration::from_millis(500);
const TELL_EVERY: usize = 50;
/// Onboarding, two models and a promotion, before a tenant can predict and promote another model.
const FIRST: usize = 4;

pub struct Load {
    pub caller: Caller,
    pub orgs: Arc<Vec<Org>>,
    pub plan: Plan,
    pub say: Arc<dyn Fn(&str) + Send + Sync>,
}

/// What the load has been answered.
#[derive(Debug, Default)]
pub struct Outcome {
    pub done: Vec<Done>,
    /// Starts that leadline refused, by code: nothing was accepted.
    pub refused: Vec<String>,
    /// What contradicts the contract.
    pub violations: Vec<String>,
}

/// A tenant that can do everything.
struct Tenant {
    id: String,
    records: Mutex<Vec<String>>,
}

impl Load {
    /// Runs all of it. `calm` is called once the last start was acknowledged.
    pub async fn run(&self, dice: &mut ChaCha8Rng, calm: impl FnOnce()) -> Outcome {
        let outcome = Mutex::new(Outcome::default());
        let first = stream::iter(0..self.orgs.len()).map(|org| self.tenant(org, &outcome)).buffered(self.orgs.len());
        let mut tenants: Vec<Tenant> = first.collect().await;
        tenants.iter_mut().for_each(|tenant| tenant.records.get_mut().unwrap_or_else(PoisonError::into_inner).shuffle(dice));
        let jobs = jobs::plan(self.plan.sagas.saturating_sub(FIRST * tenants.len()), tenants.len(), dice);
        let chosen: Vec<(Job, u64)> = jobs.into_iter().map(|job| (job, dice.random())).collect();
        let (all, started) = (chosen.len(), AtomicUsize::new(0));
        let calm = Mutex::new(Some(calm));
        let numbered = stream::iter(chosen.into_iter().enumerate());
        numbered
            .for_each_concurrent(self.plan.in_flight, async |(number, (job, choice))| {
                let tenant = &tenants[job.tenant];
                let begun = self.begin(&job, tenant, number, choice, &outcome).await;
                if started.fetch_add(1, Ordering::Relaxed) + 1 == all
                    && let Some(calm) = lock(&calm).take()
                {
                    calm();
                }
                if let Some((operation, record)) = begun {
                    self.follow(&tenant.id, job.tenant, record, operation, &outcome).await;
                }
            })
            .await;
        outcome.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    /// Connects an org, gives every consent, trains a model and puts it into production, in the middle of the trouble.
    async fn tenant(&self, org: usize, outcome: &Mutex<Outcome>) -> Tenant {
        let name = format!("tenant-{org}");
        let onboarded = self.first(&format!("onboard-{org}"), "/v1/tenants", &self.orgs[org].connection(&name)).await;
        let id = onboarded["tenantId"].as_str().expect("an operation names its tenant").to_owned();
        let consent = json!({
            "allowExport": true, "allowTraining": true, "allowStorePredictions": true, "allowWriteBack": true,
            "decidedBy": "the chaos run",
        });
        self.caller.post(&format!("/v1/tenants/{id}/consent"), &format!("consent-{org}"), &consent).await.expect("a consent");
        let runs = format!("/v1/tenants/{id}/training-runs");
        let other = self.first(&format!("other-{org}"), &runs, &jobs::training()).await;
        let trained = self.first(&format!("train-{org}"), &runs, &jobs::training()).await;
        let model = trained["result"]["model"].as_str().expect("a training run makes a model").to_owned();
        let promoting = format!("/v1/tenants/{id}/models/{model}:promote");
        let promoted = self.first(&format!("promote-{org}"), &promoting, &json!({})).await;
        let records = self.records(org).await;
        let done = |operation| Done { tenant: id.clone(), org, record: None, operation };
        lock(outcome).done.extend([onboarded, other, trained, promoted].map(done));
        Tenant { records: Mutex::new(records), id }
    }

    /// One of the sagas without which there is nothing to try; it has to succeed.
    async fn first(&self, key: &str, path: &str, body: &Json) -> Json {
        let began = self.caller.post(path, key, body).await.expect("the first sagas are accepted");
        let ended = self.ended(began["operationId"].as_str().expect("an operation has an id")).await.expect("it ends");
        assert_eq!(ended["state"], "SUCCEEDED", "{path}: {ended}");
        ended
    }

    /// Ids of leads, as leadline's tenant would know them. The org may be away.
    async fn records(&self, org: usize) -> Vec<String> {
        loop {
            let client = self.orgs[org].client().await;
            let found = client.query("SELECT Id FROM Lead WHERE IsConverted = false LIMIT 2000");
            let ids = found.map_ok(|record| record.id().expect("a record has an id").to_owned());
            if let Ok(ids) = ids.try_collect::<Vec<_>>().await {
                return ids;
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    /// Starts a job until it is acknowledged or refused; answers the operation's id.
    async fn begin(
        &self,
        job: &Job,
        tenant: &Tenant,
        number: usize,
        choice: u64,
        outcome: &Mutex<Outcome>,
    ) -> Option<(String, Option<String>)> {
        let below = |rest: &str| format!("/v1/tenants/{}/{rest}", tenant.id);
        let mut record = None;
        let (path, body) = match (&job.what, job.what.request()) {
            (_, Some((rest, body))) => (below(rest), body),
            (What::Promote, None) => {
                let model = self.promotable(&tenant.id, choice).await?;
                (below(&format!("models/{model}:promote")), json!({}))
            }
            (What::ConnectAgain, None) => {
                ("/v1/tenants".to_owned(), self.orgs[job.tenant].connection(&format!("again-{number}")))
            }
            (_, None) => {
                record = lock(&tenant.records).pop();
                let predict = json!({ "requestId": format!("rq-{number}"), "recordId": record.as_ref()? });
                (below("predict:async"), predict)
            }
        };
        let key = format!("job-{number}");
        let began = match self.caller.post(&path, &key, &body).await {
            Ok(began) => began,
            Err(refused) => {
                lock(outcome).refused.push(refused.code);
                return None;
            }
        };
        let operation = began["operationId"].as_str().expect("an operation has an id").to_owned();
        if number.is_multiple_of(TELL_EVERY) {
            (self.say)(&format!("{number} started"));
        }
        self.bother(job, &operation, &path, &key, &body, outcome).await;
        Some((operation, record))
    }

    /// A model that is not in production and was there, or could be.
    async fn promotable(&self, tenant: &str, choice: u64) -> Option<String> {
        let listed = self.caller.get(&format!("/v1/tenants/{tenant}/models")).await.ok()?;
        let models = listed["models"].as_array().into_iter().flatten();
        let waiting = models.filter(|model| matches!(model["state"].as_str(), Some("STAGED" | "ARCHIVED")));
        let ids: Vec<&str> = waiting.filter_map(|model| model["modelId"].as_str()).collect();
        let at = usize::try_from(choice % ids.len().max(1) as u64).ok()?;
        ids.get(at).map(|id| (*id).to_owned())
    }

    /// The duplicates and cancels that come after a start.
    async fn bother(&self, job: &Job, operation: &str, path: &str, key: &str, body: &Json, outcome: &Mutex<Outcome>) {
        if job.again {
            match self.caller.post(path, key, body).await {
                Ok(again) if again["operationId"] == operation => {}
                other => lock(outcome).violations.push(format!("{path} once more under one key: {operation}, then {other:?}")),
            }
        }
        if let Some(after) = job.cancel_after {
            tokio::time::sleep(Duration::from_millis(after)).await;
            // It may have ended by now, which is refused with a code.
            let _ = self.caller.post(&format!("/v1/operations/{operation}:cancel"), &format!("{key}-cancel"), &json!({})).await;
        }
    }

    async fn follow(&self, tenant: &str, org: usize, record: Option<String>, operation: String, outcome: &Mutex<Outcome>) {
        match self.ended(&operation).await {
            Ok(ended) => {
                lock(outcome).done.push(Done { tenant: tenant.to_owned(), org, record, operation: ended });
            }
            Err(last) => lock(outcome).violations.push(format!("{operation} does not end: {last}")),
        }
    }

    /// Waits for the operation's end; its last state when it takes too long.
    async fn ended(&self, operation: &str) -> Result<Json, Json> {
        let began = Instant::now();
        loop {
            let seen = self.caller.get(&format!("/v1/operations/{operation}")).await;
            let seen = seen.unwrap_or_else(|refused| json!({ "refused": format!("{refused:?}") }));
            if matches!(seen["state"].as_str(), Some("SUCCEEDED" | "FAILED" | "CANCELLED")) {
                return Ok(seen);
            }
            if began.elapsed() > self.plan.patience {
                return Err(seen);
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }
}

impl Outcome {
    /// Ids of what was acknowledged; each once.
    pub fn ids(&self) -> HashSet<&str> {
        self.done.iter().map(Done::id).collect()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
