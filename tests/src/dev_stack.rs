//! One `leadline dev` with a state directory and ports of its own, stopped when the test lets go of it.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use leadline_domain::TenantId;
use leadline_lake::{Lake, LakeConfig, Prefix};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value as Json;
use tempfile::TempDir;
use tokio::sync::Mutex;

use crate::tools;

/// A cold start makes a database cluster and generates an org.
const READY_WITHIN: Duration = Duration::from_secs(120);
const STOP_WITHIN: Duration = Duration::from_secs(30);
const LISTED_WITHIN: Duration = Duration::from_secs(60);
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// One stack starts at a time: a free port is chosen before its part listens on it, and two that start together may choose the same.
static STARTING: Mutex<()> = Mutex::const_new(());

/// A running stack. It stops when this is dropped, and also when the test process dies.
pub struct DevStack {
    supervisor: Child,
    /// Gone once the stack is lost.
    state: Option<TempDir>,
    /// `dev.json`: where everything is reached.
    pub endpoints: Json,
}

impl DevStack {
    /// Starts a stack with these further arguments of `leadline dev`, and these settings of its parts in their environment, and
    /// waits until its API is ready.
    ///
    /// # Panics
    /// When the stack does not come up; with its output.
    pub async fn start(arguments: &[&str], settings: &[(&str, &str)]) -> Self {
        let state = tempfile::Builder::new().prefix("leadline-test-").tempdir().expect("a temporary directory");
        Self::start_in(state, arguments, settings).await
    }

    /// The same in a directory that holds the state of an earlier stack, in its `state`.
    ///
    /// # Panics
    /// As [`DevStack::start`].
    pub async fn start_in(state: TempDir, arguments: &[&str], settings: &[(&str, &str)]) -> Self {
        let alone = STARTING.lock().await;
        let log = fs::File::create(state.path().join("dev.out")).expect("a log file in the temporary directory");
        let supervisor = Command::new(tools::leadline())
            .args(["dev", "--free-ports", "--state-dir"])
            .arg(state.path().join("state"))
            .args(arguments)
            .envs(settings.iter().copied())
            // It then stops when its input ends, which the kernel sees to however the test process ends.
            .env("LEADLINE_SUPERVISED", "1")
            .env("LEADLINE_TEMPORAL_BIN", tools::temporal())
            .stdin(Stdio::piped())
            .stdout(log.try_clone().expect("a second handle of the log file"))
            .stderr(log)
            .spawn()
            .expect("the leadline binary starts");
        let mut stack = Self { supervisor, state: Some(state), endpoints: Json::Null };
        stack.endpoints = stack.ready().await;
        drop(alone);
        stack
    }

