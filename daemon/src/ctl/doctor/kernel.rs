//! System calls and features of the kernel.

use super::files::Files;
use super::finding::{Finding, Thing};
use mp::sys::{fd, features, wait};
use mpserverd_proto::status::Reporter;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::os::fd::AsFd;
use std::process::{Command, Stdio};

const RELEASE: Thing = Thing("kernel.release", "Linux");
const PIDFD: Thing = Thing("kernel.pidfd", "pidfds");
const EXIT_INFO: Thing = Thing("kernel.exit_info", "exit codes by pidfd");
const CLOSE_RANGE: Thing = Thing("kernel.close_range", "close_range");
const MEMFD: Thing = Thing("kernel.memfd", "sealed memfds");
const WAITV: Thing = Thing("kernel.futex_waitv", "futex_waitv");
const LANDLOCK: Thing = Thing("kernel.landlock", "Landlock");
const SECCOMP: Thing = Thing("kernel.seccomp", "seccomp");
const NAMESPACES: Thing = Thing("kernel.namespaces", "user namespaces");

/// The oldest kernel that the daemon is made for.
const OLDEST: (u32, u32) = (5, 10);
/// How long a program that ends at once may take.
const CHILD_MS: u16 = 5000;

/// What the kernel can do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Facts {
    release: String,
    /// Opening one, and sending a signal by it; or what the system said.
    pidfd: Result<(), String>,
    /// `None` where it could not be tried.
    exit_info: Option<bool>,
    close_range: bool,
    memfd: Result<(), String>,
    futex_waitv: bool,
    landlock: Option<u32>,
    seccomp: bool,
    /// Or what forbids them.
    namespaces: Result<(), String>,
}

impl Facts {
    /// Tries each of them.
    pub(super) fn gather(files: &Files) -> Self {
        let text = |error: std::io::Error| error.to_string();
        let own = wait::pidfd_open(std::process::id());
        // Signal 0 only asks whether one could be sent.
        let pidfd = own.and_then(|own| wait::signal(own.as_fd(), 0)).map_err(text);
        let exit_info = if pidfd.is_ok() { exit_info() } else { Some(false) };
        Self {
            release: files.read("/proc/sys/kernel/osrelease").unwrap_or_default(),
            pidfd,
            exit_info,
            close_range: features::close_range(),
            memfd: fd::sealed_memfd(&[b"sealed"]).map(drop).map_err(text),
            futex_waitv: features::futex_waitv(),
            landlock: features::landlock_abi(),
            seccomp: files.read("/proc/sys/kernel/seccomp/actions_avail").is_some(),
            namespaces: namespaces(files),
        }
    }

    /// What that means.
    pub(super) fn judge(&self) -> Vec<Finding> {
        let mut findings = vec![self.judge_release()];
        findings.extend(self.judge_needed());
        findings.extend(self.judge_sandbox());
        findings
    }

    /// What daemon, templates and workers are built on.
    fn judge_needed(&self) -> [Finding; 5] {
        [
            match &self.pidfd {
                Ok(()) => PIDFD.ok("there"),
                Err(error) => PIDFD.fail(
                    error,
                    "the daemon does not start: it could neither see ends nor send signals safely",
                    "Linux 5.10 or later, and a seccomp profile (of the container, of the unit) \
                     that allows pidfd_open and pidfd_send_signal",
                ),
            },
            match self.exit_info {
                Some(true) => EXIT_INFO.ok("there"),
                tried => EXIT_INFO.note(
                    if tried.is_some() { "not there" } else { "could not be tried" },
                    "if a template and the daemon are killed at once, exit codes of the template's \
                     workers are lost",
                    "Linux 6.15 or later",
                ),
            },
            if self.close_range {
                CLOSE_RANGE.ok("there")
            } else {
                CLOSE_RANGE.warn(
                    "not there",
                    "workers keep descriptors of their template open for life",
                    "Linux 5.9 or later, and a seccomp profile that allows close_range",
                )
            },
            match &self.memfd {
                Ok(()) => MEMFD.ok("there"),
                Err(error) => MEMFD.fail(
                    error,
                    "no shared objects, no arguments or results past 64 KiB",
                    "a kernel with memfd_create, and a seccomp profile that allows it and fcntl",
                ),
            },
            if self.futex_waitv {
                WAITV.ok("there")
            } else {
                WAITV.note(
                    "not there",
                    "waiting for several shared objects at once looks every 50 ms instead of \
                     being woken",
                    "Linux 5.16 or later, and a seccomp profile that allows futex_waitv",
                )
            },
        ]
    }

    /// What sandbox profiles are built on.
    fn judge_sandbox(&self) -> [Finding; 3] {
        [
            match self.landlock {
                Some(abi) => LANDLOCK.ok(format!("ABI {abi}")),
                None => LANDLOCK.note(
                    "not there",
                    "sandbox profiles that name paths are refused",
                    "Linux 5.13 or later with `landlock` among the security modules (lsm= on the \
                     kernel's command line)",
                ),
            },
            if self.seccomp {
                SECCOMP.ok("there")
            } else {
                SECCOMP.note(
                    "not there",
                    "sandbox profiles that forbid system calls are refused",
                    "a kernel with CONFIG_SECCOMP_FILTER",
                )
            },
            match &self.namespaces {
                Ok(()) => NAMESPACES.ok("allowed"),
                Err(why) => NAMESPACES.note(
                    why,
                    "sandbox profiles with a private network or private temporary files are refused",
                    "set what is named here, or do without such profiles",
                ),
            },
        ]
    }

