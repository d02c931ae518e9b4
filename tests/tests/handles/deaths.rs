//! Descriptors in flight when one side dies: the kernel closes them, and nobody keeps a copy.

use super::{Method, each_method, ends, open_descriptors};
use mpserverd_tests::eventually;
use mpserverd_tests::suite::{PATIENCE, end, passed};
use nix::sys::signal::{Signal, raise};
use std::io::PipeWriter;
use std::os::fd::AsFd;
use std::time::Duration;

#[mp::task]
fn give_back(fd: mp::SharedFd) -> mp::SharedFd {
    fd
}

/// Gives it back 600 times, as different descriptors.
#[mp::task]
fn give_many_back(fd: mp::SharedFd) -> Vec<mp::SharedFd> {
    mp::sys::attributes::raise_descriptor_limit().unwrap();
    let copy = |_| fd.as_fd().try_clone_to_owned().unwrap().into();
    (0..600).map(copy).collect()
}

#[mp::task]
fn keep(fd: mp::SharedFd) {
    std::thread::sleep(2 * PATIENCE);
    drop(fd);
}

/// Waits until something is there to be received, and does not.
fn wait_for_result<R>(process: &mp::Process<R>) {
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    let mut fds = [PollFd::new(process.result_fd(), PollFlags::POLLIN)];
    let timeout = PollTimeout::try_from(PATIENCE).unwrap();
    assert_eq!(poll(&mut fds, timeout), Ok(1));
}

/// A client that is killed with a result before it.
#[mp::task]
fn die_with_a_result(method: Method, writer: mp::Passed<PipeWriter>) {
    let process = method.context().process::<give_many_back>((writer.0.into(),)).start().unwrap();
    wait_for_result(&process);
    raise(Signal::SIGKILL).unwrap();
}

#[test]
fn a_client_killed_with_a_result_before_it_leaks_nothing() {
    each_method(|method| {
        let (mut reader, writer) = std::io::pipe().unwrap();
        let client = mp::get_context(mp::StartMethod::Spawn)
            .process::<die_with_a_result>((method.clone(), mp::Passed(writer)))
            .start()
            .unwrap();
        assert_eq!(end(&client), -9);
        assert!(ends(&mut reader), "{method:?}");
    });
}

/// A client whose workers die, or whose results nobody wants.
#[mp::task]
fn lose_workers(method: Method) {
    let ctx = method.context();
    let round = |kill_after: Option<Duration>| {
        let (mut reader, writer) = std::io::pipe().unwrap();
        let process = ctx.process::<keep>((writer.into(),)).start().unwrap();
        std::thread::sleep(kill_after.unwrap_or_default());
        process.kill().unwrap();
        assert_eq!(end(&process), -9);
        drop(process);
        assert!(ends(&mut reader), "as an argument");

        let (mut reader, writer) = std::io::pipe().unwrap();
        let process = ctx.process::<give_many_back>((writer.into(),)).start().unwrap();
        wait_for_result(&process);
        process.kill().unwrap();
        let _ = end(&process);
        drop(process);
        let _ = mp::active_children();
        assert!(ends(&mut reader), "as a result that nobody took");

        let (mut reader, writer) = std::io::pipe().unwrap();
        let process = ctx.process::<give_back>((writer.into(),)).start().unwrap();
        drop(mpserverd_tests::suite::outcome(&process).unwrap());
        let _ = end(&process);
        assert!(ends(&mut reader), "as a result that was taken");
    };
    (0..3).for_each(|_| round(None));
    let _ = mp::active_children();
    let before = open_descriptors();
    for at in 0..6 {
        round((at > 0).then(|| Duration::from_millis(at)));
    }
    let settled = || {
        let _ = mp::active_children();
        open_descriptors() <= before
    };
    assert!(eventually(PATIENCE, settled), "{} and {before} before", open_descriptors());
}

#[test]
fn a_client_whose_workers_die_keeps_nothing() {
    each_method(|method| {
        passed(mp::get_context(mp::StartMethod::Spawn).process::<lose_workers>((method,)));
    });
}
