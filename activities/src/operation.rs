//! The steps that keep the operation's own row. They have no row in the ledger: each is right however often it runs.

use std::{sync::Arc, time::SystemTime};

use leadline_domain::{Code, Failure, OperationState, parking::Decision};
use leadline_store::{
    TenantTx,
    audit::{self, AuditEntry},
    ledger::{self, StepKey, StepStart, StepState},
    operations::{self, Closing, CourseUpdate, NewParking, Operation},
    permits,
};
use leadline_workflows::{
    StepInput,
    envelope::{
        ACCEPTANCE, BeginOperation, Beginning, BegunSteps, CloseOperation, DecidePivot, Ending, Parking, RecordState, Settlement,
        StateChange,
    },
};
use serde_json::{Value as Json, json};
use temporalio_macros::activities;
use temporalio_sdk::activities::{ActivityContext, ActivityError};

use crate::{faults::FaultKind, pulse::Pulse, services::Services};

/// The fact by which a pivot's body says that a vendor is about to be asked, and, set to false, that it has refused.
pub(crate) const ASKED: &str = "asked";

pub struct OperationActivities(pub(crate) Arc<Services>);

#[activities]
impl OperationActivities {
    #[activity(definition = BeginOperation)]
    pub async fn begin_operation(
        self: Arc<Self>,
        ctx: ActivityContext,
        input: StepInput<()>,
    ) -> Result<Beginning, ActivityError> {
        let (run, sequence) = (run_of(&ctx), sequence(&ctx));
        self.keep(&ctx, || begin(&self.0, &input, &run, sequence)).await
    }

    #[activity(definition = BegunSteps)]
    pub async fn begun_steps(self: Arc<Self>, ctx: ActivityContext, input: StepInput<()>) -> Result<Vec<String>, ActivityError> {
        self.keep(&ctx, || begun(&self.0, &input)).await
    }

    #[activity(definition = RecordState)]
    pub async fn record_state(self: Arc<Self>, ctx: ActivityContext, input: StepInput<StateChange>) -> Result<(), ActivityError> {
        let sequence = sequence(&ctx);
        self.keep(&ctx, || record(&self.0, &input, sequence)).await
    }

    #[activity(definition = CloseOperation)]
    pub async fn close_operation(self: Arc<Self>, ctx: ActivityContext, input: StepInput<Ending>) -> Result<(), ActivityError> {
        self.keep(&ctx, || close(&self.0, &input)).await
    }

    #[activity(definition = DecidePivot)]
    pub async fn decide_pivot(self: Arc<Self>, ctx: ActivityContext, input: StepInput<()>) -> Result<Settlement, ActivityError> {
        self.keep(&ctx, || decide(&self.0, &input)).await
    }
}

impl OperationActivities {
    async fn keep<R: Send, F: Future<Output = Result<R, Failure>> + Send>(
        &self,
        ctx: &ActivityContext,
        body: impl Fn() -> F,
    ) -> Result<R, ActivityError> {
        let step = &ctx.info().activity_type;
        let work = |fault: Option<FaultKind>| {
            let body = body();
            async move {
                let _held = self.0.config.faults.hold(fault.as_ref(), step).await;
                body.await
            }
        };
        self.0.supervise(ctx, &Pulse::new(), work).await
    }
}

/// The run that an activity belongs to.
pub(crate) fn run_of(ctx: &ActivityContext) -> String {
    ctx.info().workflow_run_id.clone().unwrap_or_default()
}

/// Where an update stands among those of all runs of its operation: when the server scheduled it. A count kept by the workflow would
/// begin anew in a run that was reset to before some of them.
pub(crate) fn sequence(ctx: &ActivityContext) -> i64 {
    let scheduled = ctx.info().scheduled_time.unwrap_or_else(SystemTime::now);
    let since_1970 = scheduled.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since_1970.as_micros()).unwrap_or(i64::MAX)
}

async fn begin(services: &Services, input: &StepInput<()>, run: &str, sequence: i64) -> Result<Beginning, Failure> {
    let id = &input.operation.operation;
    let mut tx = services.store.tenant(&input.operation.tenant).await?;
    let row = operations::get(&mut tx, id).await?;
    if row.state.is_ended() {
        return Ok(Beginning::Ended { state: row.state });
    }
    operations::record_run(&mut tx, id, run).await?;
    let state = OperationState::Running;
    let update = CourseUpdate { sequence, state, step: None, code: None, message: None, parking: None };
    operations::update_state(&mut tx, id, &update).await?;
    let beginning = match row.terminated_at {
        None => Beginning::Run,
        Some(_) => {
            Beginning::Unwind { done: steps(&mut tx, input, |state| state == StepState::Done).await?, why: undone_for(&row) }
        }
    };
    tx.commit().await?;
    Ok(beginning)
}

/// Why the operation is being undone, as its row says.
fn undone_for(row: &Operation) -> Option<Failure> {
    let code = row.code.filter(|_| row.state == OperationState::Compensating)?;
    Some(Failure::new(code, row.message.clone().unwrap_or_default()))
}

async fn begun(services: &Services, input: &StepInput<()>) -> Result<Vec<String>, Failure> {
    let mut tx = services.store.tenant_read(&input.operation.tenant).await?;
    steps(&mut tx, input, |state| state != StepState::Undone).await
}

/// The steps that the ledger has in such a state. What the acceptance wrote is no step: every run knows of it.
async fn steps(tx: &mut TenantTx, input: &StepInput<()>, wanted: fn(StepState) -> bool) -> Result<Vec<String>, Failure> {
    let rows = ledger::steps(tx, &input.operation.operation).await?;
    let found = rows.into_iter().filter(|row| row.epoch == input.epoch && wanted(row.state));
    Ok(found.map(|row| row.step).filter(|step| step != ACCEPTANCE).collect())
}

