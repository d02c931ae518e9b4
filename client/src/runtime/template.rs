//! The template's loop: one thread, two sources (the daemon and `SIGCHLD`), no blocking write.

use super::attach::Search;
use super::load::{Loaded, program_name};
use super::nursery::Nursery;
use super::setup::Baseline;
use super::verdict::{self, Census};
use crate::sys::board::Board;
use crate::sys::{attributes, fd, fork, packet, scm};
use mpserverd_proto::codec;
use mpserverd_proto::error::{PreloadError, Stage};
use mpserverd_proto::hello::VERSION_MAX;
use mpserverd_proto::ids::WorkerId;
use mpserverd_proto::limits::SPARES_PER_ROUND_MAX;
use mpserverd_proto::packet::Kind;
use mpserverd_proto::template::{Attach, FromTemplate, Memory, TemplateBoot, ToTemplate};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, OwnedFd, RawFd};
use std::time::{Duration, Instant};

/// Spares that go to the daemon in one message: the first at once, then by so many.
const SPARES_PER_MESSAGE: usize = 8;

/// Lessees that go to the next daemon in one message.
const LESSEES_PER_MESSAGE: usize = 1024;

/// Deaths, and what was heard, that go to the next daemon in one message.
const NEWS_PER_MESSAGE: usize = 32;

/// While there is no daemon, workers' standard errors are read no more often than this.
const LISTEN_PAUSE: Duration = Duration::from_millis(10);

/// Why a template woke up.
#[derive(Default)]
struct Woke {
    /// The daemon speaks or listens.
    from_daemon: bool,
    /// It is gone.
    hung_up: bool,
    child_ended: bool,
    /// A worker wrote something that no daemon reads.
    worker_wrote: bool,
}

/// What became of the daemon.
enum Daemon {
    /// It listens here.
    Attached(OwnedFd),
    /// It is gone; the next one is being looked for.
    Gone(Search),
}

struct Template {
    daemon: Daemon,
    /// What could not be sent yet.
    outbox: VecDeque<(Vec<u8>, Vec<OwnedFd>)>,
    /// Until when nothing is sent: this user has too many descriptors in flight.
    crowded: Option<Instant>,
    offer: Attach,
    nursery: Nursery,
    signals: OwnedFd,
    base: RawFd,
    /// When workers may be listened to again, while there is no daemon.
    listen_at: Instant,
    retiring: bool,
}

/// Runs a template until nobody needs it.
pub(crate) fn main(control: OwnedFd) -> ! {
    attributes::new_session();
    attributes::ignore_terminal();
    super::panics::remember();
    match prepare(control) {
        Ok(mut template) => template.run(),
        // The daemon died, or has been told what failed.
        Err(_) => fork::exit_now(1),
    }
}

fn tell(control: &OwnedFd, message: &FromTemplate) -> io::Result<()> {
    let body = codec::encode(message).map_err(io::Error::other)?;
    packet::send(control.as_fd(), Kind::FromTemplate, &[&body], &[], false)
}

/// Loads everything, checks that it may fork, and says so.
fn prepare(control: OwnedFd) -> io::Result<Template> {
    tell(&control, &FromTemplate::Hello { version: VERSION_MAX, pid: std::process::id() })?;
    let packet = packet::receive(control.as_fd(), false)?.ok_or(io::ErrorKind::UnexpectedEof)?;
    let boot = codec::decode::<TemplateBoot>(&packet.body).map_err(io::Error::other)?;
    let board = packet.fds.into_iter().next();
    let mut progress = |module: &str, stage: Stage| {
        // A daemon that is gone is noticed below.
        let _ = tell(&control, &FromTemplate::Loading { module: module.to_owned(), stage });
    };
    let loaded = Loaded::load(&boot.modules, &mut progress).and_then(|loaded| {
        progress(&program_name(), Stage::Verdict);
        let verdict = verdict::canary(Duration::from_millis(boot.canary_ms));
        verdict.map(|took| (loaded, took)).map_err(|fault| PreloadError {
            module: suspect(&boot),
            stage: Stage::Verdict,
            fault,
        })
    });
    let (mut loaded, fork_took) = match loaded {
        Ok(loaded) => loaded,
        Err(error) => {
            tell(&control, &FromTemplate::Failed(error))?;
            return Err(io::ErrorKind::Other.into());
        }
    };
    loaded.sandbox.clone_from(&boot.sandbox);
    settle(control, board, boot, loaded, fork_took)
}

