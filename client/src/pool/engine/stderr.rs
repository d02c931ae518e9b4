//! What workers write to their standard error: passed on to this process's own by a thread, and
//! the end of it kept for who asks what a lost worker said.
//!
//! Nothing here lets a worker or the supervisor wait for a terminal that does not read: the thread
//! alone writes, and a pipe that is full makes its own worker wait.

use crate::pool::error::PoolError;
use crate::start::quiet::Quiet;
use crate::sys::fd;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::eventfd::{EfdFlags, EventFd};
use std::collections::VecDeque;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

/// Lines that are kept of each worker.
const LINES_KEPT: usize = 20;
/// Bytes that are kept of each worker.
const BYTES_KEPT: usize = 4096;
/// Bytes that are read at once, and at most from one worker before the next has its turn.
const READ_BYTES: usize = 64 << 10;
/// Bytes read from a dead worker in one go; a child of it may write on without end.
const LAST_WORDS_MOST: usize = 1 << 20;

/// The end of what was written.
#[derive(Debug, Default)]
struct Tail {
    bytes: VecDeque<u8>,
}

impl Tail {
    fn add(&mut self, bytes: &[u8]) {
        let bytes = &bytes[bytes.len().saturating_sub(BYTES_KEPT)..];
        let excess = (self.bytes.len() + bytes.len()).saturating_sub(BYTES_KEPT);
        self.bytes.drain(..excess);
        self.bytes.extend(bytes);
    }

    fn lines(&self) -> Vec<String> {
        let bytes = self.bytes.iter().copied().collect::<Vec<_>>();
        let text = String::from_utf8_lossy(&bytes);
        let lines = text.lines().map(str::trim_end).filter(|line| !line.is_empty());
        let lines = lines.map(ToOwned::to_owned).collect::<Vec<_>>();
        lines[lines.len().saturating_sub(LINES_KEPT)..].to_vec()
    }
}

#[derive(Debug, Default)]
struct Heard {
    tail: Tail,
    /// Read by somebody who must not wait for our own standard error.
    unsaid: Vec<u8>,
    ended: bool,
}

/// The standard error of one worker.
#[derive(Debug)]
pub(crate) struct Voice {
    pipe: OwnedFd,
    heard: Mutex<Heard>,
}

impl Voice {
    fn heard(&self) -> MutexGuard<'_, Heard> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads once, and gives what is to be passed on.
    fn read(&self) -> Vec<u8> {
        let mut heard = self.heard();
        let mut bytes = std::mem::take(&mut heard.unsaid);
        self.read_into(&mut heard, &mut bytes);
        bytes
    }

    /// Reads what is there, at most [`READ_BYTES`]; tells whether there was something.
    fn read_into(&self, heard: &mut Heard, bytes: &mut Vec<u8>) -> bool {
        let before = bytes.len();
        bytes.resize(before + READ_BYTES, 0);
        let got = nix::unistd::read(&self.pipe, &mut bytes[before..]);
        bytes.truncate(before + got.unwrap_or(0));
        heard.tail.add(&bytes[before..]);
        match got {
            Ok(0) => heard.ended = true,
            Ok(_) | Err(Errno::EAGAIN | Errno::EINTR) => {}
            Err(_) => heard.ended = true,
        }
        bytes.len() > before
    }
}

struct Shared {
    voices: Mutex<Vec<Arc<Voice>>>,
    /// Makes the thread look: at new voices, at what is unsaid, at the end.
    wake: EventFd,
    over: AtomicBool,
}

impl Shared {
    fn voices(&self) -> MutexGuard<'_, Vec<Arc<Voice>>> {
        self.voices.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The standard errors of all workers. The thread ends once this is dropped, with what was written
/// until then passed on.
pub(crate) struct Stderr {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Stderr {
    /// Starts the thread.
    pub(crate) fn start() -> Result<Self, PoolError> {
        let wake = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)
            .map_err(|error| PoolError::system("eventfd")(error.into()))?;
        let shared =
            Arc::new(Shared { voices: Mutex::default(), wake, over: AtomicBool::new(false) });
        let (in_thread, quiet) = (Arc::clone(&shared), Quiet::begin());
        let thread = std::thread::Builder::new()
            .name("mp-pool-stderr".to_owned())
            .spawn(move || run(&in_thread, &quiet))
            .map_err(PoolError::system("thread"))?;
        Ok(Self { shared, thread: Mutex::new(Some(thread)) })
    }

