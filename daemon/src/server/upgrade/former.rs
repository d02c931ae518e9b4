//! The file of the program that is replaced.
//!
//! An upgrade has usually removed it, so its last user is the process that becomes another program:
//! the system would clear its pages away amid the exec, tens of milliseconds in which nobody is
//! served. Held open over the step, it goes once the next image serves, on a thread of its own.
//!
//! What must never be in here: a failure that ends an upgrade.

use nix::sys::signal::SigSet;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};

/// Stack of the thread, bytes: it makes one call.
const STACK_BYTES: usize = 64 << 10;

/// This program's own file, if nobody but this process may be left to hold it.
pub(super) fn open() -> Option<OwnedFd> {
    let mut options = File::options();
    options.read(true).custom_flags(libc::O_PATH);
    let file = options.open("/proc/self/exe").ok()?;
    let removed = file.metadata().is_ok_and(|metadata| metadata.nlink() == 0);
    removed.then(|| file.into())
}

/// Lets go of it beside the loop.
pub(super) fn give_up(file: OwnedFd) {
    let close = move || {
        // They are the loop's.
        let _ = SigSet::all().thread_block();
        drop(file);
    };
    let thread = std::thread::Builder::new().name("former".to_owned()).stack_size(STACK_BYTES);
    // Without a thread the closure is dropped, and the file with it: later than in the exec still.
    let _ = thread.spawn(close);
}
