//! What the API counts. Labels have few values by construction (rpcs, two transports, the closed list of codes), and none names
//! a tenant.

use std::time::Duration;

use metrics::{counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};

const REQUESTS: &str = "leadline_api_request_duration_seconds";
const STARTS: &str = "leadline_workflow_starts_total";
const START_FAILURES: &str = "leadline_workflow_start_failures_total";
const STARTS_IN_LINE: &str = "leadline_workflow_starts_in_line";
const SWEEP_FAILURES: &str = "leadline_sweep_failures_total";

/// Starts the page, with the counters that shall stand there before they first count.
pub fn install() {
    leadline_telemetry::metrics::install();
    describe_histogram!(REQUESTS, "Time from the request's head to its answer.");
    describe_counter!(STARTS, "Workflows started, or found started.");
    describe_counter!(START_FAILURES, "Starts that Temporal did not take.");
    describe_counter!(SWEEP_FAILURES, "Sweeps that could not read the operations to start.");
    describe_gauge!(STARTS_IN_LINE, "Accepted operations that this process starts when it is their turn.");
    gauge!(STARTS_IN_LINE).set(0);
    [STARTS, START_FAILURES, SWEEP_FAILURES].into_iter().for_each(|name| counter!(name).increment(0));
}

/// Counts one answered request.
pub fn observe(rpc: &str, transport: &'static str, code: &str, took: Duration) {
    histogram!(REQUESTS, "rpc" => rpc.to_owned(), "transport" => transport, "code" => code.to_owned()).record(took);
}

pub fn count_start() {
    counter!(STARTS).increment(1);
}

pub fn count_start_failure() {
    counter!(START_FAILURES).increment(1);
}

pub fn joined_line() {
    gauge!(STARTS_IN_LINE).increment(1);
}

pub fn left_line() {
    gauge!(STARTS_IN_LINE).decrement(1);
}

pub fn count_sweep_failure() {
    counter!(SWEEP_FAILURES).increment(1);
}
