//! `leadline export`: records of one object, read by Bulk API 2.0 into an immutable data set.

use clap::Subcommand;
use leadline_proto::v1::{self, ListExportsResponse, StartExportRequest};

use super::{Context, PageArgs, StartArgs, hint_at_next_page, tenant_id};
use crate::{client::Answer, error::Result, output};

#[derive(Debug, Subcommand)]
pub enum Export {
    /// Start an export
    Start {
        /// Id or name
        tenant: String,
        /// API name of the object, such as Lead
        object: String,
        /// API name of a field; every field that can be exported when absent
        #[arg(long = "field", value_name = "FIELD")]
        fields: Vec<String>,
        #[command(flatten)]
        start: StartArgs,
    },
    /// Read one export and its data set
    Get {
        /// Id or name
        tenant: String,
        /// Id of the data set
        dataset: String,
    },
    /// List exports, newest first
    List {
        /// Id or name
        tenant: String,
        #[command(flatten)]
        page: PageArgs,
    },
}

impl Export {
    pub async fn run(self, context: &Context) -> Result<()> {
        let client = context.client()?;
        match self {
            Self::Start { tenant, object, fields, start } => {
                let tenant = tenant_id(&client, &tenant).await?;
                let request = StartExportRequest { tenant_id: String::new(), object, fields };
                context.start(&client, &["v1", "tenants", &tenant, "exports"], &request, &start).await?;
            }
            Self::Get { tenant, dataset } => {
                let tenant = tenant_id(&client, &tenant).await?;
                let found: Answer<v1::Export> = client.get(&["v1", "tenants", &tenant, "exports", &dataset], &[]).await?;
                context.show(&found, print);
            }
            Self::List { tenant, page } => {
                let tenant = tenant_id(&client, &tenant).await?;
                let path = ["v1", "tenants", &tenant, "exports"];
                let list: Answer<ListExportsResponse> = client.get(&path, &page.query()).await?;
                context.show(&list, print_list);
            }
        }
        Ok(())
    }
}

fn print(export: &v1::Export) {
    output::print(&output::facts([
        ("data set", export.dataset_id.clone()),
        ("operation", export.operation_id.clone()),
        ("object", export.object.clone()),
        ("committed", committed(export)),
        ("rows", output::count(export.row_count)),
        ("bytes", output::count(export.byte_count)),
        ("content address", export.content_address.clone()),
        ("schema hash", export.schema_hash.clone()),
        ("consent version", export.consent_version.to_string()),
        ("created", output::time(export.create_time.as_ref())),
    ]));
}

fn committed(export: &v1::Export) -> String {
    if export.committed { output::time(export.commit_time.as_ref()) } else { "not yet".to_owned() }
}

fn print_list(list: &ListExportsResponse) {
    let mut table = output::table(["data set", "object", "rows", "bytes", "committed", "created"]);
    for export in &list.exports {
        table.add_row([
            export.dataset_id.clone(),
            export.object.clone(),
            output::count(export.row_count),
            output::count(export.byte_count),
            committed(export),
            output::time(export.create_time.as_ref()),
        ]);
    }
    output::print(&table);
    hint_at_next_page(&list.next_page_token);
}
