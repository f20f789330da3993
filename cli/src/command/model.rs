//! `leadline model`: what training runs registered, and which one answers.

use std::path::PathBuf;

use clap::{Subcommand, ValueEnum};
use leadline_learning::{
    ModelCard, card_html,
    features::{Decision, LeakDecision, Severity},
};
use leadline_proto::v1::{self, ListModelsResponse, PromoteModelRequest};
use serde_json::json;

use super::{Context, PageArgs, StartArgs, hint_at_next_page, operation::api_name, tenant_id};
use crate::{
    client::{Answer, Client},
    error::{CliError, Result},
    output,
};

#[derive(Debug, Subcommand)]
pub enum Model {
    /// List models, newest first
    List {
        /// Id or name
        tenant: String,
        /// Only models of this prediction definition
        #[arg(long)]
        definition: Option<String>,
        /// Only models in this state
        #[arg(long, value_enum)]
        state: Option<State>,
        #[command(flatten)]
        page: PageArgs,
    },
    /// Read one model, its card in brief
    Show {
        /// Id or name
        tenant: String,
        /// Id of the model
        model: String,
    },
    /// Put a model into production; promoting an archived one is a rollback
    Promote {
        /// Id or name
        tenant: String,
        /// Id of the model
        model: String,
        /// Kept in the audit log
        #[arg(long, default_value = "")]
        reason: String,
        #[command(flatten)]
        start: StartArgs,
    },
    /// Write the model card as a page with plots
    Card {
        /// Id or name
        tenant: String,
        /// Id of the model
        model: String,
        /// Where to write it; <MODEL>.html when absent
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum State {
    Draft,
    Training,
    Trained,
    Validated,
    Staged,
    Production,
    Archived,
    Rejected,
}

impl Model {
    pub async fn run(self, context: &Context) -> Result<()> {
        let client = context.client()?;
        match self {
            Self::List { tenant, definition, state, page } => {
                let tenant = tenant_id(&client, &tenant).await?;
                let mut query = page.query();
                query.extend(definition.map(|definition| ("definition", definition)));
                query.extend(state.map(|state| ("state", api_name(&state))));
                let list: Answer<ListModelsResponse> = client.get(&["v1", "tenants", &tenant, "models"], &query).await?;
                context.show(&list, print_list);
            }
            Self::Show { tenant, model } => {
                let found = read(&client, &tenant, &model).await?;
                if context.output.json { output::json(&found.json) } else { print(&found) }
            }
            Self::Promote { tenant, model, reason, start } => {
                let tenant = tenant_id(&client, &tenant).await?;
                let request = PromoteModelRequest { tenant_id: String::new(), model_id: String::new(), reason };
                let path = ["v1", "tenants", &tenant, "models", &format!("{model}:promote")];
                context.start(&client, &path, &request, &start).await?;
            }
            Self::Card { tenant, model, out } => {
                let found = read(&client, &tenant, &model).await?;
                let card = card(&found)?;
                let out = out.unwrap_or_else(|| PathBuf::from(format!("{model}.html")));
                std::fs::write(&out, card_html(&card)).map_err(|error| {
                    CliError::environment(format!("cannot write {}: {error}", out.display()), "choose another file with --out")
                })?;
                if context.output.json {
                    output::json(&json!({"file": out}));
                } else {
                    println!("{}", out.display());
                }
            }
        }
        Ok(())
    }
}

async fn read(client: &Client, tenant: &str, model: &str) -> Result<Answer<v1::Model>> {
    let tenant = tenant_id(client, tenant).await?;
    client.get(&["v1", "tenants", &tenant, "models", model], &[]).await
}

/// The card of a model that has one.
pub fn card(model: &Answer<v1::Model>) -> Result<ModelCard> {
    let card = model.json.get("card").filter(|card| !card.is_null()).cloned().ok_or_else(|| {
        let state = output::name(model.message.state().as_str_name());
        CliError::environment(format!("the model is {state} and has no card"), "a card comes with the end of training")
    })?;
    serde_json::from_value(card).map_err(|error| CliError::part("model card", &error))
}

/// Shows a model to a person, its card in brief.
pub fn print(found: &Answer<v1::Model>) {
    let model = &found.message;
    let error = model.error.as_ref();
    output::print(&output::facts([
        ("model", model.model_id.clone()),
        ("definition", model.definition.clone()),
        ("state", output::name(model.state().as_str_name())),
        ("data set", model.dataset_id.clone()),
        ("artifact", model.artifact_digest.clone()),
        ("error", error.map(|error| format!("{}: {}", error.code, error.message)).unwrap_or_default()),
        ("created", output::time(model.create_time.as_ref())),
        ("promoted", output::time(model.promote_time.as_ref())),
    ]));
    match card(found) {
        Ok(card) => {
            println!();
            print_card(&card);
        }
        Err(CliError::Environment { .. }) => {}
        Err(error) => eprintln!("leadline: {error}"),
    }
    if !model.gates.is_empty() {
        println!();
        let mut table = output::table(["gate", "verdict", "detail"]);
        for gate in &model.gates {
            table.add_row([gate.code.as_str(), if gate.passed { "passed" } else { "REFUSED" }, gate.detail.as_str()]);
        }
        output::print(&table);
    }
}

/// A model card in brief: skill with its interval, what the leak checks decided, and the strongest fields.
pub fn print_card(card: &ModelCard) {
    let evaluation = &card.evaluation;
    let strongest: Vec<_> = card.features.iter().take(5).map(|feature| feature.label.clone()).collect();
    output::print(&output::facts([
        ("AUC", format!("{:.4} (95 % {:.4} to {:.4})", evaluation.auc.value, evaluation.auc.lower, evaluation.auc.upper)),
        ("log loss", format!("{:.4}", evaluation.log_loss.value)),
        ("base rate", format!("{:.1} %", card.base_rate * 100.0)),
        ("strongest fields", strongest.join(", ")),
    ]));
    if !card.leaks.is_empty() {
        println!();
        let mut table = output::table(["field", "leak check", "decision"]);
        for leak in &card.leaks {
            table.add_row(leak_in_words(leak));
        }
        output::print(&table);
    }
}

fn leak_in_words(leak: &LeakDecision) -> [String; 3] {
    let finding = match leak.severity {
        Severity::Leak => format!("leak: {}", leak.finding),
        Severity::Suspicious => format!("suspiciously strong: {}", leak.finding),
    };
    let decision = match leak.decision {
        Decision::KeptUntilDecided => "kept until a person decides",
        Decision::KeptByPerson => "kept by a person",
        Decision::ExcludedByPerson => "excluded by a person",
        Decision::ExcludedByDefinition => "excluded by the definition",
        Decision::ExcludedAutomatically => "excluded",
    };
    [leak.field.clone(), finding, decision.to_owned()]
}

fn print_list(list: &ListModelsResponse) {
    let mut table = output::table(["model", "definition", "state", "created", "promoted"]);
    for model in &list.models {
        table.add_row([
            model.model_id.clone(),
            model.definition.clone(),
            output::name(model.state().as_str_name()),
            output::time(model.create_time.as_ref()),
            output::time(model.promote_time.as_ref()),
        ]);
    }
    output::print(&table);
    hint_at_next_page(&list.next_page_token);
}
