//! What a model must show before it may be promoted.

use serde::{Deserialize, Serialize};

use crate::artifact::Artifact;
use crate::definition::PredictionDefinition;
use crate::error::LearningError;
use crate::evaluation::Evaluation;
use crate::frame::Frame;
use crate::metrics::{AucDifference, Estimate, auc_difference, log_loss_of};
use crate::population::{Population, Sample};
use crate::record::Cell;
use crate::temporal::TemporalCheck;

/// Positives below which a model's skill cannot be told from luck: with 30 held out, the AUC's interval is about +-0.1.
pub const MIN_TRAINING_POSITIVES: usize = 100;
pub const MIN_HOLDOUT_POSITIVES: usize = 25;
/// A fall in AUC that is too large whatever its interval.
pub const MAX_AUC_FALL: f64 = 0.01;

/// Stable names of the gates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GateCode {
    /// The AUC's interval lies above 0.5.
    RanksBetterThanChance,
    /// The log loss is lower than that of always saying the base rate.
    BeatsBaseRate,
    EnoughPositives,
    CriticalFieldsFilled,
    /// What was learnt from earlier records orders later ones better than chance, with a lower log loss than the base rate's.
    HoldsForwardInTime,
    /// Not worse than the model in production, on the same hold-out.
    NotWorseThanProduction,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Gate {
    pub code: GateCode,
    pub passed: bool,
    pub detail: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GateReport {
    pub gates: Vec<Gate>,
}

impl GateReport {
    pub fn passed(&self) -> bool {
        self.gates.iter().all(|gate| gate.passed)
    }

    pub fn refusals(&self) -> impl Iterator<Item = &Gate> {
        self.gates.iter().filter(|gate| !gate.passed)
    }
}

/// Judges `candidate` by its `evaluation` on the population's hold-out and, where records have a time, by the check forward
/// in time; `incumbent` is the model in production, if any.
///
/// # Errors
/// [`LearningError::SchemaMismatch`] when the frame is not the candidate's. An incumbent that cannot read the frame is no
/// error: it could not answer for today's records, and the gate says so.
pub fn judge(
    candidate: &Artifact,
    evaluation: &Evaluation,
    temporal: Option<&TemporalCheck>,
    frame: &Frame,
    population: &Population,
    incumbent: Option<&Artifact>,
) -> Result<GateReport, LearningError> {
    let mut gates = vec![
        ranks_better_than_chance(evaluation),
        beats_base_rate(evaluation),
        enough_positives(population),
        critical_fields_filled(frame, &candidate.definition, population),
    ];
    gates.extend(temporal.map(holds_forward_in_time));
    if let Some(incumbent) = incumbent {
        gates.push(not_worse_than_production(candidate, incumbent, frame, &population.holdout)?);
    }
    Ok(GateReport { gates })
}

fn ranks_better_than_chance(evaluation: &Evaluation) -> Gate {
    let Estimate { value, lower, upper } = evaluation.auc;
    Gate {
        code: GateCode::RanksBetterThanChance,
        passed: lower > 0.5,
        detail: format!("hold-out AUC {value:.4}, interval {lower:.4} to {upper:.4}; it must lie above 0.5"),
    }
}

fn beats_base_rate(evaluation: &Evaluation) -> Gate {
    let (found, base) = (evaluation.log_loss.value, evaluation.base_log_loss);
    Gate {
        code: GateCode::BeatsBaseRate,
        passed: found < base,
        detail: format!("hold-out log loss {found:.5}; always saying the base rate has {base:.5}"),
    }
}

fn holds_forward_in_time(check: &TemporalCheck) -> Gate {
    let (Estimate { value, lower, upper }, loss, base) = (check.auc, check.log_loss, check.base_log_loss);
    Gate {
        code: GateCode::HoldsForwardInTime,
        passed: lower > 0.5 && loss < base,
        detail: format!(
            "learnt from the earlier records by {}, on the latest fifth: AUC {value:.4}, interval {lower:.4} to {upper:.4}, \
             log loss {loss:.5} against {base:.5} of the earlier base rate",
            check.field
        ),
    }
}

fn enough_positives(population: &Population) -> Gate {
    let counts = &population.counts;
    let rarer = |rows: usize, positives: usize| positives.min(rows - positives);
    let training = rarer(counts.training, counts.training_positives);
    let holdout = rarer(counts.holdout, counts.holdout_positives);
    Gate {
        code: GateCode::EnoughPositives,
        passed: training >= MIN_TRAINING_POSITIVES && holdout >= MIN_HOLDOUT_POSITIVES,
        detail: format!(
            "{training} rows of the rarer outcome to learn from and {holdout} held out; \
             {MIN_TRAINING_POSITIVES} and {MIN_HOLDOUT_POSITIVES} are needed"
        ),
    }
}

fn critical_fields_filled(frame: &Frame, definition: &PredictionDefinition, population: &Population) -> Gate {
    let rows = || population.training.rows.iter().chain(&population.holdout.rows);
    let mut empty = Vec::new();
    for field in &definition.critical_fields {
        let Some(column) = frame.schema().position(field) else { continue };
        let nulls = rows().filter(|&&row| frame.cell(column, row as usize) == Cell::Null).count();
        if nulls > 0 {
            empty.push(format!("{field} is empty in {nulls} of {} rows", rows().count()));
        }
    }
    let passed = empty.is_empty();
    let detail = match (passed, definition.critical_fields.len()) {
        (true, 0) => "the definition names no critical field".to_owned(),
        (true, n) => format!("{n} critical fields are filled in every row"),
        (false, _) => empty.join("; "),
    };
    Gate { code: GateCode::CriticalFieldsFilled, passed, detail }
}

/// Worse means beyond chance: the paired 95 % interval of the AUC difference (DeLong) lies below zero, or that of the log
/// loss difference above it, or the AUC falls by more than [`MAX_AUC_FALL`]. A retrained model that differs by noise passes.
fn not_worse_than_production(
    candidate: &Artifact,
    incumbent: &Artifact,
    frame: &Frame,
    holdout: &Sample,
) -> Result<Gate, LearningError> {
    let code = GateCode::NotWorseThanProduction;
    let margins = candidate.margins(frame, &holdout.rows)?;
    let Ok(incumbent_margins) = incumbent.margins(frame, &holdout.rows) else {
        let detail = "the model in production cannot read today's fields".to_owned();
        return Ok(Gate { code, passed: true, detail });
    };
    let AucDifference { candidate: new, incumbent: old, difference } =
        auc_difference(&margins, &incumbent_margins, &holdout.labels);
    let loss = |artifact: &Artifact, margin: f64, label: f64| log_loss_of(artifact.calibrator.probability(margin), label);
    let rows = margins.iter().zip(&incumbent_margins).zip(&holdout.labels);
    let losses: Vec<f64> = rows.map(|((&m, &i), &y)| loss(candidate, m, y) - loss(incumbent, i, y)).collect();
    let added_loss = Estimate::of_mean(&losses);
    let worse = difference.upper < 0.0 || difference.value < -MAX_AUC_FALL || added_loss.lower > 0.0;
    let detail = format!(
        "on the same hold-out AUC {new:.4} against {old:.4} (difference {:.4} to {:.4}), log loss {:+.5} ({:+.5} to {:+.5})",
        difference.lower, difference.upper, added_loss.value, added_loss.lower, added_loss.upper
    );
    Ok(Gate { code, passed: !worse, detail })
}
