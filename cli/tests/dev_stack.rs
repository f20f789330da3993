//! `leadline dev` as a user has it: the real binary, with every part, on free ports and in a directory of its own.

use std::{
    io::{BufRead as _, BufReader},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;

/// Far longer than anything takes here; only a hang reaches it.
const LIMIT: Duration = Duration::from_secs(120);

/// One stack starts at a time: a free port is chosen before its part listens on it, and two stacks may choose the same.
static STARTING: Mutex<()> = Mutex::new(());

struct Dev {
    child: Child,
    state: PathBuf,
}

fn temporal() -> PathBuf {
    let built = Path::new(env!("CARGO_MANIFEST_DIR")).join("../temporal-dev/bin/temporal");
    let named = std::env::var_os("LEADLINE_TEMPORAL_BIN").map_or(built, PathBuf::from);
    assert!(named.is_file(), "there is no Temporal server at {}: run `make setup`", named.display());
    named
}

fn leadline(state: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_leadline"));
    command.args(arguments).arg("--state-dir").arg(state);
    for name in ["LEADLINE_URL", "LEADLINE_KEY", "LEADLINE_FREE_PORTS", "LEADLINE_STATE_DIR", "RUST_LOG"] {
        command.env_remove(name);
    }
    command
}

/// Under root, PostgreSQL runs as another user, who must be able to pass through.
fn passable_directory() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o711)).unwrap();
    directory
}

fn output(state: &Path, arguments: &[&str]) -> Output {
    leadline(state, arguments).stdin(Stdio::null()).output().unwrap()
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

impl Dev {
    /// Starts a stack and waits for its table.
    fn start(state: &Path) -> Self {
        let temporal = temporal();
        let _alone = STARTING.lock().unwrap_or_else(PoisonError::into_inner);
        let mut child =
            leadline(state, &["dev", "--free-ports", "--records", "500", "--temporal-bin", temporal.to_str().unwrap()])
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .spawn()
                .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let shown: Vec<String> = lines.map_while(Result::ok).take_while(|line| !line.starts_with("Ctrl-C")).collect();
        assert!(shown.iter().any(|line| line.contains("Temporal UI")), "no table was shown: {shown:?}");
        Self { child, state: state.to_owned() }
    }

    fn file(&self) -> Value {
        serde_json::from_slice(&std::fs::read(self.state.join("dev.json")).unwrap()).unwrap()
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id().try_into().unwrap()), signal).unwrap();
    }

    /// The process ids of the parts, by their verb.
    fn part(&self, verb: &str) -> Option<Pid> {
        children(self.child.id()).into_iter().find(|pid| command_line(*pid).get(1).is_some_and(|word| word == verb))
    }

    fn doctor_is_content(&self) -> bool {
        output(&self.state, &["doctor"]).status.success()
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        // After a failed assertion the parts must not outlive the test; they follow their parent.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn children(parent: u32) -> Vec<Pid> {
    let tasks = std::fs::read_dir(format!("/proc/{parent}/task")).into_iter().flatten().flatten();
    let lists = tasks.filter_map(|task| std::fs::read_to_string(task.path().join("children")).ok());
    lists
        .flat_map(|list| list.split_whitespace().filter_map(|id| id.parse().ok()).map(Pid::from_raw).collect::<Vec<_>>())
        .collect()
}

/// A process with all that came from it.
fn tree(root: u32) -> Vec<Pid> {
    let mut found = children(root);
    let mut next = 0;
    while let Some(pid) = found.get(next).copied() {
        found.extend(children(pid.as_raw().cast_unsigned()));
        next += 1;
    }
    found
}

fn command_line(pid: Pid) -> Vec<String> {
    let line = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    line.split('\0').map(str::to_owned).collect()
}

/// Whether the process runs; one that ended and was not yet waited for does not.
fn runs(pid: Pid) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().next()).is_some_and(|state| state != "Z")
}