    /// Passes on what is there, and ends the thread.
    pub(crate) fn finish(&self) {
        self.end();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            let _ = thread.join();
        }
    }

    fn end(&self) {
        self.shared.over.store(true, Ordering::Release);
        let _ = self.shared.wake.write(1);
    }

    /// A pipe for a worker: its end, and ours.
    pub(crate) fn open(&self) -> std::io::Result<(OwnedFd, Arc<Voice>)> {
        let (read, write) = fd::pipe()?;
        fd::set_nonblocking(read.as_fd(), true)?;
        let voice = Arc::new(Voice { pipe: read, heard: Mutex::default() });
        self.shared.voices().push(Arc::clone(&voice));
        let _ = self.shared.wake.write(1);
        Ok((write, voice))
    }

    /// The last lines of a worker that has ended; whatever it has written is read first.
    pub(crate) fn last_lines(&self, voice: &Voice) -> Vec<String> {
        let mut heard = voice.heard();
        let mut bytes = std::mem::take(&mut heard.unsaid);
        let most = bytes.len() + LAST_WORDS_MOST;
        while bytes.len() < most && voice.read_into(&mut heard, &mut bytes) {}
        heard.unsaid = bytes;
        let lines = heard.tail.lines();
        drop(heard);
        let _ = self.shared.wake.write(1);
        lines
    }
}

impl Drop for Stderr {
    fn drop(&mut self) {
        self.end();
    }
}

fn run(shared: &Shared, quiet: &Quiet) {
    let mut awake = Some(quiet.awake());
    loop {
        let over = shared.over.load(Ordering::Acquire);
        let voices = shared.voices().clone();
        for voice in &voices {
            let bytes = voice.read();
            // A terminal that does not read must not hold up a fork.
            drop(awake.take());
            say(&bytes);
            awake = Some(quiet.awake());
        }
        if over {
            return;
        }
        shared.voices().retain(|voice| {
            let heard = voice.heard();
            !heard.ended || !heard.unsaid.is_empty()
        });
        let voices = shared.voices().clone();
        let mut sources = vec![PollFd::new(shared.wake.as_fd(), PollFlags::POLLIN)];
        sources.extend(voices.iter().map(|v| PollFd::new(v.pipe.as_fd(), PollFlags::POLLIN)));
        drop(awake.take());
        let _ = poll(&mut sources, PollTimeout::NONE);
        awake = Some(quiet.awake());
        let _ = shared.wake.read();
    }
}

/// Passes it on. Without a standard error there is nobody to tell.
///
/// By the descriptor, not by std's handle: a copy of this process must never find that locked.
fn say(mut bytes: &[u8]) {
    let Some(stderr) = fd::standard(2) else { return };
    while !bytes.is_empty() {
        match nix::unistd::write(stderr, bytes) {
            Ok(written) => bytes = &bytes[written..],
            Err(Errno::EINTR) => {}
            Err(Errno::EAGAIN) => {
                let _ = poll(&mut [PollFd::new(stderr, PollFlags::POLLOUT)], PollTimeout::NONE);
            }
            Err(_) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::io::Write;

    #[test]
    fn only_the_end_is_kept() {
        let mut tail = Tail::default();
        for line in 0..1000 {
            tail.add(format!("line {line}\n").as_bytes());
        }
        let lines = tail.lines();
        assert_eq!((lines.len(), &*lines[19]), (LINES_KEPT, "line 999"));
        tail.add(&[b'x'; 3 * BYTES_KEPT]);
        assert_eq!(tail.lines(), ["x".repeat(BYTES_KEPT)]);
    }

    #[test]
    fn last_words_are_heard_at_once() {
        let stderr = Stderr::start().unwrap();
        let (write, voice) = stderr.open().unwrap();
        File::from(write).write_all(b"I am about\nto end\n\n").unwrap();
        let lines = stderr.last_lines(&voice);
        assert_eq!(lines, ["I am about", "to end"]);
        assert_eq!(stderr.last_lines(&voice), lines, "asking does not forget");
    }
}
