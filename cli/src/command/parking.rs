//! `leadline operation retry|skip|abandon|resolve|move`: what people do about parked operations.

use clap::Args;
use leadline_proto::v1::{
    self, AbandonOperationRequest, AtDeadline, Correction, MoveOperationRequest, OperationVerb, ResolveParkedOperationsRequest,
    ResolveParkedOperationsResponse, RetryOperationRequest, SkipOperationRequest,
};
use serde::Serialize;

use super::{
    Context,
    operation::{Kind, Verb, api_name, print},
    tenant_id,
};
use crate::{
    client::{Answer, Client},
    error::Result,
    follow, output, settings,
};

#[derive(Debug, Args)]
pub struct Retry {
    /// Id of the operation
    operation: String,
    /// Of an export, also that of a training run: export these fields instead (API names, separated by commas)
    #[arg(long, value_delimiter = ',', value_name = "FIELD")]
    fields: Vec<String>,
    /// Of an asynchronous prediction: write the score into the record or not
    #[arg(long, value_name = "BOOL")]
    write_back: Option<bool>,
    /// Kept in the audit log
    #[arg(long, default_value = "", hide_default_value = true)]
    reason: String,
    /// Wait for the end of the operation, or until it parks again
    #[arg(long)]
    follow: bool,
}

/// Of a skip and of an abandon.
#[derive(Debug, Args)]
pub struct GiveUp {
    /// Id of the operation
    operation: String,
    /// Why; kept in the audit log
    #[arg(long)]
    reason: String,
    /// Wait for the end of the operation, or until it parks again
    #[arg(long)]
    follow: bool,
}

#[derive(Debug, Args)]
pub struct Move {
    /// Id of the operation
    operation: String,
    /// Id of the build; the API that is asked has to be of that build
    #[arg(long, value_parser = settings::build_id, value_name = "BUILD_ID")]
    to: String,
    /// Kept in the audit log
    #[arg(long, default_value = "", hide_default_value = true)]
    reason: String,
}

#[derive(Debug, Args)]
pub struct Resolve {
    /// What to decide about each of them
    #[arg(value_enum)]
    verb: Verb,
    /// Error code: why they are parked
    #[arg(long)]
    code: String,
    /// Id or name; operators only
    #[arg(long)]
    tenant: Option<String>,
    /// Only operations of this kind
    #[arg(long, value_enum)]
    kind: Option<Kind>,
    /// Why; kept in the audit log of each. Required for skip and abandon
    #[arg(long, default_value = "", hide_default_value = true)]
    reason: String,
    /// Only say which operations it would be
    #[arg(long)]
    dry_run: bool,
    /// How many are let go each second, on average: they are sent in bursts, every five seconds
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(i32).range(1..=1_000))]
    per_second: i32,
    /// At most so many, the longest parked first
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(i32).range(1..))]
    limit: i32,
}

impl Retry {
    pub async fn run(self, context: &Context, client: &Client) -> Result<()> {
        let corrects = !self.fields.is_empty() || self.write_back.is_some();
        let correction = corrects.then_some(Correction { fields: self.fields, write_back: self.write_back });
        let request = RetryOperationRequest { operation_id: String::new(), correction, reason: self.reason };
        let decided = decide(client, &self.operation, "retry", &request).await?;
        show(context, client, decided, self.follow).await
    }
}

impl GiveUp {
    pub async fn skip(self, context: &Context, client: &Client) -> Result<()> {
        let request = SkipOperationRequest { operation_id: String::new(), reason: self.reason };
        let decided = decide(client, &self.operation, "skip", &request).await?;
        show(context, client, decided, self.follow).await
    }

    pub async fn abandon(self, context: &Context, client: &Client) -> Result<()> {
        let request = AbandonOperationRequest { operation_id: String::new(), reason: self.reason };
        let decided = decide(client, &self.operation, "abandon", &request).await?;
        show(context, client, decided, self.follow).await
    }
}

