//! The template's children: forked, reaped, reported.
//!
//! A worker's status is written into its pipe *before* the worker is reaped, so that whoever
//! dies in between, somebody still finds it: the pipe has it, or the zombie goes to the daemon.

use super::catch::{Ear, Mouth};
use super::load::Loaded;
use super::missed::{Deceased, Obituaries};
use super::worker;
use crate::sys::board::{Board, Place};
use crate::sys::{attributes, fd, fork, wait};
use mpserverd_proto::bounds::Birth;
use mpserverd_proto::ids::WorkerId;
use mpserverd_proto::status::Reporter;
use mpserverd_proto::template::{Ended, Heard, Lessee, Missed, Spare};
use nix::sys::signal::Signal;
use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd};
use std::time::{Duration, Instant};

/// A spare that was just forked, with the descriptors that go to the daemon.
#[derive(Debug)]
pub(crate) struct Newborn {
    pub(crate) spare: Spare,
    pub(crate) job: OwnedFd,
    pub(crate) status_read: OwnedFd,
    pub(crate) status_write: OwnedFd,
    pub(crate) pidfd: OwnedFd,
    /// The read end of its standard error, if that is caught.
    pub(crate) stderr: Option<OwnedFd>,
}

/// A child that has not ended.
#[derive(Debug)]
struct Child {
    worker: WorkerId,
    status: OwnedFd,
    place: Option<(u32, Place)>,
    lessee: Option<Lessee>,
    ear: Option<Ear>,
}

/// The board with the slots that nobody has.
#[derive(Debug)]
struct Slots {
    board: Board,
    free: Vec<u32>,
    /// From here on no slot was ever used, so that no memory is touched before it is needed.
    fresh: u32,
}

impl Slots {
    fn take(&mut self, worker: WorkerId) -> Option<(u32, Place)> {
        let number = self.free.pop().unwrap_or(self.fresh);
        let place = self.board.assign(number, worker)?;
        self.fresh = self.fresh.max(number + 1);
        Some((number, place))
    }
}

/// All children.
#[derive(Debug)]
pub(crate) struct Nursery {
    loaded: &'static Loaded,
    /// From this number on, descriptors belong to the template's runtime.
    base: RawFd,
    /// Signals that a child sets back.
    signals: Vec<Signal>,
    /// What a child limits itself by.
    birth: Birth,
    children: HashMap<u32, Child>,
    /// None where there is no daemon that would read it.
    slots: Option<Slots>,
    /// Whether the standard error of children is caught.
    catches: bool,
    obituaries: Obituaries,
    pub(crate) last_fork: Duration,
}

impl Nursery {
    pub(crate) fn new(
        loaded: &'static Loaded,
        base: RawFd,
        last_fork: Duration,
        birth: Birth,
    ) -> Self {
        let signals = attributes::changed_signals();
        Self {
            loaded,
            base,
            signals,
            birth,
            children: HashMap::new(),
            slots: None,
            catches: false,
            obituaries: Obituaries::default(),
            last_fork,
        }
    }

    /// Gives each child from now on a place on this board, as long as there is one.
    pub(crate) fn with_board(mut self, board: Option<Board>) -> Self {
        self.slots = board.map(|board| Slots { board, free: Vec::new(), fresh: 0 });
        self
    }

    /// Catches the standard error of each child from now on, if that is wanted.
    pub(crate) fn with_stderr(mut self, caught: bool) -> Self {
        self.catches = caught;
        self
    }

    pub(crate) fn board(&self) -> Option<&Board> {
        self.slots.as_ref().map(|slots| &slots.board)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.children.is_empty()
    }

    /// Workers with copies of the descriptors that the next daemon needs: pidfd, write end, and
    /// where it is caught the standard error.
    pub(crate) fn roll(&self) -> io::Result<Vec<(Spare, Vec<OwnedFd>)>> {
        self.children
            .iter()
            .map(|(pid, child)| {
                let slot = child.place.as_ref().map(|(slot, _)| *slot);
                // Not reaped yet, so the pid is still the child's.
                let pidfd = fd::raise(wait::pidfd_open(*pid)?, self.base)?;
                let status = fd::duplicate_from(child.status.as_fd(), self.base)?;
                let ear = child.ear.as_ref();
                let stderr = ear.map(|ear| ear.share(self.base)).transpose()?.flatten();
                let stderr_is_caught = stderr.is_some();
                let fds = [Some(pidfd), Some(status), stderr];
                let (worker, pid) = (child.worker, *pid);
                let spare = Spare { worker, pid, slot, stderr: stderr_is_caught };
                Ok((spare, fds.into_iter().flatten().collect()))
            })
            .collect()
    }

    /// Notes who has a worker.
    pub(crate) fn note_lessee(&mut self, lessee: Lessee) {
        let child = self.children.get_mut(&lessee.pid);
        if let Some(child) = child.filter(|child| child.worker == lessee.worker) {
            child.lessee = Some(lessee);
        }
    }

    /// Who has the workers, as far as it is known.
    pub(crate) fn lessees(&self) -> Vec<Lessee> {
        self.children.values().filter_map(|child| child.lessee).collect()
    }

