//! Starting a template's process: `posix_spawn`, with the control socket as standard input.

use super::recipes::Recipe;
use mp::sys::fd;
use mpserverd_proto::error::{Fault, PreloadError, Stage};
use std::ffi::{OsStr, OsString};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

/// Variables of this process's supervisor, which templates must not see.
pub(super) const PRIVATE: [&str; 7] = [
    super::upgrade::exec::HANDOVER,
    "NOTIFY_SOCKET",
    "LISTEN_FDS",
    "LISTEN_FDNAMES",
    "LISTEN_PID",
    "WATCHDOG_USEC",
    "WATCHDOG_PID",
];

/// glibc's switches for templates: heap on huge pages (a fork copies a hundredth of the page
/// tables), and room for modules with large static thread-local storage.
const TUNABLES: &str = "glibc.rtld.optional_static_tls=16384";
const TUNABLES_HUGE: &str = "glibc.malloc.hugetlb=1:glibc.rtld.optional_static_tls=16384";

/// A process that was started.
pub(super) struct Started {
    pub(super) pid: u32,
    pub(super) control: OwnedFd,
    pub(super) pidfd: OwnedFd,
}

/// Executes the program of a recipe as a template.
pub(super) fn start(recipe: &Recipe, hugepages: bool) -> Result<Started, PreloadError> {
    let failed = |call: &str| {
        let (call, name) = (call.to_owned(), recipe.name.clone());
        move |error: std::io::Error| PreloadError {
            module: name.clone(),
            stage: Stage::Exec,
            fault: Fault::System { call: call.clone(), message: error.to_string() },
        }
    };
    let program = match &recipe.executable {
        None => OsString::from("/proc/self/exe"),
        // Exactly the inode that was opened, whatever its path means by now.
        Some(Ok(file)) => format!("/proc/self/fd/{}", file.as_raw_fd()).into(),
        Some(Err(error)) => return Err(error.clone()),
    };
    let (ours, theirs) = fd::seqpacket_pair().map_err(failed("socketpair"))?;
    #[allow(clippy::disallowed_methods, reason = "this is the room for it")]
    let mut command = Command::new(program);
    if let Some(environment) = &recipe.environment {
        command.env_clear().envs(entries(environment));
    }
    for variable in PRIVATE {
        command.env_remove(variable);
    }
    let child = command
        .arg0(&recipe.name)
        .env("GLIBC_TUNABLES", if hugepages { TUNABLES_HUGE } else { TUNABLES })
        .env(mp::BOOTSTRAP, mp::ROLE_TEMPLATE)
        .stdin(Stdio::from(theirs))
        // What a hook prints belongs into the daemon's log.
        .stdout(stderr_copy().map_err(failed("dup"))?)
        .spawn()
        .map_err(failed("exec"))?;
    let pid = child.id();
    // Our child and not reaped yet: the pid cannot mean another process.
    let pidfd = mp::sys::wait::pidfd_open(pid).map_err(failed("pidfd_open"))?;
    fd::set_nonblocking(std::os::fd::AsFd::as_fd(&ours), true).map_err(failed("fcntl"))?;
    Ok(Started { pid, control: ours, pidfd })
}

fn stderr_copy() -> std::io::Result<Stdio> {
    match fd::standard(2) {
        Some(stderr) => Ok(stderr.try_clone_to_owned()?.into()),
        None => Ok(Stdio::null()),
    }
}

/// `KEY=VALUE` entries, each ended by a NUL byte.
fn entries(bytes: &[u8]) -> impl Iterator<Item = (&OsStr, &OsStr)> {
    bytes.split(|byte| *byte == 0).filter_map(|entry| {
        let at = entry.iter().position(|byte| *byte == b'=').filter(|at| *at > 0)?;
        Some((OsStr::from_bytes(&entry[..at]), OsStr::from_bytes(&entry[at + 1..])))
    })
}
