//! Which learner, how tuned, how combined: decided by cross-validation inside the training part.
//!
//! Trees and the linear model are tried on the same stratified folds; for each fold the encoder is fitted on the other
//! folds only, so that no choice is flattered by target statistics. Trees are halved (Jamieson and Talwalkar, 2016): every
//! candidate is fitted on the first folds, and the best go on to all. Then out-of-fold margins of the best trees and the
//! best linear model are blended by the weight with the least log loss; one of them alone wins unless the blend is better.
//!
//! The number of trees is where the mean validation loss over the folds is least. Everything is chosen by log loss, which
//! asks for order and for honest probabilities at once.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::encoder::{ColumnKind, Encoder, FeatureForm};
use crate::error::LearningError;
use crate::frame::Frame;
use crate::logistic::Logistic;
use crate::matrix::Matrix;
use crate::metrics::{auc, log_loss, sigmoid};
use crate::population::{FOLDS, Sample};
use crate::progress::{Progress, Stage, report};
use crate::trees::{Boosted, Ensemble, TreeParameters, fit_trees};

mod plan;

pub use plan::{Budget, Plan};

/// Folds on which every candidate is fitted before the best go on.
pub(crate) const FIRST_FOLDS: u8 = 2;
/// Candidates that go on to all folds.
pub(crate) const FINALISTS: usize = 2;
/// Trees without improvement after which a fit stops.
const PATIENCE: usize = 30;
/// Penalties tried for the linear model, descending: each fit starts from the one before.
pub(crate) const LAMBDAS: [f64; 4] = [100.0, 30.0, 10.0, 1.0];
/// A blend must lower the log loss by this share of the better part's, or the better part stands alone.
const BLEND_GAIN: f64 = 5e-4;
const BLEND_STEPS: u32 = 20;

/// A candidate as the card reports it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Candidate {
    pub name: String,
    pub parameters: String,
    /// On how many folds it was fitted.
    pub folds: u8,
    /// Cross-validated, inside the training part.
    pub log_loss: f64,
    pub auc: f64,
    pub chosen: bool,
}

/// What the search decided.
#[derive(Debug, Clone)]
pub struct Selection {
    pub trees: Option<TreeParameters>,
    pub lambda: Option<f64>,
    /// Share of the trees' margin in the raw score.
    pub tree_weight: f64,
    pub candidates: Vec<Candidate>,
    /// Of the rows searched on, out of fold: margin, label, fold.
    pub margins: Vec<f64>,
    pub labels: Vec<f64>,
    pub folds: Vec<u8>,
}

/// One fold: fitted on the others, validated on itself.
struct FoldData {
    fold: u8,
    kinds: Vec<ColumnKind>,
    train: Matrix,
    train_labels: Vec<f64>,
    validation: Matrix,
    validation_labels: Vec<f64>,
    /// Positions of the validation rows in the sample.
    positions: Vec<usize>,
}

impl FoldData {
    fn new(
        frame: &Frame,
        sample: &Sample,
        folds: &[u8],
        features: &[(usize, FeatureForm)],
        fold: u8,
    ) -> Result<Self, LearningError> {
        let positions: Vec<usize> = (0..sample.len()).filter(|&i| folds[i] == fold).collect();
        let train_folds: Vec<u8> = folds.iter().copied().filter(|&f| f != fold).collect();
        let (train, validation) = (sample.select(|i| folds[i] != fold), sample.select(|i| folds[i] == fold));
        let (encoder, matrix) = Encoder::fit(frame, &train, &train_folds, features);
        Ok(Self {
            fold,
            kinds: encoder.kinds(),
            train: matrix,
            train_labels: train.labels,
            validation: encoder.encode_frame(frame, &validation.rows)?,
            validation_labels: validation.labels,
            positions,
        })
    }
}

/// Searches within `plan` on the rows of `sample`.
///
/// # Errors
/// [`LearningError::Aborted`] when `progress` breaks, or an error of the tree learner.
pub fn search(
    frame: &Frame,
    sample: &Sample,
    folds: &[u8],
    features: &[(usize, FeatureForm)],
    plan: &Plan,
    seed: u64,
    progress: &Progress<'_>,
) -> Result<Selection, LearningError> {
    report(progress, Stage::Encoding, 0, u64::from(FOLDS))?;
    let encode = |fold: u8| FoldData::new(frame, sample, folds, features, fold);
    let data = (0..FOLDS).into_par_iter().map(encode).collect::<Result<Vec<_>, _>>()?;
    report(progress, Stage::Encoding, u64::from(FOLDS), u64::from(FOLDS))?;
    let trials = Trials { data: &data, sample, seed, done: AtomicU64::new(0), total: plan.fits(), progress };
    let linear = trials.linear()?;
    let trees = trials.trees(&plan.candidates)?;
    Ok(trials.combine(folds, linear, trees))
}

struct Trials<'a> {
    data: &'a [FoldData],
    sample: &'a Sample,
    seed: u64,
    done: AtomicU64,
    total: u64,
    progress: &'a Progress<'a>,
}

