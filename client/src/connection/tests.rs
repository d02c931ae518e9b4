//! What holds on every platform, over whatever streams it has.

use super::*;
use std::time::{Duration, Instant};

const SHORT: Duration = Duration::from_millis(30);
/// Enough for whatever is expected to happen.
const LONG: Duration = Duration::from_secs(60);

fn listeners(key: &[u8]) -> Vec<Listener> {
    let own = Listener::builder().authkey(key);
    let port = Listener::builder().family(Family::Inet).authkey(key);
    vec![own.bind().expect("an address of its own"), port.bind().expect("a port")]
}

/// Connected pairs of every kind.
fn pairs() -> Vec<(Connection, Connection)> {
    let call = |listener: Listener| {
        let client = Client::builder(listener.address());
        std::thread::scope(|scope| {
            let client = scope.spawn(|| client.authkey(b"k").connect());
            let server = listener.accept_timeout(LONG).expect("somebody calls");
            (server, client.join().expect("no panic").expect("somebody accepts"))
        })
    };
    let mut pairs = listeners(b"k").into_iter().map(call).collect::<Vec<_>>();
    pairs.push(pipe(true).expect("a pipe"));
    pairs
}

#[test]
fn messages_of_every_size_go_both_ways() {
    for (a, b) in pairs() {
        for (from, to) in [(&a, &b), (&b, &a)] {
            for size in [0, 1, 600, 70_000, 3 << 20] {
                let message = (0..size).map(|at| (at % 253) as u8).collect::<Vec<_>>();
                std::thread::scope(|scope| {
                    scope.spawn(|| from.send_bytes(&message).expect("sent"));
                    assert!(to.recv_bytes(None).expect("received") == message, "{size}: {a:?}");
                });
            }
            from.send(&("value", 7)).expect("sent");
            let value = to.recv_timeout::<(String, i32)>(LONG).expect("received");
            assert_eq!(value, ("value".to_owned(), 7));
        }
    }
}

#[test]
fn one_way_is_one_way() {
    let (receiver, sender) = pipe(false).expect("a pipe");
    sender.send(&1u8).expect("sent");
    assert!(matches!(sender.recv::<u8>(), Err(ConnectionError::WrongDirection { .. })));
    assert!(matches!(receiver.send(&1u8), Err(ConnectionError::WrongDirection { .. })));
    assert_eq!(receiver.recv_timeout::<u8>(LONG).expect("received"), 1);
}

#[test]
fn asking_and_waiting_take_nothing() {
    for (a, b) in pairs() {
        let start = Instant::now();
        assert!(!a.poll(Some(SHORT)).expect("open"));
        let late = a.recv_bytes_timeout(None, SHORT);
        assert!(matches!(late, Err(ConnectionError::TimedOut(_))), "{late:?}");
        assert!(start.elapsed() >= 2 * SHORT);
        b.send_bytes(b"one").expect("sent");
        b.send_bytes(b"two").expect("sent");
        assert!(a.poll(Some(LONG)).expect("open") && a.poll(None).expect("open"));
        assert_eq!(a.recv_bytes(None).expect("received"), b"one");
        assert_eq!(a.recv_bytes_into(&mut [0; 4], 1).expect("received"), 3);
        b.close();
        assert!(a.poll(Some(LONG)).expect("open"), "an end is readable");
        assert!(matches!(a.recv_bytes(None), Err(ConnectionError::Eof)), "{a:?}");
        let closed = b.send_bytes(b"");
        assert!(matches!(closed, Err(ConnectionError::Closed { .. })), "{closed:?}");
    }
}

#[test]
fn a_send_that_is_cut_off_says_so() {
    for (a, b) in pairs() {
        let cut = a.send_bytes_timeout(&vec![1; 64 << 20], SHORT);
        let told = matches!(cut, Err(ConnectionError::TimedOutInMessage { .. }));
        assert!(told, "{cut:?}");
        assert!(matches!(a.send_bytes(b""), Err(ConnectionError::Cut)));
        b.send_bytes(b"the other way").expect("sent");
        assert_eq!(a.recv_bytes_timeout(None, LONG).expect("received"), b"the other way");
    }
}

#[test]
fn wrong_keys_are_errors_on_both_sides() {
    for listener in listeners(b"right") {
        std::thread::scope(|scope| {
            let client = scope.spawn(|| Client::connect(listener.address(), Some(b"wrong")));
            let server = listener.accept_timeout(LONG);
            for refused in [server, client.join().expect("no panic")] {
                let told = matches!(refused, Err(ConnectionError::Authentication(_)));
                assert!(told, "{refused:?}");
            }
        });
    }
}

#[test]
fn silent_callers_are_given_up() {
    for listener in listeners(b"k") {
        let silent = Client::connect(listener.address(), None).expect("connected");
        let incoming = listener.accept_incoming_timeout(LONG).expect("somebody calls");
        let given_up = incoming.authenticate_timeout(SHORT);
        assert!(matches!(given_up, Err(ConnectionError::Handshake(_))), "{given_up:?}");
        drop(silent);
        let nobody = listener.accept_timeout(SHORT);
        assert!(matches!(nobody, Err(ConnectionError::TimedOut(_))), "{nobody:?}");
    }
}

#[test]
fn closing_wakes_who_waits_for_callers() {
    for listener in listeners(b"k") {
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| listener.accept());
            std::thread::sleep(SHORT);
            listener.close();
            let woken = waiting.join().expect("no panic");
            assert!(matches!(woken, Err(ConnectionError::Closed { .. })), "{woken:?}");
        });
        let gone = Client::builder(listener.address()).timeout(LONG).connect();
        assert!(matches!(gone, Err(ConnectionError::Connect { .. })), "{gone:?}");
    }
}
