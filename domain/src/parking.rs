//! Parking: a run that stopped until a person decides, and what the person may decide.
//!
//! Everyone who takes a decision is held to the same rules by [`Parked::check`]: the API before it writes the decision down, and
//! the workflow when an update arrives, from the API or by hand from the Temporal UI.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{
    failure::{Code, Failure},
    operation::{ExportDataset, OnboardTenant, OperationKind, PredictAsync, PromoteModel, RunDrill, TrainModel, UnknownName},
};

/// The longest reason that is kept, in characters.
const LONGEST_REASON: usize = 500;
const LONGEST_ACTOR: usize = 100;
/// The steps up to which an export's fields count; then its job has been started with them.
const FIELDS_COUNT_UP_TO: [&str; 2] = ["reserve_api_budget", "start_bulk_job"];
/// The most fields that a correction names.
const MOST_FIELDS: usize = 2_000;

/// What a person can do about a parked operation. Each is also the name of the workflow's update.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verb {
    /// Runs the step again, with corrected input if some is given.
    Retry,
    /// Goes on without the step.
    Skip,
    /// Gives the operation up and undoes what it did.
    Abandon,
}

impl Verb {
    pub const ALL: [Self; 3] = [Self::Retry, Self::Skip, Self::Abandon];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Retry => "retry",
            Self::Skip => "skip",
            Self::Abandon => "abandon",
        }
    }
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Verb {
    type Err = UnknownName;

    fn from_str(text: &str) -> Result<Self, UnknownName> {
        Self::ALL.into_iter().find(|verb| verb.as_str() == text).ok_or(UnknownName("verb"))
    }
}

/// Where in its course a run has parked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    BeforePivot,
    AfterPivot,
    /// In an undo.
    Compensation,
}

impl Stage {
    /// What may be done there, for a step that can be gone without or not. An undo can always be gone without: there may be no
    /// org any more to undo it in. What it then leaves behind is written down.
    pub fn verbs(self, skippable: bool) -> Vec<Verb> {
        match (self, skippable) {
            (Self::BeforePivot, false) => vec![Verb::Retry, Verb::Abandon],
            (Self::BeforePivot, true) => vec![Verb::Retry, Verb::Skip, Verb::Abandon],
            (Self::AfterPivot, false) => vec![Verb::Retry],
            (Self::AfterPivot, true) | (Self::Compensation, _) => vec![Verb::Retry, Verb::Skip],
        }
    }
}

/// What a run does when nobody has decided by the deadline of its parking.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AtDeadline {
    Compensate,
    /// There is nothing to undo any more, or the undo itself cannot go on.
    Retry,
}

impl AtDeadline {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Compensate => "compensate",
            Self::Retry => "retry",
        }
    }
}

impl FromStr for AtDeadline {
    type Err = UnknownName;

    fn from_str(text: &str) -> Result<Self, UnknownName> {
        [Self::Compensate, Self::Retry].into_iter().find(|what| what.as_str() == text).ok_or(UnknownName("deadline"))
    }
}

/// Input that is put in the place of what the operation was started with.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Correction {
    /// Of an export, also that of a training run: the API names of the fields to export.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fields: Option<Vec<String>>,
    /// Of an asynchronous prediction: whether the score is written into the record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub write_back: Option<bool>,
}

impl Correction {
    /// # Errors
    /// `INVALID_ARGUMENT` when it corrects nothing, what an operation of this kind does not have, or what has been used by the time
    /// of this step.
    fn check(&self, kind: OperationKind, step: &str) -> Result<(), Failure> {
        let invalid = |message: String| Err(Failure::new(Code::InvalidArgument, message));
        match (kind, &self.fields, self.write_back) {
            (_, None, None) => invalid("the correction is empty: leave it out, or name what to correct".to_owned()),
            (OperationKind::ExportDataset | OperationKind::TrainModel, Some(fields), None) => match FIELDS_COUNT_UP_TO
                .contains(&step)
            {
                true => check_fields(fields),
                false => invalid(format!("the fields have been used by {step}, or never are: abandon it and start another one")),
            },
            (OperationKind::PredictAsync, None, Some(_)) if step == "deliver_callback" => {
                invalid("the record has been written by now".to_owned())
            }
            (OperationKind::PredictAsync, None, Some(_)) => Ok(()),
            (OperationKind::ExportDataset | OperationKind::TrainModel, ..) => {
                invalid("an export, and a training run that exports for itself, can be corrected in its fields only".to_owned())
            }
            (OperationKind::PredictAsync, ..) => invalid("a prediction can be corrected in write_back only".to_owned()),
            (kind, ..) => invalid(format!("the input of {kind} cannot be corrected: retry without a correction")),
        }
    }
}

