//! Fields that know the answer: excluded, or flagged for a person.
//!
//! A CRM record is read as it stands today, so a field that was written together with the outcome, or because of it, looks
//! like the best predictor there is and will be empty when a prediction is wanted. Each field is judged alone, on the
//! training part, in three ways:
//!
//! 1. **Gives the answer away.** Its single-field AUC is at least [`ANSWER_AUC`]. No field that is known beforehand orders
//!    outcomes almost perfectly by itself; what does is the outcome under another name. Excluded.
//! 2. **Filled only once the outcome is known.** Among the rows where it is filled (or where it is empty), practically all
//!    have the same outcome: the other one is at most 1 - [`PURE`] of them and [`PURE_RATIO`] of its base rate, so that a
//!    rare outcome does not make every group pure; they are at least [`MIN_PURE_ROWS`], and by chance so few of the other
//!    outcome would be found with a probability below e^-[`PURE_SURPRISE`]. A loss reason filled for half of the lost deals
//!    has a modest AUC and is caught here. Excluded. So is a field whose being filled, whatever its value, orders outcomes
//!    with an AUC of at least [`FILLED_AUC`]: an automation that runs at conversion also fills it by mistake now and then,
//!    and no honest process leaves a field empty almost exactly where the outcome will be negative. A number is also taken
//!    for empty where it has its commonest value, if at least [`DEFAULT_SHARE`] of the rows have it (an amount of 0), and a
//!    checkbox, which is never null, where it is not ticked; but a box that only ordinary losers have ticked is left alone,
//!    for wishes such as "do not call" are known beforehand. The same as the first for one value of a text, when the
//!    outcome in question is the rarer one: a stage that only won deals have. A value without any positive among few
//!    positives is ordinary (nobody on that island ever bought) and is left alone.
//! 3. **Suspiciously strong alone.** Its AUC is at least [`FLAG_AUC`], or at least [`FLAG_FLOOR_AUC`] and its distance
//!    from 0.5 at least [`FLAG_RATIO`] times that of the next field. Flagged, and kept until a person decides: a good
//!    predictor and a leak look alike from here (the duration of the very call that closed the deal).
//!
//! The AUC of a field is that of target rates by value (numbers and dates: by quantile), computed out of fold, so that a
//! field of thousands of values cannot look strong by memorising labels: for pure noise the expectation is 0.5 or less.

use std::fmt;

use leadline_domain::value::FieldType;
use serde::{Deserialize, Serialize};

use crate::definition::PredictionDefinition;
use crate::encoder::is_text;
use crate::frame::Frame;
use crate::metrics::group_auc;
use crate::population::{FOLDS, Population, Sample};

pub const ANSWER_AUC: f64 = 0.99;
pub const FLAG_AUC: f64 = 0.85;
pub const FLAG_FLOOR_AUC: f64 = 0.70;
pub const FLAG_RATIO: f64 = 1.5;
pub const FILLED_AUC: f64 = 0.90;
pub const PURE: f64 = 0.995;
pub const PURE_RATIO: f64 = 0.05;
pub const MIN_PURE_ROWS: f64 = 50.0;
pub const PURE_SURPRISE: f64 = 28.0; // e^-28 is below 1e-12: beyond chance however many fields and values are looked at.

/// Share of the rows from which on a number's commonest value may stand for "nothing entered".
pub const DEFAULT_SHARE: f64 = 0.1;

/// Quantile groups of numbers, dates and lengths.
const QUANTILES: usize = 50;
/// Pseudo-rows with the base rate that smooth a group's rate.
const SMOOTHING_ROWS: f64 = 10.0;

/// What a field gives away by itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LeakCheck {
    pub field: String,
    /// Out-of-fold AUC of the field alone.
    pub single_field_auc: f64,
    pub finding: Finding,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Finding {
    Clean,
    /// Suspiciously strong alone.
    Flagged {
        reason: String,
    },
    /// Gives the answer away, or is filled only once it is known.
    Leak {
        reason: String,
    },
}

