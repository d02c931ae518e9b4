//! `freeze_support`: what kind of process is this?
//!
//! A process that the daemon or a client started as a template or worker has a variable in its
//! environment and a socket as its standard input (so that it could be started with a plain
//! `posix_spawn`, and no descriptor number had to be agreed on).

use super::{BOOTSTRAP, ROLE_TEMPLATE, ROLE_WORKER};
use crate::sys::{attributes, environ, fd, fork};
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};

/// Exit code of a process that was started wrongly.
const MISUSE: i32 = 100;

static ENTERED: AtomicBool = AtomicBool::new(false);

/// Whether this process was started as a template or worker and has not begun to be one.
pub(crate) fn is_bootstrapped() -> bool {
    !ENTERED.load(Ordering::Relaxed) && std::env::var_os(BOOTSTRAP).is_some()
}

/// Becomes a template or worker if this process was started as one; otherwise returns.
pub(crate) fn enter() {
    let Some(role) = std::env::var_os(BOOTSTRAP) else { return };
    if ENTERED.swap(true, Ordering::Relaxed) {
        return;
    }
    // SAFETY: this is the top of `main` (or before it): no other thread exists.
    unsafe { environ::remove(BOOTSTRAP) };
    // SAFETY: likewise nothing has been opened yet: what is open came from whoever started this
    // process, and was not meant for a worker.
    unsafe { fd::close_survivors() };
    attributes::ignore_broken_pipes();
    match role.to_str() {
        Some(ROLE_TEMPLATE) => super::template::main(take_socket()),
        Some(ROLE_WORKER) => super::worker::main_spawned(take_socket()),
        _ => refuse(&format!("unknown role in {BOOTSTRAP}: {}", role.display())),
    }
}

/// Takes the socket that came as standard input and puts `/dev/null` there.
fn take_socket() -> OwnedFd {
    let taken = (|| {
        let input = fd::standard(0).ok_or_else(|| "standard input is closed".to_owned())?;
        let kind = File::from(input.try_clone_to_owned().map_err(|e| e.to_string())?);
        let kind = kind.metadata().map_err(|e| e.to_string())?.file_type();
        if !std::os::unix::fs::FileTypeExt::is_socket(&kind) {
            return Err("standard input is not a socket".to_owned());
        }
        let socket = fd::duplicate_from(input, 3).map_err(|e| e.to_string())?;
        let null = File::open("/dev/null").map_err(|e| format!("/dev/null: {e}"))?;
        fd::install_standard(null.as_fd(), 0).map_err(|e| e.to_string())?;
        for number in [1, 2] {
            if !fd::is_open(number) {
                fd::install_standard(null.as_fd(), number).map_err(|e| e.to_string())?;
            }
        }
        Ok::<_, String>(socket)
    })();
    taken.unwrap_or_else(|why| {
        refuse(&format!("{BOOTSTRAP} is set, but {why}; unset it to run this program by hand"))
    })
}

fn refuse(why: &str) -> ! {
    eprintln!("mpserverd runtime: {why}");
    fork::exit_now(MISUSE)
}