fn check_fields(fields: &[String]) -> Result<(), Failure> {
    let named = |field: &String| {
        field.starts_with(|c: char| c.is_ascii_alphabetic()) && field.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    };
    if fields.is_empty() || fields.len() > MOST_FIELDS {
        return Err(Failure::new(Code::InvalidArgument, format!("name 1 to {MOST_FIELDS} fields")));
    }
    match fields.iter().position(|field| !named(field)) {
        Some(at) => Err(Failure::new(Code::InvalidArgument, format!("field {} of the correction is no API name", at + 1))),
        None => Ok(()),
    }
}

/// Parameters of a step that take over what was corrected in them.
pub trait Corrected: Sized {
    #[must_use]
    fn corrected(self, correction: &Correction) -> Self;
}

impl Corrected for ExportDataset {
    fn corrected(self, correction: &Correction) -> Self {
        Self { fields: correction.fields.clone().unwrap_or(self.fields), ..self }
    }
}

impl Corrected for PredictAsync {
    fn corrected(self, correction: &Correction) -> Self {
        Self { write_back: correction.write_back.unwrap_or(self.write_back), ..self }
    }
}

/// Parameters in which nothing can be corrected.
#[macro_export]
macro_rules! nothing_to_correct {
    ($($params:ty),+ $(,)?) => {
        $(impl $crate::parking::Corrected for $params {
            fn corrected(self, _: &$crate::parking::Correction) -> Self {
                self
            }
        })+
    };
}

nothing_to_correct!((), OnboardTenant, TrainModel, PromoteModel, RunDrill);

/// What comes with a verb. From the Temporal UI all of it is typed by hand, so all of it may be left out: `{}` is a retry.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Instruction {
    /// For a retry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub correction: Option<Correction>,
    /// Why; wanted by `skip` and `abandon`. A history cannot be edited: name no person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The parking that is meant, so that a decision that comes late is not taken for the next one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub park: Option<u64>,
    /// The API key's id of who decided, when it came through the API.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actor: Option<String>,
}

/// A decision as the run carries it out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    pub verb: Verb,
    #[serde(flatten)]
    pub instruction: Instruction,
}

/// What a run says of its parking.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parked {
    /// Names the parking among all of the operation, also those of other runs: when it began, in milliseconds since 1970.
    pub number: u64,
    pub kind: OperationKind,
    /// The step that could not go on; for an undo, the step that it undoes.
    pub step: String,
    pub verbs: Vec<Verb>,
}

impl Parked {
    /// Whether the decision may be taken.
    ///
    /// # Errors
    /// `OPERATION_NOT_PARKED` when another parking is meant; `VERB_NOT_ALLOWED`; `INVALID_ARGUMENT` for a correction that does
    /// not validate, and for a skip or an abandon without a reason.
    pub fn check(&self, verb: Verb, instruction: &Instruction) -> Result<(), Failure> {
        if instruction.park.is_some_and(|park| park != self.number) {
            return Err(Failure::new(Code::OperationNotParked, "the parking that was decided on is over"));
        }
        if !self.verbs.contains(&verb) {
            let allowed: Vec<_> = self.verbs.iter().map(|verb| verb.as_str()).collect();
            let message = format!("{verb} is not possible at step {}: {} is", self.step, allowed.join(" or "));
            return Err(Failure::new(Code::VerbNotAllowed, message));
        }
        instruction.check(verb)?;
        instruction.correction.as_ref().map_or(Ok(()), |correction| correction.check(self.kind, &self.step))
    }
}

