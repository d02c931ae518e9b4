//! Finding the next daemon: a template outlives the one that made it.
//!
//! The template connects to the same socket as any client, says hello, and offers itself with a
//! new control socket. It tries with growing pauses, because it is also busy reporting how its
//! workers end.

use crate::daemon::Connection;
use crate::sys::board::Board;
use crate::sys::fd;
use mpserverd_proto::client::{Reply, Request};
use mpserverd_proto::template::Attach;
use std::io;
use std::os::fd::{AsFd, OwnedFd, RawFd};
use std::path::Path;
use std::time::{Duration, Instant};

/// How long one attempt may take: a worker's end is reported that much later at most.
const ATTEMPT: Duration = Duration::from_millis(500);
const PAUSE_FIRST: Duration = Duration::from_millis(20);
/// Its spares are wanted as soon as the next daemon is there.
const PAUSE_LONGEST: Duration = Duration::from_millis(200);

/// When to try next.
#[derive(Debug)]
pub(crate) struct Search {
    pub(crate) since: Instant,
    pub(crate) next: Instant,
    pause: Duration,
}

impl Search {
    /// Begins now.
    pub(crate) fn begin() -> Self {
        let now = Instant::now();
        Self { since: now, next: now + PAUSE_FIRST, pause: PAUSE_FIRST }
    }

    /// Tries once; on failure the pause doubles.
    pub(crate) fn attempt(
        &mut self,
        offer: &Attach,
        board: Option<&Board>,
        base: RawFd,
    ) -> Option<OwnedFd> {
        match offer_to_daemon(offer, board, base) {
            Ok(control) => Some(control),
            Err(_) => {
                self.pause = (self.pause * 2).min(PAUSE_LONGEST);
                self.next = Instant::now() + self.pause;
                None
            }
        }
    }
}

fn offer_to_daemon(offer: &Attach, board: Option<&Board>, base: RawFd) -> io::Result<OwnedFd> {
    use std::os::unix::ffi::OsStrExt;
    let path = Path::new(std::ffi::OsStr::from_bytes(&offer.boot.socket));
    let deadline = Instant::now() + ATTEMPT;
    let mut connection = Connection::open(path, Some(deadline)).map_err(io::Error::other)?;
    let (ours, theirs) = fd::seqpacket_pair()?;
    let request = Request::Attach(offer.clone());
    let fds = [Some(theirs.as_fd()), board.map(Board::fd)];
    let fds = fds.into_iter().flatten().collect::<Vec<_>>();
    let answer = connection.call(&request, &fds, Some(deadline)).map_err(io::Error::other)?;
    match answer.0 {
        Reply::Done => fd::raise(ours, base),
        other => Err(io::Error::other(format!("{other:?}"))),
    }
}
