//! Becoming the user that a template is for.
//!
//! A daemon of root starts the templates of others in two steps. The first is this program,
//! executed as root with an empty environment, so that nothing of the user's is looked at: it takes
//! the user's numbers from the daemon, gives up all else, and makes sure that the kernel agrees. The
//! second is the user's program (or this one again, as a host of modules), executed with the user's
//! rights and environment: what the user may not execute the kernel refuses.
//!
//! Nothing is looked up: no name, no database, no path. What a process is to be the kernel has told
//! the daemon about the client.

use mp::sys::{credentials, fd, packet};
use mpserverd_proto::codec;
use mpserverd_proto::error::{Fault, PreloadError, Stage};
use mpserverd_proto::packet::Kind;
use mpserverd_proto::template::{Assume, FromTemplate};
use nix::fcntl::{AtFlags, OFlag, open};
use nix::sys::stat::{Mode, umask};
use nix::unistd::{Gid, Uid, execveat, setgroups, setresgid, setresuid};
use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};

/// Value of [`mp::BOOTSTRAP`] for the first step.
pub const ROLE: &str = "assume";

/// The first step, if this process was started for it; then it does not return.
pub fn enter() {
    if std::env::var_os(mp::BOOTSTRAP).is_some_and(|role| role == ROLE) {
        let (name, fault) = match receive() {
            Ok((account, program)) => (account.name.clone(), become_other(account, program)),
            Err(error) => ("template".to_owned(), protocol(&error)),
        };
        report(PreloadError { module: name, stage: Stage::Exec, fault });
        std::process::exit(1);
    }
}

fn protocol(error: &dyn std::fmt::Display) -> Fault {
    Fault::Protocol(error.to_string())
}

/// Who to be, and the program: none means this one.
fn receive() -> std::io::Result<(Assume, Option<OwnedFd>)> {
    let control = fd::standard(0).ok_or(std::io::ErrorKind::NotConnected)?;
    let packet = packet::receive(control, false)?.ok_or(std::io::ErrorKind::UnexpectedEof)?;
    if packet.kind != Kind::Assume {
        return Err(std::io::ErrorKind::InvalidData.into());
    }
    let account = codec::decode::<Assume>(&packet.body).map_err(std::io::Error::other)?;
    Ok((account, packet.fds.into_iter().next()))
}

/// Tells the daemon why there is no template.
fn report(error: PreloadError) {
    let Some(control) = fd::standard(0) else { return };
    if let Ok(body) = codec::encode(&FromTemplate::Failed(error)) {
        let _ = packet::send(control, Kind::FromTemplate, &[&body], &[], false);
    }
}

/// Returns only why it did not become that.
fn become_other(account: Assume, program: Option<OwnedFd>) -> Fault {
    let prepared = own_program(program).and_then(|program| {
        give_up(&account)?;
        verify(&account)?;
        Ok(program)
    });
    match prepared {
        Ok(program) => execute(&account, &program),
        Err(fault) => fault,
    }
}

fn failed(call: &str, error: impl Into<std::io::Error>) -> Fault {
    Fault::System { call: call.to_owned(), message: error.into().to_string() }
}

/// What to execute, as a descriptor: a path could mean something else to the user.
fn own_program(program: Option<OwnedFd>) -> Result<OwnedFd, Fault> {
    match program {
        Some(program) => Ok(program),
        None => open("/proc/self/exe", OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty())
            .map_err(|errno| failed("open /proc/self/exe", errno)),
    }
}

/// Gives up everything, in the one order in which each step is still allowed. What a filter or a
/// missing capability forbids may be superfluous: [`verify`] has the last word.
fn give_up(account: &Assume) -> Result<(), Fault> {
    let (uid, gid) = (Uid::from_raw(account.uid), Gid::from_raw(account.gid));
    let groups = account.groups.iter().map(|group| Gid::from_raw(*group)).collect::<Vec<_>>();
    let _ = credentials::clear_ambient();
    let _ = credentials::empty_bounding_set();
    setgroups(&groups).map_err(|errno| failed("setgroups", errno))?;
    setresgid(gid, gid, gid).map_err(|errno| failed("setresgid", errno))?;
    setresuid(uid, uid, uid).map_err(|errno| failed("setresuid", errno))?;
    let _ = credentials::drop_capabilities();
    credentials::no_new_privileges().map_err(|error| failed("PR_SET_NO_NEW_PRIVS", error))?;
    umask(Mode::from_bits_truncate(0o077));
    // Whatever directory root was in.
    nix::unistd::chdir("/").map_err(|errno| failed("chdir /", errno))
}

