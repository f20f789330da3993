//! Fitting the encoder on training rows, and deciding what form a field takes.

use leadline_domain::value::FieldType;

use super::{DAY_MS, Encoder, Encoding, FieldEncoder, encode_column, is_text};
use crate::frame::{Frame, GivenUp};
use crate::matrix::Matrix;
use crate::population::{FOLDS, Sample};
use crate::record::Cell;

/// Up to this many levels a text is ranked; above, it has target statistics. About where a level's own rate is still
/// estimated well from a few thousand rows.
const MAX_RANKED_LEVELS: usize = 40;
/// A level seen less often than this is treated like an unseen one.
const MIN_LEVEL_ROWS: u32 = 5;
/// A text column whose values repeat less often than this on average is an identifier or prose.
const MIN_MEAN_REPEATS: f64 = 2.0;
/// Prose if at least this share of its values is made of words, else an identifier.
const MIN_PROSE_SHARE: f64 = 0.5;
/// Pseudo-rows with the base rate that smooth a level's target rate (the m-estimate of Cestnik, 1990).
const SMOOTHING_ROWS: f64 = 20.0;

/// What a field can become, judged by its values in the training part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FeatureForm {
    Plain,
    Ranked,
    TargetStatistics,
    Length,
    Presence,
    /// A date without its day count.
    Season,
    /// The reason, for the model card.
    Unusable(&'static str),
}

/// Decides the form of the field in `column` from the training rows.
pub fn form_of(frame: &Frame, column: usize, rows: &[u32]) -> FeatureForm {
    let field = &frame.schema().fields[column];
    let is_null = |row: &&u32| frame.cell(column, **row as usize) == Cell::Null;
    let present = rows.len() - rows.iter().filter(is_null).count();
    if present == 0 {
        return FeatureForm::Unusable("empty in every training row");
    }
    if !is_text(field.field_type) {
        let first = frame.cell(column, rows[0] as usize);
        let constant = rows.iter().all(|&row| frame.cell(column, row as usize) == first);
        return if constant { FeatureForm::Unusable("the same in every training row") } else { FeatureForm::Plain };
    }
    let Some((codes, levels)) = frame.levels(column) else {
        return unique_text(frame, column, present < rows.len());
    };
    let mut counts = vec![0_u32; levels.len()];
    for &row in rows {
        if let Some(count) = counts.get_mut(codes[row as usize] as usize) {
            *count += 1;
        }
    }
    let distinct = counts.iter().filter(|&&c| c > 0).count();
    if distinct == 1 && present == rows.len() {
        return FeatureForm::Unusable("the same in every training row");
    }
    let repeats = present as f64 / distinct as f64;
    if distinct > MAX_RANKED_LEVELS && repeats < MIN_MEAN_REPEATS {
        return unique_text(frame, column, present < rows.len());
    }
    let frequent = counts.iter().filter(|&&c| c >= MIN_LEVEL_ROWS).count();
    if frequent == 0 {
        return FeatureForm::Unusable("no value occurs often enough");
    }
    if frequent > MAX_RANKED_LEVELS || distinct > 4 * MAX_RANKED_LEVELS {
        FeatureForm::TargetStatistics
    } else {
        FeatureForm::Ranked
    }
}

/// The form of a text with nearly one value for each row, or whose content was not kept.
fn unique_text(frame: &Frame, column: usize, has_nulls: bool) -> FeatureForm {
    match (frame.schema().fields[column].field_type, frame.given_up(column)) {
        (FieldType::Text, _) if frame.prose_share(column) >= MIN_PROSE_SHARE => FeatureForm::Length,
        (FieldType::Text, _) if has_nulls => FeatureForm::Presence,
        (FieldType::Text, _) => FeatureForm::Unusable("an identifier"),
        (_, Some(GivenUp::TooManyValues)) => FeatureForm::Unusable("more distinct values than can be learnt from"),
        (_, Some(GivenUp::TooLongValue)) => FeatureForm::Unusable("it holds a value longer than any that is learnt from"),
        (_, None) => FeatureForm::Unusable("nearly one value for each row"),
    }
}

impl Encoder {
    /// Fits an encoder for `features` (column and form) on the rows of `sample`, and encodes those rows. Only statistics over
    /// many levels differ between this encoding and [`Encoder::encode_frame`]: here they are out of fold.
    ///
    /// `folds` has one fold for each row of `sample`.
    pub fn fit(frame: &Frame, sample: &Sample, folds: &[u8], features: &[(usize, FeatureForm)]) -> (Self, Matrix) {
        let base_rate = sample.positives() as f64 / sample.len() as f64;
        let fit_field = |&(column, form): &(usize, FeatureForm)| FieldEncoder {
            field: frame.schema().fields[column].clone(),
            encoding: fit_encoding(frame, column, form, sample, base_rate),
        };
        let encoder = Self { fields: features.iter().map(fit_field).collect() };
        let mut matrix = Matrix::zeroed(sample.len(), encoder.width());
        let mut start = 0;
        for (&(column, form), FieldEncoder { encoding, .. }) in features.iter().zip(&encoder.fields) {
            encode_column(encoding, frame, column, &sample.rows, &mut matrix, start);
            if form == FeatureForm::TargetStatistics {
                write_out_of_fold(frame, column, sample, folds, base_rate, matrix.column_mut(start));
            }
            start += encoding.width();
        }
        (encoder, matrix)
    }
}

