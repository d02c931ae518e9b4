//! The template's children: forked, reaped, reported.
//!
//! A worker's status is written into its pipe *before* the worker is reaped, so that whoever
//! dies in between, somebody still finds it: the pipe has it, or the zombie goes to the daemon.

use super::load::Loaded;
use super::worker;
use crate::sys::board::{Board, Place};
use crate::sys::{attributes, fd, fork, wait};
use mpserverd_proto::bounds::Birth;
use mpserverd_proto::ids::WorkerId;
use mpserverd_proto::status::Reporter;
use mpserverd_proto::template::{Ended, Lessee, Spare};
use nix::sys::signal::Signal;
use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd, RawFd};
use std::time::{Duration, Instant};

/// A spare that was just forked, with the four descriptors that go to the daemon.
#[derive(Debug)]
pub(crate) struct Newborn {
    pub(crate) spare: Spare,
    pub(crate) job: OwnedFd,
    pub(crate) status_read: OwnedFd,
    pub(crate) status_write: OwnedFd,
    pub(crate) pidfd: OwnedFd,
}

/// A child that has not ended.
#[derive(Debug)]
struct Child {
    worker: WorkerId,
    status: OwnedFd,
    place: Option<(u32, Place)>,
    lessee: Option<Lessee>,
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
        let (children, slots) = (HashMap::new(), None);
        Self { loaded, base, signals, birth, children, slots, last_fork }
    }

    /// Gives each child from now on a place on this board, as long as there is one.
    pub(crate) fn with_board(mut self, board: Option<Board>) -> Self {
        self.slots = board.map(|board| Slots { board, free: Vec::new(), fresh: 0 });
        self
    }

    pub(crate) fn board(&self) -> Option<&Board> {
        self.slots.as_ref().map(|slots| &slots.board)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.children.is_empty()
    }

    /// Workers with copies of the descriptors that the next daemon needs: pidfd and write end.
    pub(crate) fn roll(&self) -> io::Result<Vec<(Spare, [OwnedFd; 2])>> {
        self.children
            .iter()
            .map(|(pid, child)| {
                let slot = child.place.as_ref().map(|(slot, _)| *slot);
                let spare = Spare { worker: child.worker, pid: *pid, slot };
                // Not reaped yet, so the pid is still the child's.
                let pidfd = fd::raise(wait::pidfd_open(*pid)?, self.base)?;
                let status = fd::duplicate_from(child.status.as_fd(), self.base)?;
                Ok((spare, [pidfd, status]))
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
        let place = self.slots.as_mut().and_then(|slots| slots.take(worker));
        let slot = place.as_ref().map(|(slot, _)| *slot);
        let before = Instant::now();
        // SAFETY: a template has one thread: the verdict proved it, and the runtime makes none.
        let pid = match unsafe { fork::fork() } {
            Ok(fork::Side::Child) => self.grow_up(theirs, place.map(|(_, place)| place)),
            Ok(fork::Side::Parent(pid)) => pid,
            Err(error) => {
                self.give_back(slot);
                return Err(error);
            }
        };
        self.last_fork = before.elapsed();
        drop(theirs);
        // Registered first: should anything fail below, the child is still reaped.
        self.children.insert(pid, Child { worker, status, place, lessee: None });
        let pidfd = fd::raise(wait::pidfd_open(pid)?, self.base)?;
        Ok(Newborn {
            spare: Spare { worker, pid, slot },
            job: ours,
            status_read: read,
            status_write: write,
            pidfd,
        })
    }

    fn give_back(&mut self, slot: Option<u32>) {
        if let (Some(slots), Some(slot)) = (&mut self.slots, slot) {
            slots.free.push(slot);
        }
    }

    /// The child's way: never back into the template's code.
    fn grow_up(&self, job: OwnedFd, place: Option<Place>) -> ! {
        // SAFETY: everything from `base` on but the job socket belongs to the template's runtime,
        // whose owners this process never touches again: `serve` does not return.
        unsafe { worker::close_inherited(self.base, job.as_fd()) };
        attributes::reset_signals(&self.signals);
        super::birth::limit(&self.birth);
        worker::serve(job, self.loaded, None, place)
    }

    /// Reaps whoever has ended, after writing the status into the pipe.
    pub(crate) fn reap(&mut self) -> Vec<Ended> {
        let mut ended = Vec::new();
        while let Ok(Some((pid, record))) = wait::ended(wait::Whom::Any, false, Reporter::Template)
        {
            if let Some(child) = self.children.remove(&pid) {
                // A pipe nobody reads any more is an error nobody needs.
                let _ = nix::unistd::write(&child.status, &record.encode());
                let last = child.place.as_ref().and_then(|(_, place)| place.read());
                self.give_back(child.place.map(|(slot, _)| slot));
                ended.push(Ended { worker: child.worker, record, last });
            }
            let _ = wait::ended(wait::Whom::Pid(pid), true, Reporter::Template);
        }
        ended
    }

    /// Kills all children; they are reaped as they end.
    pub(crate) fn kill_all(&self) {
        for pid in self.children.keys() {
            let pid = nix::unistd::Pid::from_raw(*pid as i32);
            let _ = nix::sys::signal::kill(pid, Signal::SIGKILL);
        }
    }
}
