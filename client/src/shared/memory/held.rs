//! The segments that this process holds, for when it ends without dropping them: statics, what
//! `std::process::exit` leaves on stacks, what a fork copied.

use super::{Segment, names};
use std::os::fd::{AsFd, AsRawFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Weak};

/// Those that are not dropped, and some that are.
static HELD: Mutex<Vec<Weak<Segment>>> = Mutex::new(Vec::new());

/// Whether this process ever held any.
static EVER: AtomicBool = AtomicBool::new(false);

/// Remembers a segment until it is dropped.
pub(super) fn remember(segment: &Arc<Segment>) {
    crate::process::register_exit_handler();
    EVER.store(true, Ordering::Relaxed);
    let mut held = HELD.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if held.len() >= 16 && held.len() == held.capacity() {
        held.retain(|segment| segment.strong_count() > 0);
    }
    held.push(Arc::downgrade(segment));
}

/// This process ends: lets go of all its segments, and removes the names of those that nobody else
/// holds. Handles that are used nevertheless give errors.
pub(crate) fn let_go() {
    // Taken by a thread that the fork which made this process did not copy, or that hangs.
    let Ok(mut held) = HELD.try_lock() else { return };
    let Ok(null) = std::fs::File::open("/dev/null") else { return };
    for segment in std::mem::take(&mut *held).iter().filter_map(Weak::upgrade) {
        let Ok(again) = names::reopen(&segment.fd) else { continue };
        // Another thread may use the number just now: it stays taken.
        crate::sys::fd::cover(null.as_fd(), segment.fd.as_fd().as_raw_fd());
        names::remove_if_alone(&segment.name, &again);
    }
    // What was dropped while a process that this one was just starting had a copy, for an instant.
    if EVER.load(Ordering::Relaxed) {
        names::sweep();
    }
}

/// A process that this one started was killed: what it held alone is removed.
pub(crate) fn somebody_died() {
    names::sweep();
}
