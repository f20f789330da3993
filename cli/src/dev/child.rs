//! One child of the supervisor: started, watched, restarted with backoff when it dies, stopped when it is told to.

use std::{
    ffi::OsString,
    fs::{File, OpenOptions},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill, killpg},
    unistd::Pid,
};
use tokio::{
    process::{Child, ChildStdin, Command},
    sync::watch,
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

use crate::{
    error::{CliError, Result},
    settings::BuildArgs,
    shutdown::SUPERVISED,
};

/// A part of the stack as a process of its own: the same binary, with another verb.
#[derive(Debug, Clone)]
pub struct Part {
    pub name: &'static str,
    pub arguments: Vec<OsString>,
    /// Settings and credentials go by the environment, because everybody on the machine can read a command line.
    pub environment: Vec<(&'static str, String)>,
    pub log: PathBuf,
}

/// How fast a dying child is restarted, and how long a stopping one may take.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    pub first_backoff: Duration,
    pub longest_backoff: Duration,
    /// A child that lived this long starts over with the first backoff.
    pub stable_after: Duration,
    /// Deaths in a row after which a child that never got ready is given up.
    pub deaths_while_starting: u32,
    /// Time between SIGTERM and SIGKILL.
    pub stop: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            first_backoff: Duration::from_millis(250),
            longest_backoff: Duration::from_secs(10),
            stable_after: Duration::from_secs(30),
            deaths_while_starting: 3,
            stop: Duration::from_secs(8),
        }
    }
}

/// A running child, and the end of its standard input whose loss tells it that it is an orphan.
///
/// The end is held apart from the child, because waiting for a child closes the input that it still has.
struct Process {
    child: Child,
    /// The group that the child leads.
    group: Option<Pid>,
    _lifeline: Option<ChildStdin>,
}

impl Process {
    /// Ends what the child itself has started and can no longer end: a guard that was killed leaves its program behind.
    fn end_group(&self) {
        if let Some(group) = self.group {
            // Normally the group went with the child, and nobody is there to be signalled.
            let _ = killpg(group, Signal::SIGKILL);
        }
    }
}

/// What became of a child so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Deaths {
    pub in_a_row: u32,
    pub last: Option<ExitStatus>,
}

/// A child under watch.
#[derive(Debug)]
pub struct Supervised {
    pub part: Part,
    /// Length of the log when this run began: what stands before is of an earlier one.
    log_began: u64,
    /// Cancelled to stop the child.
    stop: CancellationToken,
    /// Cancelled once the child was ready: from then on its death is news.
    ready: CancellationToken,
    deaths: watch::Receiver<Deaths>,
    watcher: JoinHandle<()>,
}

impl Supervised {
    /// Starts the child and its watcher.
    ///
    /// # Errors
    /// When the log cannot be opened or the binary cannot be started.
    pub fn start(part: Part, patience: Patience) -> Result<Self> {
        let (stop, ready) = (CancellationToken::new(), CancellationToken::new());
        let (tell, deaths) = watch::channel(Deaths::default());
        let log_began = std::fs::metadata(&part.log).map_or(0, |log| log.len());
        let first = spawn(&part)?;
        let watch = Watch { part: part.clone(), patience, stop: stop.clone(), ready: ready.clone(), tell };
        let watcher = tokio::spawn(watch.over(first));
        Ok(Self { part, log_began, stop, ready, deaths, watcher })
    }

    /// Says that the child got ready.
    pub fn mark_ready(&self) {
        self.ready.cancel();
    }

    /// Waits until the child has died so often in a row that waiting for it is in vain.
    pub async fn given_up(&self, patience: Patience) -> CliError {
        let mut deaths = self.deaths.clone();
        match deaths.wait_for(|seen| seen.in_a_row >= patience.deaths_while_starting).await {
            Ok(seen) => died_while_starting(&self.part, *seen, self.log_began),
            // The watcher only ends once it is told to stop, and whoever tells it no longer waits here.
            Err(_) => std::future::pending().await,
        }
    }

    /// Stops the child: SIGTERM, and SIGKILL when it takes too long.
    pub async fn stop(self) {
        self.stop.cancel();
        if let Err(error) = self.watcher.await {
            tracing::error!(part = self.part.name, %error, "the watcher of a child failed");
        }
    }
}

fn died_while_starting(part: &Part, seen: Deaths, began: u64) -> CliError {
    let status = seen.last.map_or_else(|| "unknown status".to_owned(), |status| status.to_string());
    let mut problem = format!("{} does not start ({status})", part.name);
    if let Some(line) = last_line(&part.log, began) {
        problem = format!("{problem}: {}", line.trim_start_matches("leadline: "));
    }
    CliError::environment(problem, format!("the whole story is in {}", part.log.display()))
}

/// The last line of a log, after its first `began` bytes, that says something.
fn last_line(log: &Path, began: u64) -> Option<String> {
    let text = std::fs::read(log).ok()?;
    let of_this_run = text.get(usize::try_from(began).ok()?..)?;
    let tail = &of_this_run[of_this_run.len().saturating_sub(16 * 1024)..];
    let tail = String::from_utf8_lossy(tail);
    tail.lines().rev().map(str::trim).find(|line| !line.is_empty()).map(|line| line.chars().take(400).collect())
}

