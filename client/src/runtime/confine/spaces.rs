//! Namespaces: a network with nothing in it, a `/tmp` that nobody else sees.
//!
//! With `CAP_SYS_ADMIN` they are made as they are. Anybody else makes a user namespace first, in
//! which he is himself, and gives up at once all that he might do in it.

use super::{failed, lacking};
use crate::sys::attributes;
use mpserverd_proto::error::JobError;
use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::prctl;
use std::io;
use std::path::Path;

const NEEDS: &str = "CAP_SYS_ADMIN, or user namespaces for everybody (`user.max_user_namespaces`, \
                     `kernel.apparmor_restrict_unprivileged_userns`)";

/// Folders that are replaced.
const TEMPORARY: [&str; 2] = ["/tmp", "/var/tmp"];

/// Makes and enters them.
pub(super) fn enter(network: bool, tmp: bool) -> Result<(), JobError> {
    if !network && !tmp {
        return Ok(());
    }
    let mut spaces = CloneFlags::empty();
    spaces.set(CloneFlags::CLONE_NEWNET, network);
    spaces.set(CloneFlags::CLONE_NEWNS, tmp);
    let in_its_own = match unshare(spaces) {
        Ok(()) => false,
        Err(Errno::EPERM) => {
            as_oneself(spaces)?;
            true
        }
        Err(error) => return Err(lacking("namespaces", NEEDS, &error)),
    };
    if tmp {
        replace_tmp()?;
    }
    if in_its_own { give_up() } else { Ok(()) }
}

/// In a user namespace in which this user and group are the same as outside.
fn as_oneself(spaces: CloneFlags) -> Result<(), JobError> {
    let (user, group) = (nix::unistd::geteuid(), nix::unistd::getegid());
    unshare(spaces | CloneFlags::CLONE_NEWUSER).map_err(|e| lacking("namespaces", NEEDS, &e))?;
    let as_outside = || {
        std::fs::write("/proc/self/setgroups", "deny")?;
        std::fs::write("/proc/self/uid_map", format!("{user} {user} 1"))?;
        std::fs::write("/proc/self/gid_map", format!("{group} {group} 1"))
    };
    let written = match as_outside() {
        // Files in `/proc` of a process that changed its user are root's, unless it is dumpable.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            let wrong = |error: Errno| failed("dumpable", &error);
            prctl::set_dumpable(true).map_err(wrong)?;
            let written = as_outside();
            prctl::set_dumpable(false).map_err(wrong)?;
            written
        }
        other => other,
    };
    written.map_err(|error| lacking("user namespace", NEEDS, &error))
}

/// A user namespace of its own makes a process almighty in it, so that it could undo what was just
/// done, and reach more of the kernel than before.
fn give_up() -> Result<(), JobError> {
    attributes::forget_capabilities().map_err(|error| failed("capabilities", &error))
}

fn replace_tmp() -> Result<(), JobError> {
    let step = "private tmp";
    let none = None::<&str>;
    // What is mounted here must not appear outside; what is mounted outside may appear here.
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_SLAVE, none)
        .map_err(|error| lacking(step, NEEDS, &error))?;
    let directory = std::env::current_dir();
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    for folder in TEMPORARY.iter().filter(|folder| Path::new(folder).is_dir()) {
        mount(Some("tmpfs"), *folder, Some("tmpfs"), flags, Some("mode=1777"))
            .map_err(|error| lacking(step, NEEDS, &error))?;
    }
    // The old `/tmp` could be reached through a working directory in it.
    let again = directory.and_then(std::env::set_current_dir);
    again.or_else(|_| std::env::set_current_dir(TEMPORARY[0])).map_err(|e| failed(step, &e))
}
