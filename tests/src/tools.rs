//! Programs and data that a suite needs. What is missing fails the test with a line that says what to do; nothing is skipped.

use std::{
    env,
    path::{Path, PathBuf},
};

/// The `leadline` binary under test: `LEADLINE_BIN`, or the one beside the test binaries.
pub fn leadline() -> PathBuf {
    named("LEADLINE_BIN", || {
        let tests = env::current_exe().expect("a running test has a path");
        tests.parent().and_then(Path::parent).expect("test binaries lie two levels down").join("leadline")
    })
}

/// Temporal's CLI, which is also its server: `LEADLINE_TEMPORAL_BIN`, or the one that `make setup` built.
pub fn temporal() -> PathBuf {
    named("LEADLINE_TEMPORAL_BIN", || repository().join("temporal-dev/bin/temporal"))
}

/// A program or folder that `tests/tools/install.sh` put beside the third-party clients.
///
/// # Panics
/// When it is not there.
pub fn client(path: &str) -> PathBuf {
    let cache = || {
        let base = env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
        let home = || PathBuf::from(env::var_os("HOME").expect("HOME is set")).join(".cache");
        base.unwrap_or_else(home).join("leadline/tools")
    };
    let path = env::var_os("LEADLINE_TOOLS").map_or_else(cache, PathBuf::from).join("clients").join(path);
    assert!(path.exists(), "{} is missing: run tests/tools/install.sh, which `make test` does by itself", path.display());
    path
}

/// A file of the shared data sets, by its path below `shared/data`.
///
/// # Panics
/// When it is not there.
pub fn data(path: &str) -> PathBuf {
    let file = repository().join("../shared/data").join(path);
    assert!(file.is_file(), "{path} is missing: the real data sets have to lie in ../shared/data beside the repository");
    file
}

/// An HTTP client; building one needs the process's TLS provider.
pub fn http() -> reqwest::Client {
    leadline_salesforce::tls::install_default_provider();
    reqwest::Client::new()
}

pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().expect("the tests run from their repository")
}

fn named(variable: &str, default: impl FnOnce() -> PathBuf) -> PathBuf {
    let path = env::var_os(variable).map_or_else(default, PathBuf::from);
    assert!(path.is_file(), "{} is missing: run `make test`, or `make build`, or set {variable}", path.display());
    path
}
