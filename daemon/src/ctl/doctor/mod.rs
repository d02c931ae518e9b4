//! `doctor`: looks at everything that the daemon needs or profits from, and says in plain words
//! what each missing thing costs and what to do.
//!
//! | file | looks at |
//! |---|---|
//! | [`finding`] | what a look found, and how bad it is |
//! | [`files`] | files of the kernel, and whose process they describe |
//! | [`kernel`] | system calls and features |
//! | [`limits`] | descriptors, processes |
//! | [`memory`] | huge pages, overcommitment, what is free |
//! | [`cgroup`] | version, controllers, delegation |
//! | [`socket`] | the socket's file and its folder |
//! | [`daemon`] | whether it answers, its version, its templates |
//! | [`manager`] | systemd: its version, the units |
//! | [`clock`] | the source of time, the date |
//! | [`storage`] | the runtime folder |
//! | [`report`] | how all that looks |
//!
//! Each file gathers facts into a plain struct, and judges such a struct: tests fake the facts.
//! What must never be in here: a change of anything. What to do is said, and the operator does it.

mod cgroup;
mod clock;
mod daemon;
mod files;
mod finding;
mod kernel;
mod limits;
pub(super) mod manager;
mod memory;
mod report;
mod socket;
mod storage;

pub(super) use cgroup::mounted;

use super::error::{CtlError, EXIT_FAILED};
use super::screen::Screen;
use crate::cli::mpctl::Doctor;
use files::{Files, Subject};
use finding::Finding;
use std::path::Path;

/// `mpctl doctor`.
pub(super) fn main(
    socket: Option<&Path>,
    screen: &Screen,
    options: &Doctor,
) -> Result<u8, CtlError> {
    let files = Files::of_this_machine();
    let met = (!options.host_only).then(|| daemon::Facts::gather(socket));
    let subject = met.as_ref().and_then(daemon::Facts::subject).unwrap_or_else(Subject::own);
    let path = met.as_ref().map(|met| met.path().to_owned());
    let path = path.unwrap_or_else(|| mp::transport::candidates(socket).swap_remove(0));

    let mut findings = kernel::Facts::gather(&files).judge();
    findings.extend(limits::Facts::gather(&files, subject).judge());
    findings.extend(memory::Facts::gather(&files).judge());
    findings.extend(cgroup::Facts::gather(&files, subject).judge());
    findings.extend(storage::Facts::gather(&path).judge());
    findings.extend(clock::Facts::gather(&files).judge());
    findings.extend(manager::Facts::gather(&path).judge(options.host_only));
    if let Some(met) = met {
        findings.extend(socket::Facts::gather(&path).judge());
        findings.extend(met.judge());
    }
    let usable = findings.iter().all(Finding::is_bearable);
    let document = report::document(subject, usable, &findings);
    let printed = screen.show(&document, || report::text(screen, subject, &findings))?;
    // An output that cannot be written is the caller's trouble first.
    Ok(if printed == 0 && !usable { EXIT_FAILED } else { printed })
}
