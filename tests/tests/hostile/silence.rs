//! Those who say nothing, half of it, too much, or nonsense.

use crate::peer::Peer;
use crate::serves;
use mpserverd_proto::client::{Reply, Request};
use mpserverd_proto::error::Refusal;
use mpserverd_proto::hello::{Hello, HelloError, HelloReply, VERSION_MAX};
use mpserverd_proto::limits::FRAME_BYTES_MAX;
use mpserverd_tests::daemon::Daemon;
use std::fs::File;
use std::os::fd::AsFd;
use std::time::Duration;

/// How long an impatient daemon waits. Those who mean well are here too, on a machine that may let
/// them wait for their turn.
const LIMIT: Duration = Duration::from_secs(1);

fn impatient() -> Daemon {
    let limit = format!("{}ms", LIMIT.as_millis());
    Daemon::start(&["--hello-timeout", &limit, "--frame-timeout", &limit])
}

/// Why the daemon hung up, if it said so.
fn refusal(peer: &mut Peer) -> String {
    match peer.reply(0) {
        Reply::Refused(Refusal::BadRequest(why)) => {
            assert!(peer.is_dropped());
            why
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn who_says_nothing_is_dropped() {
    let daemon = impatient();
    let mut silent = (0..20).map(|_| Peer::connect(&daemon)).collect::<Vec<_>>();
    let mut half = Peer::connect(&daemon);
    assert!(half.send(&Hello::ours().encode()[..7]));
    serves(&daemon);
    assert!(silent.iter_mut().all(Peer::is_dropped));
    assert!(half.is_dropped());
    serves(&daemon);
}

#[test]
fn who_has_said_hello_may_be_silent() {
    let daemon = impatient();
    let mut peer = Peer::open(&daemon);
    std::thread::sleep(2 * LIMIT);
    peer.ask(1, Request::Ping);
    assert!(matches!(peer.reply(1), Reply::Pong(_)));
}

#[test]
fn garbage_is_dropped() {
    let daemon = impatient();
    for garbage in [&[0; 64][..], &[0xff; 4096], b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"] {
        let mut peer = Peer::connect(&daemon);
        peer.send(garbage);
        assert!(peer.is_dropped());
        serves(&daemon);
    }
    // A request before the hello is garbage as well.
    let mut peer = Peer::connect(&daemon);
    peer.send(&Peer::request(1, Request::Ping, 0));
    assert!(peer.is_dropped());
}

#[test]
fn half_a_frame_is_dropped_after_a_while() {
    let daemon = impatient();
    let frame = Peer::request(1, Request::Ping, 0);
    let mut halves = Vec::new();
    for length in [1, 7, 8, frame.len() - 1] {
        let mut peer = Peer::open(&daemon);
        assert!(peer.send(&frame[..length]));
        serves(&daemon);
        halves.push(peer);
    }
    assert!(halves.iter_mut().all(Peer::is_dropped));
    // Bytes that trickle in do not give more time.
    let mut peer = Peer::open(&daemon);
    let large = [&(1u32 << 20).to_le_bytes()[..], &[0; 4]].concat();
    assert!(peer.send(&large));
    while peer.send(&[0]) {
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_frame_in_pieces_is_a_frame() {
    let daemon = Daemon::start(&[]);
    let mut peer = Peer::open(&daemon);
    for byte in Peer::request(7, Request::Ping, 0) {
        assert!(peer.send(&[byte]));
    }
    assert!(matches!(peer.reply(7), Reply::Pong(_)));
}

#[test]
fn frames_beyond_the_limits_are_refused_by_their_headers() {
    let daemon = Daemon::start(&[]);
    let length = FRAME_BYTES_MAX as u32 + 1;
    let header = |length: u32, fds: u16, zero: u16| {
        let parts = [&length.to_le_bytes()[..], &fds.to_le_bytes(), &zero.to_le_bytes()];
        parts.concat()
    };
    for (header, says) in [
        (header(length, 0, 0), "exceeds the limit"),
        (header(u32::MAX, 0, 0), "exceeds the limit"),
        (header(8, 254, 0), "more than the limit"),
        (header(8, 0, 1), "not a frame"),
    ] {
        let mut peer = Peer::open(&daemon);
        assert!(peer.send(&header));
        let why = refusal(&mut peer);
        assert!(why.contains(says), "{why}");
    }
    serves(&daemon);
}

#[test]
fn malformed_requests_are_refused() {
    let daemon = Daemon::start(&[]);
    let whole = Peer::request(1, Request::Ping, 0);
    let trailing = [&whole[8..], &[0; 3]].concat();
    for payload in [&[][..], &[0xff; 100], &whole[8..whole.len() - 1], &trailing] {
        let mut peer = Peer::open(&daemon);
        assert!(peer.send(&mpserverd_proto::frame::encode(payload, 0).unwrap()));
        let why = refusal(&mut peer);
        assert!(why.starts_with("malformed request"), "{why}");
    }
    serves(&daemon);
}

#[test]
fn descriptors_that_no_frame_wants_are_closed() {
    let daemon = Daemon::start(&[]);
    serves(&daemon);
    let null = File::open("/dev/null").unwrap();
    let before = mpserverd_tests::proc::fd_count(daemon.pid());
    for round in 0..10 {
        let peer = Peer::open(&daemon);
        let fds = vec![null.as_fd(); 200];
        // More than any frame may have, before the first is complete.
        for _ in 0..4 {
            let _ = peer.send_with(&[0], &fds);
        }
        // A frame that claims more than came.
        let mut peer = Peer::open(&daemon);
        assert!(peer.send_with(&Peer::request(1, Request::Ping, 5), &fds[..3]));
        assert!(peer.is_dropped(), "round {round}");
    }
    // Those that come with a request that wants none are closed with it.
    let mut peer = Peer::open(&daemon);
    assert!(peer.send_with(&Peer::request(2, Request::Ping, 2), &[null.as_fd(), null.as_fd()]));
    assert!(matches!(peer.reply(2), Reply::Pong(_)));
    drop(peer);
    serves(&daemon);
    let calm = || mpserverd_tests::proc::fd_count(daemon.pid()) <= before + 60;
    assert!(mpserverd_tests::eventually(mpserverd_tests::suite::PATIENCE, calm));
}

#[test]
fn other_versions_are_refused_on_both_sides() {
    let daemon = Daemon::start(&[]);
    let newer = Hello { oldest: VERSION_MAX + 1, newest: VERSION_MAX + 5, features: 0 };
    let mut peer = Peer::connect(&daemon);
    let told = HelloReply::decode(peer.hello(newer), newer).unwrap_err();
    let want = HelloError::DaemonTooOld { client: VERSION_MAX + 1, daemon: VERSION_MAX };
    assert_eq!(told, want);
    assert!(told.to_string().contains("upgrade and restart mpserverd"), "{told}");
    assert!(peer.is_dropped());
    // One that speaks older versions too gets ours; unknown features are ignored.
    let both = Hello { oldest: 1, newest: VERSION_MAX + 5, features: u32::MAX };
    let reply = HelloReply::decode(Peer::connect(&daemon).hello(both), both).unwrap();
    assert_eq!((reply.chosen, reply.features), (VERSION_MAX, 0));
    serves(&daemon);

    // The other way round: a daemon that is newer than the client.
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("newer.sock");
    let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let error = std::thread::scope(|scope| {
        scope.spawn(|| {
            use std::io::{Read, Write};
            let (mut stream, _) = listener.accept().unwrap();
            stream.read_exact(&mut [0; 16]).unwrap();
            let (oldest, newest) = (VERSION_MAX + 1, VERSION_MAX + 1);
            let reply = HelloReply { chosen: 0, oldest, newest, features: 0 };
            stream.write_all(&reply.encode()).unwrap();
        });
        mp::daemon::Connection::open(&path, None).unwrap_err()
    });
    let mp::DaemonError::Version(error) = error else { panic!("{error}") };
    assert!(matches!(error, HelloError::ClientTooOld { .. }), "{error}");
    assert!(error.to_string().contains("rebuild the client"), "{error}");
}
