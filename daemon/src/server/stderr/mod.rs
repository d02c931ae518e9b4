//! What workers write to standard error, where it is caught: each line becomes a record of the log,
//! the last ones come with the certificate.
//!
//! | file | holds |
//! |---|---|
//! | [`lines`] | bytes as lines, of which the last are kept |
//! | [`meter`] | how much may be read and logged |
//! | [`carry`] | all of it, to the next image of the daemon |
//!
//! A worker that writes more than it may loses lines and is told how many; it waits for the daemon,
//! but never longer than a second, and the daemon never for it.
//!
//! What must never be in here: a wait, or a buffer without a bound.

pub(super) mod carry;
mod lines;
mod meter;

use super::Server;
use super::poller::{Poller, Source};
use lines::Lines;
use meter::{ALL, Meter, ONE, SPAN};
use mpserverd_proto::death::LastWords;
use mpserverd_proto::ids::WorkerId;
use mpserverd_proto::trace::TraceId;
use nix::errno::Errno;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeSet, HashMap};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Instant;
use tracing::{info, warn};

pub(super) use lines::last_lines;

/// Bytes that are read at once.
const READ_BYTES: usize = 64 << 10;
/// Reads of what a worker that has ended has left: more than any pipe holds.
const LAST_READS: usize = 32;
/// Workers that have ended, and whose descendants are still listened to.
const LINGERING_MAX: usize = 64;

/// Whose line it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
struct Writer {
    pid: u32,
    uid: u32,
    /// Name of its template.
    module: String,
    generation: u32,
    task: String,
    trace: Option<TraceId>,
}

/// One that is listened to.
#[derive(Debug)]
struct Catcher {
    pid: u32,
    /// `None` once nobody can write any more.
    pipe: Option<OwnedFd>,
    lines: Lines,
    meter: Meter,
    /// Lines that the log did not take since that was last said.
    dropped: u64,
    /// Not watched until the next second.
    is_paused: bool,
    /// It has ended, and was this; its descendants may go on.
    was: Option<Writer>,
}

/// All of them.
#[derive(Debug)]
pub(super) struct Catchers {
    by_worker: HashMap<WorkerId, Catcher>,
    meter: Meter,
    /// Who waits for the next second, to be watched or to be told how much was lost.
    waiting: BTreeSet<WorkerId>,
    turn: Option<Instant>,
}

impl Default for Catchers {
    fn default() -> Self {
        let (by_worker, waiting) = (HashMap::new(), BTreeSet::new());
        Self { by_worker, meter: Meter::new(ALL), waiting, turn: None }
    }
}

impl Catcher {
    fn new(pid: u32, pipe: Option<OwnedFd>) -> Self {
        let (lines, meter) = (Lines::default(), Meter::new(ONE));
        Self { pid, pipe, lines, meter, dropped: 0, is_paused: false, was: None }
    }

    /// Reads once; `None` if there is nothing now.
    fn read(&mut self, bytes: &mut [u8]) -> Option<usize> {
        match nix::unistd::read(self.pipe.as_ref()?, bytes) {
            Ok(got) if got > 0 => Some(got),
            Err(Errno::EAGAIN | Errno::EINTR) => None,
            Ok(_) | Err(_) => {
                self.pipe = None;
                None
            }
        }
    }

    /// Logs what was read, as far as it may be; with `last` also a line that has not ended.
    fn log(&mut self, all: &mut Meter, id: WorkerId, bytes: &[u8], last: bool, writer: &Writer) {
        let (now, meter, dropped) = (Instant::now(), &mut self.meter, &mut self.dropped);
        let mut each = |line: &str| {
            if !meter.takes_line(now) || !all.takes_line(now) {
                *dropped += 1;
                return;
            }
            tell_dropped(id, dropped, writer);
            tell(id, writer, line);
        };
        self.lines.take(bytes, &mut each);
        if last {
            self.lines.finish(&mut each);
        }
    }
}

/// One line of a worker.
fn tell(worker: WorkerId, writer: &Writer, line: &str) {
    let Writer { pid, uid, module, generation, task, trace } = writer;
    let trace = trace.map(|trace| trace.to_string()).unwrap_or_default();
    info!(%worker, pid, uid, module, generation, task, trace, "{line}");
}

/// How many of its lines are missing, if any.
fn tell_dropped(worker: WorkerId, dropped: &mut u64, writer: &Writer) {
    let lost = std::mem::take(dropped);
    if lost > 0 {
        let Writer { pid, uid, module, generation, task, .. } = writer;
        warn!(%worker, pid, uid, module, generation, task, "{lost} lines dropped");
    }
}

impl Catchers {
    /// Listens to a worker.
    fn insert(&mut self, poller: &Poller, worker: WorkerId, catcher: Catcher) -> io::Result<()> {
        if let Some(pipe) = &catcher.pipe {
            poller.add(pipe.as_fd(), Source::Stderr(worker), false)?;
        }
        self.by_worker.insert(worker, catcher);
        Ok(())
    }

    /// When those who wait get their turn.
    pub(super) fn due(&self) -> Option<Instant> {
        self.turn
    }

    fn wait(&mut self, worker: WorkerId) {
        self.waiting.insert(worker);
        self.turn.get_or_insert_with(|| Instant::now() + SPAN);
    }

