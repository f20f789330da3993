//! The life signs of a running body: when it last got on, how far it is, and whether it has been asked to stop.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use leadline_store::operations::Progress;
use tokio::sync::watch;

pub(crate) struct Pulse {
    seen: Mutex<Seen>,
    stop: watch::Sender<bool>,
}

struct Seen {
    at: Instant,
    progress: Option<Progress>,
}

impl Pulse {
    pub(crate) fn new() -> Self {
        Self { seen: Mutex::new(Seen { at: Instant::now(), progress: None }), stop: watch::Sender::new(false) }
    }

    /// The body got on.
    pub(crate) fn beat(&self, progress: Option<Progress>) {
        let mut seen = self.lock();
        seen.at = Instant::now();
        if progress.is_some() {
            seen.progress = progress;
        }
    }

    pub(crate) fn progress(&self) -> Option<Progress> {
        self.lock().progress.clone()
    }

    /// Whether the body got on within `window`. One that hangs must not be kept alive by its heartbeat.
    pub(crate) fn is_fresh(&self, window: Duration) -> bool {
        self.lock().at.elapsed() < window
    }

    pub(crate) fn ask_to_stop(&self) {
        self.stop.send_replace(true);
    }

    pub(crate) fn stop_asked(&self) -> bool {
        *self.stop.borrow()
    }

    /// Resolves once the body is asked to stop.
    pub(crate) async fn stop(&self) {
        let mut asked = self.stop.subscribe();
        // An error would mean that the sender is gone, and it lives as long as `self`.
        let _ = asked.wait_for(|asked| *asked).await;
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_that_no_longer_gets_on_is_not_fresh_and_keeps_its_last_progress() {
        let pulse = Pulse::new();
        let progress = Progress { unit: "rows".to_owned(), done: 7, total: None };
        pulse.beat(Some(progress.clone()));
        pulse.beat(None);
        assert!(pulse.is_fresh(Duration::from_secs(60)));
        assert!(!pulse.is_fresh(Duration::ZERO));
        assert_eq!(pulse.progress(), Some(progress));
    }

    #[tokio::test]
    async fn whoever_waits_for_a_stop_hears_of_one_that_was_asked_before() {
        let pulse = Pulse::new();
        assert!(!pulse.stop_asked());
        pulse.ask_to_stop();
        pulse.stop().await;
        assert!(pulse.stop_asked());
    }
}
