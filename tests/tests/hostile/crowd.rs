//! Too many at once: clients, answers that nobody reads, descriptors.

use crate::peer::Peer;
use crate::{serves, square};
use mpserverd_proto::client::{Reply, Request};
use mpserverd_proto::error::Refusal;
use mpserverd_tests::daemon::Daemon;
use mpserverd_tests::suite::{PATIENCE, value};
use mpserverd_tests::{eventually, proc, skip};

/// So many clients at once, of which every other says hello.
fn crowd(size: usize) {
    let available = mp::sys::attributes::raise_descriptor_limit().unwrap();
    if available < 2 * size as u64 {
        return skip(&format!("{size} clients need more than {available} descriptors"));
    }
    let limit = (size + 100).to_string();
    let daemon = Daemon::start(&["--max-clients", &limit, "--hello-timeout", "10m"]);
    serves(&daemon);
    let mut peers = Vec::with_capacity(size);
    for at in 0..size {
        peers.push(if at % 2 == 0 { Peer::open(&daemon) } else { Peer::connect(&daemon) });
    }
    serves(&daemon);
    assert!(proc::fd_count(daemon.pid()) > size);
    for (at, peer) in peers.iter_mut().enumerate().step_by(2) {
        peer.ask(at as u64 + 1, Request::Ping);
    }
    for (at, peer) in peers.iter_mut().enumerate().step_by(2) {
        assert!(matches!(peer.reply(at as u64 + 1), Reply::Pong(_)));
    }
    drop(peers);
    serves(&daemon);
    assert!(eventually(PATIENCE, || proc::fd_count(daemon.pid()) < size));
}

#[test]
fn two_thousand_clients_are_served() {
    crowd(2_000);
}

#[test]
#[ignore = "needs 20 000 descriptors"]
fn ten_thousand_clients_are_served() {
    crowd(10_000);
}

#[test]
fn clients_beyond_the_limit_are_told_so() {
    let daemon = Daemon::start(&["--max-clients", "5"]);
    let mut peers = (0..5).map(|_| Peer::open(&daemon)).collect::<Vec<_>>();
    let mut late = Peer::open(&daemon);
    let told = late.reply(0);
    assert_eq!(told, Reply::Refused(Refusal::TooManyClients { limit: 5 }));
    assert!(late.is_dropped());
    match daemon.context().process::<square>((1,)).start() {
        Err(mp::StartError::Daemon(mp::DaemonError::Refused(Refusal::TooManyClients {
            limit: 5,
        }))) => {}
        other => panic!("{other:?}"),
    }
    peers.pop();
    let served = || daemon.context().process::<square>((2,)).start().is_ok();
    assert!(eventually(PATIENCE, served));
    peers[0].ask(1, Request::Ping);
    assert!(matches!(peers[0].reply(1), Reply::Pong(_)));
}

#[test]
fn silent_clients_far_beyond_the_limit_make_room_in_time() {
    let daemon = Daemon::start(&["--max-clients", "5", "--hello-timeout", "500ms"]);
    let silent = (0..300).map(|_| Peer::connect(&daemon)).collect::<Vec<_>>();
    let served = || {
        let process = daemon.context().process::<square>((2,)).start();
        process.is_ok_and(|process| process.result_timeout(PATIENCE).unwrap() == 4)
    };
    assert!(eventually(PATIENCE, served));
    drop(silent);
}

#[test]
fn who_never_reads_is_dropped() {
    let daemon = Daemon::start(&[]);
    let mut peer = Peer::open(&daemon);
    peer.stream.set_write_timeout(Some(PATIENCE)).unwrap();
    let before = memory(daemon.pid());
    let batch = (1..1000).flat_map(|id| Peer::request(id, Request::Status, 0)).collect::<Vec<_>>();
    let mut batches = 0;
    while peer.send(&batch) {
        batches += 1;
        assert!(batches < 10_000, "the daemon keeps {batches} batches of answers");
    }
    serves(&daemon);
    let grown = memory(daemon.pid()).saturating_sub(before);
    assert!(grown < 64 << 10, "the daemon has grown by {grown} KiB");
}

/// Resident memory, KiB.
fn memory(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[test]
fn a_daemon_without_descriptors_recovers() {
    let daemon = Daemon::start(&[]);
    assert_eq!(value(daemon.context().process::<square>((2,))), 4);
    let few = proc::fd_count(daemon.pid()) as u64 + 10;
    proc::limit_descriptors(daemon.pid(), few);
    let crowd = (0..100).map(|_| Peer::connect(&daemon)).collect::<Vec<_>>();
    let complained = || daemon.log().contains("cannot accept a client");
    assert!(eventually(PATIENCE, complained), "{}", daemon.log());
    assert!(proc::is_running(daemon.pid()));
    drop(crowd);
    let served = || {
        let process = daemon.context().process::<square>((3,)).start();
        process.is_ok_and(|process| process.result_timeout(PATIENCE).is_ok_and(|nine| nine == 9))
    };
    assert!(eventually(PATIENCE, served), "{}", daemon.log());
}
