//! How a helper process of the suites learns what to do.

use std::io::BufRead as _;

use serde::de::DeserializeOwned;

/// What stands on the first line of standard input. When that input ends, so does this process: whoever started it is gone.
///
/// # Panics
/// When there is no such line.
pub fn first_line<S: DeserializeOwned>() -> S {
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line).expect("a spec on the first line");
    std::thread::spawn(|| {
        std::io::stdin().lock().lines().for_each(drop);
        std::process::exit(0);
    });
    serde_json::from_str(&line).expect("a spec")
}