fn eventually(what: &str, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + LIMIT;
    while !holds() {
        assert!(Instant::now() < deadline, "{what}: not within {LIMIT:?}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_stack_starts_whole_heals_and_leaves_nothing_running() {
    let root = passable_directory();
    let state = root.path().join("state");
    let mut dev = Dev::start(&state);
    let ports = dev.file();
    assert!(dev.doctor_is_content(), "{}", said(&output(&state, &["doctor"])));

    let second = output(&state, &["dev", "--free-ports"]);
    assert_eq!(second.status.code(), Some(1));
    assert!(said(&second).contains("another leadline"), "{}", said(&second));

    // Every part is killed once and comes back, PostgreSQL and the worker included.
    for verb in ["worker", "api", "postgres", "object-store", "simulator", "guard"] {
        let before = dev.part(verb).unwrap_or_else(|| panic!("{verb} does not run"));
        let with_it = tree(before.as_raw().cast_unsigned());
        kill(before, Signal::SIGKILL).unwrap();
        eventually(&format!("{verb} comes back"), || dev.part(verb).is_some_and(|now| now != before));
        eventually(&format!("what {verb} had started is gone"), || !with_it.iter().any(|pid| runs(*pid)));
    }
    eventually("the stack is whole again", || dev.doctor_is_content());

    // Killed without a chance to say so, the supervisor takes everything with it.
    let all = tree(dev.child.id());
    assert!(all.len() >= 8, "six parts, PostgreSQL and Temporal: {all:?}");
    dev.signal(Signal::SIGKILL);
    dev.child.wait().unwrap();
    eventually("no orphan is left", || !all.iter().any(|pid| runs(*pid)));

    // The same state goes on at the same places, and SIGTERM ends it cleanly.
    let mut again = Dev::start(&state);
    assert_eq!(again.file()["api_url"], ports["api_url"]);
    assert_eq!(again.file()["simulator"], ports["simulator"]);
    assert!(again.doctor_is_content());
    let all = tree(again.child.id());
    again.signal(Signal::SIGTERM);
    assert!(again.child.wait().unwrap().success());
    assert!(!all.iter().any(|pid| runs(*pid)), "a clean stop waits for its parts");
    assert!(!state.join("dev.json").exists());
}

#[test]
fn what_is_missing_or_taken_is_said_in_one_line_with_what_to_do() {
    let root = passable_directory();
    let state = root.path().join("state");
    let blocker = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = blocker.local_addr().unwrap().port().to_string();
    let temporal = temporal();
    let temporal = temporal.to_str().unwrap();
    for (arguments, expected) in [
        (vec!["dev", "--free-ports", "--api-port", &port, "--temporal-bin", temporal], "--api-port"),
        (vec!["dev", "--free-ports", "--temporal-bin", "no/such/temporal"], "--temporal-bin"),
        (vec!["dev", "--free-ports", "--temporal-bin", temporal, "--load", "Lead=no/such/file.csv"], "--load"),
        (vec!["export", "list", "demo"], "leadline dev"),
    ] {
        let refused = output(&state, &arguments);
        let said = said(&refused);
        assert_eq!(refused.status.code(), Some(1), "{arguments:?}: {said}");
        assert_eq!(said.trim().lines().count(), 1, "{arguments:?}: {said}");
        assert!(said.contains(expected), "{arguments:?}: {said}");
    }
}

#[test]
fn a_broken_cluster_is_named_with_its_log_and_nothing_is_left_running() {
    let root = passable_directory();
    let state = root.path().join("state");
    let dev = Dev::start(&state);
    let version = state.join("postgres/data/PG_VERSION");
    drop(dev);
    eventually("the cluster is let go", || !version.with_file_name("postmaster.pid").exists());
    std::fs::write(&version, "7\n").unwrap();
    let temporal = temporal();
    let refused = output(&state, &["dev", "--free-ports", "--temporal-bin", temporal.to_str().unwrap()]);
    let said = said(&refused);
    assert_eq!(refused.status.code(), Some(1), "{said}");
    assert_eq!(said.trim().lines().count(), 1, "{said}");
    assert!(said.starts_with("leadline: postgres does not start") && said.contains("move the directory away"), "{said}");
}
