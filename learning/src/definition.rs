//! What is to be predicted: which records, which outcome, and what a person has decided about the fields.

use leadline_domain::value::ObjectSchema;
use serde::{Deserialize, Serialize};

use crate::error::LearningError;

/// A prediction task on one object. Field names are API names, compared as written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PredictionDefinition {
    pub name: String,
    pub object: String,
    #[serde(default = "default_id_field")]
    pub id_field: String,
    pub label_field: String,
    /// The label's texts that count as positive (`true`, `Yes`, `Closed Won`); booleans read as `true` and `false`.
    pub positive_values: Vec<String>,
    /// The label's texts that count as negative. Empty: every other text. A row with neither has no known outcome.
    #[serde(default)]
    pub negative_values: Vec<String>,
    /// Only rows where this holds have a known outcome, such as `IsClosed` = `true`.
    #[serde(default)]
    pub known_outcome: Option<FieldEquals>,
    /// The date at which a record begins: orders the rows for the check forward in time (see [`crate::temporal`]), and is
    /// learnt from as a season only.
    #[serde(default)]
    pub time_field: Option<String>,
    /// A person's choice not to learn from these. They are still checked for leaks, and the card says both.
    #[serde(default)]
    pub excluded_fields: Vec<String>,
    /// A person's choice to learn from these although a leak check would exclude or flag them. The card says both.
    #[serde(default)]
    pub kept_fields: Vec<String>,
    /// Fields that the outcome itself writes. Unlike `excluded_fields` they need not exist in every org.
    #[serde(default)]
    pub outcome_fields: Vec<String>,
    /// Fields without which a prediction makes no sense; the gates refuse data in which one is null too often.
    #[serde(default)]
    pub critical_fields: Vec<String>,
    /// Fields for whose values skill is reported separately. Empty: the model's strongest categorical field.
    #[serde(default)]
    pub segment_fields: Vec<String>,
}

/// A condition on one field, compared with the value's text form.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FieldEquals {
    pub field: String,
    pub value: String,
}

fn default_id_field() -> String {
    "Id".to_owned()
}

/// System fields that say nothing about a record's future, or that move when the outcome is entered.
const SYSTEM_FIELDS: &[&str] = &[
    "IsDeleted",
    "MasterRecordId",
    "SystemModstamp",
    "LastModifiedDate",
    "LastModifiedById",
    "LastViewedDate",
    "LastReferencedDate",
    "LastActivityDate",
    "PhotoUrl",
    "Jigsaw",
    "JigsawContactId",
];

/// leadline writes its scores into fields of this prefix; learning from them would be learning from oneself.
const OWN_PREFIX: &str = "leadline_";

impl PredictionDefinition {
    /// Which leads convert.
    pub fn lead_conversion() -> Self {
        Self {
            outcome_fields: strings(&[
                "Status",
                "ConvertedDate",
                "ConvertedAccountId",
                "ConvertedContactId",
                "ConvertedOpportunityId",
            ]),
            ..Self::new("lead_conversion", "Lead", "IsConverted", &["true"])
        }
    }

    /// Which closed opportunities were won.
    pub fn opportunity_win() -> Self {
        Self {
            known_outcome: Some(FieldEquals { field: "IsClosed".to_owned(), value: "true".to_owned() }),
            outcome_fields: strings(&[
                "StageName",
                "IsClosed",
                "Probability",
                "ExpectedRevenue",
                "ForecastCategory",
                "ForecastCategoryName",
                "CloseDate",
                "Fiscal",
                "FiscalYear",
                "FiscalQuarter",
                "LastStageChangeDate",
            ]),
            ..Self::new("opportunity_win", "Opportunity", "IsWon", &["true"])
        }
    }

    /// Which accounts leave.
    pub fn account_churn() -> Self {
        Self::new("account_churn", "Account", "Churned__c", &["true", "Yes"])
    }

    /// The defaults by name.
    pub fn by_name(name: &str) -> Option<Self> {
        [Self::lead_conversion(), Self::opportunity_win(), Self::account_churn()].into_iter().find(|d| d.name == name)
    }

    /// A definition with no person's choices in it yet.
    pub fn new(name: &str, object: &str, label_field: &str, positive_values: &[&str]) -> Self {
        Self {
            name: name.to_owned(),
            object: object.to_owned(),
            id_field: default_id_field(),
            label_field: label_field.to_owned(),
            positive_values: strings(positive_values),
            negative_values: Vec::new(),
            known_outcome: None,
            time_field: None,
            excluded_fields: Vec::new(),
            kept_fields: Vec::new(),
            outcome_fields: Vec::new(),
            critical_fields: Vec::new(),
            segment_fields: Vec::new(),
        }
    }

    /// Checks that every field a person named exists: a misspelt exclusion must not pass for one.
    ///
    /// # Errors
    /// [`LearningError::ColumnMissing`] for the first field that `schema` lacks.
    pub fn check(&self, schema: &ObjectSchema) -> Result<(), LearningError> {
        let lists: [(&[String], &'static str); 5] = [
            (&self.excluded_fields, "excluded"),
            (&self.kept_fields, "kept"),
            (&self.critical_fields, "critical"),
            (&self.segment_fields, "segment"),
            (self.time_field.as_slice(), "time"),
        ];
        let condition = self.known_outcome.as_ref().map(|c| (&c.field, "condition"));
        let single = [(&self.id_field, "record id"), (&self.label_field, "label")];
        let listed = lists.iter().flat_map(|(fields, role)| fields.iter().map(move |f| (f, *role)));
        for (field, role) in single.into_iter().chain(condition).chain(listed) {
            if schema.field(field).is_none() {
                return Err(LearningError::ColumnMissing { object: schema.object.clone(), field: field.clone(), role });
            }
        }
        Ok(())
    }

    /// Why `field` can never be a feature, whatever the data says; `None` when the data decides.
    pub fn excluded_by_nature(&self, field: &str) -> Option<&'static str> {
        if field == self.id_field {
            Some("the record's own id")
        } else if field == self.label_field {
            Some("the label")
        } else if self.known_outcome.as_ref().is_some_and(|c| c.field == field) {
            Some("the condition for a known outcome")
        } else if field.to_ascii_lowercase().starts_with(OWN_PREFIX) {
            Some("written by leadline itself")
        } else if self.keeps(field) {
            None
        } else if SYSTEM_FIELDS.contains(&field) {
            Some("a system field that moves with every edit")
        } else {
            None
        }
    }

    pub fn keeps(&self, field: &str) -> bool {
        self.kept_fields.iter().any(|f| f == field)
    }

    pub fn excludes(&self, field: &str) -> bool {
        self.excluded_fields.iter().any(|f| f == field)
    }
}

fn strings(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|&t| t.to_owned()).collect()
}
