//! Starting a template's process: `posix_spawn`, with the control socket as standard input.

use super::owners::Account;
use super::recipes::Recipe;
use mp::sys::{fd, packet};
use mpserverd_proto::codec;
use mpserverd_proto::error::{Fault, PreloadError, Stage};
use mpserverd_proto::packet::Kind;
use mpserverd_proto::template::Assume;
use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

/// Variables of this process's supervisor, which templates must not see.
pub(super) const PRIVATE: [&str; 8] = [
    super::upgrade::exec::HANDOVER,
    super::cgroup::RELEASED,
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

/// The environment of a template for which no client has given one.
const PLAIN: &[u8] = b"PATH=/usr/local/bin:/usr/bin:/bin\0LANG=C.UTF-8\0";

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
    if let Some(account) = &recipe.account {
        let environment = environment_of(recipe, hugepages);
        tell_account(&ours, recipe, account, environment).map_err(failed("sendmsg"))?;
        let child = start_as_other(theirs).map_err(failed("exec"))?;
        return started(&child, ours).map_err(failed("pidfd_open"));
    }
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
        .env("GLIBC_TUNABLES", tunables(hugepages))
        .env(mp::BOOTSTRAP, mp::ROLE_TEMPLATE)
        .stdin(Stdio::from(theirs))
        // What a hook prints belongs into the daemon's log.
        .stdout(stderr_copy().map_err(failed("dup"))?)
        .spawn()
        .map_err(failed("exec"))?;
    started(&child, ours).map_err(failed("pidfd_open"))
}

fn started(child: &Child, control: OwnedFd) -> std::io::Result<Started> {
    let pid = child.id();
    // Our child and not reaped yet: the pid cannot mean another process.
    let pidfd = mp::sys::wait::pidfd_open(pid)?;
    fd::set_nonblocking(control.as_fd(), true)?;
    Ok(Started { pid, control, pidfd })
}

fn tunables(hugepages: bool) -> &'static str {
    if hugepages { TUNABLES_HUGE } else { TUNABLES }
}

/// The environment of a template that becomes another user: the client's, or a plain one. That of
/// the daemon is root's.
fn environment_of(recipe: &Recipe, hugepages: bool) -> Vec<u8> {
    let given = recipe.environment.as_deref().unwrap_or(PLAIN);
    let ours = [("GLIBC_TUNABLES", tunables(hugepages)), (mp::BOOTSTRAP, mp::ROLE_TEMPLATE)];
    let ours = ours.map(|(name, value)| (OsStr::new(name), OsStr::new(value)));
    let is_private = |name: &OsStr| PRIVATE.iter().any(|variable| *variable == name);
    let is_ours = |name: &OsStr| ours.iter().any(|(variable, _)| *variable == name);
    let kept = entries(given).filter(|(name, _)| !is_private(name) && !is_ours(name));
    let mut bytes = Vec::new();
    for (name, value) in kept.chain(ours) {
        bytes.extend_from_slice(name.as_bytes());
        bytes.push(b'=');
        bytes.extend_from_slice(value.as_bytes());
        bytes.push(0);
    }
    bytes
}

/// Puts the user that it is to become into the socket, before the process is there to read it.
fn tell_account(
    control: &OwnedFd,
    recipe: &Recipe,
    account: &Account,
    environment: Vec<u8>,
) -> std::io::Result<()> {
    let Account { uid, gid, groups } = account.clone();
    let assume = Assume { uid, gid, groups, name: recipe.name.clone(), environment };
    let body = codec::encode(&assume).map_err(std::io::Error::other)?;
    let program = recipe.executable.iter().flatten().map(|file| file.as_fd()).collect::<Vec<_>>();
    packet::send(control.as_fd(), Kind::Assume, &[&body], &program, true)
}

/// The daemon's own program, with nothing of anybody's: as root it looks at no environment but its
/// role. What a user's hooks print goes nowhere: a descriptor of root's log is no user's to write.
#[allow(clippy::disallowed_methods, reason = "this is the room for it")]
fn start_as_other(control: OwnedFd) -> std::io::Result<Child> {
    Command::new("/proc/self/exe")
        .arg0("mpserverd")
        .env_clear()
        .env(mp::BOOTSTRAP, crate::assume::ROLE)
        .stdin(Stdio::from(control))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
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
