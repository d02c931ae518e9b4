//! System calls, by seccomp: those that are denied fail with `EPERM`, all others work.
//!
//! What a name means is seccompiler's: it has a table for each architecture. A program for another
//! architecture is killed by the filter; calls of the x32 ABI, which that does not tell apart from
//! those of x86-64, do not exist.

use super::{failed, lacking};
use mpserverd_proto::error::JobError;
use mpserverd_proto::sandbox::{Deny, Sandbox};
use seccompiler::{BpfProgram, TargetArch, sock_filter};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::env::consts::ARCH;

const STEP: &str = "seccomp";
const NEEDS: &str = "seccomp filters (`CONFIG_SECCOMP_FILTER`)";
const EPERM: i32 = 1;

/// Bit of every call of the x32 ABI.
const X32: u32 = 0x4000_0000;
/// `SECCOMP_RET_ERRNO` with `ENOSYS`.
const RETURN_ENOSYS: u32 = 0x0005_0000 | 38;

const EXEC: &[&str] = &["execve", "execveat"];
const RINGS: &[&str] = &["io_uring_setup", "io_uring_enter", "io_uring_register"];
const PTRACE: &[&str] = &["ptrace", "process_vm_readv", "process_vm_writev", "kcmp", "pidfd_getfd"];
const MOUNT: &[&str] = &[
    "mount",
    "umount2",
    "pivot_root",
    "chroot",
    "unshare",
    "setns",
    "move_mount",
    "open_tree",
    "fsopen",
    "fsconfig",
    "fsmount",
    "fspick",
    "mount_setattr",
];
const KERNEL: &[&str] = &[
    "bpf",
    "perf_event_open",
    "userfaultfd",
    "add_key",
    "request_key",
    "keyctl",
    "kexec_load",
    "kexec_file_load",
    "init_module",
    "finit_module",
    "delete_module",
    "reboot",
    "swapon",
    "swapoff",
    "acct",
    "quotactl",
    "open_by_handle_at",
    "clock_settime",
    "settimeofday",
    "sethostname",
    "setdomainname",
];

/// When a call is denied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum When {
    Always,
    /// Its first argument is not `AF_UNIX`.
    NotUnix,
}

/// All calls that are denied, by name.
#[derive(Debug, Default)]
pub(crate) struct Denied<'a>(BTreeMap<&'a str, When>);

impl<'a> Denied<'a> {
    /// What these descriptions come to; `spaces`: namespaces, which must stay as they are.
    pub(crate) fn of(layers: &'a [Sandbox], spaces: bool) -> Self {
        let mut denied = Self::default();
        let groups = layers.iter().flat_map(|layer| &layer.deny).copied();
        for group in groups.chain(spaces.then_some(Deny::Mount)) {
            denied.add_group(group);
        }
        for call in layers.iter().flat_map(|layer| &layer.calls) {
            denied.add(&[call], When::Always);
        }
        denied
    }

    fn add_group(&mut self, group: Deny) {
        match group {
            Deny::Exec => self.add(EXEC, When::Always),
            Deny::Network => {
                self.add(&["socket"], When::NotUnix);
                self.add(RINGS, When::Always);
            }
            Deny::Sockets => {
                self.add(&["socket", "connect"], When::Always);
                self.add(RINGS, When::Always);
            }
            Deny::Ptrace => self.add(PTRACE, When::Always),
            Deny::Mount => self.add(MOUNT, When::Always),
            Deny::Kernel => {
                self.add(KERNEL, When::Always);
                self.add(RINGS, When::Always);
            }
            // `Deny` may grow; what is not known here cannot have been sent by this version.
            _ => {}
        }
    }

    /// The stricter of two rules holds.
    fn add(&mut self, calls: &[&'a str], when: When) {
        for call in calls {
            let rule = self.0.entry(call).or_insert(when);
            if when == When::Always {
                *rule = when;
            }
        }
    }

    /// As a program for the kernel; `None` if nothing is denied.
    fn program(&self) -> Result<Option<BpfProgram>, seccompiler::Error> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let rules = self.0.iter().map(|(call, when)| match when {
            When::Always => json!({ "syscall": call }),
            When::NotUnix => json!({
                "syscall": call,
                "args": [{ "index": 0, "type": "dword", "op": "ne", "val": 1 }],
            }),
        });
        let filter = json!({ "worker": {
            "mismatch_action": "allow",
            "match_action": { "errno": EPERM },
            "filter": Value::Array(rules.collect()),
        }});
        let arch = TargetArch::try_from(ARCH)?;
        let text = filter.to_string();
        let program = seccompiler::compile_from_json(text.as_bytes(), arch)?.remove("worker");
        Ok(program.map(without_x32))
    }
}

fn without_x32(program: BpfProgram) -> BpfProgram {
    if ARCH != "x86_64" {
        return program;
    }
    let line = |code, jt, jf, k| sock_filter { code, jt, jf, k };
    // Load the number; go on unless it has the bit; otherwise return.
    let head = [line(0x20, 0, 0, 0), line(0x35, 0, 1, X32), line(0x06, 0, 0, RETURN_ENOSYS)];
    head.into_iter().chain(program).collect()
}

/// Whether all names of a description are system calls here.
///
/// # Errors
/// The first that is not.
pub(crate) fn check(sandbox: &Sandbox) -> Result<(), String> {
    let denied = Denied::of(std::slice::from_ref(sandbox), false);
    denied.program().map(drop).map_err(|error| error.to_string())
}

/// Denies them to this thread and those that it starts.
pub(super) fn deny(denied: &Denied<'_>) -> Result<(), JobError> {
    let program = denied.program().map_err(|error| failed(STEP, &error))?;
    match program {
        Some(program) => seccompiler::apply_filter(&program).map_err(|e| lacking(STEP, NEEDS, &e)),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::of_words as of;
    use super::*;

    #[test]
    fn every_group_has_a_program() {
        for (group, name) in Deny::ALL {
            let layers = [of(&[name])];
            let denied = Denied::of(&layers, false);
            assert!(!denied.0.is_empty(), "{group:?} denies nothing");
            assert!(denied.program().unwrap().is_some());
        }
        assert!(Denied::of(&[of(&[])], false).program().unwrap().is_none());
        assert!(Denied::of(&[], true).0.contains_key("unshare"));
    }

    #[test]
    fn the_stricter_rule_holds_in_either_order() {
        for words in [["no-network", "no-sockets"], ["no-sockets", "no-network"]] {
            let layers = words.map(|word| of(&[word]));
            assert_eq!(Denied::of(&layers, false).0["socket"], When::Always);
        }
        let layers = [of(&["no-network"])];
        assert_eq!(Denied::of(&layers, false).0["socket"], When::NotUnix);
    }

    #[test]
    fn unknown_names_are_told() {
        let error = check(&of(&["deny=swap_on"])).unwrap_err();
        assert!(error.contains("swap_on"), "{error}");
        assert_eq!(check(&of(&["deny=swapon", "no-exec"])), Ok(()));
    }
}
