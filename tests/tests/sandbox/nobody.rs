//! Users without capabilities have namespaces by a user namespace of their own, in which they keep
//! no right over anything.

use crate::attempts::{Attempts, Place, attempt};
use mp::{JobError, ProcessError, Sandbox};
use mpserverd_tests::skip;
use mpserverd_tests::suite::{outcome, passed};
use nix::unistd::{Gid, Uid, setgroups, setresgid, setresuid};
use std::path::PathBuf;

const NOBODY: u32 = 65534;

/// Capabilities, ids, and whether the private folder can be taken away again.
#[mp::task]
fn who() -> (Vec<String>, u32, u32, bool) {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let held = |line: &&str| ["CapInh", "CapPrm", "CapEff"].iter().any(|c| line.starts_with(c));
    let caps = status.lines().filter(held).map(|line| line[8..].trim().to_owned()).collect();
    let (uid, gid) = (Uid::effective().as_raw(), Gid::effective().as_raw());
    // SAFETY: a path that ends with a zero.
    let undone = unsafe { libc::umount2(c"/tmp".as_ptr(), libc::MNT_DETACH) } == 0;
    (caps, uid, gid, undone)
}

#[mp::task]
fn as_nobody(folder: PathBuf, port: u16) {
    setgroups(&[]).unwrap();
    setresgid(NOBODY.into(), NOBODY.into(), NOBODY.into()).unwrap();
    setresuid(NOBODY.into(), NOBODY.into(), NOBODY.into()).unwrap();
    let ctx = mp::get_context(mp::StartMethod::Fork);
    let sandbox = || Sandbox::new().private_network().private_tmp();
    let process = ctx.process::<who>(()).sandbox(sandbox()).start().unwrap();
    let (caps, uid, gid, undone) = match outcome(&process) {
        Err(ProcessError::Rejected(error @ JobError::SandboxUnsupported { .. })) => {
            return skip(&error.to_string());
        }
        other => other.unwrap(),
    };
    assert_eq!(caps, ["0000000000000000"; 3]);
    assert_eq!((uid, gid, undone), (NOBODY, NOBODY, false));
    let process = ctx.process::<attempt>((folder, port)).sandbox(sandbox()).start().unwrap();
    let told: Attempts = outcome(&process).unwrap();
    assert_eq!((told.connect, told.unshare), (libc::ENETUNREACH, libc::EPERM));
}

#[test]
fn namespaces_need_no_capability() {
    if !Uid::effective().is_root() {
        return skip("only root can become somebody else");
    }
    let place = Place::new();
    let spawn = mp::get_context(mp::StartMethod::Spawn);
    passed(spawn.process::<as_nobody>(place.arguments()));
}
