//! A place where workers arrive, and stay until they are dismissed: so it is known when so many
//! are at work at once, and who they are.

use super::crew::PATIENCE;
use mpserverd_tests::bench::text;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// Two named pipes: who arrives writes his pid into the one, and waits for a byte in the other.
#[derive(Debug)]
pub(crate) struct Meeting {
    directory: TempDir,
    arrivals: File,
    dismissals: File,
}

const ARRIVALS: &str = "arrivals";
const DISMISSALS: &str = "dismissals";

impl Meeting {
    pub(crate) fn new() -> Result<Self, String> {
        let directory = tempfile::Builder::new().prefix("pool-bench-").tempdir().map_err(text)?;
        // Both ends are open here, so that nobody waits for another end, and nobody sees one close.
        let open = |path: &Path| {
            mkfifo(path, Mode::S_IRUSR | Mode::S_IWUSR).map_err(text)?;
            File::options().read(true).write(true).open(path).map_err(text)
        };
        let arrivals = open(&directory.path().join(ARRIVALS))?;
        let dismissals = open(&directory.path().join(DISMISSALS))?;
        Ok(Self { directory, arrivals, dismissals })
    }

    /// The arguments of the task that takes part.
    pub(crate) fn place(&self) -> (PathBuf, PathBuf) {
        (self.directory.path().join(ARRIVALS), self.directory.path().join(DISMISSALS))
    }

    /// Waits until so many have arrived: their pids.
    pub(crate) fn arrived(&mut self, count: usize) -> Result<Vec<u32>, String> {
        let mut pids = Vec::with_capacity(count);
        while pids.len() < count {
            let time = PollTimeout::try_from(PATIENCE).unwrap_or(PollTimeout::MAX);
            let mut fds = [PollFd::new(self.arrivals.as_fd(), PollFlags::POLLIN)];
            if poll(&mut fds, time).map_err(text)? == 0 {
                return Err(format!("{} of {count} workers are at work", pids.len()));
            }
            // A pid is written at once, and so it is read.
            let mut pid = [0; 4];
            self.arrivals.read_exact(&mut pid).map_err(text)?;
            pids.push(u32::from_le_bytes(pid));
        }
        Ok(pids)
    }

    pub(crate) fn dismiss(&mut self, count: usize) -> Result<(), String> {
        self.dismissals.write_all(&vec![1; count]).map_err(text)
    }
}