fn open_log(log: &Path) -> std::io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(0o600).open(log)
}

fn spawn(part: &Part) -> Result<Process> {
    let attempt = || -> std::io::Result<Process> {
        let log = open_log(&part.log)?;
        let inherited_temporal = std::env::vars_os().map(|(name, _)| name).filter(|name| {
            // Settings of another server, such as its TLS, must not mix with those of this one.
            name.to_string_lossy().starts_with("TEMPORAL_")
        });
        let mut command = Command::new(std::env::current_exe()?);
        for name in inherited_temporal {
            command.env_remove(name);
        }
        // Here a rebuild takes over what runs: pinned to the build before it, a run would wait for workers that never come again.
        command.env_remove(BuildArgs::BUILD_ID);
        let mut child = command
            .args(&part.arguments)
            .envs(part.environment.iter().map(|(name, value)| (name, value)))
            .env(SUPERVISED, "1")
            .stdin(Stdio::piped())
            .stdout(log.try_clone()?)
            .stderr(log)
            // A group of its own: Ctrl-C in the terminal reaches the supervisor alone, which stops its children in order.
            .process_group(0)
            .spawn()?;
        let group = child.id().and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw);
        Ok(Process { _lifeline: child.stdin.take(), group, child })
    };
    attempt().map_err(|error| {
        CliError::environment(
            format!("cannot start {} (log {}): {error}", part.name, part.log.display()),
            "check that this binary and the state directory are still there",
        )
    })
}

/// What a watcher knows.
struct Watch {
    part: Part,
    patience: Patience,
    stop: CancellationToken,
    ready: CancellationToken,
    tell: watch::Sender<Deaths>,
}

impl Watch {
    /// Keeps the part running until it is to stop.
    async fn over(self, mut process: Process) {
        loop {
            let started = Instant::now();
            tokio::select! {
                status = process.child.wait() => {
                    process.end_group();
                    self.note_death(status.ok(), started.elapsed());
                }
                () = self.stop.cancelled() => return terminate(&self.part, process, self.patience.stop).await,
            }
            let Some(next) = self.restart().await else { return };
            process = next;
        }
    }

    fn note_death(&self, status: Option<ExitStatus>, lived: Duration) {
        self.tell.send_modify(|deaths| {
            deaths.in_a_row = if lived >= self.patience.stable_after { 1 } else { deaths.in_a_row + 1 };
            deaths.last = status;
        });
        // While the stack starts, whoever waits for the part says what is wrong with it, once.
        if self.ready.is_cancelled() {
            let status = status.map(tracing::field::display);
            tracing::warn!(part = self.part.name, status, "a part died and is restarted");
        }
    }

    /// Starts the part again after a pause; `None` when it is to stop.
    async fn restart(&self) -> Option<Process> {
        let mut pause = backoff(self.tell.borrow().in_a_row, self.patience);
        loop {
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.stop.cancelled() => return None,
            }
            match spawn(&self.part) {
                Ok(process) => return Some(process),
                Err(error) => tracing::error!(part = self.part.name, %error, "a part cannot be restarted"),
            }
            pause = self.patience.longest_backoff;
        }
    }
}

fn backoff(deaths_in_a_row: u32, patience: Patience) -> Duration {
    let doublings = deaths_in_a_row.saturating_sub(1).min(16);
    patience.first_backoff.saturating_mul(1 << doublings).min(patience.longest_backoff)
}

/// Asks a process to end, and ends it when it has not within `patience`.
async fn terminate(part: &Part, mut process: Process, patience: Duration) {
    signal(&process.child, Signal::SIGTERM);
    if tokio::time::timeout(patience, process.child.wait()).await.is_err() {
        tracing::warn!(part = part.name, "a part did not stop in time and is killed");
        if let Err(error) = process.child.kill().await {
            tracing::error!(part = part.name, %error, "a part cannot be killed");
        }
    }
    process.end_group();
}

/// Signals a child that has not been waited for; its id is therefore still its own.
pub fn signal(child: &Child, which: Signal) {
    if let Some(id) = child.id().and_then(|id| i32::try_from(id).ok())
        && let Err(error) = kill(Pid::from_raw(id), which)
    {
        tracing::debug!(%error, id, "a child could not be signalled");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn restarts_slow_down_to_a_limit() {
        let patience = Patience::default();
        assert_eq!(backoff(1, patience), Duration::from_millis(250));
        assert_eq!(backoff(3, patience), Duration::from_secs(1));
        assert_eq!(backoff(40, patience), patience.longest_backoff);
    }

    #[test]
    fn the_last_line_that_says_something_is_shown() {
        let root = tempfile::tempdir().unwrap();
        let log = root.path().join("a.log");
        std::fs::write(&log, "first\nport 1 is taken\n\n  \n").unwrap();
        assert_eq!(last_line(&log, 0).as_deref(), Some("port 1 is taken"));
        assert_eq!(last_line(&log, std::fs::metadata(&log).unwrap().len()), None, "of an earlier run");
        assert_eq!(last_line(&root.path().join("absent"), 0), None);
    }
}