/// Whom to blame for a trial fork that failed: a module that was alone, or the whole program.
fn suspect(boot: &TemplateBoot) -> String {
    match &boot.modules[..] {
        [module] => module.name.clone(),
        _ => program_name(),
    }
}

/// Moves the runtime's descriptors out of the program's way and reports readiness.
fn settle(
    control: OwnedFd,
    board: Option<OwnedFd>,
    boot: TemplateBoot,
    loaded: Loaded,
    fork_took: Duration,
) -> io::Result<Template> {
    let _ = Baseline::of_template(&boot.birth);
    super::peak::of_template();
    let base = Census::take().above_descriptors();
    let control = fd::duplicate_from(control.as_fd(), base)?;
    let signals = fd::raise(attributes::child_signals()?, base)?;
    attributes::hold_end_if_idle();
    let board = board.map(|board| Board::of(fd::raise(board, base)?)).transpose()?;
    let loaded: &'static Loaded = Box::leak(Box::new(loaded));
    let memory = memory(fork_took).unwrap_or_default();
    let modules = loaded.reports.clone();
    tell(&control, &FromTemplate::Ready { modules: modules.clone(), memory })?;
    Ok(Template {
        daemon: Daemon::Attached(control),
        outbox: VecDeque::new(),
        crowded: None,
        nursery: Nursery::new(loaded, base, fork_took, boot.birth)
            .with_board(board)
            .with_stderr(boot.catch_stderr),
        offer: Attach { boot, pid: std::process::id(), modules, memory, retiring: false },
        signals,
        base,
        listen_at: Instant::now(),
        retiring: false,
    })
}

/// A while that ends then, and is not nothing.
fn timeout_until(at: Instant) -> PollTimeout {
    let left = at.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
    PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)
}

impl Template {
    fn run(&mut self) -> ! {
        loop {
            if self.nursery.is_empty() && self.outbox.is_empty() && self.may_leave() {
                fork::exit_now(0);
            }
            let woke = self.wait();
            if woke.worker_wrote {
                self.nursery.listen();
                self.listen_at = Instant::now() + LISTEN_PAUSE;
            }
            if woke.child_ended {
                self.reap(woke.hung_up);
            }
            if woke.from_daemon {
                self.hear();
            }
            self.flush();
            self.search();
        }
    }

    /// Without workers: nobody needs a retiring template, or one that found no daemon in time.
    fn may_leave(&self) -> bool {
        match &self.daemon {
            Daemon::Attached(_) => self.retiring,
            Daemon::Gone(search) => self.retiring || search.since.elapsed() >= self.orphan_grace(),
        }
    }

    fn orphan_grace(&self) -> Duration {
        Duration::from_millis(self.offer.boot.orphan_grace_ms)
    }

