//! `leadline train`: from a data set to a model that is honest about its skill.

use clap::{Args, Subcommand, ValueEnum};
use leadline_proto::v1::{
    DefinitionPreset, FieldEquals, ListTrainingRunsResponse, PredictionDefinition, StartTrainingRunRequest, TrainingRun,
};

use super::{Context, PageArgs, StartArgs, hint_at_next_page, tenant_id};
use crate::{
    client::Answer,
    error::{CliError, Result},
    output,
};

#[derive(Debug, Subcommand)]
pub enum Train {
    /// Start a training run; it exports first when no data set is named
    Start(Box<Start>),
    /// Read one training run
    Get {
        /// Id or name
        tenant: String,
        /// The model that the run makes
        model: String,
    },
    /// List training runs, newest first
    List {
        /// Id or name
        tenant: String,
        #[command(flatten)]
        page: PageArgs,
    },
}

#[derive(Debug, Args)]
pub struct Start {
    /// Id or name
    tenant: String,
    #[command(flatten)]
    pub definition: DefinitionArgs,
    /// Train on this data set; absent: export first
    #[arg(long, default_value = "", value_name = "DATASET")]
    dataset: String,
    /// Seed of every random choice [default: 42]
    #[arg(long, value_name = "N")]
    seed: Option<i64>,
    /// The most that training may compute, in trials x trees x rows; absent: the default budget
    #[arg(long, default_value_t = 0, hide_default_value = true, value_name = "N")]
    max_tree_rows: i64,
    #[command(flatten)]
    start: StartArgs,
}

/// What is predicted, and from what: a preset, a definition of your own, or a preset with lists of fields added.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Prediction definition")]
pub struct DefinitionArgs {
    /// What leadline knows already: lists of fields below are added to its own
    #[arg(long, value_enum)]
    pub preset: Option<Preset>,
    /// Names the definition within the tenant; made from object and label when absent
    #[arg(long, default_value = "")]
    pub name: String,
    /// API name of the object whose records are scored
    #[arg(long, default_value = "", hide_default_value = true)]
    pub object: String,
    /// API name of the field that holds the outcome
    #[arg(long, default_value = "", hide_default_value = true, value_name = "FIELD")]
    pub label: String,
    /// A value of the label that counts as positive; "true" for a boolean
    #[arg(long, value_name = "VALUE")]
    pub positive: Vec<String>,
    /// A value that counts as negative; absent: every other value that is not null
    #[arg(long, value_name = "VALUE")]
    pub negative: Vec<String>,
    /// Date or datetime at which the record came to be
    #[arg(long, default_value = "", hide_default_value = true, value_name = "FIELD")]
    pub time: String,
    /// A field that must not be used
    #[arg(long, value_name = "FIELD")]
    pub exclude: Vec<String>,
    /// A field to keep although a leak check flags it; recorded in the model card
    #[arg(long, value_name = "FIELD")]
    pub keep: Vec<String>,
    /// A field whose absence makes a prediction worthless
    #[arg(long, value_name = "FIELD")]
    pub critical: Vec<String>,
    /// A field by which the evaluation is broken down
    #[arg(long, value_name = "FIELD")]
    pub segment: Vec<String>,
    /// Only records for which this holds have a known outcome, such as IsClosed=true
    #[arg(long, value_name = "FIELD=VALUE", value_parser = field_equals)]
    pub known_outcome: Option<FieldEquals>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Preset {
    LeadConversion,
    OpportunityWin,
    AccountChurn,
}

impl Preset {
    /// The object that the preset scores.
    pub fn object(self) -> &'static str {
        match self {
            Self::LeadConversion => "Lead",
            Self::OpportunityWin => "Opportunity",
            Self::AccountChurn => "Account",
        }
    }
}

fn field_equals(text: &str) -> Result<FieldEquals, String> {
    let (field, value) = text.split_once('=').ok_or("write it as FIELD=VALUE")?;
    Ok(FieldEquals { field: field.to_owned(), value: value.to_owned() })
}

impl DefinitionArgs {
    /// # Errors
    /// When nothing says what is to be predicted.
    pub fn check(&self) -> Result<()> {
        if self.preset.is_none() && (self.object.is_empty() || self.label.is_empty()) {
            return Err(CliError::environment("nothing says what to predict", "give --preset, or --object with --label"));
        }
        Ok(())
    }

