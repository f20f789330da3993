//! stub
use crate::card::ModelCard;
pub fn card_html(_card: &ModelCard) -> String { String::new() }
