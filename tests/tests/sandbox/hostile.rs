//! Descriptions that nobody means: each is answered with an error, by a worker that ends as it
//! should, and nothing runs.

use crate::attempts::{Place, attempt};
use mp::sys::packet;
use mpserverd_proto::client::{Reply, Request, Target, TemplateSpec};
use mpserverd_proto::error::JobError;
use mpserverd_proto::job::{self, Codec, Ended, Identity, Job, Outcome, Setup, Slots};
use mpserverd_proto::packet::Kind;
use mpserverd_proto::sandbox::{Asked, Deny, Files, Sandbox};
use mpserverd_proto::template::OnPreloadError;
use mpserverd_tests::daemon::Daemon;
use mpserverd_tests::seeds;
use mpserverd_tests::suite::{PATIENCE, value};
use nix::sys::socket::{Shutdown, shutdown};
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

/// A worker of this program: its job socket, and its pidfd.
pub(crate) fn lease(daemon: &Daemon) -> (OwnedFd, OwnedFd) {
    let mut connection = daemon.connect();
    let program = File::open("/proc/self/exe").unwrap();
    let open = Request::OpenTemplate(TemplateSpec {
        target: Target::Executable { path: b"sandbox".to_vec() },
        modules: Vec::new(),
        on_error: OnPreloadError::Warn,
        environment: Vec::new(),
    });
    let Reply::Opened(pool) = connection.call(&open, &[program.as_fd()], None).unwrap().0 else {
        panic!("not opened")
    };
    let lease = Request::Lease { pool, wait_ms: 60_000, task: None, trace: None };
    let (_, fds) = connection.call(&lease, &[], None).unwrap();
    let [job, _status, pidfd] = <[OwnedFd; 3]>::try_from(fds).unwrap();
    (job, pidfd)
}

/// Whether a worker ends, given time.
pub(crate) fn ends(pidfd: &OwnedFd) -> bool {
    let mut end = [nix::poll::PollFd::new(pidfd.as_fd(), nix::poll::PollFlags::POLLIN)];
    let timeout = nix::poll::PollTimeout::try_from(PATIENCE).unwrap();
    nix::poll::poll(&mut end, timeout) == Ok(1)
}

fn job(sandbox: Asked) -> Job {
    let identity = Identity {
        name: "hostile".to_owned(),
        numbers: vec![1],
        daemon: false,
        authkey: Vec::new(),
        parent_name: String::new(),
        parent_pid: 1,
        start_method: "forkserver".to_owned(),
        argv: Vec::new(),
        socket: None,
    };
    Job {
        task: "no such task".to_owned(),
        schema: 0,
        codec: Codec::Json,
        identity,
        setup: Setup::default(),
        sandbox,
        on_parent_death: job::OnParentDeath::Kill,
        log: job::Log::default(),
        trace: "0123456789abcdef0123456789abcdef".parse().unwrap(),
        slots: Slots::default(),
    }
}

/// Sends these bytes as a job; what the worker says before it ends.
fn told(daemon: &Daemon, bytes: &[u8]) -> Option<Outcome> {
    let (socket, pidfd) = lease(daemon);
    packet::send(socket.as_fd(), Kind::Job, &[bytes], &[], false).unwrap();
    // It must not wait for descriptors that are announced and never come.
    shutdown(socket.as_raw_fd(), Shutdown::Write).unwrap();
    let packet = packet::receive(socket.as_fd(), false).ok().flatten();
    // It ends by itself, whatever it was told.
    assert!(ends(&pidfd), "the worker does not end");
    packet.map(|packet| job::split::<Ended>(&packet.body).unwrap().0.outcome)
}

fn layers(layers: Vec<Sandbox>) -> Asked {
    Asked { layers, ..Asked::default() }
}

#[test]
fn what_cannot_be_meant_is_refused() {
    let daemon = Daemon::start(&[]);
    let files = |path: &[u8]| {
        let files = Files { read_only: vec![path.to_vec()], ..Files::default() };
        layers(vec![Sandbox { files: Some(files), ..Sandbox::default() }])
    };
    let call =
        |name: &str| layers(vec![Sandbox { calls: vec![name.to_owned()], ..Sandbox::default() }]);
    for (asked, part) in [
        (files(b"relative"), "not an absolute path"),
        (files(b"/with\0zero"), "not an absolute path"),
        (files(&[b'/'; 5000]), "more than 4095 bytes"),
        (call("exit_group"), "no worker can do without"),
        (call("\u{1F980}\u{1F980}\n"), "not the name"),
        (call(&"x".repeat(1 << 16)), "not the name"),
        (layers(vec![Sandbox::default(); 17]), "the limit is 16"),
        (layers(vec![Sandbox { deny: vec![Deny::Exec; 99], ..Sandbox::default() }]), "twice"),
    ] {
        let bytes = job::head(&job(asked)).unwrap();
        match told(&daemon, &bytes) {
            Some(Outcome::Rejected(JobError::Protocol(error))) => {
                assert!(error.contains(part), "{part}: {error}");
            }
            other => panic!("{part}: {other:?}"),
        }
    }
    let place = Place::new();
    value(daemon.context().process::<attempt>(place.arguments()));
}

/// Flips bytes of a good job: the worker answers or ends, and the daemon serves on.
#[test]
fn any_bytes_are_answered() {
    let daemon = Daemon::start(&[]);
    let sandbox = Sandbox { deny: vec![Deny::Exec], private_tmp: true, ..Sandbox::default() };
    let good = job::head(&job(layers(vec![sandbox]))).unwrap();
    for (seed, mut moments) in seeds::rounds(40) {
        println!("seed {seed}");
        let mut bytes = good.clone();
        for _ in 0..=moments.below(3) {
            let at = moments.below(bytes.len() as u64) as usize;
            bytes[at] ^= 1 << moments.below(8);
        }
        // Only that it ends: some of them are good jobs.
        let _ = told(&daemon, &bytes);
    }
    let place = Place::new();
    value(daemon.context().process::<attempt>(place.arguments()));
}
