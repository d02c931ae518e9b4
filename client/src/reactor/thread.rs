//! How the threads of the reactor begin.

use super::{Reactor, lock};
use nix::sys::signal::{SigSet, SigmaskHow};
use std::path::Path;
use std::sync::{Arc, Barrier};

/// Starts a thread of the reactor and waits until its number is known, so that a fork knows it too;
/// tells whether there is one.
///
/// It takes no signals: handlers run on the threads of the program, as without it. The caller must
/// not be parked meanwhile, as it would be by a channel: it may be an executor that sleeps by
/// `thread::park`, whose wake-up that would use up.
pub(super) fn start(
    reactor: &'static Reactor,
    name: &str,
    run: impl FnOnce(&'static Reactor) + Send + 'static,
) -> bool {
    let known = Arc::new(Barrier::new(2));
    let tell = known.clone();
    let before = SigSet::all().thread_swap_mask(SigmaskHow::SIG_BLOCK);
    let started = std::thread::Builder::new().name(name.to_owned()).spawn(move || {
        let own = nix::unistd::gettid().as_raw().cast_unsigned();
        let mut threads = lock(&reactor.threads);
        // One that has ended may still be listed for a moment, so it is forgotten only then.
        threads.retain(|tid| Path::new(&format!("/proc/self/task/{tid}")).exists());
        threads.push(own);
        drop(threads);
        tell.wait();
        run(reactor);
    });
    if let Ok(before) = before {
        let _ = before.thread_set_mask();
    }
    if started.is_ok() {
        known.wait();
    }
    started.is_ok()
}