    /// Sleeps until something happens.
    fn wait(&self) -> Woke {
        let mut sources = vec![PollFd::new(self.signals.as_fd(), PollFlags::POLLIN)];
        let mut timeout = PollTimeout::NONE;
        match &self.daemon {
            Daemon::Attached(control) => {
                let waits = self.outbox.is_empty() || self.crowded.is_some();
                let writes = if waits { PollFlags::empty() } else { PollFlags::POLLOUT };
                if let Some(at) = self.crowded {
                    timeout = timeout_until(at);
                }
                sources.push(PollFd::new(control.as_fd(), PollFlags::POLLIN | writes));
            }
            Daemon::Gone(search) => {
                // Who has workers stays, however long that takes.
                let grace = || search.since + self.orphan_grace();
                let over = self.nursery.is_empty().then(grace);
                let mut ears = self.nursery.ears().peekable();
                let pause = ears.peek().map(|_| self.listen_at);
                let pause = pause.filter(|at| *at > Instant::now());
                if pause.is_none() {
                    sources.extend(ears.map(|ear| PollFd::new(ear, PollFlags::POLLIN)));
                }
                let at = over.into_iter().chain(pause).fold(search.next, Instant::min);
                timeout = timeout_until(at);
            }
        }
        if poll(&mut sources, timeout).is_err() {
            return Woke { child_ended: true, ..Woke::default() };
        }
        let ready = |at: usize| sources.get(at).and_then(PollFd::any).unwrap_or(false);
        let child_ended = ready(0);
        match self.daemon {
            Daemon::Attached(_) => {
                let said = sources[1].revents().unwrap_or(PollFlags::empty());
                let hung_up = said.contains(PollFlags::POLLHUP);
                Woke { from_daemon: ready(1), hung_up, child_ended, ..Woke::default() }
            }
            Daemon::Gone(_) => {
                let worker_wrote = (1..sources.len()).any(ready);
                Woke { worker_wrote, child_ended, ..Woke::default() }
            }
        }
    }

    /// Of a daemon that has hung up there may still be something to hear, but it hears nothing.
    fn reap(&mut self, hung_up: bool) {
        // One byte of signal information stands for any number of children.
        let mut information = [0u8; 1024];
        while nix::unistd::read(&self.signals, &mut information).is_ok_and(|got| got > 0) {}
        let has_daemon = matches!(self.daemon, Daemon::Attached(_)) && !hung_up;
        let ended = self.nursery.reap(has_daemon);
        if !ended.is_empty() && has_daemon {
            self.post(&FromTemplate::Ended(ended), Vec::new());
        }
    }

    /// Queues a message; `flush` sends it.
    fn post(&mut self, message: &FromTemplate, fds: Vec<OwnedFd>) {
        if let Ok(body) = codec::encode(message) {
            self.outbox.push_back((body, fds));
        }
    }

