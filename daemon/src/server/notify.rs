//! Telling the supervisor how it goes (`sd_notify(3)`), and proving to its watchdog that workers
//! can be had. Without a supervisor nothing happens, and nothing wakes up.
//!
//! What must never be in here: a ping that only shows that the loop turns. The ping follows a
//! [`proof`](crate::core::Action::Proven).

use sd_notify::NotifyState;
use std::time::{Duration, Instant};

/// Between two status lines at least.
const STATUS_PAUSE: Duration = Duration::from_secs(1);
/// How much longer a start may take after each sign of life of a loading template.
const EXTENSION: Duration = Duration::from_secs(90);

/// The supervisor, if there is one.
#[derive(Debug)]
pub(super) struct Supervisor {
    present: bool,
    /// That it cannot be reached was said.
    complained: bool,
    ready: bool,
    failed: usize,
    watchdog: Option<Watchdog>,
    told: String,
    told_at: Option<Instant>,
    /// A status line that waits for its pause to be over.
    waiting: bool,
}

/// The supervisor kills a daemon that says nothing for twice this period.
#[derive(Debug)]
struct Watchdog {
    period: Duration,
    next: Instant,
}

impl Supervisor {
    /// Whoever the environment names.
    pub(super) fn of_environment() -> Self {
        let now = Instant::now();
        let period = sd_notify::watchdog_enabled().map(|limit| limit / 2);
        let period = period.filter(|period| !period.is_zero());
        Self {
            present: std::env::var_os("NOTIFY_SOCKET").is_some(),
            complained: false,
            ready: false,
            failed: 0,
            watchdog: period.map(|period| Watchdog { period, next: now + period }),
            told: String::new(),
            told_at: None,
            waiting: false,
        }
    }

    /// Says something. A supervisor whose socket is gone is none any more: the daemon serves on.
    fn say(&mut self, states: &[NotifyState<'_>]) {
        if !self.present {
            return;
        }
        if let Err(error) = sd_notify::notify(states)
            && !std::mem::replace(&mut self.complained, true)
        {
            tracing::warn!(%error, "cannot tell the supervisor (NOTIFY_SOCKET)");
        }
    }

    /// A template that loads gave a sign of life: the start takes longer, but it goes on.
    pub(super) fn loading(&mut self) {
        if !self.ready {
            let more = u32::try_from(EXTENSION.as_micros()).unwrap_or(u32::MAX);
            self.say(&[NotifyState::ExtendTimeoutUsec(more)]);
        }
    }

    /// The service is ready; so many modules could not be preloaded.
    pub(super) fn ready(&mut self, failed: usize) {
        self.ready = true;
        self.failed = failed;
        self.say(&[NotifyState::Ready]);
    }

    /// Whether the service is ready, and how many modules could not be preloaded.
    pub(super) fn readiness(&self) -> Option<usize> {
        self.ready.then_some(self.failed)
    }

    /// Goes on where the image before was. A service that was ready is so again.
    pub(super) fn go_on(&mut self, readiness: Option<usize>) {
        if let Some(failed) = readiness {
            self.ready(failed);
        }
        // The last proof may be as old as the period.
        if let Some(watchdog) = &mut self.watchdog {
            watchdog.next = Instant::now();
        }
    }

    /// A reload begins.
    pub(super) fn reloading(&mut self) {
        match NotifyState::monotonic_usec_now() {
            Ok(now) => self.say(&[NotifyState::Reloading, now]),
            Err(_) => self.say(&[NotifyState::Reloading]),
        }
    }

    /// It is over, whatever came of it.
    pub(super) fn reloaded(&mut self) {
        if self.ready {
            self.say(&[NotifyState::Ready]);
        }
    }

    /// The service goes down.
    pub(super) fn stopping(&mut self) {
        self.say(&[NotifyState::Stopping, NotifyState::Status("stopping")]);
        self.present = false;
        self.watchdog = None;
    }

    /// The proof that the watchdog waits for.
    pub(super) fn proven(&mut self) {
        self.say(&[NotifyState::Watchdog]);
    }

    /// Whether the watchdog wants a proof now.
    pub(super) fn wants_probe(&mut self) -> bool {
        let now = Instant::now();
        let Some(watchdog) = self.watchdog.as_mut().filter(|watchdog| watchdog.next <= now) else {
            return false;
        };
        watchdog.next = now + watchdog.period;
        true
    }

    /// The status line, told when it changed and not too often.
    pub(super) fn describe(&mut self, (templates, workers, waiting): (usize, u64, usize)) {
        if !self.present || !self.ready {
            return;
        }
        let text = self.line(templates, workers, waiting);
        if text == self.told {
            self.waiting = false;
            return;
        }
        let early = self.told_at.is_some_and(|at| at.elapsed() < STATUS_PAUSE);
        self.waiting = early;
        if !early {
            self.say(&[NotifyState::Status(&text)]);
            self.told = text;
            self.told_at = Some(Instant::now());
        }
    }

    fn line(&self, templates: usize, workers: u64, waiting: usize) -> String {
        let mut text = format!("serving: {templates} templates, {workers} workers");
        if waiting > 0 {
            text += &format!(", {waiting} requests wait");
        }
        if self.failed > 0 {
            text += &format!("; {} modules could not be preloaded", self.failed);
        }
        text
    }

    /// When there is something to say or to ask without anything else happening.
    pub(super) fn due(&self) -> Option<Instant> {
        let status = self.told_at.filter(|_| self.waiting).map(|at| at + STATUS_PAUSE);
        let watchdog = self.watchdog.as_ref().map(|watchdog| watchdog.next);
        [status, watchdog].into_iter().flatten().min()
    }
}
