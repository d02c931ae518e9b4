//! The standard error of a worker, where the daemon catches it: a pipe that is born with the
//! worker. The daemon reads it; the template keeps a copy of the read end and reads while there is
//! no daemon, so that a worker never waits for one that may not come, nor writes to nobody.
//!
//! What must never be in here: lines, and what becomes of them, which are the daemon's.

use crate::sys::fd;
use nix::errno::Errno;
use nix::sys::stat::fstat;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd};

/// Bytes that a template keeps of what a worker wrote while there was no daemon, the last ones.
const HEARD_BYTES_MAX: usize = 8 << 10;
/// Bytes that are read at once, and how often in a row: what a pipe holds.
const READ_BYTES: usize = 16 << 10;
const READS: usize = 4;

/// The template's end.
#[derive(Debug)]
pub(super) struct Ear {
    /// `None` once nobody can write any more.
    pipe: Option<OwnedFd>,
    heard: Vec<u8>,
}

impl Ear {
    /// A pipe: this end of it and the worker's, both from `base` on.
    pub(super) fn new(base: RawFd) -> io::Result<(Self, OwnedFd)> {
        let (read, write) = fd::pipe()?;
        let (read, write) = (fd::raise(read, base)?, fd::raise(write, base)?);
        // For everybody who has a copy of this end.
        fd::set_nonblocking(read.as_fd(), true)?;
        Ok((Self { pipe: Some(read), heard: Vec::new() }, write))
    }

    pub(super) fn pipe(&self) -> Option<BorrowedFd<'_>> {
        self.pipe.as_ref().map(AsFd::as_fd)
    }

    /// Another copy, for the daemon; none if nobody can write any more.
    pub(super) fn share(&self, base: RawFd) -> io::Result<Option<OwnedFd>> {
        self.pipe.as_ref().map(|pipe| fd::duplicate_from(pipe.as_fd(), base)).transpose()
    }

    /// Takes what is there.
    pub(super) fn listen(&mut self) {
        let mut bytes = [0; READ_BYTES];
        for _ in 0..READS {
            let Some(pipe) = &self.pipe else { return };
            match nix::unistd::read(pipe, &mut bytes) {
                Ok(got) if got > 0 => self.keep(&bytes[..got]),
                Err(Errno::EAGAIN) => return,
                Err(Errno::EINTR) => {}
                Ok(_) | Err(_) => self.pipe = None,
            }
        }
    }

    fn keep(&mut self, bytes: &[u8]) {
        self.heard.extend_from_slice(&bytes[bytes.len().saturating_sub(HEARD_BYTES_MAX)..]);
        let surplus = self.heard.len().saturating_sub(HEARD_BYTES_MAX);
        self.heard.drain(..surplus);
    }

    /// What was heard since this was last asked.
    pub(super) fn take_heard(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.heard)
    }
}

/// The worker's end, which is its standard error, unless its job says otherwise.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mouth {
    device: u64,
    inode: u64,
}

impl Mouth {
    /// Makes this the standard error of this process.
    pub(super) fn open(pipe: &OwnedFd) -> Option<Self> {
        fd::install_standard(pipe.as_fd(), 2).ok()?;
        Self::present()
    }

    fn present() -> Option<Self> {
        let found = fstat(fd::standard(2)?).ok()?;
        Some(Self { device: found.st_dev, inode: found.st_ino })
    }

    /// Nobody listens any more, neither daemon nor template: what is still written goes nowhere,
    /// and is no error.
    pub(super) fn shut(self, null: Option<BorrowedFd<'_>>) {
        let is_own =
            Self::present().is_some_and(|now| (now.device, now.inode) == (self.device, self.inode));
        if let Some(null) = null.filter(|_| is_own) {
            let _ = fd::install_standard(null, 2);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_bytes_are_kept_and_the_end_is_noticed() {
        let (mut ear, write) = Ear::new(3).expect("a pipe");
        ear.listen();
        assert!(ear.take_heard().is_empty() && ear.pipe().is_some());
        nix::unistd::write(&write, &vec![b'a'; 20_000]).expect("room");
        nix::unistd::write(&write, b"end").expect("room");
        let copy = ear.share(3).expect("a copy").expect("open");
        drop(write);
        ear.listen();
        let heard = ear.take_heard();
        assert_eq!((heard.len(), heard.ends_with(b"aend")), (HEARD_BYTES_MAX, true));
        assert!(ear.pipe().is_none() && ear.share(3).is_ok_and(|copy| copy.is_none()));
        assert_eq!(nix::unistd::read(&copy, &mut [0; 9]), Ok(0));
    }
}
