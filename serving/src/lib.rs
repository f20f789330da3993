//! Answers a prediction: which model, which values, what score, and why.
//!
//! One transaction reads consent, the production model and the record's current state as of one moment; the model itself is
//! kept in memory by the digest of its bytes, so that a promotion is seen by the very next prediction and costs one load.
//! The synchronous call of the API and the step of the asynchronous saga go through the same [`Predictor`], and training
//! encodes by the same [`leadline_learning::Artifact`].
//!
//! Consent: a prediction is a use of a trained model, so it needs `allowTraining` as of now. A tenant that withdraws it gets
//! no more predictions, also from models that were trained while it was given. Whether an answer may be kept, or written
//! back, is for the caller to check.

mod answer;
mod error;
mod models;
mod predictor;
mod question;

pub use answer::{Answer, AnsweredBy, Reason};
pub use error::ServingError;
pub use predictor::{Predictor, ServingConfig, require_consent};
pub use question::Question;
