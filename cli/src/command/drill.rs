//! `leadline drill`: an operation to practise on.

use clap::{Subcommand, ValueEnum};
use leadline_proto::v1::{DrillWait, StartDrillRequest};

use super::{Context, StartArgs, tenant_id};
use crate::error::Result;

#[derive(Debug, Subcommand)]
pub enum Drill {
    /// Start an operation that waits for an operator and touches nothing but a row of its own
    ///
    /// Practise on it: `operation list --state parked`, `operation get`, `retry`, `skip`, `abandon`, `cancel`, or the same from
    /// the Temporal UI.
    Start {
        /// Id or name
        tenant: String,
        /// Where it waits
        #[arg(long, value_enum, default_value_t = WaitAt::BeforePivot)]
        wait_at: WaitAt,
        #[command(flatten)]
        start: StartArgs,
    },
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum WaitAt {
    /// It can be retried and abandoned there
    BeforePivot,
    /// It can be retried there, and the step be skipped
    AfterPivot,
    /// It fails before its pivot, and its undo waits
    Undo,
    /// It does not wait
    Nowhere,
}

impl Drill {
    pub async fn run(self, context: &Context) -> Result<()> {
        let client = context.client()?;
        let Self::Start { tenant, wait_at, start } = self;
        let tenant = tenant_id(&client, &tenant).await?;
        let request = StartDrillRequest { tenant_id: String::new(), wait_at: wait_at.value().into() };
        context.start(&client, &["v1", "tenants", &tenant, "drills"], &request, &start).await
    }
}

impl WaitAt {
    fn value(self) -> DrillWait {
        match self {
            Self::BeforePivot => DrillWait::BeforePivot,
            Self::AfterPivot => DrillWait::AfterPivot,
            Self::Undo => DrillWait::Undo,
            Self::Nowhere => DrillWait::Nowhere,
        }
    }
}
