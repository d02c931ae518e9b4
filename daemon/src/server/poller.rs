//! epoll, and what a readiness belongs to.

use crate::core::SessionId;
use crate::server::signals::Caught;
use mpserverd_proto::ids::{TemplateId, WorkerId};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use std::io;
use std::os::fd::BorrowedFd;
use std::time::Duration;

/// Events taken from the kernel at once.
const BATCH: usize = 256;

/// Whom a descriptor belongs to. Numbers of sessions, templates and workers are never reused, so a
/// late event cannot mean somebody else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    Listener,
    Session(SessionId),
    Control(TemplateId),
    TemplateEnd(TemplateId),
    OrphanEnd(WorkerId),
    /// What a worker writes to standard error.
    Stderr(WorkerId),
    CommandEnd,
    /// Measurements came.
    Samples,
    Signal(Caught),
    /// Where readers of metrics connect.
    Scrapes,
    /// One of them.
    Scrape(u64),
    Trial,
}

/// What the kernel said about it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Readiness {
    pub(super) writable: bool,
    pub(super) readable: bool,
}

/// The top byte of epoll's number is the kind, the rest the id.
const SHIFT: u32 = 56;

impl Source {
    fn encode(self) -> u64 {
        let (kind, id) = match self {
            Self::Listener => (0, 0),
            Self::Session(id) => (1, id.0),
            Self::Control(id) => (2, id.0),
            Self::TemplateEnd(id) => (3, id.0),
            Self::OrphanEnd(id) => (4, id.0),
            Self::CommandEnd => (5, 0),
            Self::Signal(caught) => (6, caught as u64),
            Self::Samples => (7, 0),
            Self::Stderr(id) => (8, id.0),
            Self::Scrapes => (20, 0),
            Self::Scrape(id) => (21, id),
            Self::Trial => (30, 0),
        };
        (kind << SHIFT) | (id & ((1 << SHIFT) - 1))
    }

    fn decode(number: u64) -> Option<Self> {
        let id = number & ((1 << SHIFT) - 1);
        Some(match number >> SHIFT {
            0 => Self::Listener,
            1 => Self::Session(SessionId(id)),
            2 => Self::Control(TemplateId(id)),
            3 => Self::TemplateEnd(TemplateId(id)),
            4 => Self::OrphanEnd(WorkerId(id)),
            5 => Self::CommandEnd,
            6 => Self::Signal(Caught::from_number(id)?),
            7 => Self::Samples,
            8 => Self::Stderr(WorkerId(id)),
            20 => Self::Scrapes,
            21 => Self::Scrape(id),
            30 => Self::Trial,
            _ => return None,
        })
    }
}

/// The set of watched descriptors. Closing a descriptor takes it out.
#[derive(Debug)]
pub(super) struct Poller {
    epoll: Epoll,
}

fn flags(writes: bool) -> EpollFlags {
    if writes { EpollFlags::EPOLLIN | EpollFlags::EPOLLOUT } else { EpollFlags::EPOLLIN }
}

impl Poller {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self { epoll: Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)? })
    }

    /// Watches a descriptor for reading, and for writing if asked.
    pub(super) fn add(&self, fd: BorrowedFd<'_>, source: Source, writes: bool) -> io::Result<()> {
        Ok(self.epoll.add(fd, EpollEvent::new(flags(writes), source.encode()))?)
    }

    /// Changes whether writing is watched too.
    pub(super) fn change(
        &self,
        fd: BorrowedFd<'_>,
        source: Source,
        writes: bool,
    ) -> io::Result<()> {
        let mut event = EpollEvent::new(flags(writes), source.encode());
        Ok(self.epoll.modify(fd, &mut event)?)
    }

    /// Watches it for writing alone: what it has to say must wait.
    pub(super) fn only_writes(&self, fd: BorrowedFd<'_>, source: Source) -> io::Result<()> {
        let mut event = EpollEvent::new(EpollFlags::EPOLLOUT, source.encode());
        Ok(self.epoll.modify(fd, &mut event)?)
    }

    /// Watches it no more.
    pub(super) fn remove(&self, fd: BorrowedFd<'_>) {
        // A descriptor that is not watched need not be removed.
        let _ = self.epoll.delete(fd);
    }

    /// Waits.
    pub(super) fn wait(&self, timeout: Option<Duration>) -> io::Result<Vec<(Source, Readiness)>> {
        // Rounded up: waking a fraction too early would spin until the time has come.
        let timeout = timeout.map_or(EpollTimeout::NONE, |timeout| {
            let rounded = timeout + Duration::from_nanos(999_999);
            EpollTimeout::try_from(rounded).unwrap_or(EpollTimeout::MAX)
        });
        let mut events = [EpollEvent::empty(); BATCH];
        let got = match self.epoll.wait(&mut events, timeout) {
            Ok(got) => got,
            Err(nix::errno::Errno::EINTR) => 0,
            Err(error) => return Err(error.into()),
        };
        let ready = events[..got].iter().filter_map(|event| {
            let flags = event.events();
            let failed = flags.intersects(EpollFlags::EPOLLERR | EpollFlags::EPOLLHUP);
            let readiness = Readiness {
                writable: failed || flags.contains(EpollFlags::EPOLLOUT),
                readable: failed || flags.contains(EpollFlags::EPOLLIN),
            };
            Some((Source::decode(event.data())?, readiness))
        });
        Ok(ready.collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_source_survives_the_kernel() {
        let large = (1 << SHIFT) - 1;
        for source in [
            Source::Listener,
            Source::Session(SessionId(large)),
            Source::Control(TemplateId(7)),
            Source::TemplateEnd(TemplateId(7)),
            Source::OrphanEnd(WorkerId(large)),
            Source::Stderr(WorkerId(large)),
            Source::CommandEnd,
            Source::Samples,
            Source::Signal(Caught::Hangup),
            Source::Scrapes,
            Source::Scrape(large),
            Source::Trial,
        ] {
            assert_eq!(Source::decode(source.encode()), Some(source));
        }
        assert_eq!(Source::decode(u64::MAX), None);
    }
}
