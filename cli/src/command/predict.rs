//! `leadline predict`: predictions with reasons, at once or as an operation that writes back.

use clap::{Args, Subcommand};
use leadline_proto::v1::{AsyncPrediction, PredictAsyncRequest, PredictRequest, Prediction};
use serde_json::{Map, Value};

use super::{Context, StartArgs, tenant_id};
use crate::{client::Answer, error::Result, output};

#[derive(Debug, Subcommand)]
pub enum Predict {
    /// Ask and get the answer at once
    Now {
        /// Id or name
        tenant: String,
        #[command(flatten)]
        subject: Subject,
    },
    /// Score, write the score back into the record, and call the org back
    Async {
        /// Id or name
        tenant: String,
        #[command(flatten)]
        subject: Subject,
        /// Your name for this prediction, unique within the tenant; made up when absent
        #[arg(long, default_value = "", hide_default_value = true, value_name = "ID")]
        request_id: String,
        /// Do not write the score into the record
        #[arg(long)]
        no_write_back: bool,
        #[command(flatten)]
        start: StartArgs,
    },
    /// Read an asynchronous prediction
    Get {
        /// Your name for it, as it was asked for
        request_id: String,
        /// Whose request it is (id or name); operators only
        #[arg(long)]
        tenant: Option<String>,
    },
}

/// What is scored.
#[derive(Debug, Args)]
pub struct Subject {
    /// Score this record from current state
    #[arg(long, default_value = "", hide_default_value = true, value_name = "ID", required_unless_present = "fields")]
    record: String,
    /// A field to score, or to put over the record's own; the value is JSON or, failing that, text
    #[arg(long = "field", value_name = "FIELD=VALUE", value_parser = field)]
    fields: Vec<(String, Value)>,
    /// Which definition's model answers; may be absent when the tenant has only one
    #[arg(long, default_value = "", hide_default_value = true)]
    definition: String,
}

fn field(text: &str) -> Result<(String, Value), String> {
    let (name, value) = text.split_once('=').ok_or("write it as FIELD=VALUE")?;
    Ok((name.to_owned(), serde_json::from_str(value).unwrap_or_else(|_| Value::from(value))))
}

impl Subject {
    fn fields<T: serde::de::DeserializeOwned>(&self) -> Option<T> {
        let fields: Map<String, Value> = self.fields.iter().cloned().collect();
        if fields.is_empty() { None } else { serde_json::from_value(Value::Object(fields)).ok() }
    }
}

impl Predict {
    pub async fn run(self, context: &Context) -> Result<()> {
        let client = context.client()?;
        match self {
            Self::Now { tenant, subject } => {
                let tenant = tenant_id(&client, &tenant).await?;
                let fields = subject.fields();
                let request = PredictRequest {
                    tenant_id: String::new(),
                    definition: subject.definition,
                    record_id: subject.record,
                    fields,
                };
                let answer: Answer<Prediction> = client.post(&["v1", "tenants", &tenant, "predict"], &request, None).await?;
                context.show(&answer, print);
            }
            Self::Async { tenant, subject, request_id, no_write_back, start } => {
                let tenant = tenant_id(&client, &tenant).await?;
                let fields = subject.fields();
                let request = PredictAsyncRequest {
                    tenant_id: String::new(),
                    request_id,
                    definition: subject.definition,
                    record_id: subject.record,
                    fields,
                    skip_write_back: no_write_back,
                };
                context.start(&client, &["v1", "tenants", &tenant, "predict:async"], &request, &start).await?;
            }
            Self::Get { request_id, tenant } => {
                let mut query = Vec::new();
                if let Some(tenant) = tenant {
                    query.push(("tenantId", tenant_id(&client, &tenant).await?));
                }
                let found: Answer<AsyncPrediction> = client.get(&["v1", "predictions", &request_id], &query).await?;
                context.show(&found, print_async);
            }
        }
        Ok(())
    }
}

/// Shows a prediction with its reasons.
pub fn print(prediction: &Prediction) {
    output::print(&output::facts([
        ("score", format!("{} of 100", prediction.score)),
        ("probability", format!("{:.4}", prediction.probability)),
        ("positive", prediction.positive.to_string()),
        ("answered by", output::name(prediction.answered_by().as_str_name())),
        ("definition", prediction.definition.clone()),
        ("model", prediction.model_id.clone()),
        ("server time", prediction.server_micros.map(|micros| format!("{micros} µs")).unwrap_or_default()),
    ]));
    println!();
    let mut table = output::table(["reason", "value", "log-odds"]);
    for reason in &prediction.reasons {
        table.add_row([reason.label.clone(), reason.value.clone(), format!("{:+.3}", reason.contribution)]);
    }
    output::print(&table);
}

fn print_async(found: &AsyncPrediction) {
    let callback = found.callback.clone().unwrap_or_default();
    let error = found.error.as_ref();
    output::print(&output::facts([
        ("request", found.request_id.clone()),
        ("operation", found.operation_id.clone()),
        ("state", output::name(found.state().as_str_name())),
        ("record", found.record_id.clone()),
        ("error", error.map(|error| format!("{}: {}", error.code, error.message)).unwrap_or_default()),
        ("callback attempts", callback.attempts.to_string()),
        ("callback error", callback.last_error),
        ("next callback", output::time(callback.next_attempt_time.as_ref())),
        ("called back", output::time(callback.deliver_time.as_ref())),
        ("created", output::time(found.create_time.as_ref())),
        ("completed", output::time(found.complete_time.as_ref())),
    ]));
    if let Some(prediction) = &found.prediction {
        println!();
        print(prediction);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_json_where_it_reads_as_json_and_text_elsewhere() {
        assert_eq!(field("age=41").unwrap().1, Value::from(41));
        assert_eq!(field("job=self-employed").unwrap().1, Value::from("self-employed"));
        assert_eq!(field("loan=null").unwrap().1, Value::Null);
        assert_eq!(field("formula=a=b").unwrap(), ("formula".to_owned(), Value::from("a=b")));
        assert!(field("age").is_err());
    }
}