    async fn ready(&mut self) -> Json {
        let began = Instant::now();
        let http = tools::http();
        loop {
            if let Some(endpoints) = self.read_endpoints() {
                let live = format!("{}health/ready", endpoints["api_url"].as_str().expect("dev.json names the API"));
                if http.get(live).send().await.is_ok_and(|answer| answer.status().is_success()) {
                    return endpoints;
                }
            }
            let ended = self.supervisor.try_wait().expect("the supervisor is our child");
            assert!(ended.is_none(), "leadline dev ended early:\n{}", self.output());
            assert!(began.elapsed() < READY_WITHIN, "leadline dev is not ready:\n{}", self.output());
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    fn read_endpoints(&self) -> Option<Json> {
        serde_json::from_slice(&fs::read(self.state_dir().join("dev.json")).ok()?).ok()
    }

    pub fn state_dir(&self) -> PathBuf {
        self.directory().join("state")
    }

    /// What the supervisor printed.
    pub fn output(&self) -> String {
        fs::read_to_string(self.directory().join("dev.out")).unwrap_or_default()
    }

    fn directory(&self) -> &Path {
        self.state.as_ref().expect("a stack that runs has its directory").path()
    }

    /// Ends everything at once, as a machine that is lost does, and hands over what lay on its disk.
    ///
    /// # Panics
    /// When a part lives on.
    pub async fn lose(mut self) -> TempDir {
        let parts = children_of(i64::from(self.supervisor_pid().as_raw()));
        self.supervisor.kill().expect("the supervisor is ours to kill");
        self.supervisor.wait().expect("the supervisor is our child");
        let gone = async {
            while parts.iter().any(|pid| Path::new("/proc").join(pid.to_string()).exists()) {
                tokio::time::sleep(LOOK_AGAIN).await;
            }
        };
        tokio::time::timeout(STOP_WITHIN, gone).await.expect("every part ends with its supervisor");
        self.state.take().expect("a stack that runs has its directory")
    }

    /// An address of `dev.json`, by JSON pointer.
    ///
    /// # Panics
    /// When there is none.
    pub fn endpoint(&self, pointer: &str) -> String {
        let found = self.endpoints.pointer(pointer).and_then(Json::as_str);
        found.unwrap_or_else(|| panic!("dev.json has no {pointer}")).trim_end_matches('/').to_owned()
    }

    pub fn operator_key(&self) -> String {
        let path = self.endpoint("/operator_key_file");
        fs::read_to_string(&path).expect("the operator's key file is readable").trim().to_owned()
    }

    /// The process of a part; the supervisor starts a new one when it dies.
    pub fn process_of(&self, part: &str) -> Option<Pid> {
        let supervisor = self.endpoints["pid"].as_i64().expect("dev.json names the supervisor's process");
        children_of(supervisor)
            .into_iter()
            .find(|pid| command_line(*pid).get(1).is_some_and(|verb| verb == part))
            .map(|pid| Pid::from_raw(i32::try_from(pid).expect("process ids fit")))
    }

    /// Kills a part on the spot, as a crash would. The supervisor starts it again.
    pub fn kill(&self, part: &str) {
        self.signal(part, Signal::SIGKILL);
    }

    /// Kills a part and all that it has started, on the spot; `false` when it does not run.
    pub fn kill_tree(&self, part: &str) -> bool {
        let Some(root) = self.process_of(part) else { return false };
        let mut tree = vec![i64::from(root.as_raw())];
        let mut next = 0;
        while let Some(parent) = tree.get(next) {
            tree.extend(children_of(*parent));
            next += 1;
        }
        for pid in tree {
            // It may have ended with its parent.
            let _ = kill(Pid::from_raw(i32::try_from(pid).expect("process ids fit")), Signal::SIGKILL);
        }
        true
    }

    /// Kills a part, and keeps the supervisor from starting it again until [`DevStack::bring_back`].
    pub fn take_down(&self, part: &str) {
        kill(self.supervisor_pid(), Signal::SIGSTOP).expect("the supervisor is ours to signal");
        self.kill(part);
    }

    pub fn bring_back(&self) {
        kill(self.supervisor_pid(), Signal::SIGCONT).expect("the supervisor is ours to signal");
    }

    fn supervisor_pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.supervisor.id()).expect("process ids fit"))
    }

    /// Freezes a part: it keeps its connections and does nothing.
    pub fn pause(&self, part: &str) {
        self.signal(part, Signal::SIGSTOP);
    }

    pub fn resume(&self, part: &str) {
        self.signal(part, Signal::SIGCONT);
    }

    fn signal(&self, part: &str, signal: Signal) {
        let pid = self.process_of(part).unwrap_or_else(|| panic!("no {part} runs:\n{}", self.output()));
        kill(pid, signal).expect("the part is ours to signal");
    }

    /// The keys of every object that the tenant has in the bucket.
    pub async fn objects(&self, tenant: &str) -> Vec<String> {
        let tenant: TenantId = tenant.parse().expect("a tenant id");
        let objects = self.lake().list(&Prefix::tenant(&tenant)).await.expect("the object store lists");
        objects.into_iter().map(|object| object.key.as_str().to_owned()).collect()
    }

    pub fn lake(&self) -> Lake {
        let setting = |name: &str| self.endpoint(&format!("/object_store/{name}"));
        Lake::connect(&LakeConfig {
            endpoint: Some(setting("endpoint").parse().expect("the endpoint is a URL")),
            region: setting("region"),
            bucket: setting("bucket"),
            access_key: Some(setting("access_key")),
            secret_key: Some(setting("secret_key")),
            path_style: true,
        })
        .expect("the lake's settings are complete")
    }

    /// Runs Temporal's own CLI against the stack and returns what it printed.
    ///
    /// # Panics
    /// When it fails.
    pub fn temporal(&self, arguments: &[&str]) -> String {
        let output = Command::new(tools::temporal())
            .args(arguments)
            .args(["--address", &self.endpoint("/temporal_address")])
            .output()
            .expect("the Temporal CLI runs");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "temporal {arguments:?}: {text}{}", String::from_utf8_lossy(&output.stderr));
        text
    }
}

