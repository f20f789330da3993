//! `leadline operation`: what was started, how far it is, and how it ended.

use chrono::{DateTime, Utc};
use clap::{Subcommand, ValueEnum};
use leadline_proto::v1::{self, CancelOperationRequest, ListOperationAuditResponse, ListOperationsResponse, OperationKind};
use serde_json::Value;

use super::{
    Context, PageArgs, hint_at_next_page,
    parking::{self, GiveUp, Move, Resolve, Retry},
    tenant_id,
};
use crate::{
    client::Answer,
    error::{CliError, Result},
    follow::{self, state_name},
    output,
};

#[derive(Debug, Subcommand)]
pub enum Operation {
    /// List operations, newest first
    List {
        /// Id or name; operators only
        #[arg(long)]
        tenant: Option<String>,
        /// Only operations of this kind
        #[arg(long, value_enum)]
        kind: Option<Kind>,
        /// Only operations in this state
        #[arg(long, value_enum)]
        state: Option<State>,
        /// Only operations that are parked, undo or have failed with this error code
        #[arg(long)]
        code: Option<String>,
        /// Created at or after (RFC 3339)
        #[arg(long, value_name = "TIME")]
        after: Option<DateTime<Utc>>,
        /// Created before (RFC 3339)
        #[arg(long, value_name = "TIME")]
        before: Option<DateTime<Utc>>,
        #[command(flatten)]
        page: PageArgs,
    },
    /// Read one operation
    Get {
        /// Id of the operation
        operation: String,
    },
    /// List who did what to an operation, newest first, with the reasons that people gave
    Audit {
        /// Id of the operation
        operation: String,
        #[command(flatten)]
        page: PageArgs,
    },
    /// Ask a running operation to stop and undo what it did
    ///
    /// With --follow the exit code says what came of it: 5 when it was cancelled, 3 when the cancel came too late and it
    /// succeeded, 4 when it failed of itself.
    Cancel {
        /// Id of the operation
        operation: String,
        /// Kept in the audit log
        #[arg(long, default_value = "", hide_default_value = true)]
        reason: String,
        /// Wait until all is undone
        #[arg(long)]
        follow: bool,
    },
    /// Let a parked operation try its step again
    ///
    /// `operation get` says what it waits for, and what is possible.
    Retry(Retry),
    /// Let a parked operation go on without the step, or the undo, that it is parked at
    Skip(GiveUp),
    /// Give a parked operation up: everything that it did is undone
    Abandon(GiveUp),
    /// Decide about all operations that are parked with one error code
    Resolve(Resolve),
    /// Move a parked or stuck operation to the build of the API that is asked
    ///
    /// Its history is replayed there first; workers of that build then carry it on. It stays parked: decide about it afterwards.
    Move(Move),
    /// Wait for the end of an operation, with a progress bar
    ///
    /// Ends with exit code 7 when the operation parks: it then needs a person.
    Follow {
        /// Id of the operation
        operation: String,
    },
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum Kind {
    OnboardTenant,
    ExportDataset,
    TrainModel,
    PromoteModel,
    PredictAsync,
    RunDrill,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum Verb {
    Retry,
    Skip,
    Abandon,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum State {
    Accepted,
    Running,
    Parked,
    Compensating,
    Succeeded,
    Failed,
    Cancelled,
}

/// The name of a value in the API: `--kind train-model` is TRAIN_MODEL.
pub fn api_name(value: &impl ValueEnum) -> String {
    value.to_possible_value().map(|name| name.get_name().to_uppercase().replace('-', "_")).unwrap_or_default()
}

impl Operation {
    pub async fn run(self, context: &Context) -> Result<()> {
        let client = context.client()?;
        match self {
            Self::List { tenant, kind, state, code, after, before, page } => {
                let mut query = page.query();
                if let Some(tenant) = tenant {
                    query.push(("tenantId", tenant_id(&client, &tenant).await?));
                }
                query.extend(kind.map(|kind| ("kind", api_name(&kind))));
                query.extend(state.map(|state| ("state", api_name(&state))));
                query.extend(code.map(|code| ("code", code)));
                query.extend(after.map(|time| ("createdAfter", rfc3339(time))));
                query.extend(before.map(|time| ("createdBefore", rfc3339(time))));
                let list: Answer<ListOperationsResponse> = client.get(&["v1", "operations"], &query).await?;
                context.show(&list, print_list);
            }
            Self::Get { operation } => {
                let found: Answer<v1::Operation> = client.get(&["v1", "operations", &operation], &[]).await?;
                context.show(&found, print);
            }
            Self::Audit { operation, page } => {
                let path = ["v1", "operations", &operation, "audit"];
                let list: Answer<ListOperationAuditResponse> = client.get(&path, &page.query()).await?;
                context.show(&list, print_audit);
            }
            Self::Cancel { operation, reason, follow } => {
                let request = CancelOperationRequest { operation_id: String::new(), reason };
                let path = ["v1", "operations", &format!("{operation}:cancel")];
                let asked: Answer<v1::Operation> = client.post(&path, &request, None).await?;
                if !follow {
                    context.show(&asked, print);
                    return Ok(());
                }
                let ended = follow::to_end(&client, &operation).await?;
                context.show(&ended, print);
                follow::success(&ended.message)?;
                return Err(CliError::TooLate { operation });
            }
            Self::Retry(retry) => retry.run(context, &client).await?,
            Self::Skip(skip) => skip.skip(context, &client).await?,
            Self::Abandon(abandon) => abandon.abandon(context, &client).await?,
            Self::Resolve(resolve) => resolve.run(context, &client).await?,
            Self::Move(verb) => verb.run(context, &client).await?,
            Self::Follow { operation } => {
                let ended = follow::to_end(&client, &operation).await?;
                context.show(&ended, print);
                follow::success(&ended.message)?;
            }
        }
        Ok(())
    }
}

fn rfc3339(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true)
}

fn print_list(list: &ListOperationsResponse) {
    let mut table = output::table(["operation", "kind", "state", "step", "took", "code", "created", "parked since", "deadline"]);
    for operation in &list.operations {
        table.add_row([
            operation.operation_id.clone(),
            kind_name(operation.kind()),
            state(operation),
            step(operation),
            took(operation),
            operation.error.as_ref().map(|error| error.code.clone()).unwrap_or_default(),
            output::time(operation.create_time.as_ref()),
            output::time(operation.parking.as_ref().and_then(|parking| parking.since_time.as_ref())),
            output::time(operation.parking.as_ref().and_then(|parking| parking.deadline_time.as_ref())),
        ]);
    }
    output::print(&table);
    hint_at_next_page(&list.next_page_token);
}

fn print_audit(list: &ListOperationAuditResponse) {
    let mut table = output::table(["time", "who", "what", "detail"]);
    for entry in &list.entries {
        let detail = entry.detail.as_ref().and_then(|detail| serde_json::to_string(detail).ok());
        table.add_row([output::time(entry.time.as_ref()), entry.actor.clone(), entry.action.clone(), detail.unwrap_or_default()]);
    }
    output::print(&table);
    hint_at_next_page(&list.next_page_token);
}

fn kind_name(kind: OperationKind) -> String {
    output::name(kind.as_str_name())
}

fn took(operation: &v1::Operation) -> String {
    output::between(operation.create_time.as_ref(), operation.end_time.as_ref()).map(output::duration).unwrap_or_default()
}

/// Shows one operation to a person.
pub fn print(operation: &v1::Operation) {
    let error = operation.error.as_ref();
    let result: Option<Value> = operation.result.as_ref().and_then(|result| serde_json::to_value(result).ok());
    let [since, what_to_do, possible, deadline] = parking::facts(operation);
    output::print(&output::facts([
        ("operation", operation.operation_id.clone()),
        ("kind", kind_name(operation.kind())),
        ("tenant", operation.tenant_id.clone()),
        ("state", state_name(operation.state()).to_owned()),
        ("step", step(operation)),
        ("progress", operation.progress.as_ref().and_then(output::progress).unwrap_or_default()),
        ("error", error.map(|error| format!("{}: {}", error.code, error.message)).unwrap_or_default()),
        since,
        what_to_do,
        possible,
        deadline,
        ("stuck since", output::time(operation.stuck.as_ref().and_then(|stuck| stuck.since_time.as_ref()))),
        ("stuck at", operation.stuck.as_ref().map(stuck_at).unwrap_or_default()),
        ("result", result.map(|result| result.to_string()).unwrap_or_default()),
        ("created", output::time(operation.create_time.as_ref())),
        ("ended", output::time(operation.end_time.as_ref())),
        ("took", took(operation)),
        ("cancel asked", output::time(operation.cancel_request_time.as_ref())),
        ("workflow", operation.workflow_id.clone()),
        ("run", operation.run_id.clone()),
    ]));
}

fn state(operation: &v1::Operation) -> String {
    let decided = operation.parking.as_ref().and_then(parking::decided);
    state_name(operation.state()).to_owned() + &decided.map(|verb| format!(", {verb} is decided")).unwrap_or_default()
}

fn step(operation: &v1::Operation) -> String {
    let undoing = operation.parking.as_ref().is_some_and(|parking| parking.undoing);
    if undoing { format!("undo of {}", operation.step) } else { operation.step.clone() }
}

fn stuck_at(stuck: &v1::Stuck) -> String {
    match stuck.event_id {
        0 => String::new(),
        event => format!("event {event}: {}", stuck.message),
    }
}
