//! A trained model as bytes, and the one way to score with it.
//!
//! The artifact holds all that a prediction needs: encoder, learners, blend, calibrator, threshold, definition and the
//! reference distributions for drift. It is JSON, written in one order and with floats that read back exactly, so that its
//! SHA-256 is the identity of the model. Reading checks it: bytes from storage are input like any other.

use leadline_domain::value::ObjectSchema;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::calibration::Calibrator;
use crate::definition::PredictionDefinition;
use crate::encoder::{Encoder, FieldEncoder};
use crate::error::LearningError;
use crate::frame::Frame;
use crate::logistic::Logistic;
use crate::matrix::Matrix;
use crate::record::{Cell, Record};
use crate::reference::Reference;
use crate::trees::Ensemble;

/// The format that this build writes and reads.
pub const FORMAT_VERSION: u32 = 1;
/// Rows scored by one task.
const CHUNK_ROWS: usize = 1_024;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Artifact {
    pub format_version: u32,
    pub definition: PredictionDefinition,
    /// [`ObjectSchema::hash`] of the training data.
    pub schema_hash: String,
    pub seed: u64,
    /// Which part of the record ids was held out.
    pub holdout_part: u64,
    /// Share of positives in the training part.
    pub base_rate: f64,
    pub encoder: Encoder,
    pub trees: Option<Ensemble>,
    pub linear: Option<Logistic>,
    /// The raw score is this share of the trees' log-odds and the rest of the linear model's.
    pub tree_weight: f64,
    pub calibrator: Calibrator,
    /// Probability from which a record counts as positive.
    pub threshold: f64,
    pub reference: Reference,
}

/// The answer for one record.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Score {
    /// Log-odds before calibration: `bias` plus the contributions of all reasons.
    pub raw: f64,
    pub probability: f64,
    /// The raw score of the average training row.
    pub bias: f64,
    /// One for each field, strongest first.
    pub reasons: Vec<Reason>,
}

/// What one field did to the score.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Reason {
    /// API name.
    pub field: String,
    pub label: String,
    /// The field's value as a person reads it; of prose, of which the model sees the length only, the length, and of an
    /// identifier whether it is filled.
    pub value: String,
    /// Log-odds.
    pub contribution: f64,
    pub direction: Direction,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    Raises,
    Lowers,
    Neutral,
}

impl Direction {
    fn of(contribution: f64) -> Self {
        match contribution {
            c if c > 0.0 => Self::Raises,
            c if c < 0.0 => Self::Lowers,
            _ => Self::Neutral,
        }
    }
}

#[derive(Deserialize)]
struct Version {
    format_version: u32,
}

