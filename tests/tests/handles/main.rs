//! Handles inside values: descriptors in arguments and results of tasks arrive as what they are,
//! under each start method and in modules, and none is left behind.
#![cfg(target_os = "linux")]

mp::enable_in_tests!();

mod deaths;
mod journeys;
mod limits;
mod modules;
mod objects;

use mpserverd_tests::{eventually, suite};
use std::io::{PipeReader, Read};
use std::os::fd::AsFd;
use std::path::PathBuf;

/// How a process that a test starts shall start its own.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
struct Method {
    name: String,
    socket: Option<PathBuf>,
}

impl Method {
    fn context(&self) -> mp::Context {
        let method = self.name.parse::<mp::StartMethod>().unwrap();
        let context = mp::get_context(method).with_fallback(mp::Fallback::Fail);
        match &self.socket {
            Some(path) => context.with_socket(path),
            None => context,
        }
    }
}

/// Runs a test for each start method; the method serves processes that the test starts.
fn each_method(test: impl Fn(Method)) {
    for method in mp::get_all_start_methods() {
        let name = method.as_str().to_owned();
        if *method == mp::StartMethod::ForkServer {
            let daemon = mpserverd_tests::daemon::Daemon::start(&[]);
            test(Method { name, socket: Some(daemon.socket()) });
        } else {
            test(Method { name, socket: None });
        }
    }
}

/// Whether the last write end of a pipe is closed within the time that anything may take.
fn ends(reader: &mut PipeReader) -> bool {
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    let closed = eventually(suite::PATIENCE, || {
        let mut fds = [PollFd::new(reader.as_fd(), PollFlags::POLLIN)];
        poll(&mut fds, PollTimeout::from(100u8)).unwrap();
        fds[0].revents().is_some_and(|events| events.contains(PollFlags::POLLHUP))
    });
    closed && reader.read(&mut [0]).unwrap() == 0
}

fn open_descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}