    fn judge_release(&self) -> Finding {
        let release = if self.release.is_empty() { "unknown" } else { &self.release };
        match version(release) {
            Some(version) if version >= OLDEST => RELEASE.ok(release),
            Some(_) => RELEASE.fail(
                release,
                "the daemon is not made for it: ends of workers are not seen",
                "Linux 5.10 or later",
            ),
            None => RELEASE.note(
                release,
                "nobody can say whether it is new enough; the findings below can",
                "mount /proc",
            ),
        }
    }
}

/// Major and minor number.
fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

/// Whether the kernel remembers how a process ended that somebody else has reaped.
#[allow(clippy::disallowed_methods, reason = "a child is needed that ends")]
fn exit_info() -> Option<bool> {
    let program = std::env::current_exe().ok()?;
    let mut child = Command::new(program)
        .arg("--version")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    let pidfd = wait::pidfd_open(child.id()).ok();
    let in_time = pidfd.as_ref().is_some_and(|pidfd| {
        let mut source = [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)];
        poll(&mut source, PollTimeout::from(CHILD_MS)).is_ok_and(|ready| ready > 0)
    });
    if !in_time {
        let _ = child.kill();
    }
    let _ = child.wait();
    let record = wait::exit_behind_pidfd(pidfd?.as_fd());
    in_time.then(|| record.is_some_and(|record| record.reporter == Reporter::Pidfd))
}

/// Whether a process without privileges can make a user namespace.
fn namespaces(files: &Files) -> Result<(), String> {
    // Each with the value that forbids it.
    for (path, bad) in [
        ("user/max_user_namespaces", 0),
        ("kernel/unprivileged_userns_clone", 0),
        ("kernel/apparmor_restrict_unprivileged_userns", 1),
    ] {
        if files.number(format!("/proc/sys/{path}")) == Some(bad) {
            return Err(format!("sysctl {} is {bad}", path.replace('/', ".")));
        }
    }
    match files.path("/proc/self/ns/user").symlink_metadata() {
        Ok(_) => Ok(()),
        Err(_) => Err("the kernel has none".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::files::faked;
    use super::super::finding::{State, states};
    use super::*;

    fn good() -> Facts {
        Facts {
            release: "6.18.44-fc-v669".to_owned(),
            pidfd: Ok(()),
            exit_info: Some(true),
            close_range: true,
            memfd: Ok(()),
            futex_waitv: true,
            landlock: Some(7),
            seccomp: true,
            namespaces: Ok(()),
        }
    }

    #[test]
    fn all_is_well_on_a_new_kernel() {
        let states = states(&good().judge());
        assert!(states.iter().all(|(_, state)| *state == State::Ok), "{states:?}");
        assert_eq!(states.len(), 9);
    }

    #[test]
    fn each_missing_thing_is_told() {
        let no = || Err("Operation not permitted (os error 1)".to_owned());
        let cases: [(Facts, &str, State); 11] = [
            (Facts { release: "5.4.0-1".into(), ..good() }, "kernel.release", State::Fail),
            (Facts { release: String::new(), ..good() }, "kernel.release", State::Note),
            (Facts { pidfd: no(), ..good() }, "kernel.pidfd", State::Fail),
            (Facts { exit_info: Some(false), ..good() }, "kernel.exit_info", State::Note),
            (Facts { exit_info: None, ..good() }, "kernel.exit_info", State::Note),
            (Facts { close_range: false, ..good() }, "kernel.close_range", State::Warn),
            (Facts { memfd: no(), ..good() }, "kernel.memfd", State::Fail),
            (Facts { futex_waitv: false, ..good() }, "kernel.futex_waitv", State::Note),
            (Facts { landlock: None, ..good() }, "kernel.landlock", State::Note),
            (Facts { seccomp: false, ..good() }, "kernel.seccomp", State::Note),
            (Facts { namespaces: no(), ..good() }, "kernel.namespaces", State::Note),
        ];
        for (facts, id, state) in cases {
            let states = states(&facts.judge());
            let others = states.iter().filter(|(_, state)| *state != State::Ok);
            assert_eq!(others.collect::<Vec<_>>(), [&(id, state)]);
        }
    }

    #[test]
    fn releases_have_many_forms() {
        for (text, expected) in [
            ("6.18.44-fc-v669", Some((6, 18))),
            ("5.10", Some((5, 10))),
            ("10.0-rc1+", Some((10, 0))),
            ("unknown", None),
            ("", None),
        ] {
            assert_eq!(version(text), expected, "{text}");
        }
    }

    #[test]
    fn what_forbids_namespaces() {
        let ns = ("/proc/self/ns/user", "");
        assert!(namespaces(&faked(&[]).1).is_err());
        let (_folder, files) = faked(&[ns, ("/proc/sys/user/max_user_namespaces", "9")]);
        assert_eq!(namespaces(&files), Ok(()));
        for (path, value) in [
            ("/proc/sys/user/max_user_namespaces", "0"),
            ("/proc/sys/kernel/unprivileged_userns_clone", "0"),
            ("/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1"),
        ] {
            let (_folder, files) = faked(&[ns, (path, value)]);
            let why = namespaces(&files).expect_err(path);
            assert!(why.ends_with(&format!(" is {value}")) && why.contains("sysctl "), "{why}");
        }
    }

    #[test]
    fn this_kernel_is_looked_at() {
        let facts = Facts::gather(&Files::of_this_machine());
        assert!(facts.judge_release().is_bearable(), "{facts:?}");
        assert_eq!(facts.memfd, Ok(()));
    }
}
