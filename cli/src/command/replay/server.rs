//! Histories of a live Temporal server.

use futures::{Stream, StreamExt as _, TryStreamExt as _, stream};
use leadline_domain::{Code, Failure, OperationKind};
use leadline_worker::replay::{self, RunName, ServerError};
use temporalio_client::Client;

use super::{Found, History};
use crate::{
    client::TargetArgs,
    error::{CliError, Result},
    temporal,
};

/// Histories asked for at a time; each may be as large as 50 MB.
const FETCHES: usize = 16;

pub struct Server {
    client: Client,
    address: String,
}

impl Server {
    /// # Errors
    /// When Temporal's settings do not make sense, or nobody answers at its address.
    pub async fn connect(target: &TargetArgs) -> Result<Self> {
        let (client, address) = temporal::connect(target).await?;
        Ok(Self { client, address })
    }

    /// One workflow's run; the latest, unless one is named.
    ///
    /// # Errors
    /// `NOT_FOUND` when the server knows no such workflow.
    pub async fn one(&self, workflow_id: &str, run_id: Option<&str>) -> Result<RunName> {
        let latest = replay::latest(&self.client, workflow_id).await.map_err(|error| self.refusal(error))?;
        let run = latest.ok_or_else(|| not_found(format!("Temporal knows no workflow {workflow_id}")))?;
        match run_id {
            Some(run_id) if run_id != run.run_id => self.named(RunName { run_id: run_id.to_owned(), ..run }).await,
            _ => Ok(run),
        }
    }

    async fn named(&self, run: RunName) -> Result<RunName> {
        let missing = not_found(format!("Temporal knows no run {} of workflow {}", run.run_id, run.workflow_id));
        let fetched = replay::fetch(&self.client, run).await.map_err(|error| self.refusal(error))?;
        fetched.map(|recorded| recorded.name).ok_or(missing)
    }

    /// The runs that the query finds, or every saga that runs now.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` when Temporal does not understand the query.
    pub async fn list(&self, query: Option<&str>, limit: Option<usize>) -> Result<Vec<RunName>> {
        let query = query.map_or_else(running_sagas, str::to_owned);
        let runs = replay::list(&self.client, &query, limit);
        runs.map_err(|error| self.refusal(error)).try_collect().await
    }

    /// Their histories, in the same order, some of them asked for ahead.
    pub fn fetch(&self, runs: Vec<RunName>) -> impl Stream<Item = Result<Found>> {
        let fetch = |run: RunName| async {
            let history = match replay::fetch(&self.client, run.clone()).await {
                Ok(Some(recorded)) => History::Whole(Box::new(recorded)),
                Ok(None) => History::Vanished,
                Err(ServerError::Invalid { invalid, .. }) => History::Invalid(invalid),
                Err(error) => return Err(self.refusal(error)),
            };
            Ok(Found { run, file: None, history })
        };
        stream::iter(runs).map(fetch).buffered(FETCHES)
    }

    fn refusal(&self, error: ServerError) -> CliError {
        match error {
            ServerError::Unavailable { reason } => CliError::TemporalUnreachable { address: self.address.clone(), reason },
            ServerError::Query { .. } => refused(Code::InvalidArgument, error.to_string()),
            ServerError::Refused { .. } | ServerError::Invalid { .. } => CliError::part("Temporal", &error),
        }
    }
}

fn running_sagas() -> String {
    let kinds = OperationKind::ALL.map(|kind| format!("\"{kind}\""));
    format!("ExecutionStatus = \"Running\" AND WorkflowType IN ({})", kinds.join(", "))
}

fn not_found(message: String) -> CliError {
    refused(Code::NotFound, message)
}

fn refused(code: Code, message: String) -> CliError {
    Failure::new(code, message).into()
}