    /// Those of workers that have ended are too many: the oldest is heard no more.
    fn bound_lingering(&mut self) {
        let lingering = self.by_worker.iter().filter(|(_, catcher)| catcher.was.is_some());
        let (count, oldest) =
            lingering.fold((0, None), |(count, oldest): (_, Option<_>), (id, _)| {
                (count + 1, Some(oldest.map_or(*id, |oldest: WorkerId| oldest.min(*id))))
            });
        if let Some(oldest) = oldest.filter(|_| count > LINGERING_MAX) {
            self.by_worker.remove(&oldest);
        }
    }
}

impl Server<'_> {
    /// Listens to a worker; without that its lines are nowhere, which is said.
    pub(super) fn catch(&mut self, worker: WorkerId, pid: u32, pipe: OwnedFd) {
        if let Err(error) =
            self.catchers.insert(&self.poller, worker, Catcher::new(pid, Some(pipe)))
        {
            warn!(%worker, pid, %error, "cannot catch what a worker writes");
        }
    }

    /// Who a worker is now.
    fn writer(&self, worker: WorkerId, pid: u32) -> Writer {
        self.writer_as(worker, pid, self.workers.words_of(worker))
    }

    /// Who a worker is that has said this.
    fn writer_as(&self, worker: WorkerId, pid: u32, said: Option<LastWords>) -> Writer {
        let (uid, module, generation) = self.core.whose(worker).unwrap_or_default();
        let LastWords { task, trace, .. } = said.unwrap_or_default();
        Writer { pid, uid, module, generation, task, trace }
    }

    /// A worker wrote something, or nobody can any more.
    pub(super) fn on_stderr(&mut self, worker: WorkerId) {
        let Some(catcher) = self.catchers.by_worker.get(&worker) else { return };
        let writer = catcher.was.clone();
        let writer = writer.unwrap_or_else(|| self.writer(worker, catcher.pid));
        let Catchers { by_worker, meter: all, .. } = &mut self.catchers;
        let Some(catcher) = by_worker.get_mut(&worker) else { return };
        let mut bytes = vec![0; READ_BYTES];
        let got = catcher.read(&mut bytes).unwrap_or(0);
        let is_over = catcher.pipe.is_none();
        catcher.log(all, worker, &bytes[..got], is_over, &writer);
        if is_over {
            tell_dropped(worker, &mut catcher.dropped, &writer);
            if catcher.was.is_some() {
                self.catchers.by_worker.remove(&worker);
            }
            return;
        }
        let now = Instant::now();
        let (own, every) = (catcher.meter.takes_bytes(now, got), all.takes_bytes(now, got));
        if let (false, Some(pipe)) = (own && every, &catcher.pipe) {
            self.poller.remove(pipe.as_fd());
            catcher.is_paused = true;
        }
        if catcher.is_paused || catcher.dropped > 0 {
            self.catchers.wait(worker);
        }
    }

    /// A second has passed: who wrote too much is heard again, and told what was lost.
    pub(super) fn hear_again(&mut self) {
        if self.catchers.turn.is_none_or(|turn| Instant::now() < turn) {
            return;
        }
        self.catchers.turn = None;
        for worker in std::mem::take(&mut self.catchers.waiting) {
            let Some(catcher) = self.catchers.by_worker.get_mut(&worker) else { continue };
            let (pid, was) = (catcher.pid, catcher.was.clone());
            let mut dropped = std::mem::take(&mut catcher.dropped);
            if let (true, Some(pipe)) = (catcher.is_paused, &catcher.pipe) {
                catcher.is_paused = false;
                if let Err(error) = self.poller.add(pipe.as_fd(), Source::Stderr(worker), false) {
                    warn!(%worker, pid, %error, "cannot catch what a worker writes any longer");
                }
            }
            if dropped > 0 {
                let writer = was.unwrap_or_else(|| self.writer(worker, pid));
                tell_dropped(worker, &mut dropped, &writer);
            }
        }
    }

    /// A worker has ended, of which the core does not know yet: reads what is left and gives the
    /// last lines.
    pub(super) fn last_lines_of(
        &mut self,
        worker: WorkerId,
        said: Option<&LastWords>,
    ) -> Vec<String> {
        let Some(catcher) = self.catchers.by_worker.get(&worker) else { return Vec::new() };
        let writer = self.writer_as(worker, catcher.pid, said.cloned());
        let Catchers { by_worker, meter: all, .. } = &mut self.catchers;
        let Some(catcher) = by_worker.get_mut(&worker) else { return Vec::new() };
        let mut bytes = vec![0; READ_BYTES];
        for _ in 0..LAST_READS {
            let Some(got) = catcher.read(&mut bytes) else { break };
            catcher.log(all, worker, &bytes[..got], false, &writer);
        }
        catcher.log(all, worker, &[], true, &writer);
        tell_dropped(worker, &mut catcher.dropped, &writer);
        let kept = std::mem::take(&mut catcher.lines.kept).into();
        catcher.was = Some(writer);
        if catcher.pipe.is_none() {
            self.catchers.by_worker.remove(&worker);
        } else {
            self.catchers.bound_lingering();
        }
        kept
    }

    /// What an adopted worker wrote while nobody listened.
    pub(super) fn catch_up(&mut self, worker: WorkerId, bytes: &[u8]) {
        let Some(catcher) = self.catchers.by_worker.get(&worker) else { return };
        let writer = self.writer(worker, catcher.pid);
        let Catchers { by_worker, meter: all, .. } = &mut self.catchers;
        if let Some(catcher) = by_worker.get_mut(&worker) {
            catcher.log(all, worker, bytes, false, &writer);
        }
    }
}
