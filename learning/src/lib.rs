//! Learning, as pure compute: a frame of records goes in, a model with its card comes out, and a record gets a score with
//! reasons.
//!
//! No I/O, no clock, no environment, no async, so that the same data, definition and seed give the same bytes anywhere and
//! on any number of threads. Callers read and store bytes, watch the clock and report progress.
//!
//! ```text
//! Value rows -> Frame -> Population (training, hold-out) -> leak checks -> fields
//!     -> search (cross-validated) -> calibrator, threshold -> Artifact -> evaluation -> gates -> ModelCard
//! Record -> Artifact::score -> probability and reasons
//! ```

pub mod artifact;
pub mod calibration;
pub mod card;
pub mod card_html;
pub mod definition;
pub mod encoder;
pub mod error;
pub mod evaluation;
pub mod features;
pub mod frame;
pub mod gates;
pub mod leaks;
pub mod logistic;
pub mod matrix;
pub mod metrics;
pub mod population;
pub mod progress;
pub mod record;
pub mod reference;
pub mod search;
pub mod temporal;
pub mod train;
pub mod trees;

pub use artifact::{Artifact, Direction, Reason, Score};
pub use card::ModelCard;
pub use card_html::card_html;
pub use definition::PredictionDefinition;
pub use error::LearningError;
pub use frame::{Frame, FrameBuilder};
pub use gates::{Gate, GateCode, GateReport};
pub use progress::{Progress, Stage, Step, silent};
pub use record::Record;
pub use search::Budget;
pub use train::{Trained, TrainingOptions, train};