/// Checks every field that is not excluded by nature, those that a person excluded or kept included.
pub fn check_leaks(frame: &Frame, definition: &PredictionDefinition, population: &Population) -> Vec<LeakCheck> {
    let sample = &population.training;
    let base_rate = sample.positives() as f64 / sample.len() as f64;
    let fields = frame.schema().fields.iter().enumerate();
    let checked = fields.filter(|(_, field)| definition.excluded_by_nature(&field.name).is_none());
    let mut checks: Vec<LeakCheck> = checked
        .map(|(column, field)| {
            let groups = Groups::of(frame, column, sample, &population.folds);
            let single_field_auc = groups.auc(base_rate);
            let finding = match groups.leak_reason(single_field_auc, base_rate) {
                Some(reason) => Finding::Leak { reason },
                None => Finding::Clean,
            };
            LeakCheck { field: field.name.clone(), single_field_auc, finding }
        })
        .collect();
    flag_strong_fields(definition, &mut checks);
    checks
}

/// The next field is the strongest of those that are not leaks, not written by the outcome, and weaker.
fn flag_strong_fields(definition: &PredictionDefinition, checks: &mut [LeakCheck]) {
    let clean = |c: &LeakCheck| c.finding == Finding::Clean && !definition.outcome_fields.contains(&c.field);
    let mut strengths: Vec<f64> = checks.iter().filter(|c| clean(c)).map(|c| c.single_field_auc - 0.5).collect();
    strengths.sort_by(|a, b| b.total_cmp(a));
    for check in checks.iter_mut().filter(|c| clean(c)) {
        let (auc, strength) = (check.single_field_auc, check.single_field_auc - 0.5);
        let next = strengths.iter().copied().find(|&s| s < strength).unwrap_or(0.0).max(0.0);
        if auc >= FLAG_AUC {
            let reason = format!("orders the outcomes with an AUC of {auc:.3} all by itself");
            check.finding = Finding::Flagged { reason };
        } else if auc >= FLAG_FLOOR_AUC && strength >= FLAG_RATIO * next {
            let reason = format!("AUC {auc:.3} by itself, where the next field reaches {:.3}", next + 0.5);
            check.finding = Finding::Flagged { reason };
        }
    }
}

/// Rows and positives by group of values and fold. The last group holds the nulls.
struct Groups {
    counts: Vec<[(f64, f64); FOLDS as usize]>,
    /// For texts whose content was kept, one group is one value.
    by_value: bool,
    default: Option<Unentered>,
}

/// The group whose rows may have nothing entered although they are not null.
enum Unentered {
    Unticked { group: usize },
    Commonest { group: usize, value: f64 },
}

impl Groups {
    fn of(frame: &Frame, column: usize, sample: &Sample, folds: &[u8]) -> Self {
        let Grouped { groups, number, default } = group_rows(frame, column, sample);
        let mut counts = vec![[(0.0, 0.0); FOLDS as usize]; number + 1];
        for ((group, label), &fold) in groups.iter().zip(&sample.labels).zip(folds) {
            let cell = &mut counts[group.unwrap_or(number)][usize::from(fold)];
            cell.0 += 1.0;
            cell.1 += label;
        }
        let by_value = is_text(frame.schema().fields[column].field_type) && frame.keeps_content(column);
        Self { counts, by_value, default }
    }

    fn auc(&self, base_rate: f64) -> f64 {
        let mut scored = Vec::with_capacity(self.counts.len() * usize::from(FOLDS));
        for group in &self.counts {
            let (rows, positives) = total(group);
            for &(n, pos) in group.iter().filter(|(n, _)| *n > 0.0) {
                let rate = (positives - pos + SMOOTHING_ROWS * base_rate) / (rows - n + SMOOTHING_ROWS);
                scored.push((rate, pos, n - pos));
            }
        }
        group_auc(scored)
    }

