//! The listening socket and its lock, to the next image of the daemon. Nobody else can take either
//! in between.

use super::Listener;
use crate::server::upgrade::image::{Carrier, Fd, Luggage};
use crate::state::StateError;
use nix::fcntl::{Flock, FlockArg};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::os::fd::AsFd;
use std::path::PathBuf;

/// The lock beside the socket.
#[derive(Debug, Serialize, Deserialize)]
struct LockRow {
    file: Fd,
    #[serde(with = "crate::state::path")]
    path: PathBuf,
}

/// The listening socket.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::server) struct ListenerRow {
    socket: Fd,
    #[serde(with = "crate::state::path")]
    path: PathBuf,
    /// None for a socket that a supervisor passed in.
    lock: Option<LockRow>,
}

impl Listener {
    pub(in crate::server) fn carry<'a>(&'a self, to: &mut Carrier<'a>) -> ListenerRow {
        ListenerRow {
            socket: to.fd(self.socket.as_fd()),
            path: self.path.clone(),
            lock: self
                .lock
                .as_ref()
                .map(|(file, path)| LockRow { file: to.fd(file.as_fd()), path: path.clone() }),
        }
    }

    pub(in crate::server) fn from_row(
        row: ListenerRow,
        from: &mut Luggage,
    ) -> Result<Self, StateError> {
        let lock = match row.lock {
            None => None,
            Some(lock) => Some((relock(File::from(from.fd(lock.file)?))?, lock.path)),
        };
        // A pause is over; if it was not, the next attempt says so.
        Ok(Self { socket: from.fd(row.socket)?, path: row.path, lock, retry_at: None })
    }
}

/// The lock is held already, by this very open file: asking for it again takes nothing.
fn relock(file: File) -> Result<Flock<File>, StateError> {
    Flock::lock(file, FlockArg::LockExclusiveNonblock)
        .map_err(|(_, errno)| StateError::system("flock")(errno.into()))
}
