//! `leadline tenant`: connect a Salesforce org, and see what state it is in.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use leadline_proto::v1::{CreateTenantRequest, ListTenantsResponse, SalesforceConnection, TenantStatus};

use super::{Context, PageArgs, StartArgs, hint_at_next_page, tenant_id};
use crate::{
    client::Answer,
    dev::org::ConnectedApp,
    error::{CliError, Result},
    output,
};

#[derive(Debug, Subcommand)]
pub enum Tenant {
    /// Connect an org: verifies it with a real token, then creates its namespace, key and lake prefix
    Create(Create),
    /// Read what state a tenant is in
    Status {
        /// Id or name
        tenant: String,
    },
    /// List tenants, newest first
    List {
        #[command(flatten)]
        page: PageArgs,
    },
}

#[derive(Debug, Args)]
pub struct Create {
    /// Unique: lower-case letters, digits and hyphens
    name: String,
    /// What people call it; the name when absent
    #[arg(long, default_value = "")]
    display_name: String,
    /// Connect the simulator of the dev stack: everything below comes from there
    #[arg(long, conflicts_with_all = ["login_url", "client_id", "username", "private_key_file", "callback_key_file"])]
    simulator: bool,
    /// Such as https://login.salesforce.com
    #[arg(long, required_unless_present = "simulator", value_name = "URL")]
    login_url: Option<String>,
    /// The connected app's consumer key
    #[arg(long, required_unless_present = "simulator", value_name = "KEY")]
    client_id: Option<String>,
    /// The org's integration user
    #[arg(long, required_unless_present = "simulator")]
    username: Option<String>,
    /// RSA private key of the connected app's certificate, PEM
    #[arg(long, required_unless_present = "simulator", value_name = "FILE")]
    private_key_file: Option<PathBuf>,
    /// Key that signs callbacks to the org, base64, 32 bytes or more
    #[arg(long, required_unless_present = "simulator", value_name = "FILE")]
    callback_key_file: Option<PathBuf>,
    /// The token's audience; the login URL when absent
    #[arg(long, default_value = "", value_name = "URL")]
    audience: String,
    #[command(flatten)]
    start: StartArgs,
}

impl Tenant {
    pub async fn run(self, context: &Context) -> Result<()> {
        match self {
            Self::Create(create) => create.run(context).await,
            Self::Status { tenant } => {
                let client = context.client()?;
                let tenant = tenant_id(&client, &tenant).await?;
                let status: Answer<TenantStatus> = client.get(&["v1", "tenants", &tenant, "status"], &[]).await?;
                context.show(&status, print_status);
                Ok(())
            }
            Self::List { page } => {
                let list: Answer<ListTenantsResponse> = context.client()?.get(&["v1", "tenants"], &page.query()).await?;
                context.show(&list, print_list);
                Ok(())
            }
        }
    }
}

impl Create {
    async fn run(self, context: &Context) -> Result<()> {
        let client = context.client()?;
        let request = if self.simulator {
            let dev = context.target.dev_file().ok_or_else(|| {
                CliError::environment("no dev stack here", "start `leadline dev`, or name its directory with --state-dir")
            })?;
            ConnectedApp::of_simulator(&dev.simulator.state_dir)?.create_tenant(&self.name, &self.display_name)
        } else {
            self.request()?
        };
        context.start(&client, &["v1", "tenants"], &request, &self.start).await
    }

    fn request(&self) -> Result<CreateTenantRequest> {
        Ok(CreateTenantRequest {
            name: self.name.clone(),
            display_name: self.display_name.clone(),
            salesforce: Some(SalesforceConnection {
                login_url: self.login_url.clone().unwrap_or_default(),
                client_id: self.client_id.clone().unwrap_or_default(),
                username: self.username.clone().unwrap_or_default(),
                private_key_pem: read_secret(self.private_key_file.as_deref())?,
                audience: self.audience.clone(),
            }),
            callback_key: read_secret(self.callback_key_file.as_deref())?.trim().to_owned(),
        })
    }
}

fn read_secret(file: Option<&Path>) -> Result<String> {
    let Some(file) = file else { return Ok(String::new()) };
    std::fs::read_to_string(file)
        .map_err(|error| CliError::environment(format!("cannot read {}: {error}", file.display()), "check the path"))
}

fn print_status(status: &TenantStatus) {
    let consent = status.consent.as_ref().map_or_else(|| "none recorded".to_owned(), super::consent::in_words);
    let models = status.active_models.iter().map(|model| format!("{} {}", model.definition, model.model_id));
    output::print(&output::facts([
        ("tenant", status.tenant_id.clone()),
        ("name", status.name.clone()),
        ("display name", status.display_name.clone()),
        ("state", output::name(status.state().as_str_name())),
        ("org", status.org_id.clone()),
        ("instance", status.instance_url.clone()),
        ("consent", consent),
        ("API calls left today", output::count(status.api_calls_remaining)),
        ("in production", models.collect::<Vec<_>>().join("\n")),
        ("created", output::time(status.create_time.as_ref())),
    ]));
}

fn print_list(list: &ListTenantsResponse) {
    let mut table = output::table(["tenant", "name", "state", "org", "created"]);
    for tenant in &list.tenants {
        table.add_row([
            tenant.tenant_id.clone(),
            tenant.name.clone(),
            output::name(tenant.state().as_str_name()),
            tenant.org_id.clone(),
            output::time(tenant.create_time.as_ref()),
        ]);
    }
    output::print(&table);
    hint_at_next_page(&list.next_page_token);
}