    /// Forks one spare. In the child this never returns.
    pub(crate) fn fork(&mut self, worker: WorkerId) -> io::Result<Newborn> {
        let (ours, theirs) = fd::seqpacket_pair()?;
        let (read, write) = fd::pipe()?;
        let (ours, theirs) = (fd::raise(ours, self.base)?, fd::raise(theirs, self.base)?);
        let (read, write) = (fd::raise(read, self.base)?, fd::raise(write, self.base)?);
        let status = fd::duplicate_from(write.as_fd(), self.base)?;
        let (ear, mouth) = self.catches.then(|| Ear::new(self.base)).transpose()?.unzip();
        let stderr = ear.as_ref().map(|ear| ear.share(self.base)).transpose()?.flatten();
        let place = self.slots.as_mut().and_then(|slots| slots.take(worker));
        let slot = place.as_ref().map(|(slot, _)| *slot);
        let before = Instant::now();
        // SAFETY: a template has one thread: the verdict proved it, and the runtime makes none.
        let pid = match unsafe { fork::fork() } {
            Ok(fork::Side::Child) => self.grow_up(theirs, place.map(|(_, place)| place), mouth),
            Ok(fork::Side::Parent(pid)) => pid,
            Err(error) => {
                self.give_back(slot);
                return Err(error);
            }
        };
        self.last_fork = before.elapsed();
        drop((theirs, mouth));
        // Registered first: should anything fail below, the child is still reaped.
        self.children.insert(pid, Child { worker, status, place, lessee: None, ear });
        let pidfd = fd::raise(wait::pidfd_open(pid)?, self.base)?;
        Ok(Newborn {
            spare: Spare { worker, pid, slot, stderr: stderr.is_some() },
            job: ours,
            status_read: read,
            status_write: write,
            pidfd,
            stderr,
        })
    }

    fn give_back(&mut self, slot: Option<u32>) {
        if let (Some(slots), Some(slot)) = (&mut self.slots, slot) {
            slots.free.push(slot);
        }
    }

    /// The child's way: never back into the template's code.
    fn grow_up(&self, job: OwnedFd, place: Option<Place>, mouth: Option<OwnedFd>) -> ! {
        let mouth = mouth.as_ref().and_then(Mouth::open);
        // SAFETY: everything from `base` on but the job socket belongs to the template's runtime,
        // whose owners this process never touches again: `serve` does not return.
        unsafe { worker::close_inherited(self.base, job.as_fd()) };
        attributes::hear_no_more_if_idle(job.as_fd());
        attributes::reset_signals(&self.signals);
        super::birth::limit(&self.birth);
        worker::serve(job, self.loaded, None, place, mouth)
    }

    /// Reaps whoever has ended, after writing the status into the pipe.
    pub(crate) fn reap(&mut self, has_daemon: bool) -> Vec<Ended> {
        let mut ended = Vec::new();
        while let Ok(Some((pid, record))) = wait::ended(wait::Whom::Any, false, Reporter::Template)
        {
            if let Some(child) = self.children.remove(&pid) {
                // A pipe nobody reads any more is an error nobody needs.
                let _ = nix::unistd::write(&child.status, &record.encode());
                let last = child.place.as_ref().and_then(|(_, place)| place.read());
                self.give_back(child.place.map(|(slot, _)| slot));
                let stderr = child.ear.map(|mut ear| {
                    // With a daemon, that reads the rest.
                    (!has_daemon).then(|| ear.listen());
                    ear.take_heard()
                });
                let now = Ended { worker: child.worker, record, last };
                ended.push(now.clone());
                let (lessee, stderr) = (child.lessee, stderr.unwrap_or_default());
                let deceased = Deceased { ended: now, pid, lessee, stderr };
                self.obituaries.note(deceased, has_daemon);
            }
            let _ = wait::ended(wait::Whom::Pid(pid), true, Reporter::Template);
        }
        ended
    }

    /// What is to be read of children while there is no daemon.
    pub(crate) fn ears(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.children.values().filter_map(|child| child.ear.as_ref()?.pipe())
    }

    /// Reads it.
    pub(crate) fn listen(&mut self) {
        self.children.values_mut().filter_map(|child| child.ear.as_mut()).for_each(Ear::listen);
    }

    /// What was read since the daemon is gone, and of whom.
    pub(crate) fn heard(&mut self) -> Vec<Heard> {
        let heard = self.children.values_mut().filter_map(|child| {
            let stderr = child.ear.as_mut()?.take_heard();
            (!stderr.is_empty()).then_some(Heard { worker: child.worker, stderr })
        });
        heard.collect()
    }

    /// Who has died since, or shortly before; and how many more.
    pub(crate) fn missed(&mut self, gone_since: Instant) -> (Vec<Missed>, u64) {
        self.obituaries.take(gone_since)
    }

    /// Kills all children; they are reaped as they end.
    pub(crate) fn kill_all(&self) {
        for pid in self.children.keys() {
            let pid = nix::unistd::Pid::from_raw(*pid as i32);
            let _ = nix::sys::signal::kill(pid, Signal::SIGKILL);
        }
    }
}