/// Whether the kernel says that this process is that user and nothing more, and refuses to undo it.
fn verify(account: &Assume) -> Result<(), Fault> {
    let status = std::fs::read_to_string("/proc/self/status")
        .map_err(|error| failed("read /proc/self/status", error))?;
    if let Some(line) = not_as_told(&status, account) {
        return Err(Fault::Protocol(format!("the kernel kept more than it was told to: {line}")));
    }
    let (root, group) = (Uid::from_raw(0), Gid::from_raw(0));
    let back = setresuid(root, root, root).is_ok()
        || nix::unistd::seteuid(root).is_ok()
        || (account.gid != 0 && setresgid(group, group, group).is_ok())
        || setgroups(&[group]).is_ok();
    if back {
        return Err(Fault::Protocol("the kernel lets it become root again".to_owned()));
    }
    Ok(())
}

/// The first line of `/proc/self/status` that is not what it must be.
fn not_as_told(status: &str, account: &Assume) -> Option<String> {
    let four = |id: u32| [id; 4].map(|id| id.to_string()).join(" ");
    let mut groups = account.groups.clone();
    groups.sort_unstable();
    groups.dedup();
    let groups = groups.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
    let nothing = "0000000000000000".to_owned();
    let wanted = [
        ("Uid", four(account.uid)),
        ("Gid", four(account.gid)),
        ("Groups", groups),
        ("CapInh", nothing.clone()),
        ("CapPrm", nothing.clone()),
        ("CapEff", nothing.clone()),
        ("CapAmb", nothing),
        ("NoNewPrivs", "1".to_owned()),
    ];
    wanted.into_iter().find_map(|(name, wanted)| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        let told = line.map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "));
        let as_wanted = told.as_ref() == Some(&wanted);
        (!as_wanted).then(|| format!("{name} is {}", told.unwrap_or_else(|| "unknown".to_owned())))
    })
}

/// Executes the program with the user's environment; returns only why not.
fn execute(account: &Assume, program: &OwnedFd) -> Fault {
    let text = |text: &[u8]| CString::new(text).map_err(|error| protocol(&error));
    let entries = account.environment.split(|byte| *byte == 0).filter(|entry| !entry.is_empty());
    let prepared = text(account.name.as_bytes())
        .and_then(|name| Ok((name, entries.map(text).collect::<Result<Vec<_>, _>>()?)));
    let (name, environment) = match prepared {
        Ok(prepared) => prepared,
        Err(fault) => return fault,
    };
    let done = execveat(program.as_fd(), c"", &[name], &environment, AtFlags::AT_EMPTY_PATH);
    match done {
        Err(nix::errno::Errno::EACCES) => {
            Fault::NotPermitted { uid: account.uid, what: "execute it".to_owned() }
        }
        Err(errno) => failed("execveat", errno),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATUS: &str = "Name:\tx\nUid:\t7\t7\t7\t7\nGid:\t8\t8\t8\t8\nGroups:\t8 50 \n\
        NoNewPrivs:\t1\nCapInh:\t0000000000000000\nCapPrm:\t0000000000000000\n\
        CapEff:\t0000000000000000\nCapBnd:\t000001ffffffffff\nCapAmb:\t0000000000000000\n";

    fn account() -> Assume {
        Assume { uid: 7, gid: 8, groups: vec![50, 8], name: "x".into(), environment: Vec::new() }
    }

    #[test]
    fn whatever_is_left_over_is_found() {
        assert_eq!(not_as_told(STATUS, &account()), None);
        for (good, bad) in [
            ("Uid:\t7\t7\t7\t7", "Uid:\t7\t7\t0\t7"),
            ("Gid:\t8\t8\t8\t8", "Gid:\t0\t8\t8\t8"),
            ("Groups:\t8 50 ", "Groups:\t0 8 50 "),
            ("Groups:\t8 50 ", "Groups:\t"),
            ("NoNewPrivs:\t1", "NoNewPrivs:\t0"),
            ("CapInh:\t0", "CapInh:\t1"),
            ("CapPrm:\t0", "CapPrm:\t8"),
            ("CapEff:\t0", "CapEff:\tf"),
            ("CapAmb:\t0", "CapAmb:\t2"),
            ("CapAmb:", "Nothing:"),
        ] {
            let status = STATUS.replace(good, bad);
            assert_ne!(status, STATUS);
            let told = not_as_told(&status, &account());
            let name = good.split(':').next().unwrap_or_default();
            assert!(told.as_deref().is_some_and(|told| told.starts_with(name)), "{bad}: {told:?}");
        }
    }
}
