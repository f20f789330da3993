//! An operator who decides about whatever parks.

use std::time::Duration;

use rand::{RngExt as _, seq::IndexedRandom as _};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value as Json, json};

use super::caller::Caller;

const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Decides until it is aborted: by the dice about drills, and for another try about everything else.
pub async fn decide(caller: Caller, mut dice: ChaCha8Rng) {
    loop {
        if let Ok(parked) = caller.get("/v1/operations?state=PARKED&pageSize=200").await {
            for operation in parked["operations"].as_array().into_iter().flatten() {
                about(&caller, operation, &mut dice).await;
            }
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

async fn about(caller: &Caller, operation: &Json, dice: &mut ChaCha8Rng) {
    let parking = &operation["parking"];
    // Said already; the run has not taken it up yet.
    if parking["decided"] != "OPERATION_VERB_UNSPECIFIED" {
        return;
    }
    let allowed: Vec<&str> = parking["verbs"].as_array().into_iter().flatten().filter_map(Json::as_str).collect();
    let verb = match operation["kind"].as_str() {
        Some("RUN_DRILL") => allowed.choose(dice).copied().unwrap_or("RETRY"),
        _ => "RETRY",
    };
    let id = operation["operationId"].as_str().unwrap_or_default();
    let reason = if verb == "RETRY" { json!({}) } else { json!({ "reason": "the chaos run" }) };
    let key = format!("decide-{:016x}", dice.random::<u64>());
    // Somebody may have been quicker, such as a cancel.
    let _ = caller.post(&format!("/v1/operations/{id}:{}", verb.to_lowercase()), &key, &reason).await;
}
