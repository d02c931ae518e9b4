//! The handshake: right and wrong keys, and peers that say nothing, nonsense or too much.

use super::{LONG, SHORT, frame, is_eof};
use mp::{Client, Connection, ConnectionError, Listener};
use mpserverd_tests::suite::PATIENCE;
use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::{Duration, Instant};

fn listener(key: &[u8]) -> Listener {
    Listener::builder().authkey(key).handshake_timeout(PATIENCE).bind().unwrap()
}

fn path(listener: &Listener) -> std::path::PathBuf {
    let mp::Address::Path(path) = listener.address() else { panic!("{listener:?}") };
    path.clone()
}

fn is_wrong<T>(result: &Result<T, ConnectionError>) -> bool {
    matches!(result, Err(ConnectionError::Authentication(_)))
}

/// Both ends of a call with these keys.
fn call(
    ours: &[u8],
    theirs: &[u8],
) -> (Result<Connection, ConnectionError>, Result<Connection, ConnectionError>) {
    let listener = listener(ours);
    std::thread::scope(|scope| {
        let client = scope.spawn(|| Client::connect(listener.address(), Some(theirs)));
        (listener.accept_timeout(LONG), client.join().unwrap())
    })
}

#[test]
fn a_wrong_key_is_an_error_on_both_sides() {
    for (ours, theirs) in [(&b"right"[..], &b"wrong"[..]), (b"right", b""), (b"", b"wrong")] {
        let (server, client) = call(ours, theirs);
        assert!(is_wrong(&server), "{server:?}");
        assert!(is_wrong(&client), "{client:?}");
    }
    let said = call(b"right", b"wrong").0.unwrap_err().to_string();
    assert_eq!(said, "authentication failed: digest received was wrong");
    let said = call(b"right", b"wrong").1.unwrap_err().to_string();
    assert_eq!(said, "authentication failed: digest sent was rejected");
}

#[test]
fn keys_of_any_length_are_keys() {
    for key in [&b""[..], b"k", &[0; 64], &[0xfe; 5000]] {
        let (server, client) = call(key, key);
        server.unwrap().send(&1u8).unwrap();
        assert_eq!(client.unwrap().recv::<u8>().unwrap(), 1);
    }
    let own = mp::current_process().authkey().to_vec();
    assert!(call(&own, &own).0.is_ok());
}

#[test]
fn a_silent_client_is_given_up_and_the_next_is_served() {
    let listener = Listener::builder().authkey(b"k").handshake_timeout(5 * SHORT).bind().unwrap();
    let silent = UnixStream::connect(path(&listener)).unwrap();
    let mut slow = UnixStream::connect(path(&listener)).unwrap();
    slow.write_all(&frame(&[7; 40])[..9]).unwrap();
    for _ in 0..2 {
        let start = Instant::now();
        let given_up = listener.accept();
        assert!(matches!(given_up, Err(ConnectionError::Handshake(_))), "{given_up:?}");
        assert!(start.elapsed() >= 5 * SHORT);
    }
    drop((silent, slow));
    std::thread::scope(|scope| {
        // Their turn may come late on a busy machine, and the time of the listener is short.
        let call = || Client::connect(listener.address(), Some(b"k")).is_ok();
        scope.spawn(move || assert!(mpserverd_tests::eventually(PATIENCE, call)));
        assert!(mpserverd_tests::eventually(PATIENCE, || listener.accept_timeout(LONG).is_ok()));
    });
}

#[test]
fn a_silent_client_holds_up_nobody_who_is_authenticated_elsewhere() {
    let listener = listener(b"k");
    let silent = (0..5).map(|_| UnixStream::connect(path(&listener)).unwrap());
    let silent = silent.collect::<Vec<_>>();
    std::thread::scope(|scope| {
        let client = scope.spawn(|| Client::connect(listener.address(), Some(b"k")).unwrap());
        let mut waiting = Vec::new();
        for _ in 0..6 {
            let incoming = listener.accept_incoming_timeout(LONG).unwrap();
            assert_eq!(incoming.peer(), &mp::Address::Unnamed);
            waiting.push(scope.spawn(|| incoming.authenticate()));
        }
        client.join().unwrap();
        drop(silent);
        let ended = waiting.into_iter().map(|thread| thread.join().unwrap());
        let (served, lost): (Vec<_>, Vec<_>) = ended.partition(Result::is_ok);
        assert_eq!((served.len(), lost.len()), (1, 5));
        let gone = |lost: &Result<_, ConnectionError>| {
            lost.as_ref().is_err_and(ConnectionError::is_disconnected)
        };
        assert!(lost.iter().all(gone), "{lost:?}");
    });
    let incoming = {
        let _silent = UnixStream::connect(path(&listener)).unwrap();
        let incoming = listener.accept_incoming().unwrap();
        assert!(matches!(
            incoming.authenticate_timeout(SHORT),
            Err(ConnectionError::Handshake(SHORT))
        ));
        listener.accept_incoming_timeout(SHORT)
    };
    assert!(super::is_timeout(&incoming));
}

#[test]
fn a_silent_listener_is_given_up() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("silent");
    let silent = UnixListener::bind(&path).unwrap();
    let start = Instant::now();
    let call = Client::builder(&path).authkey(b"k").handshake_timeout(5 * SHORT).connect();
    assert!(matches!(call, Err(ConnectionError::Handshake(_))), "{call:?}");
    assert!(start.elapsed() >= 5 * SHORT);
    drop(silent);
}