    /// What is sent: the preset alone, or with a definition when the command line adds to it.
    pub fn request(&self) -> (Option<PredictionDefinition>, DefinitionPreset) {
        let preset = match self.preset {
            None => DefinitionPreset::Unspecified,
            Some(Preset::LeadConversion) => DefinitionPreset::LeadConversion,
            Some(Preset::OpportunityWin) => DefinitionPreset::OpportunityWin,
            Some(Preset::AccountChurn) => DefinitionPreset::AccountChurn,
        };
        let definition = PredictionDefinition {
            name: self.definition_name(),
            object: self.object.clone(),
            label_field: self.label.clone(),
            positive_values: self.positive.clone(),
            negative_values: self.negative.clone(),
            time_field: self.time.clone(),
            exclude_fields: self.exclude.clone(),
            keep_fields: self.keep.clone(),
            critical_fields: self.critical.clone(),
            segment_fields: self.segment.clone(),
            known_outcome: self.known_outcome.clone(),
            ..PredictionDefinition::default()
        };
        let says_something = definition != PredictionDefinition::default();
        (says_something.then_some(definition), preset)
    }

    /// The object whose records are scored.
    pub fn scored_object(&self) -> &str {
        match self.preset {
            Some(preset) if self.object.is_empty() => preset.object(),
            _ => &self.object,
        }
    }

    /// `lead_y` for the label `y` of `Lead`.
    fn definition_name(&self) -> String {
        if !self.name.is_empty() || self.preset.is_some() {
            return self.name.clone();
        }
        let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' };
        format!("{}_{}", self.object, self.label).chars().map(plain).collect()
    }
}

impl Train {
    pub async fn run(self, context: &Context) -> Result<()> {
        let client = context.client()?;
        match self {
            Self::Start(start) => {
                start.definition.check()?;
                let tenant = tenant_id(&client, &start.tenant).await?;
                let (definition, preset) = start.definition.request();
                let request = StartTrainingRunRequest {
                    tenant_id: String::new(),
                    definition,
                    preset: preset.into(),
                    dataset_id: start.dataset,
                    seed: start.seed,
                    max_tree_rows: start.max_tree_rows,
                };
                context.start(&client, &["v1", "tenants", &tenant, "training-runs"], &request, &start.start).await?;
            }
            Self::Get { tenant, model } => {
                let tenant = tenant_id(&client, &tenant).await?;
                let run: Answer<TrainingRun> = client.get(&["v1", "tenants", &tenant, "training-runs", &model], &[]).await?;
                context.show(&run, print);
            }
            Self::List { tenant, page } => {
                let tenant = tenant_id(&client, &tenant).await?;
                let path = ["v1", "tenants", &tenant, "training-runs"];
                let list: Answer<ListTrainingRunsResponse> = client.get(&path, &page.query()).await?;
                context.show(&list, print_list);
            }
        }
        Ok(())
    }
}

fn print(run: &TrainingRun) {
    let definition = run.definition.clone().unwrap_or_default();
    let error = run.error.as_ref();
    output::print(&output::facts([
        ("model", run.model_id.clone()),
        ("operation", run.operation_id.clone()),
        ("definition", definition.name),
        ("label", format!("{}.{}", definition.object, definition.label_field)),
        ("state", output::name(run.state().as_str_name())),
        ("data set", run.dataset_id.clone()),
        ("consent version", run.consent_version.to_string()),
        ("error", error.map(|error| format!("{}: {}", error.code, error.message)).unwrap_or_default()),
        ("created", output::time(run.create_time.as_ref())),
    ]));
}

fn print_list(list: &ListTrainingRunsResponse) {
    let mut table = output::table(["model", "definition", "state", "code", "created"]);
    for run in &list.training_runs {
        table.add_row([
            run.model_id.clone(),
            run.definition.as_ref().map(|definition| definition.name.clone()).unwrap_or_default(),
            output::name(run.state().as_str_name()),
            run.error.as_ref().map(|error| error.code.clone()).unwrap_or_default(),
            output::time(run.create_time.as_ref()),
        ]);
    }
    output::print(&table);
    hint_at_next_page(&list.next_page_token);
}
