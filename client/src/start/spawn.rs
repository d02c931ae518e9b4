//! The `spawn` method: this program, executed anew.
//!
//! The command is kept plain (no `pre_exec`, no ids), so that std uses `posix_spawn`, whose time
//! does not grow with this process. The job socket travels as standard input.

use super::{Lease, Status};
use crate::error::StartError;
use crate::module_path;
use crate::runtime::{BOOTSTRAP, ROLE_WORKER};
use crate::sys::{fd, packet, wait};
use mpserverd_proto::codec;
use mpserverd_proto::job::WorkerBoot;
use mpserverd_proto::packet::Kind;
use mpserverd_proto::template::OnPreloadError;
use std::ffi::OsString;
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

/// What the worker loads before its job.
#[derive(Clone, Debug, Default)]
pub(crate) struct Preload {
    pub(crate) modules: Vec<String>,
    pub(crate) on_error: OnPreloadError,
}

/// Executes the program; the child serves one job.
pub(crate) fn lease(executable: Option<&Path>, preload: &Preload) -> Result<Lease, StartError> {
    let (ours, theirs) = fd::seqpacket_pair().map_err(StartError::system("socketpair"))?;
    // The very file this process runs, even if its path means another one by now.
    let program = executable.unwrap_or(Path::new("/proc/self/exe"));
    let name = std::env::args_os().next().unwrap_or_else(|| OsString::from(program));
    #[allow(clippy::disallowed_methods, reason = "this is the room for it")]
    let child = Command::new(program)
        .arg0(executable.map_or(name.as_os_str(), Path::as_os_str))
        .env(BOOTSTRAP, ROLE_WORKER)
        .stdin(Stdio::from(theirs))
        .spawn()
        .map_err(StartError::system("spawn"))?;
    let pid = child.id();
    // Our child and not reaped yet: the pid cannot mean another process.
    let pidfd = wait::pidfd_open(pid).map_err(StartError::system("pidfd_open"))?;
    let modules = preload.modules.iter().map(|name| find_module(name)).collect();
    let boot = WorkerBoot { modules, on_error: preload.on_error };
    let body = codec::encode(&boot).map_err(|e| StartError::Invalid(e.to_string()))?;
    // A child that died already is noticed by whoever waits for it.
    let _ = packet::send(ours.as_fd(), Kind::Boot, &[&body], &[], false);
    Ok(Lease { pid, origin: None, job: ours, pidfd, status: Status::Child })
}

/// The file of a module: a path as it is, a name on the module path (as the daemon does). A name
/// that is not found is left for the loader to refuse.
fn find_module(name: &str) -> String {
    let path = std::env::var_os(module_path::VARIABLE).unwrap_or_default();
    let candidates = module_path::candidates(name, std::env::split_paths(&path));
    let found = candidates.into_iter().find(|file| file.is_file());
    found.map_or_else(|| name.to_owned(), |file| file.to_string_lossy().into_owned())
}