/// What the listener thinks of a client that answers its challenge so.
fn answered(answer: &[u8]) -> Result<Connection, ConnectionError> {
    let listener = listener(b"k");
    let mut peer = UnixStream::connect(path(&listener)).unwrap();
    peer.write_all(answer).unwrap();
    let accepted = listener.accept_timeout(LONG);
    let mut challenge = [0; 4 + 11 + 8 + 40];
    peer.read_exact(&mut challenge).unwrap();
    assert!(challenge.starts_with(b"\0\0\0\x3b#CHALLENGE#{sha256}"), "{challenge:?}");
    accepted
}

#[test]
fn wrong_answers_are_refused() {
    let wrong: [Vec<u8>; 9] = [
        frame(b""),
        frame(&[0; 16]),
        frame(&[0; 20]),
        frame(&[b"{sha256}", &[0u8; 32][..]].concat()),
        frame(&[b"{sha256}", &[0u8; 31][..]].concat()),
        frame(&[b"{sha1}", &[0u8; 20][..]].concat()),
        frame(&[b"{sha256", &[0u8; 32][..]].concat()),
        frame(b"#WELCOME#"),
        frame(&[0; 256]),
    ];
    for answer in wrong {
        let refused = answered(&answer);
        assert!(is_wrong(&refused), "{answer:?}: {refused:?}");
    }
}

#[test]
fn answers_that_are_too_long_or_no_messages_are_refused() {
    for answer in [frame(&[0; 257]), vec![0xff; 12], (-7i32).to_be_bytes().to_vec()] {
        let refused = answered(&answer);
        assert!(is_wrong(&refused), "{answer:?}: {refused:?}");
    }
    let huge = [&[0xff; 4][..], &(1u64 << 40).to_be_bytes()].concat();
    assert!(is_wrong(&answered(&huge)));
}

#[test]
fn who_hangs_up_in_the_handshake_is_told_from_who_fails_it() {
    let full = frame(&[7; 40]);
    for cut in [0, 1, 3, 4, 20] {
        let listener = listener(b"k");
        let mut peer = UnixStream::connect(path(&listener)).unwrap();
        peer.write_all(&full[..cut]).unwrap();
        drop(peer);
        let ended = listener.accept_timeout(LONG).unwrap_err();
        assert!(ended.is_disconnected(), "{cut}: {ended:?}");
    }
}

/// What a client thinks of a listener that says this and hangs up.
fn challenged(say: &[u8]) -> ConnectionError {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("hostile");
    let hostile = UnixListener::bind(&path).unwrap();
    std::thread::scope(|scope| {
        let client = scope.spawn(|| Client::connect(&path, Some(b"k")));
        let (mut peer, _) = hostile.accept().unwrap();
        peer.write_all(say).unwrap();
        peer.shutdown(std::net::Shutdown::Write).unwrap();
        client.join().unwrap().unwrap_err()
    })
}

#[test]
fn hostile_listeners_are_refused() {
    let challenge = |of: &[u8]| frame(&[b"#CHALLENGE#", of].concat());
    let wrong = [
        frame(b"#WELCOME#"),
        frame(&[0; 60]),
        challenge(&[0; 19]),
        challenge(b""),
        challenge(&[b"{sha1}", &[0u8; 40][..]].concat()),
        challenge(&[0; 40]),
        challenge(&[0; 246]),
        [&challenge(&[0; 20])[..], &frame(b"#FAILURE#")].concat(),
        [&challenge(&[0; 20])[..], &frame(b"")].concat(),
        [&challenge(&[0; 20])[..], &frame(&[0; 300])].concat(),
        // Welcomes anybody, then does not know the key itself.
        [&challenge(&[0; 20])[..], &frame(b"#WELCOME#"), &frame(&[0; 16])].concat(),
    ];
    for say in wrong {
        let refused = challenged(&say);
        assert!(matches!(refused, ConnectionError::Authentication(_)), "{say:?}: {refused:?}");
    }
    for say in [vec![], vec![0], challenge(&[0; 20]), challenge(&[0; 20])[..10].to_vec()] {
        let ended = challenged(&say);
        assert!(ended.is_disconnected(), "{say:?}: {ended:?}");
    }
}

#[test]
fn a_peer_cannot_be_made_to_answer_its_own_question() {
    // Calls the listener, and gives it its own challenge back.
    let listener = listener(b"k");
    let mut peer = UnixStream::connect(path(&listener)).unwrap();
    std::thread::scope(|scope| {
        let accepted = scope.spawn(|| listener.accept_timeout(LONG));
        let mut challenge = [0; 63];
        peer.read_exact(&mut challenge).unwrap();
        peer.write_all(&challenge).unwrap();
        let mut verdict = [0; 13];
        peer.read_exact(&mut verdict).unwrap();
        assert_eq!(&verdict, b"\0\0\0\x09#FAILURE#");
        let refused = accepted.join().unwrap();
        assert!(is_wrong(&refused), "{refused:?}");
    });
}

#[test]
fn one_side_without_a_key_does_not_hang_the_other() {
    let open = Listener::builder().bind().unwrap();
    std::thread::scope(|scope| {
        let client = scope.spawn(|| {
            let key = Client::builder(open.address()).authkey(b"k");
            key.handshake_timeout(5 * SHORT).connect()
        });
        let server = open.accept_timeout(LONG).unwrap();
        let given_up = client.join().unwrap();
        assert!(matches!(given_up, Err(ConnectionError::Handshake(_))), "{given_up:?}");
        assert!(is_eof(&server.recv_timeout::<u8>(LONG)));
    });
    let closed = listener(b"k");
    let client = Client::connect(closed.address(), None).unwrap();
    drop(client);
    assert!(closed.accept_timeout(LONG).unwrap_err().is_disconnected());
    assert!(super::is_timeout(&closed.accept_timeout(Duration::ZERO)));
}
