//! A descriptor that is readable while a queue has items, for `poll`, epoll and async runtimes.
//!
//! The queue has an eventfd that all its processes share. Once anybody watches the queue, whoever
//! puts an item into an empty one writes to it, and whoever finds the queue empty reads it and
//! looks once more. What watchers get is an epoll instance of their own process with three
//! members: that eventfd, the end of the socket that hangs up when no producer is left, and a
//! timer. The timer is there for deaths: somebody who is killed between reading the eventfd and
//! looking once more leaves a queue that has items and does not say so. It makes the descriptor
//! readable every 50 ms while somebody watches an empty queue, so a watcher may find nothing.

use crate::handles::SharedFd;
use crate::sync::raw::lock::NAP_LONGEST;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// The eventfd of a queue, not signalled.
pub(crate) fn event() -> io::Result<OwnedFd> {
    let event = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?;
    crate::sys::fd::above_standard(event.into())
}

/// Whether a descriptor from somebody else may be taken for one: nobody can be made to wait by it.
pub(crate) fn is_event(fd: &SharedFd) -> bool {
    use nix::fcntl::{FcntlArg, OFlag, fcntl};
    let flags = fcntl(fd, FcntlArg::F_GETFL).map(OFlag::from_bits_retain);
    flags.is_ok_and(|flags| flags.contains(OFlag::O_NONBLOCK | OFlag::O_RDWR))
}

/// Makes the eventfd readable.
pub(crate) fn signal(event: &SharedFd) {
    // It is full only after 2^64 - 2 signals that nobody took, and readable then too.
    let _ = nix::unistd::write(event, &1u64.to_ne_bytes());
}

/// Makes the eventfd unreadable.
pub(crate) fn settle(event: &SharedFd) {
    let _ = nix::unistd::read(event, &mut [0; 8]);
}

/// What watchers of one process get.
#[derive(Debug)]
pub(crate) struct Watch {
    epoll: Epoll,
    timer: TimerFd,
}

impl Watch {
    /// Watches the eventfd, and the end of the socket if there is one.
    pub(crate) fn new(event: &SharedFd, socket: Option<&SharedFd>) -> io::Result<Self> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        let timer = TimerFd::new(
            ClockId::CLOCK_MONOTONIC,
            TimerFlags::TFD_CLOEXEC | TimerFlags::TFD_NONBLOCK,
        )?;
        let interval = TimeSpec::from_duration(NAP_LONGEST);
        timer.set(Expiration::Interval(interval), TimerSetTimeFlags::empty())?;
        epoll.add(event, EpollEvent::new(EpollFlags::EPOLLIN, 0))?;
        epoll.add(&timer, EpollEvent::new(EpollFlags::EPOLLIN, 0))?;
        if let Some(socket) = socket {
            // A hang-up is always reported.
            epoll.add(socket, EpollEvent::new(EpollFlags::empty(), 0))?;
        }
        Ok(Self { epoll, timer })
    }

    /// Said when the queue was looked at: the timer need not remind of it.
    pub(crate) fn looked(&self) {
        let _ = nix::unistd::read(&self.timer, &mut [0; 8]);
    }
}

impl AsFd for Watch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.epoll.0.as_fd()
    }
}
