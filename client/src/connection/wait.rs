//! `wait`: which of several objects are ready.

use super::wire::ready_any;
use crate::deadline::Deadline;
use crate::process::{Handle, Process};
use nix::poll::{PollFd, PollFlags};
use std::collections::{HashMap, HashSet};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::time::Duration;

mod awaited;

pub use awaited::wait_async;

/// How long to sleep when a descriptor said that its object is ready and the object denies it, or
/// the system cannot watch: neither may cost a processor.
const NAP: Duration = Duration::from_millis(1);

/// What [`wait`] can wait for: everything with a descriptor (connections, listeners, sockets,
/// pipes), processes, and objects that know themselves whether they are ready, such as queues.
pub trait Waitable {
    /// What the system watches: it becomes readable, or is at its end, when this may be ready.
    ///
    /// # Errors
    /// When there is no descriptor for it. It is then asked itself, again and again.
    fn watch(&self) -> io::Result<BorrowedFd<'_>>;

    /// Whether it is ready, given whether its descriptor is. It is asked before every sleep, with
    /// `false`, and after it, with `true` if its descriptor has become ready. Whoever answers
    /// `false` to `true` should have made the descriptor unreadable.
    fn is_ready(&self, signalled: bool) -> bool {
        signalled
    }
}

impl<T: AsFd + ?Sized> Waitable for T {
    fn watch(&self) -> io::Result<BorrowedFd<'_>> {
        Ok(self.as_fd())
    }
}

impl Waitable for Handle {
    fn watch(&self) -> io::Result<BorrowedFd<'_>> {
        Ok(self.sentinel())
    }
}

impl<R> Waitable for Process<R> {
    fn watch(&self) -> io::Result<BorrowedFd<'_>> {
        Ok(self.sentinel())
    }
}

/// Waits until one of these is ready, or the time passes, and gives the places of all that are
/// ready, in order; none when the time passes first. Without a timeout it waits for ever; a timeout
/// of zero only looks. As `multiprocessing.connection.wait`.
///
/// A connection or socket is ready when something can be read or the peer is gone, a listener when
/// somebody has called, a process when it has ended, a queue when it has an item or no producer.
/// What is closed counts as ready: the next call says so. An empty list has nothing to wait for,
/// and gives none at once. There may be any number of objects, and one may be there twice.
///
/// ```
/// use mpserverd_client as mp;
/// use std::time::Duration;
///
/// let (a, b) = mp::pipe(true)?;
/// let (c, d) = mp::pipe(true)?;
/// assert!(mp::wait(&[&a, &c], Some(Duration::ZERO)).is_empty());
/// d.send(&1)?;
/// drop(b);
/// assert_eq!(mp::wait(&[&a, &c], None), [0, 1]);
/// # Ok::<(), mp::ConnectionError>(())
/// ```
pub fn wait(objects: &[&dyn Waitable], timeout: Option<Duration>) -> Vec<usize> {
    let deadline = Deadline::of(timeout);
    loop {
        let ready = ready_among(objects, &HashSet::new());
        // What is ready by itself does not keep others that are from being found.
        let until = if ready.is_empty() { deadline } else { Deadline::within(Duration::ZERO) };
        let (signalled, fruitless) = signalled(objects, &until);
        // Both looks count: an object may forget a signal once it was told.
        let mut ready = [ready, ready_among(objects, &signalled)].concat();
        ready.sort_unstable();
        ready.dedup();
        let late = deadline.left().is_some_and(|left| left.is_zero());
        if !ready.is_empty() || objects.is_empty() || late {
            return ready;
        }
        if fruitless || !signalled.is_empty() {
            std::thread::sleep(deadline.left().map_or(NAP, |left| left.min(NAP)));
        }
    }
}

fn ready_among(objects: &[&dyn Waitable], signalled: &HashSet<RawFd>) -> Vec<usize> {
    let is_ready = |object: &dyn Waitable| {
        let fd = object.watch().map(|fd| fd.as_raw_fd());
        object.is_ready(fd.is_ok_and(|fd| signalled.contains(&fd)))
    };
    (0..objects.len()).filter(|at| is_ready(objects[*at])).collect()
}

/// Descriptors that are ready, after waiting for one of them; and whether the system could not
/// watch them all, and so did not wait.
fn signalled(objects: &[&dyn Waitable], deadline: &Deadline) -> (HashSet<RawFd>, bool) {
    // Each once: the system refuses lists longer than a process may have descriptors.
    let watched = objects.iter().map(|object| object.watch()).collect::<Vec<_>>();
    let unwatched = watched.iter().any(Result::is_err);
    let unique = watched.iter().flatten().map(|fd| (fd.as_raw_fd(), *fd));
    let unique = unique.collect::<HashMap<_, _>>();
    let mut fds =
        unique.into_values().map(|fd| PollFd::new(fd, PollFlags::POLLIN)).collect::<Vec<_>>();
    let deadline = if unwatched { &Deadline::within(Duration::ZERO) } else { deadline };
    if fds.is_empty() || ready_any(&mut fds, deadline).is_err() {
        return (HashSet::new(), true);
    }
    let ready = fds.iter().filter(|fd| fd.any().unwrap_or(true));
    (ready.map(|fd| fd.as_fd().as_raw_fd()).collect(), unwatched)
}
