//! Signals as readable descriptors: the handler writes a byte, the loop reads it like any other.

use super::poller::{Poller, Source};
use nix::sys::signal::{SigSet, Signal};
use signal_hook::SigId;
use signal_hook::consts::{SIGCHLD, SIGHUP, SIGINT, SIGTERM, SIGUSR2};
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
    Upgrade = 4,
}

const ALL: [(Caught, i32); 5] = [
    (Caught::Terminate, SIGTERM),
    (Caught::Interrupt, SIGINT),
    (Caught::Hangup, SIGHUP),
    (Caught::Child, SIGCHLD),
    (Caught::Upgrade, SIGUSR2),
];

impl Caught {
    pub(super) fn from_number(number: u64) -> Option<Self> {
        ALL.into_iter().map(|(caught, _)| caught).find(|caught| *caught as u64 == number)
    }
}

fn set_of_all() -> SigSet {
    ALL.into_iter().filter_map(|(_, number)| Signal::try_from(number).ok()).collect()
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
        // The image before may have held them back.
        signals.let_go();
        Ok(signals)
    }

    /// Holds back signals until [`let_go`](Self::let_go), also beyond an exec: without handlers they
    /// would end the process. Gives those that came before and were not heard.
    pub(super) fn hold(&self) -> Vec<Caught> {
        // Only fails for arguments that the kernel does not know.
        let _ = set_of_all().thread_block();
        ALL.into_iter().map(|(caught, _)| caught).filter(|caught| self.drain(*caught)).collect()
    }

    /// Lets signals through again.
    pub(super) fn let_go(&self) {
        let _ = set_of_all().thread_unblock();
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
