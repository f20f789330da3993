//! Which fields are learnt from, and why the others are not: leak checks, the data's own shape, and a person's choices.

use serde::{Deserialize, Serialize};

use crate::definition::PredictionDefinition;
use crate::encoder::{FeatureForm, form_of};
use crate::frame::Frame;
use crate::leaks::{Finding, LeakCheck};
use crate::population::Sample;
use crate::temporal::beginning_of_records;

/// A field that the model does not read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExcludedField {
    pub field: String,
    pub label: String,
    pub by: ExcludedBy,
    pub reason: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExcludedBy {
    /// The record's id, the label, system fields, leadline's own fields.
    Nature,
    /// The definition's list of fields that the outcome writes.
    Outcome,
    Person,
    LeakCheck,
    /// Its values cannot be learnt from.
    Data,
}

/// A finding of the leak checks, and what became of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeakDecision {
    pub field: String,
    pub label: String,
    pub finding: String,
    pub severity: Severity,
    pub decision: Decision,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    Suspicious,
    Leak,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// Flagged only; a person should decide.
    KeptUntilDecided,
    KeptByPerson,
    ExcludedByPerson,
    ExcludedByDefinition,
    ExcludedAutomatically,
}

impl Decision {
    /// As a person reads it.
    pub fn words(self) -> &'static str {
        match self {
            Self::KeptUntilDecided => "kept until a person decides",
            Self::KeptByPerson => "kept by a person's choice",
            Self::ExcludedByPerson => "excluded by a person's choice",
            Self::ExcludedByDefinition => "excluded as written by the outcome",
            Self::ExcludedAutomatically => "excluded automatically",
        }
    }
}

/// What was decided about every field of the schema.
#[derive(Debug, Clone, PartialEq)]
pub struct FieldChoices {
    /// Column and form of each field that is learnt from, in schema order.
    pub features: Vec<(usize, FeatureForm)>,
    pub excluded: Vec<ExcludedField>,
    pub leaks: Vec<LeakDecision>,
}

/// Decides about every field. A person's word comes first, then the leak checks, then the data.
pub fn choose_fields(frame: &Frame, definition: &PredictionDefinition, leaks: &[LeakCheck], training: &Sample) -> FieldChoices {
    let mut choices = FieldChoices { features: Vec::new(), excluded: Vec::new(), leaks: Vec::new() };
    let begins = beginning_of_records(frame, definition);
    for (column, field) in frame.schema().fields.iter().enumerate() {
        let finding = leaks.iter().find(|check| check.field == field.name).map_or(&Finding::Clean, |check| &check.finding);
        let verdict = exclusion(definition, &field.name, finding);
        if let Some((text, severity)) = describe(finding) {
            let decision = match verdict {
                None if definition.keeps(&field.name) => Decision::KeptByPerson,
                None => Decision::KeptUntilDecided,
                Some((ExcludedBy::Person, _)) => Decision::ExcludedByPerson,
                Some((ExcludedBy::LeakCheck, _)) => Decision::ExcludedAutomatically,
                Some(_) => Decision::ExcludedByDefinition,
            };
            let (field, label) = (field.name.clone(), field.label.clone());
            choices.leaks.push(LeakDecision { field, label, finding: text, severity, decision });
        }
        let verdict = verdict.or_else(|| match form_of(frame, column, &training.rows) {
            FeatureForm::Unusable(reason) => Some((ExcludedBy::Data, reason.to_owned())),
            form => {
                let form = if begins == Some(column) { FeatureForm::Season } else { form };
                choices.features.push((column, form));
                None
            }
        });
        if let Some((by, reason)) = verdict {
            choices.excluded.push(ExcludedField { field: field.name.clone(), label: field.label.clone(), by, reason });
        }
    }
    choices
}

fn describe(finding: &Finding) -> Option<(String, Severity)> {
    match finding {
        Finding::Clean => None,
        Finding::Flagged { reason } => Some((reason.clone(), Severity::Suspicious)),
        Finding::Leak { reason } => Some((reason.clone(), Severity::Leak)),
    }
}

fn exclusion(definition: &PredictionDefinition, field: &str, finding: &Finding) -> Option<(ExcludedBy, String)> {
    if let Some(reason) = definition.excluded_by_nature(field) {
        return Some((ExcludedBy::Nature, reason.to_owned()));
    }
    if definition.excludes(field) {
        let found = describe(finding).map(|(text, _)| format!("; the leak check found: {text}")).unwrap_or_default();
        return Some((ExcludedBy::Person, format!("a person's choice{found}")));
    }
    if definition.keeps(field) {
        return None;
    }
    if definition.outcome_fields.iter().any(|f| f == field) {
        return Some((ExcludedBy::Outcome, "written by the outcome itself".to_owned()));
    }
    match finding {
        Finding::Leak { reason } => Some((ExcludedBy::LeakCheck, reason.clone())),
        Finding::Clean | Finding::Flagged { .. } => None,
    }
}
