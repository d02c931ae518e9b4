//! How a process ended: the record that its parent writes into the worker's status pipe.

use serde::{Deserialize, Serialize};

/// Who saw the process end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(arbitrary::Arbitrary))]
pub enum Reporter {
    /// The template that forked it.
    Template,
    /// The daemon, which inherits the workers of a dead template.
    Daemon,
    /// The client itself: its own child, by `fork` or `spawn`.
    Parent,
    /// The kernel's record behind the pidfd (`PIDFD_GET_INFO`, Linux 6.15): everybody who
    /// could have reaped the process is dead.
    Pidfd,
}

/// What a process used, from `getrusage(2)`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(arbitrary::Arbitrary))]
pub struct Usage {
    /// CPU time in user mode, microseconds.
    pub user_us: u64,
    /// CPU time in the kernel, microseconds.
    pub system_us: u64,
    /// Peak resident memory, KiB. A forked process is born with the peak of its template.
    pub peak_rss_kib: u64,
    /// Page faults served without I/O: copies of shared pages, above all.
    pub minor_faults: u64,
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(arbitrary::Arbitrary))]
pub struct ExitRecord {
    /// Exit code, or minus the number of the signal that killed it (as in `multiprocessing`).
    pub code: i32,
    /// Whether a core was dumped.
    pub core: bool,
    /// What it used; zero where the reporter cannot know.
    pub usage: Usage,
    /// Who says so.
    pub reporter: Reporter,
    /// Whether it had used up what its hard limit of time on the CPU gives, and was killed: by the
    /// kernel, then. Nobody else's child tells that.
    #[serde(default)]
    pub out_of_cpu: bool,
}

impl ExitRecord {
    /// The signal that killed the process, if one did.
    #[must_use]
    pub fn signal(&self) -> Option<i32> {
        (self.code < 0).then_some(self.code.saturating_neg())
    }

    /// As bytes for the status pipe; far below `PIPE_BUF`, so it is written whole or not at all.
    ///
    /// # Panics
    /// Never: a record of plain numbers always encodes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        crate::codec::encode(self).expect("plain numbers encode")
    }
}

/// Bytes of an encoded [`ExitRecord`] at most.
pub const RECORD_BYTES_MAX: usize = 128;
