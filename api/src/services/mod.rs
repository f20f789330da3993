//! The services of `leadline.v1`, one file each. REST reaches the same methods through the transcoder.

mod drills;
mod exports;
mod models;
mod moving;
mod operations;
mod parking;
mod predictions;
mod tenants;
mod training;

use std::{sync::Arc, time::Duration};

use leadline_domain::{Code, Failure};
use leadline_proto::v1;
use leadline_secrets::Keyring;
use leadline_serving::Predictor;
use leadline_store::{Store, operations::Operation};
use leadline_worker::deployment::Version;
use tonic::{Response, Status};

use crate::{failures, layers::observation::note_operation, shapes, starter::Starter};

/// What every service stands on.
#[derive(Clone)]
pub struct Facade {
    pub store: Store,
    pub keyring: Arc<Keyring>,
    pub predictor: Arc<Predictor>,
    pub starter: Starter,
    pub claim_lifetime: Duration,
    pub daily_api_calls: i64,
    /// The build that this API is of.
    pub version: Option<Version>,
}

/// An answer, or the status of its failure.
fn answer<T>(outcome: Result<T, Failure>) -> Result<Response<T>, Status> {
    outcome.map(Response::new).map_err(|failure| failures::status(&failure))
}

/// The answer of a call that started, or meant, an operation: over REST with where to read it.
fn started(outcome: Result<Operation, Failure>) -> Result<Response<v1::Operation>, Status> {
    let row = outcome.map_err(|failure| failures::status(&failure))?;
    note_operation(row.id.as_str());
    let location = format!("/v1/operations/{}", row.id).parse().expect("ids are ASCII");
    let mut response = Response::new(shapes::operation(row));
    response.metadata_mut().insert("location", location);
    Ok(response)
}

fn invalid(message: impl Into<String>) -> Failure {
    Failure::new(Code::InvalidArgument, message)
}

/// Text that is only compared with what is stored. PostgreSQL takes every character but NUL.
///
/// # Errors
/// [`Code::InvalidArgument`] that names `what`.
fn storable(text: &str, what: &str) -> Result<(), Failure> {
    if text.contains('\0') { Err(invalid(format!("{what} holds a NUL character"))) } else { Ok(()) }
}

/// An API name as Salesforce forms them: a letter, then letters, digits and underscores, at most 80 characters.
///
/// # Errors
/// [`Code::InvalidArgument`] that names `what`.
fn api_name(text: &str, what: &str) -> Result<(), Failure> {
    let rest = text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    if text.len() <= 80 && text.starts_with(|c: char| c.is_ascii_alphabetic()) && rest {
        Ok(())
    } else {
        Err(invalid(format!("{what} is not an API name: a letter, then letters, digits and _, 80 at most")))
    }
}

/// # Errors
/// [`Code::InvalidArgument`] when a text is longer than `most` characters or holds control characters other than line ends.
fn short_text(text: &str, most: usize, what: &str) -> Result<(), Failure> {
    let plain = text.chars().all(|c| !c.is_control() || matches!(c, '\n' | '\r' | '\t'));
    if text.chars().count() <= most && plain {
        Ok(())
    } else {
        Err(invalid(format!("{what} has at most {most} printable characters")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_api_name_keeps_to_its_alphabet() {
        assert!(api_name("Lead", "object").is_ok());
        assert!(api_name("My_Object__c", "object").is_ok());
        for wrong in ["", "1Lead", "Lead; DROP", "a.b", &"x".repeat(81)] {
            assert_eq!(api_name(wrong, "object").unwrap_err().code, Code::InvalidArgument, "{wrong}");
        }
    }
}