/// The out-of-fold margins of one finished candidate.
struct Tried {
    candidate: Candidate,
    margins: Vec<f64>,
}

struct TriedTrees {
    parameters: TreeParameters,
    tried: Tried,
}

struct TriedLinear {
    lambda: f64,
    tried: Tried,
}

impl Trials<'_> {
    fn step(&self) -> Result<(), LearningError> {
        report(self.progress, Stage::Searching, self.done.load(Ordering::Relaxed).min(self.total), self.total)
    }

    fn fitted(&self) {
        self.done.fetch_add(1, Ordering::Relaxed);
    }

    fn linear(&self) -> Result<Vec<TriedLinear>, LearningError> {
        let fit = |data: &FoldData| {
            self.step()?;
            let path = Logistic::fit_path(&data.train, &data.kinds, &data.train_labels, &LAMBDAS);
            let margins = path.map(|models| models.iter().map(|m| m.margins(&data.validation)).collect::<Vec<_>>());
            self.fitted();
            Ok(margins)
        };
        let folds = self.data.par_iter().map(fit).collect::<Result<Option<Vec<_>>, _>>().transpose();
        let Some(folds) = folds else { return Ok(Vec::new()) };
        let folds = folds?;
        let tried = |(i, &lambda): (usize, &f64)| {
            let parts = self.data.iter().zip(&folds).map(|(data, path)| (data, path[i].as_slice()));
            TriedLinear { lambda, tried: self.tried("logistic regression", format!("lambda {lambda}"), parts) }
        };
        Ok(LAMBDAS.iter().enumerate().map(tried).collect())
    }

    fn trees(&self, candidates: &[TreeParameters]) -> Result<Vec<TriedTrees>, LearningError> {
        let (first, rest) = self.data.split_at(usize::from(FIRST_FOLDS));
        let mut entrants: Vec<(TreeParameters, Vec<Boosted>)> = self.fit_all(candidates, first)?;
        entrants.sort_by(|a, b| best_length(&a.1).1.total_cmp(&best_length(&b.1).1));
        let finalists: Vec<TreeParameters> = entrants.iter().take(FINALISTS).map(|(p, _)| *p).collect();
        let mut late = self.fit_all(&finalists, rest)?.into_iter();
        let mut tried = Vec::new();
        for (parameters, mut fits) in entrants {
            fits.extend(late.next().map(|(_, fits)| fits).unwrap_or_default());
            let (trees, _) = best_length(&fits);
            let parameters = TreeParameters { trees, ..parameters };
            let margins: Vec<Vec<f64>> =
                fits.iter().zip(self.data).map(|(fit, data)| fit.ensemble.margins(&data.validation, trees)).collect();
            let parts = self.data.iter().zip(margins.iter().map(Vec::as_slice));
            let tried_trees = self.tried("boosted trees", parameters.to_string(), parts);
            tried.push(TriedTrees { parameters, tried: tried_trees });
        }
        Ok(tried)
    }

    /// Fits each of `candidates` on each of `folds`.
    fn fit_all(
        &self,
        candidates: &[TreeParameters],
        folds: &[FoldData],
    ) -> Result<Vec<(TreeParameters, Vec<Boosted>)>, LearningError> {
        let jobs: Vec<(TreeParameters, &FoldData)> =
            candidates.iter().flat_map(|p| folds.iter().map(move |data| (*p, data))).collect();
        let fit = |(parameters, data): (TreeParameters, &FoldData)| {
            self.step()?;
            let validation = Some((&data.validation, data.validation_labels.as_slice(), PATIENCE));
            let seed = self.seed.wrapping_add(u64::from(data.fold));
            let boosted = fit_trees(&parameters, seed, &data.train, &data.train_labels, validation);
            self.fitted();
            boosted
        };
        let mut fits = jobs.into_par_iter().map(fit).collect::<Result<Vec<_>, _>>()?.into_iter();
        Ok(candidates.iter().map(|p| (*p, fits.by_ref().take(folds.len()).collect())).collect())
    }

    fn tried<'b>(&self, name: &str, parameters: String, parts: impl Iterator<Item = (&'b FoldData, &'b [f64])>) -> Tried {
        let mut margins = vec![f64::NAN; self.sample.len()];
        let mut folds = 0;
        for (data, part) in parts {
            data.positions.iter().zip(part).for_each(|(&at, &margin)| margins[at] = margin);
            folds += 1;
        }
        let (seen, labels) = self.seen(&margins);
        let candidate = Candidate {
            name: name.to_owned(),
            parameters,
            folds,
            log_loss: margin_loss(&seen, &labels),
            auc: auc(&seen, &labels),
            chosen: false,
        };
        Tried { candidate, margins }
    }

    /// The margins that are there, with their labels.
    fn seen(&self, margins: &[f64]) -> (Vec<f64>, Vec<f64>) {
        margins.iter().zip(&self.sample.labels).filter(|(m, _)| !m.is_nan()).map(|(m, y)| (*m, *y)).unzip()
    }

    fn combine(&self, folds: &[u8], mut linear: Vec<TriedLinear>, mut trees: Vec<TriedTrees>) -> Selection {
        let complete = |tried: &Tried| tried.candidate.folds == FOLDS;
        let least = |a: &Tried, b: &Tried| a.candidate.log_loss.total_cmp(&b.candidate.log_loss);
        let best_linear = linear.iter_mut().min_by(|a, b| least(&a.tried, &b.tried));
        let best_trees = trees.iter_mut().filter(|t| complete(&t.tried)).min_by(|a, b| least(&a.tried, &b.tried));
        let tree_weight = match (&best_trees, &best_linear) {
            (Some(t), Some(l)) => blend_weight(&t.tried.margins, &l.tried.margins, &self.sample.labels),
            (None, _) => 0.0,
            (_, None) => 1.0,
        };
        let mut margins = vec![0.0; self.sample.len()];
        let mut add = |tried: &mut Tried, weight: f64| {
            tried.candidate.chosen = weight > 0.0;
            margins.iter_mut().zip(&tried.margins).for_each(|(sum, m)| *sum += weight * m);
        };
        let chosen_trees = best_trees.filter(|_| tree_weight > 0.0).map(|t| {
            add(&mut t.tried, tree_weight);
            t.parameters
        });
        let lambda = best_linear.filter(|_| tree_weight < 1.0).map(|l| {
            add(&mut l.tried, 1.0 - tree_weight);
            l.lambda
        });
        let mut candidates: Vec<Candidate> =
            trees.into_iter().map(|t| t.tried).chain(linear.into_iter().map(|l| l.tried)).map(|t| t.candidate).collect();
        if chosen_trees.is_some() && lambda.is_some() {
            let blend = Candidate {
                name: "blend".to_owned(),
                parameters: format!("{tree_weight:.2} trees, {:.2} linear", 1.0 - tree_weight),
                folds: FOLDS,
                log_loss: margin_loss(&margins, &self.sample.labels),
                auc: auc(&margins, &self.sample.labels),
                chosen: true,
            };
            candidates.insert(0, blend);
        }
        Selection {
            trees: chosen_trees,
            lambda,
            tree_weight,
            candidates,
            margins,
            labels: self.sample.labels.clone(),
            folds: folds.to_vec(),
        }
    }
}

