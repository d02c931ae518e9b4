//! Frames over a stream socket, for both sides: one call of the system receives a small one.
//!
//! What must never be in here: memory for a length that a peer only claims.

use super::wire::FRAME_BYTES_MAX;
use crate::connection::wire::ready;
use crate::deadline::Deadline;
use crate::sys::scm;
use nix::poll::PollFlags;
use std::io;
use std::os::fd::BorrowedFd;

/// Room for what may come in one call.
const ROOM: usize = 64 << 10;
/// A buffer that grew beyond this is given back once it is empty.
const KEPT: usize = 1 << 20;

/// What has come of a stream of frames.
#[derive(Debug, Default)]
pub(super) struct Reader {
    bytes: Vec<u8>,
    /// Where the first frame that was not taken begins.
    start: usize,
}

/// How waiting for more ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum More {
    /// Something came.
    Came,
    /// Nothing came in time.
    Nothing,
    /// Nothing will come.
    End,
}

impl Reader {
    /// The next frame that is there as a whole, behind its length.
    ///
    /// # Errors
    /// A length that cannot be.
    pub(super) fn frame(&mut self) -> io::Result<Option<&[u8]>> {
        let Some(length) = self.length()? else { return Ok(None) };
        let (from, to) = (self.start + 4, self.start + 4 + length);
        if self.bytes.len() < to {
            return Ok(None);
        }
        self.start = to;
        Ok(Some(&self.bytes[from..to]))
    }

    fn length(&self) -> io::Result<Option<usize>> {
        let Some(header) = self.bytes[self.start..].first_chunk::<4>() else { return Ok(None) };
        let length = u32::from_le_bytes(*header) as usize;
        if !(8..=FRAME_BYTES_MAX).contains(&length) {
            let what = format!("{length} is no length of a frame");
            return Err(io::Error::new(io::ErrorKind::InvalidData, what));
        }
        Ok(Some(length))
    }

    /// Receives some bytes, waiting for them until the deadline.
    ///
    /// # Errors
    /// Those of the system.
    pub(super) fn more(&mut self, fd: BorrowedFd<'_>, deadline: &Deadline) -> io::Result<More> {
        self.make_room()?;
        let never = deadline.is_never();
        if !never && !ready(fd, PollFlags::POLLIN, deadline)? {
            return Ok(More::Nothing);
        }
        let room = self.bytes.capacity() - self.bytes.len();
        match scm::append_plain(fd, &mut self.bytes, room, !never) {
            Ok(0) => Ok(More::End),
            Ok(_) => Ok(More::Came),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(More::Nothing),
            // A peer that ends with something unread resets the connection.
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Ok(More::End),
            Err(error) => Err(error),
        }
    }

    fn make_room(&mut self) -> io::Result<()> {
        if self.start == self.bytes.len() {
            self.start = 0;
            self.bytes.clear();
            if self.bytes.capacity() > KEPT {
                self.bytes = Vec::new();
            }
        }
        let have = self.bytes.len();
        if self.bytes.capacity() - have >= ROOM / 2 {
            return Ok(());
        }
        self.bytes.drain(..self.start);
        self.start = 0;
        // As much as has come already, at most: a length alone is only a claim.
        let wanted = self.bytes.len().max(ROOM);
        let no_room = |_| io::Error::from(io::ErrorKind::OutOfMemory);
        self.bytes.try_reserve(wanted).map_err(no_room)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;
    use std::time::Duration;

    fn frame(body: &[u8]) -> Vec<u8> {
        [&(body.len() as u32).to_le_bytes()[..], body].concat()
    }

    #[test]
    fn frames_come_whole_however_they_are_cut() {
        let (ours, mut theirs) = UnixStream::pair().expect("a pair");
        let sent = [frame(&[1; 8]), frame(&[2; 100]), frame(&[3; 9])].concat();
        let mut reader = Reader::default();
        let mut got = Vec::new();
        for byte in sent {
            theirs.write_all(&[byte]).expect("written");
            assert_eq!(reader.more(ours.as_fd(), &Deadline::NEVER).expect("read"), More::Came);
            while let Some(frame) = reader.frame().expect("a frame") {
                got.push((frame[0], frame.len()));
            }
        }
        assert_eq!(got, [(1, 8), (2, 100), (3, 9)]);
        let short = Deadline::within(Duration::from_millis(5));
        assert_eq!(reader.more(ours.as_fd(), &short).expect("read"), More::Nothing);
        drop(theirs);
        assert_eq!(reader.more(ours.as_fd(), &Deadline::NEVER).expect("read"), More::End);
    }

    #[test]
    fn a_large_frame_grows_as_it_comes() {
        let (ours, mut theirs) = UnixStream::pair().expect("a pair");
        let sent = frame(&vec![5; 3 << 20]);
        let mut reader = Reader::default();
        std::thread::scope(|scope| {
            scope.spawn(|| theirs.write_all(&sent));
            loop {
                reader.more(ours.as_fd(), &Deadline::NEVER).expect("read");
                if let Some(frame) = reader.frame().expect("a frame") {
                    assert!(frame.len() == 3 << 20 && frame.iter().all(|byte| *byte == 5));
                    break;
                }
            }
        });
        reader.make_room().expect("room");
        assert!(reader.bytes.capacity() <= KEPT);
    }

    #[test]
    fn absurd_lengths_are_errors() {
        for length in [0u32, 7, u32::MAX] {
            let (ours, mut theirs) = UnixStream::pair().expect("a pair");
            theirs.write_all(&length.to_le_bytes()).expect("written");
            let mut reader = Reader::default();
            reader.more(ours.as_fd(), &Deadline::NEVER).expect("read");
            assert!(reader.frame().is_err(), "{length}");
        }
    }
}