impl DevStack {
    /// Waits until Temporal lists the workflow under a visibility query, which follows with a delay.
    ///
    /// # Panics
    /// When it never does.
    pub fn until_listed(&self, query: &str, workflow: &str) {
        let began = Instant::now();
        while !self.temporal(&["workflow", "list", "--query", query, "--output", "json"]).contains(workflow) {
            assert!(began.elapsed() < LISTED_WITHIN, "{workflow} is never listed under {query}");
            std::thread::sleep(LOOK_AGAIN);
        }
    }

    /// Waits until the latest run of the workflow has this status.
    ///
    /// # Panics
    /// When it never has.
    pub fn until_latest_run(&self, workflow: &str, status: &str) {
        let began = Instant::now();
        let described = || self.temporal(&["workflow", "describe", "--workflow-id", workflow, "--output", "json"]);
        while !described().contains(status) {
            assert!(began.elapsed() < LISTED_WITHIN, "the latest run of {workflow} never is {status}: {}", described());
            std::thread::sleep(LOOK_AGAIN);
        }
    }

    /// Every run that Temporal lists: workflow id and status.
    pub fn runs(&self) -> Vec<(String, String)> {
        let listed = self.temporal(&["workflow", "list", "--limit", "100000", "--output", "json"]);
        let listed: Vec<Json> = serde_json::from_str(&listed).expect("a list is JSON");
        let text = |json: &Json| json.as_str().expect("a run has an id and a status").to_owned();
        listed.iter().map(|run| (text(&run["execution"]["workflowId"]), text(&run["status"]))).collect()
    }

    /// The ids of the events that completed a workflow task of the latest run: what it can be reset to.
    pub fn workflow_tasks(&self, workflow: &str) -> Vec<i64> {
        let shown = self.temporal(&["workflow", "show", "--workflow-id", workflow, "--output", "json"]);
        let history: Json = serde_json::from_str(&shown).expect("a history is JSON");
        let completed = |event: &Json| event["eventType"] == "EVENT_TYPE_WORKFLOW_TASK_COMPLETED";
        let events = history["events"].as_array().expect("a history has events").iter().filter(|event| completed(event));
        events.filter_map(|event| event["eventId"].as_str()?.parse().ok()).collect()
    }

    /// Makes a new run of one of the workflow's runs, as it was when it completed the workflow task of this event.
    pub fn reset(&self, workflow: &str, run: &str, event: i64) {
        let to = ["--workflow-id", workflow, "--run-id", run, "--event-id", &event.to_string(), "--reason", "the test suite"];
        self.temporal(&[&["workflow", "reset"], &to[..]].concat());
    }
}

impl Drop for DevStack {
    fn drop(&mut self) {
        if self.state.is_none() {
            return;
        }
        // It may have ended already, or be stopped.
        let _ = kill(self.supervisor_pid(), Signal::SIGTERM);
        let _ = kill(self.supervisor_pid(), Signal::SIGCONT);
        let began = Instant::now();
        while began.elapsed() < STOP_WITHIN {
            if matches!(self.supervisor.try_wait(), Ok(Some(_))) {
                return;
            }
            std::thread::sleep(LOOK_AGAIN);
        }
        let _ = self.supervisor.kill();
        let _ = self.supervisor.wait();
    }
}

/// Children hang on any thread of their parent, so every process is asked for its own parent.
fn children_of(parent: i64) -> Vec<i64> {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let ids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<i64>().ok());
    ids.filter(|pid| parent_of(*pid) == Some(parent)).collect()
}

fn parent_of(pid: i64) -> Option<i64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix("PPid:"))?.trim().parse().ok()
}

fn command_line(pid: i64) -> Vec<String> {
    let raw = fs::read(Path::new("/proc").join(pid.to_string()).join("cmdline")).unwrap_or_default();
    raw.split(|&b| b == 0).map(|part| String::from_utf8_lossy(part).into_owned()).collect()
}