async fn record(services: &Services, input: &StepInput<StateChange>, sequence: i64) -> Result<(), Failure> {
    let StateChange { state, code, message, parking, decision } = input.params.clone();
    let id = &input.operation.operation;
    let step = parking.as_ref().map(|parking| parking.parked.step.clone());
    let update = CourseUpdate { sequence, state, step, code, message, parking: parking.map(new_parking) };
    let mut tx = services.store.tenant(&input.operation.tenant).await?;
    let written = match &decision {
        Some(_) => operations::get(&mut tx, id).await?.parking.and_then(|parking| parking.decision),
        None => None,
    };
    let applied = operations::update_state(&mut tx, id, &update).await?;
    if let Some(decision) = decision.filter(|_| applied) {
        if let Some(correction) = &decision.instruction.correction {
            operations::correct(&mut tx, id, correction).await?;
        }
        let entry = AuditEntry {
            tenant: &input.operation.tenant,
            operation: Some(id),
            actor: actor_of(&decision, written.as_ref()),
            action: "operation.resume",
            detail: json!({
                "verb": decision.verb,
                "park": decision.instruction.park,
                "correction": decision.instruction.correction,
                "reason": decision.instruction.reason,
            }),
        };
        audit::append(&mut tx, &entry).await?;
    }
    Ok(tx.commit().await?)
}

/// Who decided: the caller of the API whose decision is written down, or somebody in Temporal, who can claim to be anybody.
fn actor_of<'a>(decision: &'a Decision, written: Option<&Decision>) -> &'a str {
    let claimed = decision.instruction.actor.as_deref();
    let written = written.and_then(|written| written.instruction.actor.as_deref());
    claimed.filter(|claimed| written == Some(claimed)).unwrap_or("temporal")
}

fn new_parking(Parking { parked, deadline, at_deadline }: Parking) -> NewParking {
    NewParking { number: parked.number, verbs: parked.verbs, deadline, at_deadline }
}

async fn close(services: &Services, input: &StepInput<Ending>) -> Result<(), Failure> {
    let id = &input.operation.operation;
    let mut closing = closing(input.params.clone());
    let late_cancel = matches!(input.params, Ending::Succeeded { late_cancel: true, .. });
    let mut tx = services.store.tenant(&input.operation.tenant).await?;
    let before = operations::get(&mut tx, id).await?;
    if before.pivot_passed && closing.state != OperationState::Succeeded {
        // A run that was reset to before the pivot, and given up there.
        let message =
            "its effect has been seen; its run was reset and given up, so what comes after the pivot may be missing".to_owned();
        closing = Closing { state: OperationState::Succeeded, result: None, code: None, message: Some(message) };
    }
    if late_cancel || matches!(input.params, Ending::Cancelled { .. }) {
        operations::note_cancel(&mut tx, &before).await?;
    }
    operations::close(&mut tx, id, &closing).await?;
    permits::give_back_all(&mut tx, id).await?;
    if late_cancel && !before.state.is_ended() {
        let entry = AuditEntry {
            tenant: &input.operation.tenant,
            operation: Some(id),
            actor: "worker",
            action: "operation.late_cancel",
            detail: json!({ "state": closing.state }),
        };
        audit::append(&mut tx, &entry).await?;
    }
    Ok(tx.commit().await?)
}

/// What the operation's row says of how it ended.
pub fn closing(ending: Ending) -> Closing {
    let state = ending.state();
    match ending {
        Ending::Succeeded { result, late_cancel } => {
            let message =
                late_cancel.then(|| "a cancel was asked for after the effect had been seen, and changed nothing".to_owned());
            Closing { state, result: Some(result), code: None, message }
        }
        Ending::Failed { code, message, left_behind } => {
            Closing { state, result: None, code: Some(code), message: Some(message + &left(&left_behind)) }
        }
        Ending::Cancelled { left_behind } if left_behind.is_empty() => {
            let message = "cancelled on request; everything it did is undone".to_owned();
            Closing { state, result: None, code: Some(Code::Cancelled), message: Some(message) }
        }
        Ending::Cancelled { left_behind } => {
            let message = format!("cancelled on request{}", left(&left_behind));
            Closing { state, result: None, code: Some(Code::Cancelled), message: Some(message) }
        }
    }
}

/// What the operation's message says of undos that a person skipped.
fn left(steps: &[String]) -> String {
    if steps.is_empty() { String::new() } else { format!("; left behind, as a person decided: what {} did", steps.join(", ")) }
}

/// Reads the pivot's ledger row under its lock. If the pivot is not done and no vendor may have heard of it, its epoch is
/// closed in the same transaction, so that the answer stays true.
async fn decide(services: &Services, input: &StepInput<()>) -> Result<Settlement, Failure> {
    let key = StepKey { operation: input.operation.operation.clone(), step: input.step.clone(), epoch: input.epoch };
    let mut tx = services.store.tenant(&input.operation.tenant).await?;
    let facts = match ledger::open_step(&mut tx, &key).await {
        Ok(StepStart::Done { result }) => return Ok(Settlement::Happened(result)),
        Ok(StepStart::Resumed { facts }) => facts,
        Ok(StepStart::Fresh) => Json::Null,
        Err(error) if error.code() == Some(Code::EpochClosed) => return Ok(Settlement::Refused),
        Err(error) => return Err(error.into()),
    };
    if facts.get(ASKED).and_then(Json::as_bool) == Some(true) {
        return Ok(Settlement::Unknown);
    }
    ledger::close_epoch(&mut tx, &key).await?;
    tx.commit().await?;
    Ok(Settlement::Refused)
}
