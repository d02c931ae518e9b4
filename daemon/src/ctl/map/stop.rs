//! What ends a command before its time: a signal, as something to poll.

use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Signals that users end a command with.
const SIGNALS: [i32; 3] = [libc::SIGINT, libc::SIGTERM, libc::SIGHUP];

/// Becomes readable (and stays so) when it is time to stop.
#[derive(Debug)]
pub struct Stop {
    wake: UnixStream,
    signal: Arc<AtomicUsize>,
}

/// The other end of a [`Stop`] that no signal is behind.
#[derive(Debug)]
pub struct Trigger {
    wake: UnixStream,
    signal: Arc<AtomicUsize>,
}

impl Stop {
    /// Stops when the user sends one of the usual signals. A hang-up that this process was told to
    /// ignore (`nohup`) stays ignored.
    ///
    /// # Errors
    /// What the system said.
    pub fn by_signals() -> io::Result<Self> {
        let (wake, other) = UnixStream::pair()?;
        let signal = Arc::new(AtomicUsize::new(0));
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let nohup = ignored(&status) >> (libc::SIGHUP - 1) & 1 == 1;
        for number in SIGNALS.into_iter().filter(|number| !(nohup && *number == libc::SIGHUP)) {
            // In this order: who is woken finds the number.
            signal_hook::flag::register_usize(number, Arc::clone(&signal), number as usize)?;
            signal_hook::low_level::pipe::register(number, other.try_clone()?)?;
        }
        Ok(Self { wake, signal })
    }

    /// Stops when the trigger is pulled.
    ///
    /// # Errors
    /// What the system said.
    pub fn by_hand() -> io::Result<(Self, Trigger)> {
        let (wake, other) = UnixStream::pair()?;
        let signal = Arc::new(AtomicUsize::new(0));
        let trigger = Trigger { wake: other, signal: Arc::clone(&signal) };
        Ok((Self { wake, signal }, trigger))
    }

    /// What to poll for reading.
    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.wake.as_fd()
    }

    /// The signal, once there was one.
    #[must_use]
    pub fn signal(&self) -> Option<i32> {
        match self.signal.load(Ordering::Acquire) {
            0 => None,
            number => i32::try_from(number).ok(),
        }
    }
}

impl Trigger {
    /// As if this signal had come.
    pub fn pull(&self, signal: i32) {
        self.signal.store(signal.unsigned_abs() as usize, Ordering::Release);
        // If nobody listens any more, nobody needs to stop.
        let _ = (&self.wake).write_all(&[0]);
    }
}

/// The mask of ignored signals in a `/proc/PID/status`.
fn ignored(status: &str) -> u64 {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_hand() {
        let (stop, trigger) = Stop::by_hand().expect("pair");
        assert_eq!(stop.signal(), None);
        trigger.pull(15);
        assert_eq!(stop.signal(), Some(15));
    }

    #[test]
    fn ignored_signals() {
        assert_eq!(ignored("Name:\tx\nSigIgn:\t0000000000000003\n"), 3);
        assert_eq!(ignored("nothing"), 0);
    }
}