impl Artifact {
    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("the artifact has no map keys but strings")
    }

    /// # Errors
    /// [`LearningError::ArtifactVersion`] for another format, [`LearningError::ArtifactFormat`] for anything that is not an
    /// artifact or contradicts itself.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, LearningError> {
        let unreadable = |e: serde_json::Error| LearningError::ArtifactFormat {
            reason: format!("{:?} at line {} column {}", e.classify(), e.line(), e.column()),
        };
        let Version { format_version } = serde_json::from_slice(bytes).map_err(unreadable)?;
        if format_version != FORMAT_VERSION {
            return Err(LearningError::ArtifactVersion { found: format_version, supported: FORMAT_VERSION });
        }
        let artifact: Self = serde_json::from_slice(bytes).map_err(unreadable)?;
        artifact.check()?;
        Ok(artifact)
    }

    fn check(&self) -> Result<(), LearningError> {
        let wrong = |reason: &str| Err(LearningError::ArtifactFormat { reason: reason.to_owned() });
        let columns = self.encoder.width();
        if self.trees.is_none() && self.linear.is_none() {
            return wrong("it holds no model");
        }
        if !self.encoder.is_sound() {
            return wrong("the encoder's lists differ in length or are not sorted");
        }
        if self.trees.as_ref().is_some_and(|trees| !trees.fits(columns)) {
            return wrong("a tree reads a column that the encoder does not have");
        }
        if self.linear.as_ref().is_some_and(|linear| !linear.fits(columns)) {
            return wrong("a linear term does not fit the encoder's columns");
        }
        if !self.calibrator.is_sound() {
            return wrong("the calibrator is not a non-decreasing map to probabilities");
        }
        Ok(())
    }

    /// SHA-256, in hex, of [`Artifact::to_bytes`].
    pub fn digest(&self) -> String {
        hex::encode(Sha256::digest(self.to_bytes()))
    }

    /// Whether records of `schema` can be scored: every field that the model reads is there, of the same type.
    ///
    /// # Errors
    /// [`LearningError::SchemaMismatch`] for the first field that is not.
    pub fn check_schema(&self, schema: &ObjectSchema) -> Result<(), LearningError> {
        self.encoder.fields.iter().try_for_each(|f| f.column_in(schema).map(drop))
    }

    /// The names of the fields that the model reads.
    pub fn features(&self) -> impl Iterator<Item = &str> {
        self.encoder.fields.iter().map(|f| f.field.name.as_str())
    }

    /// Scores one record, with reasons.
    ///
    /// # Errors
    /// [`LearningError::TypeMismatch`] when a value is not of its field's type.
    pub fn score(&self, record: &Record) -> Result<Score, LearningError> {
        let row = self.encoder.encode(record)?;
        let raw = self.margin(&row);
        let mut contributions = vec![0.0; row.len()];
        self.add_contributions(&row, &mut contributions);
        let mut reasons = Vec::with_capacity(self.encoder.fields.len());
        let mut start = 0;
        for FieldEncoder { field, encoding } in &self.encoder.fields {
            let end = start + encoding.width();
            let contribution = contributions[start..end].iter().sum();
            let cell = Cell::from_value(&field.name, field.field_type, record.get(&field.name))?;
            reasons.push(Reason {
                field: field.name.clone(),
                label: field.label.clone(),
                value: encoding.display(cell),
                contribution,
                direction: Direction::of(contribution),
            });
            start = end;
        }
        reasons.sort_by(|a, b| b.contribution.abs().total_cmp(&a.contribution.abs()));
        Ok(Score { raw, probability: self.calibrator.probability(raw), bias: self.bias(), reasons })
    }

    /// The raw scores of rows of a frame, in their order: what [`Artifact::score`] gives for the same records.
    ///
    /// # Errors
    /// [`LearningError::SchemaMismatch`] when the frame lacks a field or has it as another type.
    pub fn margins(&self, frame: &Frame, rows: &[u32]) -> Result<Vec<f64>, LearningError> {
        let chunks = rows.par_chunks(CHUNK_ROWS).map(|rows| {
            let matrix = self.encoder.encode_frame(frame, rows)?;
            Ok(self.matrix_margins(&matrix))
        });
        Ok(chunks.collect::<Result<Vec<_>, LearningError>>()?.concat())
    }

    fn matrix_margins(&self, matrix: &Matrix) -> Vec<f64> {
        let mut row = vec![0.0; matrix.columns];
        (0..matrix.rows)
            .map(|i| {
                matrix.read_row(i, &mut row);
                self.margin(&row)
            })
            .collect()
    }

    fn margin(&self, row: &[f64]) -> f64 {
        let trees = self.trees.as_ref().map_or(0.0, |trees| self.tree_weight * trees.margin(row));
        let linear = self.linear.as_ref().map_or(0.0, |linear| (1.0 - self.tree_weight) * linear.margin(row));
        trees + linear
    }

    fn bias(&self) -> f64 {
        let trees = self.trees.as_ref().map_or(0.0, |trees| self.tree_weight * trees.expected());
        let linear = self.linear.as_ref().map_or(0.0, |linear| (1.0 - self.tree_weight) * linear.expected());
        trees + linear
    }

    /// Adds the contribution of each encoded column.
    fn add_contributions(&self, row: &[f64], contributions: &mut [f64]) {
        if let Some(trees) = &self.trees {
            trees.add_contributions(row, self.tree_weight, contributions);
        }
        if let Some(linear) = &self.linear {
            linear.add_contributions(row, 1.0 - self.tree_weight, contributions);
        }
    }

    /// The mean absolute contribution of each field over the rows of `matrix`.
    pub(crate) fn importances(&self, matrix: &Matrix) -> Vec<f64> {
        let owners = self.encoder.owners();
        let chunk = |first: usize| {
            let mut sums = vec![0.0; self.encoder.fields.len()];
            let (mut row, mut columns) = (vec![0.0; matrix.columns], vec![0.0; matrix.columns]);
            for i in first..(first + CHUNK_ROWS).min(matrix.rows) {
                matrix.read_row(i, &mut row);
                columns.fill(0.0);
                self.add_contributions(&row, &mut columns);
                let mut fields = vec![0.0; sums.len()];
                owners.iter().zip(&columns).for_each(|(&field, c)| fields[field] += c);
                sums.iter_mut().zip(fields).for_each(|(sum, c): (&mut f64, f64)| *sum += c.abs());
            }
            sums
        };
        // The chunks are of fixed size and summed in order, so that threads cannot change the sum.
        let starts: Vec<usize> = (0..matrix.rows).step_by(CHUNK_ROWS).collect();
        let sums: Vec<Vec<f64>> = starts.into_par_iter().map(chunk).collect();
        let total = |field: usize| sums.iter().map(|chunk| chunk[field]).sum::<f64>();
        (0..self.encoder.fields.len()).map(|field| total(field) / matrix.rows.max(1) as f64).collect()
    }
}
