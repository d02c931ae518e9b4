//! What the supervisor keeps for the case of a crash (`FDSTORE=1` of `sd_notify(3)`): counters,
//! certificates, the generation. The next daemon gets it back when it starts.
//!
//! Each time it is a new sealed memory file. Of two names the one that is not in use takes it, then
//! the other is given up, so that there is a whole one at any moment. A supervisor that keeps
//! nothing ignores it. Workers and templates are not in it: they tell of themselves.
//!
//! What must never be in here: a message to the supervisor for each start, or without a change.

use crate::core::{Core, Remains};
use crate::state;
use mp::sys::{fd, scm};
use serde::{Deserialize, Serialize};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::{Duration, Instant, SystemTime};
use tracing::{debug, info, warn};

/// The names, in turn.
const NAMES: [&str; 2] = ["mpserverd-state-a", "mpserverd-state-b"];
/// Between two of them at least.
const PAUSE: Duration = Duration::from_secs(5);
/// More than any daemon writes.
const BYTES_MAX: u64 = 64 << 20;

/// What is kept.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Kept {
    /// When it was written, milliseconds since the epoch: of several the latest counts.
    written_ms: u64,
    remains: Remains,
}

/// Whether a descriptor of this name is one of what is kept.
pub(super) fn is_ours(name: &str) -> bool {
    NAMES.contains(&name)
}

/// Goes on with what an earlier daemon has left. What makes no sense is told, and does not count.
pub(super) fn recall(mut core: Core, kept: Vec<OwnedFd>) -> Core {
    let read = kept.into_iter().filter_map(|file| match read(&file) {
        Ok(kept) => Some(kept),
        Err(error) => {
            warn!(error, "what an earlier daemon left with the supervisor cannot be used");
            None
        }
    });
    let Some(latest) = read.max_by_key(|kept| kept.written_ms) else { return core };
    match core.recall(latest.remains) {
        Ok(()) => info!("going on where an earlier daemon was"),
        Err(error) => warn!(%error, "what an earlier daemon left cannot be used"),
    }
    core
}

fn read(file: &OwnedFd) -> Result<Kept, String> {
    let copy = file.try_clone().map_err(|error| error.to_string())?;
    let length = std::fs::File::from(copy).metadata().map_err(|error| error.to_string())?.len();
    if length > BYTES_MAX {
        return Err(format!("{length} bytes are more than {BYTES_MAX}"));
    }
    let bytes = fd::read_memfd(file, length).map_err(|error| error.to_string())?;
    state::decode(&bytes).map_err(|error| error.to_string())
}

/// The supervisor's side of it.
#[derive(Debug)]
pub(super) struct Store {
    present: bool,
    /// What was kept last, by its mark.
    mark: Option<[u64; 6]>,
    kept_at: Option<Instant>,
    /// Something has changed, and waits for the pause to be over.
    waiting: bool,
    turn: usize,
}

impl Store {
    /// That of whoever the environment names.
    pub(super) fn of_environment() -> Self {
        let present = std::env::var_os("NOTIFY_SOCKET").is_some();
        Self { present, mark: None, kept_at: None, waiting: false, turn: 0 }
    }

    /// When something that has changed is to be kept.
    pub(super) fn due(&self) -> Option<Instant> {
        self.kept_at.filter(|_| self.waiting).map(|at| at + PAUSE)
    }

    /// Has it kept, if it has changed and not too often.
    pub(super) fn keep(&mut self, core: &Core) {
        let mark = Some(core.remains_mark());
        if !self.present || self.mark == mark {
            self.waiting = false;
            return;
        }
        self.waiting = self.kept_at.is_some_and(|at| at.elapsed() < PAUSE);
        if self.waiting {
            return;
        }
        self.mark = mark;
        self.kept_at = Some(Instant::now());
        if let Err(error) = self.put(core.remains()) {
            // The next change tries again; until then a crash forgets what was counted.
            debug!(error, "the supervisor keeps nothing");
        }
    }

    fn put(&mut self, remains: Remains) -> Result<(), String> {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let kept = Kept { written_ms: since.as_millis() as u64, remains };
        let bytes = state::encode(&kept).map_err(|error| error.to_string())?;
        let file = fd::sealed_memfd(&[&bytes]).map_err(|error| error.to_string())?;
        let (name, other) = (NAMES[self.turn % 2], NAMES[(self.turn + 1) % 2]);
        let store = format!("FDSTORE=1\nFDNAME={name}\nFDPOLL=0\n");
        say(&store, &[file.as_fd()]).map_err(|error| error.to_string())?;
        self.turn += 1;
        forget(other).map_err(|error| error.to_string())
    }

    /// The daemon stops as it was asked to: the next one begins anew.
    pub(super) fn empty(&mut self) {
        if std::mem::replace(&mut self.present, false) {
            for name in NAMES {
                // A supervisor that is gone keeps nothing anyway.
                let _ = forget(name);
            }
        }
    }
}

fn forget(name: &str) -> io::Result<()> {
    say(&format!("FDSTOREREMOVE=1\nFDNAME={name}\n"), &[])
}

/// Says something to the supervisor, with descriptors.
fn say(text: &str, fds: &[BorrowedFd<'_>]) -> io::Result<()> {
    let Some(path) = std::env::var_os("NOTIFY_SOCKET") else { return Ok(()) };
    let address = match path.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        _ => SocketAddr::from_pathname(&path)?,
    };
    let socket = UnixDatagram::unbound()?;
    socket.connect_addr(&address)?;
    scm::send(socket.as_fd(), &[text.as_bytes()], fds, true).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::Time;

    fn core() -> Core {
        Core::new(Time::default(), "1", 1, "/s", 1)
    }

    fn file(bytes: &[u8]) -> OwnedFd {
        fd::sealed_memfd(&[bytes]).expect("a memory file")
    }

    fn kept(written_ms: u64, generation: u32) -> OwnedFd {
        let mut book = serde_json::to_value(core().remains()).expect("an object");
        book["generation"] = generation.into();
        book["starts"] = 100.into();
        let remains = serde_json::from_value(book).expect("remains");
        file(&state::encode(&Kept { written_ms, remains }).expect("written"))
    }

    #[test]
    fn the_latest_counts() {
        let core = recall(core(), vec![kept(7, 3), kept(9, 5), kept(8, 4)]);
        assert_eq!(core.remains_mark()[..3], [5, 1, 100]);
        assert_eq!(core.audit(), Ok(()));
    }

    #[test]
    fn nonsense_does_not_count() {
        let nothing = std::fs::File::open("/dev/null").expect("there is one").into();
        let kept = vec![file(b""), file(b"mpstate"), nothing, kept(9, u32::MAX)];
        let core = recall(core(), kept);
        assert_eq!(core.remains_mark(), [0, 1, 0, 0, 0, 0]);
    }

    #[test]
    fn its_names_are_known() {
        assert!(NAMES.into_iter().all(is_ours) && !is_ours("mpserverd"));
    }
}
