//! Signals as readable descriptors: the handler writes a byte, the loop reads it like any other.

use super::poller::{Poller, Source};
use signal_hook::SigId;
use signal_hook::consts::{SIGCHLD, SIGHUP, SIGINT, SIGTERM};
use signal_hook::low_level::{pipe, unregister};
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;

/// A signal that the daemon reacts to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Caught {
    Terminate = 0,
    Interrupt = 1,
    Hangup = 2,
    Child = 3,
}

const ALL: [(Caught, i32); 4] = [
    (Caught::Terminate, SIGTERM),
    (Caught::Interrupt, SIGINT),
    (Caught::Hangup, SIGHUP),
    (Caught::Child, SIGCHLD),
];

impl Caught {
    pub(super) fn from_number(number: u64) -> Option<Self> {
        ALL.into_iter().map(|(caught, _)| caught).find(|caught| *caught as u64 == number)
    }
}

/// The reading ends. Dropping it takes the handlers out.
#[derive(Debug)]
pub(super) struct Signals {
    pipes: Vec<(Caught, UnixStream)>,
    handlers: Vec<SigId>,
}

impl Signals {
    /// Catches every signal in the list.
    pub(super) fn catch(poller: &Poller) -> io::Result<Self> {
        let mut signals = Self { pipes: Vec::new(), handlers: Vec::new() };
        for (caught, number) in ALL {
            let (read, write) = UnixStream::pair()?;
            read.set_nonblocking(true)?;
            signals.handlers.push(pipe::register(number, write)?);
            poller.add(read.as_fd(), Source::Signal(caught), false)?;
            signals.pipes.push((caught, read));
        }
        Ok(signals)
    }

    /// Takes what was written; false if there was nothing.
    pub(super) fn drain(&self, caught: Caught) -> bool {
        let Some((_, pipe)) = self.pipes.iter().find(|(of, _)| *of == caught) else {
            return false;
        };
        let (mut any, mut bytes) = (false, [0; 64]);
        while matches!((&*pipe).read(&mut bytes), Ok(1..)) {
            any = true;
        }
        any
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        for handler in self.handlers.drain(..) {
            unregister(handler);
        }
    }
}