/// The number of trees with the least mean validation loss, and that loss. A fit that stopped early counts on with its last.
fn best_length(fits: &[Boosted]) -> (usize, f64) {
    let longest = fits.iter().map(|fit| fit.validation_loss.len()).max().unwrap_or(0);
    let at = |fit: &Boosted, i: usize| fit.validation_loss[i.min(fit.validation_loss.len() - 1)];
    let mean = |i: usize| fits.iter().map(|fit| at(fit, i)).sum::<f64>() / fits.len() as f64;
    (0..longest).map(|i| (i + 1, mean(i))).min_by(|a, b| a.1.total_cmp(&b.1)).unwrap_or((0, f64::INFINITY))
}

fn margin_loss(margins: &[f64], labels: &[f64]) -> f64 {
    log_loss(&margins.iter().map(|&m| sigmoid(m)).collect::<Vec<_>>(), labels)
}

/// The share of `trees` in the blend with the least log loss; 0 or 1 when a blend does not help.
fn blend_weight(trees: &[f64], linear: &[f64], labels: &[f64]) -> f64 {
    let loss = |weight: f64| {
        let blended: Vec<f64> = trees.iter().zip(linear).map(|(t, l)| weight * t + (1.0 - weight) * l).collect();
        margin_loss(&blended, labels)
    };
    let losses: Vec<(f64, f64)> =
        (0..=BLEND_STEPS).map(|i| f64::from(i) / f64::from(BLEND_STEPS)).map(|weight| (weight, loss(weight))).collect();
    let (only_linear, only_trees) = (losses[0], losses[losses.len() - 1]);
    let alone = if only_trees.1 <= only_linear.1 { only_trees } else { only_linear };
    let best = losses.into_iter().min_by(|a, b| a.1.total_cmp(&b.1)).unwrap_or(alone);
    if best.1 < alone.1 * (1.0 - BLEND_GAIN) { best.0 } else { alone.0 }
}

impl Selection {
    /// Fits what was chosen on all rows of `matrix`.
    ///
    /// # Errors
    /// An error of the tree learner, or [`LearningError::Aborted`].
    pub fn refit(
        &self,
        matrix: &Matrix,
        kinds: &[ColumnKind],
        labels: &[f64],
        seed: u64,
        progress: &Progress<'_>,
    ) -> Result<(Option<Ensemble>, Option<Logistic>), LearningError> {
        report(progress, Stage::Fitting, 0, 2)?;
        let fit = || self.trees.map(|parameters| fit_trees(&parameters, seed, matrix, labels, None)).transpose();
        let (trees, linear) = rayon::join(fit, || self.lambda.and_then(|lambda| Logistic::fit(matrix, kinds, labels, lambda)));
        report(progress, Stage::Fitting, 2, 2)?;
        Ok((trees?.map(|boosted| boosted.ensemble), linear))
    }
}