    /// Why the field is a leak, if it is one.
    fn leak_reason(&self, auc: f64, base_rate: f64) -> Option<String> {
        if auc >= ANSWER_AUC {
            return Some(format!("gives the outcome away by itself: AUC {auc:.4}"));
        }
        let (values, nulls) = self.counts.split_at(self.counts.len() - 1);
        let empty = total(&nulls[0]);
        let filled = values.iter().map(total).fold((0.0, 0.0), add);
        let telling = |rows, others, what: &str| pure(rows, base_rate).map(|outcome| known_late(rows, others, what, outcome));
        (empty.0 > 0.0 && filled.0 > 0.0)
            .then(|| telling(filled, empty, "filled").or_else(|| telling(empty, filled, "empty")))
            .flatten()
            .or_else(|| filled_with_the_outcome(filled, empty, "filled"))
            .or_else(|| self.entered_with_the_outcome(filled, empty, base_rate))
            .or_else(|| self.telling_values(values, base_rate))
    }

    /// As for null, with the default taken for empty.
    fn entered_with_the_outcome(&self, filled: (f64, f64), empty: (f64, f64), base_rate: f64) -> Option<String> {
        let (group, what, is_box) = match self.default.as_ref()? {
            Unentered::Unticked { group } => (*group, "ticked".to_owned(), true),
            Unentered::Commonest { group, value } => (*group, format!("not {value}"), false),
        };
        let default = total(&self.counts[group]);
        let entered = (filled.0 - default.0, filled.1 - default.1);
        let others = add(empty, default);
        if entered.0 == 0.0 {
            return None;
        }
        let tells = |outcome: &Outcome| !is_box || *outcome == Outcome::Positive || *outcome == rarer(base_rate);
        pure(entered, base_rate)
            .filter(tells)
            .map(|outcome| known_late(entered, others, &what, outcome))
            .or_else(|| filled_with_the_outcome(entered, others, &what))
    }

    fn telling_values(&self, values: &[[(f64, f64); FOLDS as usize]], base_rate: f64) -> Option<String> {
        let rarer = rarer(base_rate);
        let telling = |group: &&[(f64, f64); FOLDS as usize]| pure(total(group), base_rate) == Some(rarer);
        let count = if self.by_value { values.iter().filter(telling).count() } else { 0 };
        (count > 0).then(|| format!("{count} of its values occur only with a {rarer} outcome"))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Positive,
    Negative,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if *self == Self::Positive { "positive" } else { "negative" })
    }
}

fn rarer(base_rate: f64) -> Outcome {
    if base_rate <= 0.5 { Outcome::Positive } else { Outcome::Negative }
}

fn known_late(rows: (f64, f64), others: (f64, f64), what: &str, outcome: Outcome) -> String {
    format!(
        "known only with the outcome: {:.0} rows where it is {what} are all {outcome}, against {:.1} % positive elsewhere",
        rows.0,
        100.0 * others.1 / others.0
    )
}

/// The AUC of a yes-or-no field is half of one plus the distance between its rates among positives and negatives.
fn filled_with_the_outcome(filled: (f64, f64), empty: (f64, f64), what: &str) -> Option<String> {
    let positives = filled.1 / (filled.1 + empty.1);
    let negatives = (filled.0 - filled.1) / (filled.0 - filled.1 + empty.0 - empty.1);
    let auc = 0.5 + (positives - negatives).abs() / 2.0;
    (auc >= FILLED_AUC).then(|| {
        format!(
            "known only with the outcome: {what} in {:.1} % of the positive rows and {:.1} % of the negative ones",
            100.0 * positives,
            100.0 * negatives
        )
    })
}

fn total(group: &[(f64, f64); FOLDS as usize]) -> (f64, f64) {
    group.iter().copied().fold((0.0, 0.0), add)
}

fn add(a: (f64, f64), b: (f64, f64)) -> (f64, f64) {
    (a.0 + b.0, a.1 + b.1)
}