    /// Sends what can be sent without blocking: a daemon that is stopped must not keep workers'
    /// statuses from their clients.
    fn flush(&mut self) {
        if self.crowded.is_some_and(|until| Instant::now() < until) {
            return;
        }
        self.crowded = None;
        while let (Daemon::Attached(control), Some((body, fds))) =
            (&self.daemon, self.outbox.front())
        {
            let fds = fds.iter().map(AsFd::as_fd).collect::<Vec<_>>();
            match packet::send(control.as_fd(), Kind::FromTemplate, &[body], &fds, true) {
                Ok(()) => {
                    self.outbox.pop_front();
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if scm::crowded(&error) => {
                    self.crowded = Some(Instant::now() + scm::CROWDED_PAUSE);
                    return;
                }
                Err(_) => self.lose_daemon(),
            }
        }
    }

    /// The daemon is gone. Unsent spares end with their sockets; statuses are in their pipes.
    fn lose_daemon(&mut self) {
        self.outbox.clear();
        self.crowded = None;
        self.daemon = Daemon::Gone(Search::begin());
    }

    fn hear(&mut self) {
        let Daemon::Attached(control) = &self.daemon else { return };
        let received = packet::receive(control.as_fd(), true);
        let message = match received {
            Ok(Some(packet)) if packet.kind == Kind::ToTemplate => {
                codec::decode::<ToTemplate>(&packet.body).ok()
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
            Ok(_) | Err(_) => None,
        };
        match message {
            Some(ToTemplate::Fork { first, count }) => {
                self.fork_spares(first, count.min(SPARES_PER_ROUND_MAX));
            }
            Some(ToTemplate::Retire) => self.retiring = true,
            Some(ToTemplate::Stop) => {
                self.retiring = true;
                self.nursery.kill_all();
            }
            Some(ToTemplate::Measure) => {
                self.offer.memory = memory(self.nursery.last_fork).unwrap_or_default();
                self.post(&FromTemplate::Memory(self.offer.memory), Vec::new());
            }
            Some(ToTemplate::Leased(lessees)) => {
                lessees.into_iter().for_each(|lessee| self.nursery.note_lessee(lessee));
            }
            None => self.lose_daemon(),
        }
    }

    fn fork_spares(&mut self, first: WorkerId, count: u16) {
        let (mut spares, mut fds) = (Vec::new(), Vec::new());
        let mut sent_one = false;
        for at in 0..count {
            match self.nursery.fork(WorkerId(first.0 + u64::from(at))) {
                Ok(new) => {
                    spares.push(new.spare);
                    fds.extend([new.job, new.status_read, new.status_write, new.pidfd]);
                    fds.extend(new.stderr);
                }
                Err(error) => {
                    let errno = error.raw_os_error().unwrap_or(0);
                    let missing = count - at;
                    self.post(&FromTemplate::ForkFailed { missing, errno }, Vec::new());
                    break;
                }
            }
            if !sent_one || spares.len() >= SPARES_PER_MESSAGE {
                sent_one = true;
                let message = FromTemplate::Spares(std::mem::take(&mut spares));
                self.post(&message, std::mem::take(&mut fds));
                self.flush();
            }
        }
        if !spares.is_empty() {
            self.post(&FromTemplate::Spares(spares), fds);
        }
    }

    /// Looks for the next daemon when it is time.
    fn search(&mut self) {
        let Daemon::Gone(search) = &mut self.daemon else { return };
        if Instant::now() < search.next {
            return;
        }
        // Its workers are the next daemon's too, even if nothing is forked for that one.
        self.offer.retiring = self.retiring;
        let Some(control) = search.attempt(&self.offer, self.nursery.board(), self.base) else {
            return;
        };
        let gone_since = search.since;
        self.daemon = Daemon::Attached(control);
        self.tell_news(gone_since);
    }

    /// Tells a new daemon which workers there are, and what has become of others.
    fn tell_news(&mut self, gone_since: Instant) {
        let Ok(roll) = self.nursery.roll() else { return };
        let mut roll = roll.into_iter().peekable();
        // Also without workers: that it says something tells the daemon that it knows the answer.
        loop {
            let (mut workers, mut fds) = (Vec::new(), Vec::new());
            for (worker, own) in roll.by_ref().take(usize::from(SPARES_PER_ROUND_MAX)) {
                workers.push(worker);
                fds.extend(own);
            }
            self.post(&FromTemplate::Adopt(workers), fds);
            if roll.peek().is_none() {
                break;
            }
        }
        for lessees in self.nursery.lessees().chunks(LESSEES_PER_MESSAGE) {
            self.post(&FromTemplate::Leases(lessees.to_vec()), Vec::new());
        }
        for heard in self.nursery.heard().chunks(NEWS_PER_MESSAGE) {
            self.post(&FromTemplate::Heard(heard.to_vec()), Vec::new());
        }
        let (missed, mut forgotten) = self.nursery.missed(gone_since);
        for deaths in missed.chunks(NEWS_PER_MESSAGE) {
            let (deaths, forgotten) = (deaths.to_vec(), std::mem::take(&mut forgotten));
            self.post(&FromTemplate::Missed { deaths, forgotten }, Vec::new());
        }
    }
}

/// This process's memory, from `/proc/self/smaps_rollup` (16 ms a GiB: not for polling).
pub(super) fn memory(fork_took: Duration) -> Option<Memory> {
    let text = std::fs::read_to_string("/proc/self/smaps_rollup").ok()?;
    let field = |name: &str| {
        text.lines()
            .filter_map(|line| line.strip_prefix(name)?.trim().strip_suffix(" kB"))
            .filter_map(|number| number.parse::<u64>().ok())
            .sum::<u64>()
    };
    Some(Memory {
        rss_kib: field("Rss:"),
        private_kib: field("Private_Clean:") + field("Private_Dirty:"),
        huge_kib: field("AnonHugePages:"),
        fork_us: fork_took.as_micros() as u64,
    })
}
