//! How long a synchronous prediction takes: one caller, one request after the other, a record in current state, five reasons.
//!
//! `cargo bench -p leadline-api`. Within the server: from the decoded request to the answer. For the caller: over HTTP on
//! loopback, with authentication and JSON.

use std::time::{Duration, Instant};

use model::{RECORD, ready};
use serde_json::json;
use world::World;

#[allow(dead_code)]
#[path = "../tests/api/model.rs"]
mod model;
#[allow(dead_code)]
#[path = "../tests/api/world.rs"]
mod world;

const WARM_UP: usize = 500;
const REQUESTS: usize = 10_000;

#[tokio::main]
async fn main() {
    let world = World::with(|config| config.key_cache = Duration::from_secs(5)).await;
    let (tenant, caller, _) = ready(&world).await;
    let path = format!("/v1/tenants/{tenant}/predict");
    let (mut server, mut total) = (Vec::with_capacity(REQUESTS), Vec::with_capacity(REQUESTS));
    for request in 0..WARM_UP + REQUESTS {
        let begun = Instant::now();
        let answer = caller.post(&path, &json!({"recordId": RECORD})).await.expect(200);
        if request >= WARM_UP {
            total.push(begun.elapsed().as_micros() as u64);
            server.push(answer["serverMicros"].as_u64().expect("an answer says how long it took"));
        }
    }
    println!("| {REQUESTS} synchronous predictions | p50 | p90 | p99 | max |");
    println!("|---|---|---|---|---|");
    for (name, mut times) in [("within the server", server), ("for the caller", total)] {
        times.sort_unstable();
        let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize];
        println!("| {name} | {} µs | {} µs | {} µs | {} µs |", at(0.5), at(0.9), at(0.99), at(1.0));
    }
}