impl Move {
    pub async fn run(self, context: &Context, client: &Client) -> Result<()> {
        let request = MoveOperationRequest { operation_id: String::new(), build_id: self.to, reason: self.reason };
        let moved = decide(client, &self.operation, "move", &request).await?;
        context.show(&moved, print);
        Ok(())
    }
}

impl Resolve {
    pub async fn run(self, context: &Context, client: &Client) -> Result<()> {
        let tenant = match &self.tenant {
            Some(tenant) => tenant_id(client, tenant).await?,
            None => String::new(),
        };
        let verb = OperationVerb::from_str_name(&api_name(&self.verb)).unwrap_or_default();
        let kind = self.kind.and_then(|kind| v1::OperationKind::from_str_name(&api_name(&kind))).unwrap_or_default();
        let request = ResolveParkedOperationsRequest {
            verb: verb.into(),
            code: self.code,
            tenant_id: tenant,
            kind: kind.into(),
            reason: self.reason,
            dry_run: self.dry_run,
            per_second: self.per_second,
            limit: self.limit,
        };
        let resolved: Answer<ResolveParkedOperationsResponse> =
            client.post(&["v1", "operations:resolveParked"], &request, None).await?;
        context.show(&resolved, |resolved| print_resolved(resolved, self.dry_run));
        Ok(())
    }
}

async fn decide(client: &Client, operation: &str, verb: &str, request: &impl Serialize) -> Result<Answer<v1::Operation>> {
    client.post(&["v1", "operations", &format!("{operation}:{verb}")], request, None).await
}

async fn show(context: &Context, client: &Client, decided: Answer<v1::Operation>, follow: bool) -> Result<()> {
    if !follow {
        context.show(&decided, print);
        return Ok(());
    }
    let id = decided.message.operation_id.clone();
    let ended = follow::to_end(client, &id).await?;
    context.show(&ended, print);
    follow::success(&ended.message)
}

fn print_resolved(resolved: &ResolveParkedOperationsResponse, dry_run: bool) {
    let mut table = output::table(["operation", "decision"]);
    let decision = if dry_run { "would be taken" } else { "taken" };
    for id in &resolved.operation_ids {
        table.add_row([id.as_str(), decision]);
    }
    for id in &resolved.left_operation_ids {
        table.add_row([id.as_str(), "left: it does not allow this, or somebody was quicker"]);
    }
    output::print(&table);
    if let Some(last) = &resolved.last_due_time {
        eprintln!("{} {decision}, the last at {}", resolved.operation_ids.len(), output::time(Some(last)));
    }
}

/// The verb that somebody has decided, while the run has not taken it up.
pub fn decided(parking: &v1::Parking) -> Option<String> {
    let verb = parking.decided();
    (verb != OperationVerb::Unspecified).then(|| output::name(verb.as_str_name()))
}

/// What a parked operation waits for, for the table of its facts.
pub fn facts(operation: &v1::Operation) -> [(&'static str, String); 4] {
    let Some(parking) = &operation.parking else {
        return ["parked since", "what to do", "possible", "deadline"].map(|name| (name, String::new()));
    };
    let at_deadline = match parking.at_deadline() {
        AtDeadline::Compensate => "then everything is undone",
        AtDeadline::TryAgain => "then it tries again",
        AtDeadline::Unspecified => "",
    };
    let decided = decided(parking).map(|verb| format!("; {verb} is decided by {}", parking.decided_by)).unwrap_or_default();
    let verbs: Vec<_> = parking.verbs().map(|verb| output::name(verb.as_str_name())).collect();
    [
        ("parked since", output::time(parking.since_time.as_ref())),
        ("what to do", parking.what_to_do.clone()),
        ("possible", verbs.join(", ") + &decided),
        ("deadline", format!("{}, {at_deadline}", output::time(parking.deadline_time.as_ref()))),
    ]
}
