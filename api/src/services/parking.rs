//! Decisions about parked operations: of one, or of all that a filter finds.

use chrono::{DateTime, TimeDelta, Utc};
use leadline_domain::{
    Code, Failure, OperationKind, TenantId, Verb,
    parking::{Correction, Decision, Instruction},
};
use leadline_proto::v1::{
    self, AbandonOperationRequest, ResolveParkedOperationsRequest, ResolveParkedOperationsResponse, RetryOperationRequest,
    SkipOperationRequest,
};
use leadline_store::operations::{self, Operation, ParkedFilter};

use super::{Facade, invalid, operations::operation_id};
use crate::{
    caller::{Call, Scope},
    layers::observation::note_operation,
    shapes,
};

const DEFAULT_RATE: i32 = 10;
const HIGHEST_RATE: i32 = 1_000;
const DEFAULT_LIMIT: i32 = 1_000;
const HIGHEST_LIMIT: i32 = 10_000;

impl Facade {
    pub(super) async fn retry(&self, request: RetryOperationRequest) -> Result<Operation, Failure> {
        let correction = request.correction.map(correction);
        self.decide(&request.operation_id, Verb::Retry, request.reason, correction).await
    }

    pub(super) async fn skip(&self, request: SkipOperationRequest) -> Result<Operation, Failure> {
        self.decide(&request.operation_id, Verb::Skip, request.reason, None).await
    }

    pub(super) async fn abandon(&self, request: AbandonOperationRequest) -> Result<Operation, Failure> {
        self.decide(&request.operation_id, Verb::Abandon, request.reason, None).await
    }

    /// The decision is written down before Temporal hears of it: the answer needs neither Temporal nor a worker.
    async fn decide(&self, id: &str, verb: Verb, reason: String, correction: Option<Correction>) -> Result<Operation, Failure> {
        let call = Call::current()?;
        let id = operation_id(id)?;
        note_operation(id.as_str());
        let decision = decision(&call, verb, reason, correction)?;
        let found = self.operation_of(&call, &id).await?;
        let mut tx = self.store.tenant(&found.tenant).await?;
        let decided = operations::decide(&mut tx, &id, call.caller.key.as_str(), &decision, Utc::now()).await?;
        tx.commit().await?;
        self.starter.decide(&decided);
        Ok(decided)
    }

    pub(super) async fn resolve_parked(
        &self,
        request: ResolveParkedOperationsRequest,
    ) -> Result<ResolveParkedOperationsResponse, Failure> {
        let call = Call::current()?;
        let bulk = Bulk::read(&call, request)?;
        let found = match &call.caller.scope {
            Scope::Operator => operations::parked(&mut self.store.operator().await?, &bulk.filter, bulk.limit).await?,
            Scope::Tenant(tenant) => {
                operations::parked(&mut self.store.tenant_read(tenant).await?, &bulk.filter, bulk.limit).await?
            }
        };
        let mut answer = ResolveParkedOperationsResponse::default();
        let (now, mut taken) = (Utc::now(), 0);
        for operation in found {
            let due = now + TimeDelta::milliseconds(taken * 1_000 / i64::from(bulk.per_second));
            if self.resolve_one(&call, &bulk, &operation, due).await? {
                answer.operation_ids.push(operation.id.to_string());
                answer.last_due_time = Some(due.into());
                taken += 1;
            } else {
                answer.left_operation_ids.push(operation.id.to_string());
            }
        }
        Ok(answer)
    }

    /// `false` for an operation about which this cannot be decided, or no longer.
    async fn resolve_one(&self, call: &Call, bulk: &Bulk, operation: &Operation, due: DateTime<Utc>) -> Result<bool, Failure> {
        let mut tx = self.store.tenant(&operation.tenant).await?;
        let decided = operations::decide(&mut tx, &operation.id, call.caller.key.as_str(), &bulk.decision, due).await;
        match decided {
            Ok(_) if bulk.dry_run => Ok(true),
            Ok(_) => {
                tx.commit().await?;
                Ok(true)
            }
            Err(error) => match error.code() {
                Some(Code::OperationNotParked | Code::OperationEnded | Code::OperationNotFound | Code::VerbNotAllowed) => {
                    Ok(false)
                }
                _ => Err(error.into()),
            },
        }
    }
}

/// A decision about many.
struct Bulk {
    filter: ParkedFilter,
    decision: Decision,
    limit: u32,
    per_second: i32,
    dry_run: bool,
}

impl Bulk {
    fn read(call: &Call, request: ResolveParkedOperationsRequest) -> Result<Self, Failure> {
        let verb = shapes::filter(request.verb, &Verb::ALL, "verb", shapes::verb)?.ok_or_else(|| invalid("verb is missing"))?;
        let code = request.code.parse().map_err(|_| invalid("code is one of the error reference: why they are parked"))?;
        let tenant: Option<TenantId> = match request.tenant_id.as_str() {
            "" => None,
            named => Some(call.caller.tenant(named)?),
        };
        let kind = shapes::filter(request.kind, &OperationKind::ALL, "kind", shapes::operation_kind)?;
        let limit = within(request.limit, DEFAULT_LIMIT, HIGHEST_LIMIT, "limit")?;
        Ok(Self {
            filter: ParkedFilter { tenant, kind, code },
            decision: decision(call, verb, request.reason, None)?,
            limit: limit.unsigned_abs(),
            per_second: within(request.per_second, DEFAULT_RATE, HIGHEST_RATE, "perSecond")?,
            dry_run: request.dry_run,
        })
    }
}

fn within(number: i32, default: i32, highest: i32, name: &str) -> Result<i32, Failure> {
    match number {
        0 => Ok(default),
        n if (1..=highest).contains(&n) => Ok(n),
        _ => Err(invalid(format!("{name} is 1 to {highest}, or absent"))),
    }
}

/// Only operators skip: what a skipped step or undo leaves behind is theirs to see to.
fn decision(call: &Call, verb: Verb, reason: String, correction: Option<Correction>) -> Result<Decision, Failure> {
    if verb == Verb::Skip {
        call.caller.require_operator()?;
    }
    let reason = (!reason.is_empty()).then_some(reason);
    let instruction = Instruction { correction, reason, ..Instruction::default() };
    instruction.check(verb)?;
    Ok(Decision { verb, instruction })
}

fn correction(message: v1::Correction) -> Correction {
    Correction { fields: (!message.fields.is_empty()).then_some(message.fields), write_back: message.write_back }
}