impl Instruction {
    /// Whether it goes with the verb, whatever the parking.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT`: a reason that is missing or no text, an actor that is none, a correction that nothing is retried with.
    pub fn check(&self, verb: Verb) -> Result<(), Failure> {
        let reason = self.reason.as_deref().unwrap_or_default();
        let unprintable = |text: &str| text.chars().any(|c| c.is_control() && !matches!(c, '\n' | '\r' | '\t'));
        if reason.chars().count() > LONGEST_REASON || unprintable(reason) {
            let message = format!("a reason has at most {LONGEST_REASON} printable characters");
            return Err(Failure::new(Code::InvalidArgument, message));
        }
        if self.actor.as_deref().is_some_and(|actor| actor.len() > LONGEST_ACTOR || unprintable(actor)) {
            return Err(Failure::new(Code::InvalidArgument, "actor is no id of an API key: leave it out"));
        }
        match (verb, &self.correction) {
            (Verb::Retry, _) => Ok(()),
            (_, Some(_)) => Err(Failure::new(Code::InvalidArgument, format!("{verb} takes no correction: retry does"))),
            (_, None) if reason.trim().is_empty() => Err(Failure::new(Code::InvalidArgument, format!("{verb} needs a reason"))),
            (_, None) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parked(kind: OperationKind, stage: Stage) -> Parked {
        Parked { number: 2, kind, step: "start_bulk_job".to_owned(), verbs: stage.verbs(false) }
    }

    fn code(parked: &Parked, verb: Verb, instruction: &str) -> Result<(), Code> {
        let instruction: Instruction = serde_json::from_str(instruction).unwrap();
        parked.check(verb, &instruction).map_err(|failure| failure.code)
    }

    #[test]
    fn a_decision_is_held_to_what_the_parking_allows() {
        let export = parked(OperationKind::ExportDataset, Stage::BeforePivot);
        assert_eq!(code(&export, Verb::Retry, "{}"), Ok(()));
        assert_eq!(code(&export, Verb::Retry, r#"{"park":2,"correction":{"fields":["Id","Name"]}}"#), Ok(()));
        assert_eq!(code(&export, Verb::Retry, r#"{"park":1}"#), Err(Code::OperationNotParked));
        assert_eq!(code(&export, Verb::Skip, r#"{"reason":"x"}"#), Err(Code::VerbNotAllowed));
        assert_eq!(code(&export, Verb::Abandon, r#"{"reason":" "}"#), Err(Code::InvalidArgument));
        assert_eq!(code(&export, Verb::Abandon, r#"{"reason":"the org is gone"}"#), Ok(()));
        let late = parked(OperationKind::ExportDataset, Stage::AfterPivot);
        assert_eq!(code(&late, Verb::Abandon, r#"{"reason":"x"}"#), Err(Code::VerbNotAllowed));
        let undo = parked(OperationKind::ExportDataset, Stage::Compensation);
        assert_eq!(code(&undo, Verb::Skip, r#"{"reason":"the org is gone"}"#), Ok(()));
    }

    #[test]
    fn a_correction_is_held_to_what_its_operation_has() {
        let export = parked(OperationKind::ExportDataset, Stage::BeforePivot);
        let later = Parked { step: "extract_pages".to_owned(), ..export.clone() };
        assert_eq!(code(&later, Verb::Retry, r#"{"correction":{"fields":["Id"]}}"#), Err(Code::InvalidArgument));
        assert_eq!(code(&export, Verb::Abandon, r#"{"reason":"a\u0000"}"#), Err(Code::InvalidArgument));
        for wrong in [r"{}", r#"{"fields":[]}"#, r#"{"fields":["Id; DROP"]}"#, r#"{"write_back":false}"#] {
            let instruction = format!(r#"{{"correction":{wrong}}}"#);
            assert_eq!(code(&export, Verb::Retry, &instruction), Err(Code::InvalidArgument), "{wrong}");
        }
        let training = parked(OperationKind::TrainModel, Stage::BeforePivot);
        assert_eq!(code(&training, Verb::Retry, r#"{"correction":{"fields":["Id","IsConverted"]}}"#), Ok(()));
        let fitting = Parked { step: "fit_model".to_owned(), ..training };
        assert_eq!(code(&fitting, Verb::Retry, r#"{"correction":{"fields":["Id"]}}"#), Err(Code::InvalidArgument));
        let promote = parked(OperationKind::PromoteModel, Stage::BeforePivot);
        assert_eq!(code(&promote, Verb::Retry, r#"{"correction":{"write_back":true}}"#), Err(Code::InvalidArgument));
        assert!(serde_json::from_str::<Instruction>(r#"{"corection":{}}"#).is_err(), "a slip of the pen is no retry");
    }
}
