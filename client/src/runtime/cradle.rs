//! The loop of a copy of a process that does nothing but fork: one thread, two sources (its
//! starter and `SIGCHLD`).

use super::load::Loaded;
use super::nursery::Nursery;
use super::setup::Baseline;
use super::verdict::Census;
use crate::sys::{attributes, fd, fork, packet};
use mpserverd_proto::bounds::Birth;
use mpserverd_proto::codec;
use mpserverd_proto::ids::WorkerId;
use mpserverd_proto::packet::Kind;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

/// Forks a worker for each packet of the starter, until he is gone and all workers have ended.
pub(crate) fn serve(control: OwnedFd) -> ! {
    attributes::ignore_terminal();
    super::panics::remember();
    let _ = Baseline::get();
    let base = Census::take().above_descriptors();
    let loaded: &'static Loaded = Box::leak(Box::new(Loaded::program()));
    let nursery = Nursery::new(loaded, base, Duration::ZERO, Birth::default());
    let ready = fd::raise(control, base)
        .and_then(|control| Ok((control, fd::raise(attributes::child_signals()?, base)?)));
    match ready {
        Ok((control, signals)) => run(control, &signals, nursery),
        // The starter sees the end of the socket.
        Err(_) => fork::exit_now(1),
    }
}

fn run(control: OwnedFd, signals: &OwnedFd, mut nursery: Nursery) -> ! {
    let mut starter = Some(control);
    let mut next = 0;
    loop {
        if starter.is_none() && nursery.is_empty() {
            fork::exit_now(0);
        }
        let mut sources = vec![PollFd::new(signals.as_fd(), PollFlags::POLLIN)];
        sources.extend(starter.iter().map(|fd| PollFd::new(fd.as_fd(), PollFlags::POLLIN)));
        let _ = poll(&mut sources, PollTimeout::NONE);
        let asked = sources.get(1).and_then(PollFd::any).unwrap_or(false);
        // One byte of signal information stands for any number of children.
        let mut information = [0u8; 1024];
        while nix::unistd::read(signals, &mut information).is_ok_and(|got| got > 0) {}
        // Nobody writes certificates.
        nursery.reap(true);
        let Some(control) = starter.as_ref().filter(|_| asked) else { continue };
        match packet::receive(control.as_fd(), true) {
            Ok(Some(_)) => {
                next += 1;
                if answer(control, nursery.fork(WorkerId(next))).is_err() {
                    starter = None;
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Ok(None) | Err(_) => starter = None,
        }
    }
}

/// Tells the starter of a fork, or why there is none.
fn answer(control: &OwnedFd, born: io::Result<super::nursery::Newborn>) -> io::Result<()> {
    let (said, fds) = match born {
        Ok(new) => (Ok(new.spare.pid), vec![new.job, new.status_read, new.pidfd]),
        Err(error) => (Err(error.raw_os_error().unwrap_or(0)), Vec::new()),
    };
    let body = codec::encode::<Result<u32, i32>>(&said).map_err(io::Error::other)?;
    let fds = fds.iter().map(AsFd::as_fd).collect::<Vec<_>>();
    packet::send(control.as_fd(), Kind::FromTemplate, &[&body], &fds, false)
}
