//! Standard output without waiting for its reader: what cannot be written yet is kept, up to a
//! bound that makes the engine pause.

use nix::poll::PollFlags;
use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

/// A pipe that `poll` calls writable takes so many bytes without waiting (`pipe(7)`).
const CHUNK: usize = libc::PIPE_BUF;
/// Bytes that wait before nothing more is started.
const ENOUGH: usize = 1 << 20;

/// A descriptor with a buffer in front of it.
#[derive(Debug)]
pub(super) struct Output {
    fd: OwnedFd,
    buffer: VecDeque<u8>,
}

impl Output {
    pub(super) fn new(fd: OwnedFd) -> Self {
        Self { fd, buffer: VecDeque::new() }
    }

    pub(super) fn push(&mut self, line: &str) {
        self.buffer.extend(line.as_bytes());
        self.buffer.push_back(b'\n');
    }

    /// What to poll it for: for nothing, that nobody reads it any more is told all the same.
    pub(super) fn watch(&self) -> (BorrowedFd<'_>, PollFlags) {
        let idle = self.buffer.is_empty();
        (self.fd.as_fd(), if idle { PollFlags::empty() } else { PollFlags::POLLOUT })
    }

    pub(super) fn is_full(&self) -> bool {
        self.buffer.len() >= ENOUGH
    }

    /// Writes what can be written without waiting.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        while !self.buffer.is_empty()
            && super::crew::is_ready(&self.fd, PollFlags::POLLOUT, Duration::ZERO)
        {
            let (front, _) = self.buffer.as_slices();
            match nix::unistd::write(&self.fd, &front[..front.len().min(CHUNK)]) {
                Ok(written) => {
                    self.buffer.drain(..written);
                }
                Err(nix::errno::Errno::EAGAIN | nix::errno::Errno::EINTR) => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    #[test]
    fn a_reader_that_does_not_read_keeps_nobody_up() {
        let (mut reader, writer) = std::io::pipe().expect("pipe");
        let mut output = Output::new(writer.into());
        let line = "x".repeat(999);
        for _ in 0..2000 {
            output.push(&line);
        }
        output.flush().expect("some of it");
        assert!(output.is_full() && output.watch().1 == PollFlags::POLLOUT);
        let mut got = 0;
        let mut bytes = vec![0; 1 << 16];
        while got < 2_000_000 {
            got += reader.read(&mut bytes).expect("read");
            output.flush().expect("more of it");
        }
        assert_eq!((got, output.watch().1), (2_000_000, PollFlags::empty()));
    }

    #[test]
    fn nobody_reads_any_more() {
        let (reader, writer) = std::io::pipe().expect("pipe");
        let mut output = Output::new(writer.into());
        drop(reader);
        output.push("x");
        let error = output.flush().expect_err("broken");
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
    }
}
