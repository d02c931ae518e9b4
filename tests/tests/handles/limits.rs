//! What does not travel: too many, more than the receiver has room for, and outside a journey.

use super::{Method, each_method, open_descriptors};
use mp::{JobError, ProcessError};
use mpserverd_tests::daemon::Daemon;
use mpserverd_tests::suite::{PATIENCE, outcome, passed, value};
use mpserverd_tests::{eventually, proc, suite};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use std::fs::File;

#[mp::task]
fn count(fds: Vec<mp::SharedFd>) -> usize {
    fds.len()
}

/// So many different descriptors of one file.
#[mp::task]
fn make(number: usize) -> Vec<mp::SharedFd> {
    mp::sys::attributes::raise_descriptor_limit().unwrap();
    copies(number).unwrap()
}

#[mp::task]
fn serialise(fd: mp::SharedFd) -> String {
    serde_json::to_string(&fd).unwrap_err().to_string()
}

fn copies(number: usize) -> std::io::Result<Vec<mp::SharedFd>> {
    let file = File::open("/dev/null")?;
    (0..number).map(|_| file.try_clone().map(mp::SharedFd::from)).collect()
}

suite![too_many_arguments_are_refused, too_many_results_are_rejected, outside_it_is_an_error];

/// Whether 4097 descriptors fit beside what other tests have.
fn there_is_room() -> bool {
    let room = mp::sys::attributes::raise_descriptor_limit().unwrap() > 15_000;
    if !room {
        mpserverd_tests::skip("4097 descriptors exceed the hard limit");
    }
    room
}

fn too_many_arguments_are_refused(ctx: &mp::Context) {
    if !there_is_room() {
        return;
    }
    match ctx.process::<count>((copies(4097).unwrap(),)).start() {
        Err(mp::StartError::TooManyFds { count: 4097, limit }) => {
            assert!((4000..=4096).contains(&limit), "{limit}");
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(value(ctx.process::<count>((copies(20).unwrap(),))), 20);
}

fn too_many_results_are_rejected(ctx: &mp::Context) {
    if !there_is_room() {
        return;
    }
    let process = ctx.process::<make>((4097,)).start().unwrap();
    match outcome(&process) {
        Err(ProcessError::Rejected(error)) => {
            assert_eq!(error, JobError::TooManyFds { count: 4097, limit: 4096 });
            assert!(error.to_string().contains("limit of 4096"), "{error}");
        }
        other => panic!("{:?}", other.map(|fds| fds.len())),
    }
}

fn outside_it_is_an_error(ctx: &mp::Context) {
    let fd = copies(1).unwrap().remove(0);
    let said = "a `SharedFd` can only be shared with another process";
    let here = serde_json::to_string(&fd).unwrap_err().to_string();
    assert!(here.starts_with(said), "{here}");
    // Nor while a task runs.
    let there = value(ctx.process::<serialise>((fd,)));
    assert!(there.starts_with(said), "{there}");
}

#[test]
fn a_worker_without_room_says_so() {
    mp::sys::attributes::raise_descriptor_limit().unwrap();
    let daemon = Daemon::start(&[]);
    let ctx = daemon.context();
    assert_eq!(value(ctx.process::<count>((copies(100).unwrap(),))), 100);
    for _ in 0..2 {
        // The template, and the spares that it has forked.
        daemon.descendants().into_iter().for_each(|pid| proc::limit_descriptors(pid, 64));
    }
    for number in [100, 300, 1000] {
        let process = ctx.process::<count>((copies(number).unwrap(),)).start().unwrap();
        match outcome(&process) {
            Err(ProcessError::Rejected(JobError::Descriptors(what))) => {
                assert!(what.contains("RLIMIT_NOFILE") && what.contains("64"), "{what}");
            }
            other => panic!("{number}: {other:?}"),
        }
        assert_eq!(suite::end(&process), 111);
    }
    assert_eq!(value(ctx.process::<count>((copies(20).unwrap(),))), 20);
}

/// A client that has room for 64 descriptors.
#[mp::task]
fn narrow_client(method: Method) {
    let ctx = method.context();
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    let try_once = |number: usize| {
        let process = ctx.process::<make>((number,)).start().unwrap();
        setrlimit(Resource::RLIMIT_NOFILE, 64, hard).unwrap();
        let lost = outcome(&process).map(|fds| fds.len());
        let again = outcome(&process).map(|fds| fds.len());
        setrlimit(Resource::RLIMIT_NOFILE, soft, hard).unwrap();
        for result in [lost, again] {
            match result {
                Err(error @ ProcessError::DescriptorsLost { limit: 64 }) => {
                    assert!(error.to_string().contains("RLIMIT_NOFILE"), "{error}");
                }
                other => panic!("{number}: {other:?}"),
            }
        }
        let _ = suite::end(&process);
    };
    try_once(100);
    let _ = mp::active_children();
    let before = open_descriptors();
    try_once(300);
    try_once(1000);
    let settled = || {
        let _ = mp::active_children();
        open_descriptors() <= before
    };
    assert!(eventually(PATIENCE, settled), "{} and {before} before", open_descriptors());
}

#[test]
fn a_client_without_room_is_told() {
    each_method(|method| {
        passed(mp::get_context(mp::StartMethod::Spawn).process::<narrow_client>((method,)));
    });
}

/// A client without privileges, whose descriptors in flight the kernel limits (`unix(7)`).
#[mp::task]
fn poor_client() -> String {
    let low = copies(20).unwrap();
    let fds = copies(1000).unwrap();
    drop(low);
    if nix::unistd::geteuid().is_root() {
        nix::unistd::setuid(nix::unistd::Uid::from_raw(65_534)).unwrap();
    }
    setrlimit(Resource::RLIMIT_NOFILE, 64, 64).unwrap();
    let ctx = mp::get_context(mp::StartMethod::Fork);
    match ctx.process::<count>((fds,)).start() {
        Err(error) => error.to_string(),
        Ok(process) => outcome(&process).unwrap_err().to_string(),
    }
}

#[test]
fn what_the_kernel_does_not_let_through_is_told() {
    let said = value(mp::get_context(mp::StartMethod::Spawn).process::<poor_client>(()));
    assert!(said.contains("RLIMIT_NOFILE"), "{said}");
}
