//! Messages with more descriptors than somebody has room for.

use super::{LONG, open_descriptors, pipe};
use mp::{ConnectionError, SharedFd};
use mpserverd_tests::suite::passed;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use std::fs::File;

fn copies(number: usize) -> Vec<SharedFd> {
    let file = File::open("/dev/null").unwrap();
    (0..number).map(|_| file.try_clone().unwrap().into()).collect()
}

fn spawned(task: mp::ProcessBuilder<()>) {
    passed(task);
}

/// A receiver whose table is full loses descriptors, learns it, and goes on.
#[mp::task]
fn lose() {
    let (a, b) = pipe();
    let sent = copies(100);
    a.send(&("first", &sent)).unwrap();
    a.send_bytes(b"bytes").unwrap();
    a.send(&("second", &sent[..3])).unwrap();
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    let room = open_descriptors() as u64 + 10;
    setrlimit(Resource::RLIMIT_NOFILE, room, hard).unwrap();
    let before = open_descriptors();
    let lost = b.recv_timeout::<(String, Vec<SharedFd>)>(LONG);
    assert!(matches!(lost, Err(ConnectionError::DescriptorsLost)), "{lost:?}");
    assert_eq!(open_descriptors(), before, "what came of them is closed");
    assert_eq!(b.recv_bytes(None).unwrap(), b"bytes");
    let (what, fds) = b.recv::<(String, Vec<SharedFd>)>().unwrap();
    assert_eq!((what.as_str(), fds.len()), ("second", 3));
}

/// As bytes, a message with descriptors needs no room for them.
#[mp::task]
fn ignore() {
    let (a, b) = pipe();
    a.send(&("first", copies(100))).unwrap();
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, open_descriptors() as u64, hard).unwrap();
    assert!(b.recv_bytes_timeout(None, LONG).unwrap().starts_with(b"MP"));
    // Nor does closing need any.
    b.close();
    assert!(matches!(a.send(&1), Err(ConnectionError::BrokenPipe)));
}

/// One message carries so many and no more.
#[mp::task]
fn exceed() {
    if mp::sys::attributes::raise_descriptor_limit().unwrap() < 9000 {
        return mpserverd_tests::skip("4097 descriptors exceed the hard limit");
    }
    let (a, b) = pipe();
    let refused = a.send(&copies(4097));
    let told =
        matches!(refused, Err(ConnectionError::TooManyDescriptors { count: 4097, limit: 4096 }));
    assert!(told, "{refused:?}");
    let many = copies(4096);
    a.send(&many).unwrap();
    drop(many);
    assert_eq!(b.recv_timeout::<Vec<SharedFd>>(LONG).unwrap().len(), 4096);
}

/// A process without room for another descriptor accepts nobody, and loses nobody.
#[mp::task]
fn accept_without_room() {
    let listener = mp::Listener::builder().authkey(b"k").bind().unwrap();
    let address = listener.address().clone();
    std::thread::scope(|scope| {
        let client = scope.spawn(|| {
            let client = mp::Client::connect(&address, Some(b"k")).unwrap();
            client.recv_timeout::<String>(LONG).unwrap()
        });
        assert_eq!(mp::wait(&[&listener], Some(LONG)), [0]);
        let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
        setrlimit(Resource::RLIMIT_NOFILE, 3, hard).unwrap();
        let refused = listener.accept_timeout(LONG);
        assert!(matches!(refused, Err(ConnectionError::System(_))), "{refused:?}");
        setrlimit(Resource::RLIMIT_NOFILE, soft, hard).unwrap();
        listener.accept_timeout(LONG).unwrap().send("now").unwrap();
        assert_eq!(client.join().unwrap(), "now");
    });
}

#[test]
fn lost_descriptors_are_told_and_the_connection_goes_on() {
    spawned(mp::get_context(mp::StartMethod::Spawn).process::<lose>(()));
}

#[test]
fn bytes_need_no_room_for_descriptors() {
    spawned(mp::get_context(mp::StartMethod::Spawn).process::<ignore>(()));
}

#[test]
fn too_many_descriptors_are_refused_before_anything_is_sent() {
    spawned(mp::get_context(mp::StartMethod::Spawn).process::<exceed>(()));
}

#[test]
fn a_listener_without_room_loses_nobody() {
    spawned(mp::get_context(mp::StartMethod::Spawn).process::<accept_without_room>(()));
}