/// The outcome that practically all of these rows have, if that cannot be chance.
fn pure((rows, positives): (f64, f64), base_rate: f64) -> Option<Outcome> {
    let lacks = |found: f64, rate: f64| {
        found <= (1.0 - PURE).min(PURE_RATIO * rate) * rows && ln_binomial_tail(found, rows, rate) < -PURE_SURPRISE
    };
    if rows < MIN_PURE_ROWS {
        None
    } else if lacks(rows - positives, 1.0 - base_rate) {
        Some(Outcome::Positive)
    } else if lacks(positives, base_rate) {
        Some(Outcome::Negative)
    } else {
        None
    }
}

/// The logarithm of the probability of at most `found` successes among `rows` trials with chance `rate` (between 0 and 1).
fn ln_binomial_tail(found: f64, rows: f64, rate: f64) -> f64 {
    let odds = (rate / (1.0 - rate)).ln();
    let mut term = rows * (-rate).ln_1p();
    let mut sum = term;
    for k in 0..found as u64 {
        let k = k as f64;
        term += ((rows - k) / (k + 1.0)).ln() + odds;
        let (high, low) = if term > sum { (term, sum) } else { (sum, term) };
        sum = high + (low - high).exp().ln_1p();
    }
    sum
}

/// The group of each row (`None`: null) and the number of groups.
struct Grouped {
    groups: Vec<Option<usize>>,
    number: usize,
    default: Option<Unentered>,
}

fn group_rows(frame: &Frame, column: usize, sample: &Sample) -> Grouped {
    if let Some((codes, levels)) = frame.levels(column) {
        let code = |&row: &u32| Some(codes[row as usize] as usize).filter(|&c| c < levels.len());
        return Grouped { groups: sample.rows.iter().map(code).collect(), number: levels.len(), default: None };
    }
    let numbers: Vec<Option<f64>> = sample.rows.iter().map(|&row| frame.cell(column, row as usize).number()).collect();
    let present: Vec<f64> = numbers.iter().flatten().copied().collect();
    let commonest = commonest(&present).filter(|(_, count)| *count as f64 >= DEFAULT_SHARE * sample.len() as f64);
    let cuts = quantile_cuts(present, QUANTILES);
    let group = |n: f64| cuts.partition_point(|&cut| cut <= n);
    let default = match frame.schema().fields[column].field_type {
        FieldType::Boolean => Some(Unentered::Unticked { group: group(0.0) }),
        FieldType::Number => commonest.map(|(value, _)| Unentered::Commonest { group: group(value), value }),
        _ => None,
    };
    Grouped { groups: numbers.iter().map(|n| n.map(group)).collect(), number: cuts.len() + 1, default }
}

/// The value that occurs most often, the least of several, and how often.
fn commonest(values: &[f64]) -> Option<(f64, usize)> {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    let runs = values.chunk_by(|a, b| a == b).map(|run| (run[0], run.len()));
    runs.reduce(|best, run| if run.1 > best.1 { run } else { best })
}

/// Ascending borders of about `parts` groups of equal size; a value equal to a border lies above it. A value that by itself
/// makes up a group's share (the zeros of an amount, a -1 for "never") is bordered on both sides, so that it stands alone.
pub(crate) fn quantile_cuts(mut values: Vec<f64>, parts: usize) -> Vec<f64> {
    values.sort_by(f64::total_cmp);
    let Some(&least) = values.first() else { return Vec::new() };
    let mut cuts: Vec<f64> = (1..parts).map(|part| values[part * values.len() / parts]).collect();
    let heavy = values.len().div_ceil(parts).max(2);
    let mut start = 0;
    for equal in values.chunk_by(|a, b| a == b) {
        start += equal.len();
        if equal.len() >= heavy {
            cuts.push(equal[0]);
            cuts.extend(values.get(start));
        }
    }
    cuts.retain(|&cut| cut > least);
    cuts.sort_by(f64::total_cmp);
    cuts.dedup();
    cuts
}