fn fit_encoding(frame: &Frame, column: usize, form: FeatureForm, sample: &Sample, base_rate: f64) -> Encoding {
    match (form, frame.schema().fields[column].field_type) {
        (FeatureForm::Ranked, _) => fit_levels(frame, column, sample, base_rate),
        (FeatureForm::TargetStatistics, _) => fit_target(frame, column, sample, base_rate),
        (FeatureForm::Length, _) => Encoding::Length,
        (FeatureForm::Presence, _) => Encoding::Presence,
        (FeatureForm::Season, _) => Encoding::Season,
        (_, FieldType::Boolean) => Encoding::Boolean,
        (_, FieldType::Date | FieldType::DateTime) => fit_calendar(frame, column, sample),
        _ => Encoding::Number,
    }
}

/// The reference day is the latest in the training part: later records have small positive values.
fn fit_calendar(frame: &Frame, column: usize, sample: &Sample) -> Encoding {
    let day = |&row: &u32| match frame.cell(column, row as usize) {
        Cell::Day(day) => Some(day),
        Cell::Instant(ms) => i32::try_from(ms.div_euclid(DAY_MS)).ok(),
        _ => None,
    };
    let reference = sample.rows.iter().filter_map(day).max().unwrap_or(0);
    match frame.schema().fields[column].field_type {
        FieldType::Date => Encoding::Day { reference },
        _ => Encoding::Instant { reference },
    }
}

/// Rows and positives of each level.
fn level_counts(frame: &Frame, column: usize, sample: &Sample) -> Vec<(Box<str>, u32, f64)> {
    let Some((codes, levels)) = frame.levels(column) else { return Vec::new() };
    let mut counts = vec![(0_u32, 0.0); levels.len()];
    for (&row, label) in sample.rows.iter().zip(&sample.labels) {
        if let Some((rows, positives)) = counts.get_mut(codes[row as usize] as usize) {
            *rows += 1;
            *positives += label;
        }
    }
    let named = levels.iter().zip(counts).map(|(level, (rows, positives))| (level.clone(), rows, positives));
    named.filter(|(_, rows, _)| *rows >= MIN_LEVEL_ROWS).collect()
}

fn smoothed_rate(rows: f64, positives: f64, base_rate: f64) -> f64 {
    (positives + SMOOTHING_ROWS * base_rate) / (rows + SMOOTHING_ROWS)
}

fn log_odds(rate: f64) -> f64 {
    (rate / (1.0 - rate)).ln()
}

fn fit_levels(frame: &Frame, column: usize, sample: &Sample, base_rate: f64) -> Encoding {
    let counts = level_counts(frame, column, sample);
    let rates: Vec<f64> = counts.iter().map(|(_, rows, pos)| smoothed_rate(f64::from(*rows), *pos, base_rate)).collect();
    let mut order: Vec<usize> = (0..rates.len()).collect();
    // The levels stand sorted by name, and the sort is stable: equal rates are ranked by name.
    order.sort_by(|&a, &b| rates[a].total_cmp(&rates[b]));
    let mut ranks = vec![0.0; rates.len()];
    for (rank, &level) in order.iter().enumerate() {
        ranks[level] = rank as f64;
    }
    let below = rates.iter().filter(|&&rate| rate < base_rate).count();
    let levels = counts.into_iter().map(|(level, ..)| level).collect();
    Encoding::Levels { levels, ranks, unseen: below as f64 - 0.5 }
}

fn fit_target(frame: &Frame, column: usize, sample: &Sample, base_rate: f64) -> Encoding {
    let counts = level_counts(frame, column, sample);
    let log_odds_of = |(_, rows, pos): &(Box<str>, u32, f64)| log_odds(smoothed_rate(f64::from(*rows), *pos, base_rate));
    Encoding::Target {
        log_odds: counts.iter().map(log_odds_of).collect(),
        log_counts: counts.iter().map(|(_, rows, _)| f64::from(*rows).ln_1p()).collect(),
        levels: counts.into_iter().map(|(level, ..)| level).collect(),
        unseen: log_odds(base_rate),
    }
}

/// Replaces the target log-odds of the training rows by those from the rows of the other folds. Rows with a level that the
/// encoding does not know keep what an unseen level has, as they will when a prediction is wanted.
fn write_out_of_fold(frame: &Frame, column: usize, sample: &Sample, folds: &[u8], base_rate: f64, into: &mut [f64]) {
    let Some((codes, levels)) = frame.levels(column) else { return };
    let parts = usize::from(FOLDS);
    let mut counts = vec![(0.0, 0.0); levels.len() * parts];
    let place = |i: usize| {
        let code = codes[sample.rows[i] as usize] as usize;
        (code < levels.len()).then(|| code * parts + usize::from(folds[i]))
    };
    for (i, label) in sample.labels.iter().enumerate() {
        if let Some(at) = place(i) {
            counts[at].0 += 1.0;
            counts[at].1 += label;
        }
    }
    for (i, value) in into.iter_mut().enumerate() {
        let Some(at) = place(i) else { continue };
        let level = &counts[at - at % parts..][..parts];
        let (rows, positives) = level.iter().fold((0.0, 0.0), |sum, part| (sum.0 + part.0, sum.1 + part.1));
        if rows < f64::from(MIN_LEVEL_ROWS) {
            continue;
        }
        let (others, other_positives) = (rows - counts[at].0, positives - counts[at].1);
        *value = log_odds(smoothed_rate(others, other_positives, base_rate));
    }
}
