//! `leadline consent`: what a tenant allows. Every change is a new version; nothing is overwritten.

use clap::{Args, Subcommand};
use leadline_proto::v1::{self, RecordConsentRequest};

use super::{Context, tenant_id};
use crate::{
    client::{Answer, Client},
    error::Result,
    output,
};

#[derive(Debug, Subcommand)]
pub enum Consent {
    /// Allow more
    Grant(Change),
    /// Allow less. Takes effect at once, also for runs under way
    Withdraw(Change),
    /// Read the consent in force, or an earlier version
    Show {
        /// Id or name
        tenant: String,
        /// The version in force when absent
        #[arg(long, default_value_t = 0, hide_default_value = true)]
        version: i64,
    },
}

#[derive(Debug, Args)]
pub struct Change {
    /// Id or name
    tenant: String,
    #[command(flatten)]
    permissions: Permissions,
    /// The person who decided
    #[arg(long, value_name = "PERSON")]
    by: String,
    /// Why, for whoever reads the versions later
    #[arg(long, default_value = "", hide_default_value = true)]
    note: String,
    /// The version in force that was decided on (0: none): refused when there is another by now
    #[arg(long, value_name = "VERSION")]
    expected_version: Option<i64>,
}

#[derive(Debug, Clone, Copy, Args)]
#[group(required = true, multiple = true)]
pub struct Permissions {
    /// Reading records out of the org into the lake
    #[arg(long)]
    export: bool,
    /// Training models on exported records
    #[arg(long)]
    training: bool,
    /// Keeping predictions, so that they can be read back later
    #[arg(long)]
    store_predictions: bool,
    /// Writing scores into the org's records
    #[arg(long)]
    write_back: bool,
    /// All four
    #[arg(long)]
    all: bool,
}

impl Consent {
    pub async fn run(self, context: &Context) -> Result<()> {
        let client = context.client()?;
        let answer = match self {
            Self::Grant(change) => change.record(&client, true).await?,
            Self::Withdraw(change) => change.record(&client, false).await?,
            Self::Show { tenant, version } => {
                let tenant = tenant_id(&client, &tenant).await?;
                client.get(&["v1", "tenants", &tenant, "consent"], &[("version", version.to_string())]).await?
            }
        };
        context.show(&answer, print);
        Ok(())
    }
}

impl Change {
    /// Turns these permissions on or off, and says nothing of the others.
    async fn record(self, client: &Client, allow: bool) -> Result<Answer<v1::Consent>> {
        let tenant = tenant_id(client, &self.tenant).await?;
        let Permissions { export, training, store_predictions, write_back, all } = self.permissions;
        let named = |asked: bool| (asked || all).then_some(allow);
        let request = RecordConsentRequest {
            tenant_id: String::new(),
            allow_export: named(export),
            allow_training: named(training),
            allow_store_predictions: named(store_predictions),
            allow_write_back: named(write_back),
            decided_by: self.by,
            note: self.note,
            expected_version: self.expected_version,
        };
        client.post(&["v1", "tenants", &tenant, "consent"], &request, None).await
    }
}

/// What a consent allows, in a few words.
pub fn in_words(consent: &v1::Consent) -> String {
    let permissions = [
        (consent.allow_export, "export"),
        (consent.allow_training, "training"),
        (consent.allow_store_predictions, "storing predictions"),
        (consent.allow_write_back, "write-back"),
    ];
    let allowed: Vec<_> = permissions.into_iter().filter_map(|(allowed, what)| allowed.then_some(what)).collect();
    let allowed = if allowed.is_empty() { "nothing".to_owned() } else { allowed.join(", ") };
    format!("version {}: {allowed}", consent.version)
}

fn print(consent: &v1::Consent) {
    output::print(&output::facts([
        ("consent", in_words(consent)),
        ("recorded by", consent.recorded_by.clone()),
        ("recorded", output::time(consent.record_time.as_ref())),
        ("note", consent.note.clone()),
    ]));
}
