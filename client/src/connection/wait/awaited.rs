//! Awaiting several objects at once.

use super::{NAP, Waitable, ready_among, signalled};
use crate::deadline::Deadline;
use crate::handles::SharedFd;
use crate::reactor::{Interest, before, ready, until};
use crate::sync::raw::lock::NAP_LONGEST;
use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};
use std::collections::HashSet;
use std::io;
use std::sync::Arc;
use std::time::Instant;

/// Objects that may be awaited from any thread.
type Objects<'a> = [&'a (dyn Waitable + Sync)];

/// Waits until one of these is ready, and gives the places of all that are, in order, without
/// keeping a thread: the awaited [`wait`](crate::wait). An empty list gives none at once.
///
/// It takes nothing, so dropping the future loses nothing. It needs a descriptor while it waits.
///
/// ```
/// use mpserverd_client as mp;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let (a, b) = mp::pipe(true)?;
/// let queue = mp::Queue::<u32>::new()?;
/// b.send(&1)?;
/// assert_eq!(mp::wait_async(&[&queue, &a]).await, [1]);
/// # Ok(())
/// # }
/// ```
pub async fn wait_async(objects: &[&(dyn Waitable + Sync)]) -> Vec<usize> {
    let mut watch = None;
    loop {
        let (ready_now, fruitless) = look(objects);
        if !ready_now.is_empty() || objects.is_empty() {
            return ready_now;
        }
        if watch.is_none() && !fruitless {
            watch = watch_all(objects).ok();
        }
        match &watch {
            // What was closed meanwhile is found when the nap is over.
            Some(watch) if !fruitless => {
                let nap = &mut Some(until(Instant::now() + NAP_LONGEST));
                before(ready(Arc::new(watch.clone()), Interest::Read), nap).await;
            }
            _ => until(Instant::now() + NAP).await,
        }
    }
}

/// Which are ready now, and whether the system cannot tell when one will be.
fn look(objects: &Objects<'_>) -> (Vec<usize>, bool) {
    let objects = objects.iter().map(|object| *object as &dyn Waitable).collect::<Vec<_>>();
    let ready = ready_among(&objects, &HashSet::new());
    let (signalled, fruitless) = signalled(&objects, &Deadline::now());
    // Both looks count: an object may forget a signal once it was told.
    let mut ready = [ready, ready_among(&objects, &signalled)].concat();
    ready.sort_unstable();
    ready.dedup();
    (ready, fruitless || !signalled.is_empty())
}

/// One descriptor that is readable when one of these is.
fn watch_all(objects: &Objects<'_>) -> io::Result<SharedFd> {
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
    for object in objects {
        match epoll.add(object.watch()?, EpollEvent::new(EpollFlags::EPOLLIN, 0)) {
            // One that is there twice.
            Ok(()) | Err(Errno::EEXIST) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(epoll.0.into())
}
