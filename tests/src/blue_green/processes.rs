//! Workers and operator's verbs as processes of their own.

use std::{
    io::Write as _,
    path::PathBuf,
    process::{Child, Command, ExitStatus, Stdio},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use super::changed::Spec;
use crate::{dev_stack::DevStack, tools};

/// A worker. It is killed when this is dropped.
pub struct Worker(Child);

impl Worker {
    /// `leadline worker`, as it is deployed.
    ///
    /// # Panics
    /// When it does not start.
    pub fn of_product(stack: &DevStack, build_id: Option<&str>) -> Self {
        let mut command = leadline(stack);
        command.args(["worker", "--listen", "127.0.0.1:0"]).envs(build_id.map(|id| ("LEADLINE_BUILD_ID", id)));
        let child = command.env("LEADLINE_SUPERVISED", "1").stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        Self(child.spawn().expect("the leadline binary starts"))
    }

    /// A worker of the changed build.
    ///
    /// # Panics
    /// When it does not start.
    pub fn of_changed(stack: &DevStack, build_id: Option<&str>) -> Self {
        let mut child =
            Command::new(program()).arg("changed-worker").stdin(Stdio::piped()).spawn().expect("cargo builds it with the tests");
        let mut input = child.stdin.take().expect("a pipe");
        let spec = serde_json::to_string(&Spec::of(stack, build_id)).expect("plain data");
        writeln!(input, "{spec}").expect("the process reads");
        child.stdin = Some(input);
        Self(child)
    }

    /// Asks it to stop, as whatever runs it does, and waits until it has drained.
    ///
    /// # Panics
    /// When it is not ours.
    pub fn stop(mut self) -> ExitStatus {
        let process = Pid::from_raw(i32::try_from(self.0.id()).expect("process ids fit"));
        kill(process, Signal::SIGTERM).expect("it is ours to signal");
        self.0.wait().expect("it is ours")
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What a verb answered.
#[derive(Debug)]
pub struct Said {
    pub code: i32,
    pub out: String,
    /// Shown with a violation.
    pub err: String,
}

/// Runs an operator's verb against the stack.
///
/// # Panics
/// When it does not end by itself.
pub async fn verb(stack: &DevStack, arguments: &[&str]) -> Said {
    let mut command = leadline(stack);
    command.args(arguments).stdin(Stdio::null());
    let output = tokio::task::spawn_blocking(move || command.output().expect("the leadline binary starts")).await;
    let output = output.expect("a thread for it");
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).trim().to_owned();
    Said { code: output.status.code().expect("it ends by itself"), out: text(output.stdout), err: text(output.stderr) }
}

fn leadline(stack: &DevStack) -> Command {
    let mut command = Command::new(tools::leadline());
    command.env("LEADLINE_STATE_DIR", stack.state_dir()).env_remove("LEADLINE_BUILD_ID").env_remove("TEMPORAL_ADDRESS");
    command
}

/// `blue-green` itself, or beside the test binaries.
fn program() -> PathBuf {
    let this = std::env::current_exe().expect("a running program has a path");
    if this.file_name().is_some_and(|name| name == "blue-green") {
        return this;
    }
    this.parent().and_then(std::path::Path::parent).expect("test binaries lie two levels down").join("blue-green")
}
